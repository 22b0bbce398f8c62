//! `aquila demo`: the whole round on this machine, told step by step.
//!
//! The parts are the real ones: a key in a file, a configuration that `serve` would take, the service with both doors
//! open, and requests over sockets. Only Salesforce is simulated. Everything is thrown away at the end.

mod round;
mod stage;

use std::process::ExitCode;

use clap::Args;

use super::{runtime, say, serve};
use stage::Stage;

/// Shows the whole round on this machine.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End after the round instead of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    serve::allow_many_connections();
    runtime()?.block_on(show(args))
}

async fn show(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let ending = serve::ending()?;
    say("Aquila demo: one round against a SIMULATED Salesforce. It needs no network and leaves nothing behind.\n")?;
    let stage = Stage::set(&ending).await?;
    tokio::select! {
        shown = round::show(&stage) => shown?,
        () = ending.graceful.cancelled() => {}
    }
    if args.once {
        ending.graceful.cancel();
    } else {
        say(&stage.invitation())?;
        ending.graceful.cancelled().await;
    }
    stage.clear().await;
    Ok(ExitCode::SUCCESS)
}

/// One line of the story: a number, a word and what happened.
fn step(number: u8, word: &str, what: &str) -> anyhow::Result<()> {
    say(&format!("{number}  {word:<11} {what}"))
}

/// A line that belongs to the step above.
fn detail(what: &str) -> anyhow::Result<()> {
    say(&format!("{:15}{what}", ""))
}
