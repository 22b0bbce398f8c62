//! `aquila new-seal-key`: a key that seals what replicas share, told once.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{complain, say};
use crate::store::SealKeys;

/// Makes a key that seals what replicas share.
#[derive(Debug, Args)]
pub(super) struct NewSealKeyArgs {}

pub(super) fn run(_: &NewSealKeyArgs) -> anyhow::Result<ExitCode> {
    let line = SealKeys::generate().context("this machine gives no random numbers")?;
    complain("A line for the file that store.seal_key_path names, the same on every replica; nobody else may read it.");
    complain(
        "To change a key: add the new one as the second line everywhere, make it the first everywhere, remove the old.",
    );
    say(&line)?;
    Ok(ExitCode::SUCCESS)
}
