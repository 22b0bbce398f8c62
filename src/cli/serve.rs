//! `aquila serve`: configuration, then ports, then service, until a signal.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

use super::{BAD_CONFIGURATION, check, complain, runtime};
use crate::app::{App, Ending, Prepared, Sockets};
use crate::clock::Clock;
use crate::config::{self, report::Report};
use crate::reload::everything_wrong;
use crate::telemetry::{self, trace::Traces};

/// Runs the service.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The configuration: TOML or YAML, by the ending of its name.
    #[arg(long, value_name = "PATH")]
    config: PathBuf,
}

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    // Before the first password is read; told when there is a log.
    let kept_private = keep_memory_private();
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(refused) => return Ok(refuse(everything_wrong(&refused))),
    };
    telemetry::start_log(&loaded.config.log);
    telemetry::tell(loaded.warnings.clone());
    if let Err(error) = kept_private {
        tracing::warn!(%error, remedy = "turn core dumps off for the service", "the memory of the process may be dumped");
    }
    allow_many_connections();
    let prepared = match Prepared::new(loaded, Clock::system()) {
        Ok((prepared, warnings)) => {
            telemetry::tell(warnings);
            prepared
        }
        Err(report) => return Ok(refuse(report)),
    };
    if let Err(report) = prepared.try_standard_output() {
        return Ok(refuse(report));
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(prepared));
    // What blocks a thread even now, such as a record for a pipe that nobody reads, does not hold the process.
    runtime.shutdown_background();
    ended
}

async fn serve(prepared: Prepared) -> anyhow::Result<ExitCode> {
    // Before the ports: a signal that comes while they are being opened must not be lost.
    let ending = ending()?;
    let sockets = Sockets::bind(prepared.config()).await?;
    let app = App::new(prepared.traced(Traces::start()), sockets)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server.address = %app.callers_address(),
        ops.address = %app.ops_address(),
        "serving"
    );
    match app.run(ending).await {
        true => tracing::info!("stopped; everything in progress came to its end"),
        false => tracing::warn!("stopped before everything in progress came to its end; see server.shutdown_grace"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells what is wrong, as `check` does.
pub(super) fn refuse(report: Report) -> ExitCode {
    complain(check::render_text(&report.sorted(), std::io::stderr().is_terminal()).trim_end());
    ExitCode::from(BAD_CONFIGURATION)
}

/// SIGTERM and SIGINT end gracefully, a second one at once. SIGHUP has the configuration read
/// again.
pub(super) fn ending() -> std::io::Result<Ending> {
    let ending = Ending::default();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let told = ending.clone();
    TaskTracker::new().spawn(async move {
        let mut signals = 0_u32;
        loop {
            tokio::select! {
                _ = terminate.recv() => signals += 1,
                _ = interrupt.recv() => signals += 1,
                _ = hangup.recv() => {
                    told.reload.notify_one();
                    continue;
                }
            }
            match signals {
                1 => told.graceful.cancel(),
                _ => told.immediate.cancel(),
            }
        }
    });
    Ok(ending)
}

/// No core dump, and no other process of the same user may look into this one's memory: keys are in it. The limit alone
/// does not bind a system that pipes core dumps into a program.
fn keep_memory_private() -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// The soft limit of open files is often 1024, and every caller holds one.
pub(super) fn allow_many_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
