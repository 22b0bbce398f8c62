//! Makes the JSON twin of the API description from its YAML and prints it:
//! `cargo run --example openapi_twin > openapi/aquila.openapi.json`.

use std::io::Write;

#[path = "../tests/openapi/yaml.rs"]
mod yaml;

fn main() -> anyhow::Result<()> {
    let node = yaml::read(include_str!("../openapi/aquila.openapi.yaml"))?;
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&node)?)?)
}
