//! Internet scale on paper: plays a fleet of 100,000 integrations in 50 regions with a million callers and prints the
//! tables of `docs/scale.md`: `cargo run --example scale`.

use std::io::Write;

#[path = "report.rs"]
mod report;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for table in report::tables() {
        writeln!(out, "{table}")?;
    }
    Ok(())
}
