//! The command line: what can be said, and which command takes it.

mod check;
mod demo;
mod explain;
mod healthcheck;
mod key_pair;
mod new_key;
mod new_seal_key;
mod paint;
mod serve;
mod setup;
mod simulate;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Salesforce token broker: one service holds the keys, mints and caches the tokens, and hands them over to callers
/// that prove who they are.
#[derive(Debug, Parser)]
#[command(
    name = "aquila",
    version,
    max_term_width = 100,
    after_help = "Start here:  aquila demo\n\nExit status: 0 good; 1 what was asked for failed; 2 wrong usage; 78 bad configuration."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole round on this machine: key, mint, token, Event Log File. Needs no config, network or Salesforce.
    Demo(demo::DemoArgs),
    /// Run the service.
    Serve(serve::ServeArgs),
    /// Check a configuration: every mistake at once, with file, line and remedy. With --live the Salesforce side, too.
    Check(check::CheckArgs),
    /// Tell who may get what, by which rule and by which credential.
    Explain(explain::ExplainArgs),
    /// Make an API key for a caller: prints the key once, and the config line with its digest.
    NewKey(new_key::NewKeyArgs),
    /// Make a key that seals what replicas share, for the file of `store.seal_key_path`.
    NewSealKey(new_seal_key::NewSealKeyArgs),
    /// Make what an org needs to let the broker in: key, certificate, Salesforce metadata, configuration.
    Setup(Box<setup::SetupArgs>),
    /// Run the Salesforce simulator alone, to test a client against it.
    Simulate(Box<simulate::SimulateArgs>),
    /// Ask a running service whether it is ready. For container images without a shell.
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// The configuration is bad (`EX_CONFIG` of sysexits).
const BAD_CONFIGURATION: u8 = 78;

/// Does what the command line says.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::NewKey(args) => new_key::run(&args),
        Command::NewSealKey(args) => new_seal_key::run(&args),
        Command::Setup(args) => setup::run(*args),
        Command::Simulate(args) => simulate(*args),
        Command::Healthcheck(args) => healthcheck::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn simulate(args: simulate::SimulateArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        simulate::run(args, serve::ending()?.graceful).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The runtime of every command that serves.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Talk for people, on standard error.
#[expect(clippy::print_stderr, reason = "this is the command line talking")]
fn complain(text: &str) {
    eprintln!("{text}");
}

/// Data, on standard output. A reader who left (`| head`) is no error; anything else is: what was not written may be
/// a key that nobody will see again.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
