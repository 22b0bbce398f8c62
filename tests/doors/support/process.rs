//! The binary as a process: started, listened to, signalled, waited for, and killed when its test is over.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::PATIENCE;
use crate::canary;

/// A running `aquila`.
pub(crate) struct Process {
    child: Child,
    out: Lines,
    err: Lines,
    /// Whether what it writes is searched for secrets at its end.
    searched: bool,
    /// Its configuration, which its records may lie beside.
    folder: Option<PathBuf>,
}

/// An `aquila` that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit status; a process that died of a signal has none.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// The command, without the environment of whoever runs the tests, except for what finds programs and folders.
pub(crate) fn aquila<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquila"));
    command.args(args).stdin(Stdio::null());
    let keeps = ["PATH", "HOME", "TMPDIR"];
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| keeps.iter().any(|kept| name == kept)));
    command
}

/// Runs a command that ends by itself.
pub(crate) async fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ended {
    Process::start(&mut aquila(args)).ended().await
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
        // The other commands show throw-away secrets, which is what they are for.
        let words: Vec<_> = command.get_args().collect();
        let searched = words.first().is_some_and(|word| *word == "serve" || *word == "check" || *word == "explain");
        let config = words.iter().position(|word| *word == "--config").and_then(|at| words.get(at + 1));
        let folder = config.and_then(|path| Path::new(path).parent()).map(Path::to_owned);
        Self { child, out, err, searched, folder }
    }

    /// Any program, searched as the service is.
    pub(crate) fn searched(command: &mut Command) -> Self {
        let mut process = Self::start(command);
        process.searched = true;
        process
    }

    pub(crate) fn stdout(&self) -> String {
        self.out.so_far()
    }

    pub(crate) fn stderr(&self) -> String {
        self.err.so_far()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; it said:\n{}{}", self.stdout(), self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Ended { status, stdout: self.out.whole(), stderr: self.err.whole() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.searched && !std::thread::panicking() {
            canary::search("standard output", &self.out.whole());
            canary::search("standard error", &self.err.whole());
            self.folder.iter().for_each(|folder| canary::search_folder(folder));
        }
    }
}

/// What a process writes, read as it comes, so that it is never held up by a full pipe.
struct Lines {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let read = move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        };
        Self { text, reader: Some(std::thread::spawn(read)) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}
