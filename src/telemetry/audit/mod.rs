//! The audit trail: one record per decision, written whatever the log level is.
//!
//! A record holds who, what, by which rule and with which result; never a token, a key, or text from a request.
//! Records are written by a thread of their own, so that a slow disk or pipe holds up no answer, unless
//! `audit.required` says that without a record there is no token. `audit.schema.json` is the form of a record, and tests
//! hold it.

mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use self::writer::{Broken, Output, Writer, append_to, is_pipe, ready};
use super::json::Object;
use super::metrics::Metrics;
use crate::config::{self, AuditSink};

/// One decision.
#[derive(Debug)]
pub struct Record<'a> {
    /// When.
    pub time: Timestamp,
    /// The id that the answer, the log and this record share.
    pub request_id: &'a str,
    /// What became of it.
    pub outcome: &'static str,
    /// Why nobody was recognised, when nobody was; what a report or an introspection of a token came to.
    pub reason: Option<&'static str>,
    /// The status of the answer.
    pub status: u16,
    /// The caller, once proved.
    pub caller: Option<&'a str>,
    /// The kind of proof.
    pub proof: Option<&'static str>,
    /// Which of the caller's keys, by the start of its digest.
    pub proof_key: Option<&'a str>,
    /// The integration, once it is known to exist.
    pub integration: Option<&'a str>,
    /// The rule that allowed it.
    pub rule: Option<&'a str>,
    /// How the token was found.
    pub cache: Option<&'static str>,
    /// First 16 hex digits of the token's SHA-256.
    pub token_fingerprint: Option<&'a str>,
    /// The pattern of the route.
    pub route: &'static str,
    /// The method.
    pub method: &'static str,
    /// Where the connection comes from.
    pub remote_address: &'a str,
    /// From the request's head to the answer.
    pub duration_us: u64,
    /// The trace of the request, where there is one.
    pub trace_id: Option<&'a str>,
}

/// A record that was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit record could not be written")]
pub struct NotRecorded;

/// Where records go.
#[derive(Debug)]
pub struct Trail {
    queue: Arc<Queue>,
    required: bool,
    metrics: Arc<Metrics>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// What waits for the writer. The lock is held to copy a line in or to take all lines out, never while writing.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Rung when there is something for a writer that sleeps, and when somebody waits or everything ends.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    lines: u64,
    confirmations: Vec<oneshot::Sender<bool>>,
    asleep: bool,
    closing: bool,
    /// Whether the file is to be opened anew once what waits is written.
    reopening: bool,
    /// Whether there is something to write to. A pipe has to wait for its reader first.
    opened: bool,
}

/// What may wait for the writer: a second or two of a very busy service.
const MOST: usize = 16 * 1024 * 1024;
/// Lines are gathered for so long, unless somebody waits for theirs: a wake-up for each would cost more than the rest
/// of a request.
const GATHER: Duration = Duration::from_millis(10);

impl Trail {
    /// Opens the trail and starts its writer.
    pub fn open(settings: &config::Audit, metrics: Arc<Metrics>) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (writers_queue, writers_metrics) = (Arc::clone(&queue), Arc::clone(&metrics));
        let path = match &settings.sink {
            AuditSink::File(path) => Some(path.clone()),
            AuditSink::Stdout => None,
        };
        let write = |output| Writer::new(output, path, writers_queue, writers_metrics).run();
        let (end, ended) = oneshot::channel();
        let open: Box<dyn FnOnce() -> io::Result<Output> + Send> = match &settings.sink {
            // Not `io::stdout()`: what its buffer keeps after an error would come out later, between other records.
            AuditSink::Stdout => ready(Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))),
            // To open a pipe waits for its reader: the writer can wait, the service cannot.
            AuditSink::File(path) if is_pipe(path) => {
                let path = path.clone();
                Box::new(move || append_to(&path).map(|file| Box::new(file) as Output))
            }
            AuditSink::File(path) => ready(Box::new(append_to(path)?)),
        };
        let opened = Arc::clone(&queue);
        let write = move || {
            let output = open().unwrap_or_else(|error| Box::new(Broken(error.kind())));
            opened.lock().opened = true;
            write(output);
            let _ = end.send(());
        };
        // Not joined: a sink that hangs must not keep the process alive.
        std::thread::Builder::new().name("audit".to_owned()).spawn(write)?;
        Ok(Self { queue, required: settings.required, metrics, ended: Mutex::new(Some(ended)) })
    }

    /// Records a decision. With `audit.required` it comes back when the record is written, or with an error: then the
    /// decision must not be carried out. Without, it comes back at once; a record that finds the queue full is lost,
    /// and counted.
    pub async fn record(&self, record: &Record<'_>) -> Result<(), NotRecorded> {
        if !self.required {
            self.note(record);
            return Ok(());
        }
        let (confirm, confirmation) = oneshot::channel();
        let taken = self.queue.push(&line(record), Some(confirm));
        if taken && confirmation.await == Ok(true) { Ok(()) } else { Err(NotRecorded) }
    }

    /// Whether there is no answer without a record.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Records what nobody waits for.
    pub fn note(&self, record: &Record<'_>) {
        if !self.queue.push(&line(record), None) {
            self.metrics.lost_audit_record("queue_full");
        }
    }

    /// Has the file opened anew, so that a log rotation that moved it away finds a new one in its place. What was
    /// recorded before goes to the old file, whole.
    pub fn reopen(&self) {
        self.queue.lock().reopening = true;
        self.queue.bell.notify_one();
    }

    /// Writes what waits and ends the writer; what is recorded afterwards is lost. A sink that hangs never lets it
    /// come back: who calls it sets the bound.
    pub async fn close(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let pointless = {
            let mut waiting = self.queue.lock();
            waiting.closing = true;
            // Nothing to write, to a pipe that nobody ever read.
            !waiting.opened && waiting.text.is_empty()
        };
        if pointless {
            return;
        }
        self.queue.bell.notify_one();
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }
}

