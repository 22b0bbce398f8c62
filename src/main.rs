//! The process: its allocator, its crypto provider; parses the command line, runs it, and turns the outcome into an exit status.

use std::process::ExitCode;

use aquila::cli::{self, Cli};
use clap::Parser;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // One provider for the whole process. It is installed once, here; a second one cannot be.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(Cli::parse())
}
