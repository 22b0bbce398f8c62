//! The thread that writes records: whole lines, and a file that can be opened anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Queue, Waiting};
use crate::telemetry::metrics::Metrics;

pub(super) fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

pub(super) fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|facts| facts.file_type().is_fifo())
}

pub(super) type Output = Box<dyn Write + Send>;

pub(super) fn ready(output: Output) -> Box<dyn FnOnce() -> io::Result<Output> + Send> {
    Box::new(|| Ok(output))
}

/// In the place of an output that could not be opened.
pub(super) struct Broken(pub(super) io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Writer {
    output: Output,
    /// What it is opened from, anew when the trail says so; standard output is not.
    path: Option<PathBuf>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    failing: bool,
    /// Whether the last write ended within a line.
    cut: bool,
}

impl Writer {
    pub(super) fn new(output: Output, path: Option<PathBuf>, queue: Arc<Queue>, metrics: Arc<Metrics>) -> Self {
        Self { output, path, queue, metrics, failing: false, cut: false }
    }

    pub(super) fn run(mut self) {
        loop {
            let Waiting { text, lines, confirmations, closing, reopening, .. } = self.queue.take();
            let outcome = self.write(&text);
            if lines > 0 {
                self.tell(&outcome, lines);
            }
            confirmations.into_iter().for_each(|confirmation| {
                let _ = confirmation.send(outcome.is_ok());
            });
            if reopening {
                self.reopen();
            }
            if closing {
                return;
            }
        }
    }

    /// A pipe stays as it is: to open it would wait for its reader.
    fn reopen(&mut self) {
        let Some(path) = self.path.as_deref().filter(|path| !is_pipe(path)) else { return };
        match append_to(path) {
            Ok(file) => (self.output, self.cut) = (Box::new(file), false),
            Err(error) => {
                let remedy = "mend audit.path and send SIGHUP; until then records go on to the file that is open";
                tracing::error!(%error, remedy, "the audit file cannot be opened anew");
            }
        }
    }

    /// Writes whole lines. What is left of a line that was cut stays a line of its own, so that it spoils no record.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.cut && !lines.is_empty() {
            self.output.write_all(b"\n")?;
            self.cut = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    let (written, left) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                    self.cut = written.last() != Some(&b'\n');
                    rest = left;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.flush()
    }

    /// One log line when the trail breaks and one when it is whole again.
    fn tell(&mut self, outcome: &io::Result<()>, lines: u64) {
        match outcome {
            Ok(()) if self.failing => tracing::info!("audit records are written again"),
            Err(error) if !self.failing => {
                let remedy = "free space, or mend the pipe that standard output goes to";
                let help = "docs/troubleshooting.md#audit-records-lost";
                tracing::error!(%error, remedy, help, "audit records cannot be written");
            }
            _ => {}
        }
        self.failing = outcome.is_err();
        if self.failing {
            (0..lines).for_each(|_| self.metrics.lost_audit_record("write_failed"));
        }
    }
}