impl Queue {
    /// Adds a line; `false` when there is no room or nobody to write it.
    fn push(&self, line: &[u8], confirmation: Option<oneshot::Sender<bool>>) -> bool {
        let mut waiting = self.lock();
        if waiting.closing || waiting.text.len() + line.len() > MOST {
            return false;
        }
        waiting.text.extend_from_slice(line);
        waiting.lines += 1;
        let urgent = confirmation.is_some();
        waiting.confirmations.extend(confirmation);
        let ring = std::mem::take(&mut waiting.asleep) || urgent;
        drop(waiting);
        if ring {
            self.bell.notify_one();
        }
        true
    }

    /// Everything that waits, once there is something; an empty text when the trail is closed.
    fn take(&self) -> Waiting {
        let mut waiting = self.lock();
        while waiting.text.is_empty() && !waiting.closing && !waiting.reopening {
            waiting.asleep = true;
            waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.confirmations.is_empty() && !waiting.closing && !waiting.reopening {
            let hurried = |waiting: &mut Waiting| waiting.confirmations.is_empty() && !waiting.closing;
            let gathered = self.bell.wait_timeout_while(waiting, GATHER, hurried);
            waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.asleep = false;
        let (closing, opened) = (waiting.closing, waiting.opened);
        std::mem::replace(&mut *waiting, Waiting { closing, opened, ..Waiting::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(record: &Record<'_>) -> Vec<u8> {
    // Without `..`: a member that is not written does not compile.
    #[rustfmt::skip]
    let Record {
        time, request_id, outcome, reason, status, caller, proof, proof_key, integration, rule, cache, token_fingerprint,
        route, method, remote_address, duration_us, trace_id,
    } = *record;
    let object = Object::at("time", &time)
        .text("request_id", Some(request_id))
        .text("outcome", Some(outcome))
        .text("reason", reason)
        .number("status", u64::from(status))
        .text("caller", caller)
        .text("proof", proof)
        .text("proof_key", proof_key)
        .text("integration", integration)
        .text("rule", rule)
        .text("cache", cache)
        .text("token_fingerprint", token_fingerprint)
        .text("route", Some(route))
        .text("method", Some(method))
        .text("remote_address", Some(remote_address))
        .number("duration_us", duration_us);
    // The one member that most services never have.
    match trace_id {
        Some(_) => object.text("trace_id", trace_id).line(),
        None => object.line(),
    }
}

/// Whether records could be written, without writing one, making a file, or waiting for the reader of a pipe.
pub fn try_sink(settings: &config::Audit) -> io::Result<()> {
    let AuditSink::File(path) = &settings.sink else { return Ok(()) };
    if let Ok(facts) = path.metadata() {
        let kind = facts.file_type();
        return match () {
            () if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            () if kind.is_fifo() || kind.is_char_device() => Ok(()),
            () => OpenOptions::new().append(true).open(path).map(|_| ()),
        };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if std::fs::metadata(folder)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// Whether standard output leads somewhere. A process that is started with it closed finds `/dev/null` in its place,
/// where every record would be confirmed and none kept.
///
/// # Errors
/// It does not, and records are required there.
pub fn try_standard_output(settings: &config::Audit) -> io::Result<()> {
    if !settings.required || settings.sink != AuditSink::Stdout {
        return Ok(());
    }
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata()?;
    let nowhere = Path::new("/dev/null").metadata()?;
    match output.file_type().is_char_device() && output.rdev() == nowhere.rdev() {
        true => Err(io::Error::other("standard output is closed, or is /dev/null")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn record(outcome: &'static str) -> Record<'static> {
        Record {
            time: Timestamp::from_second(1_795_000_000).unwrap(),
            request_id: "0199",
            outcome,
            reason: None,
            status: 200,
            caller: Some("log-shipper"),
            proof: Some("api_key"),
            proof_key: Some("6b1f0a2c"),
            integration: Some("elf-prod"),
            rule: Some("elf-*"),
            cache: Some("hit"),
            token_fingerprint: Some("ba7816bf8f01cfea"),
            route: "/token",
            method: "GET",
            remote_address: "127.0.0.1:4711",
            duration_us: 90,
            trace_id: None,
        }
    }

    #[test]
    fn a_record_has_the_members_of_the_schema_in_its_order_and_no_other() {
        let schema = include_str!("../../../audit.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        let required: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
        let line = String::from_utf8(line(&record("issued"))).unwrap();
        let mut names: Vec<&str> =
            line.split("\":").filter_map(|part| part.rsplit_once('"')).map(|(_, name)| name).collect();
        assert_eq!(names, required);
        let traced = Record { trace_id: Some("0af7651916cd43dd8448eb211c80319c"), ..record("issued") };
        let traced = String::from_utf8(super::line(&traced)).unwrap();
        assert!(traced.ends_with("90,\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}\n"), "{traced}");
        names.push("trace_id");
        names.sort_unstable();
        let described: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, described);
    }

    #[test]
    fn a_file_that_was_moved_away_keeps_what_was_recorded_before_and_a_new_one_gets_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let trail = trail(&path, true).unwrap();
        runtime.block_on(trail.record(&record("before"))).unwrap();
        std::fs::rename(&path, &old).unwrap();
        runtime.block_on(trail.record(&record("between"))).unwrap();
        trail.reopen();
        // Whatever is gathered with the order goes to the old file; what comes after its confirmation to the new one.
        runtime.block_on(trail.record(&record("with"))).unwrap();
        runtime.block_on(trail.record(&record("after"))).unwrap();
        runtime.block_on(trail.close());
        let outcomes = |path: &Path| -> Vec<String> {
            let text = std::fs::read_to_string(path).unwrap();
            let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            records.map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
        };
        let (before, after) = (outcomes(&old), outcomes(&path));
        assert_eq!([before.clone(), after.clone()].concat(), ["before", "between", "with", "after"]);
        assert!(before.len() >= 2 && after.contains(&"after".to_owned()), "{before:?} {after:?}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_goes_on_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let trail = trail(&path, true).unwrap();
        std::fs::rename(&path, &old).unwrap();
        std::fs::create_dir(&path).unwrap();
        trail.reopen();
        for outcome in ["one", "two"] {
            runtime.block_on(trail.record(&record(outcome))).unwrap();
        }
        runtime.block_on(trail.close());
        assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), 2);
    }

    fn trail(path: &Path, required: bool) -> io::Result<Trail> {
        let settings = config::Audit { sink: AuditSink::File(path.to_owned()), required };
        Trail::open(&settings, Arc::new(Metrics::new().unwrap()))
    }

    #[test]
    fn every_record_is_one_line_of_json_and_closing_loses_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let trail = trail(&path, false).unwrap();
        for _ in 0..1000 {
            runtime.block_on(trail.record(&record("issued"))).unwrap();
        }
        runtime.block_on(trail.close());
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1000);
        assert_eq!(lines[0]["token_fingerprint"], "ba7816bf8f01cfea");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777, 0o600);
    }

    #[test]
    fn a_record_finds_its_way_without_a_second_one_and_none_is_taken_after_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let trail = trail(&path, true).unwrap();
        runtime.block_on(trail.record(&record("issued"))).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        runtime.block_on(trail.close());
        assert_eq!(runtime.block_on(trail.record(&record("issued"))), Err(NotRecorded));
    }

    /// A disk that becomes full and is freed again: takes so many bytes, fails once, then takes everything.
    struct Disk {
        room: usize,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.kept.lock().unwrap().extend_from_slice(&bytes[..taken]);
            if taken == 0 {
                self.room = usize::MAX;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_that_was_cut_spoils_no_other_and_none_of_its_batch_is_confirmed() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (queue, metrics) = (Arc::new(Queue::default()), Arc::new(Metrics::new().unwrap()));
        let room = line(&record("issued")).len() + 20;
        let output = Box::new(Disk { room, kept: Arc::clone(&kept) });
        let writer = Writer::new(output, None, Arc::clone(&queue), metrics);
        let push = || {
            let (confirm, confirmation) = oneshot::channel();
            assert!(queue.push(&line(&record("issued")), Some(confirm)));
            confirmation
        };
        let swallowed = [push(), push()];
        let written = std::thread::spawn(move || writer.run());
        let swallowed = swallowed.map(|confirmation| confirmation.blocking_recv().unwrap());
        assert_eq!(swallowed, [false, false]);
        assert!(push().blocking_recv().unwrap());
        queue.lock().closing = true;
        queue.bell.notify_one();
        written.join().unwrap();
        let text = String::from_utf8(kept.lock().unwrap().clone()).unwrap();
        let whole = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        assert_eq!(text.lines().map(whole).collect::<Vec<_>>(), [true, false, true], "{text}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_required_record_that_cannot_be_written_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let full = trail(Path::new("/dev/full"), true).unwrap();
        assert_eq!(runtime.block_on(full.record(&record("issued"))), Err(NotRecorded));
        let lossy = trail(Path::new("/dev/full"), false).unwrap();
        assert_eq!(runtime.block_on(lossy.record(&record("issued"))), Ok(()));
    }
}
