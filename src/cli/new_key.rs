//! `aquila new-key`: an API key, told once, and the line for the configuration.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{complain, say};
use crate::authn::ApiKey;
use crate::hash::hex;
use crate::names::CallerName;

/// Makes an API key for a caller.
#[derive(Debug, Args)]
pub(super) struct NewKeyArgs {
    /// The caller that the key is for.
    #[arg(value_name = "CALLER")]
    caller: CallerName,
}

pub(super) fn run(args: &NewKeyArgs) -> anyhow::Result<ExitCode> {
    let key = ApiKey::generate().ok().context("this machine gives no random numbers")?;
    let digest = hex(&key.digest());
    complain("The key, shown this once: give it to the caller over a safe way.");
    say(key.expose())?;
    complain("\nFor the configuration (several digests may stand side by side while a key is changed):");
    say(&format!("[callers.{}]\napi_key_sha256 = [\"{digest}\"]", args.caller))?;
    Ok(ExitCode::SUCCESS)
}
