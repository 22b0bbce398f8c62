//! What README and the examples say about the code, held against the code.
//!
//! Not here: whether the commands that README names exist (`.ci/readme` asks the binary).

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use aquila::config;
use serde_json::Value;

#[path = "../examples/scale/report.rs"]
mod scale;

type TestResult = Result<(), Box<dyn Error>>;

/// The first line of a block that is a whole configuration, and the file it stands for.
const WHOLE: &[(&str, &str)] = &[("# aquila.toml", "aquila.toml"), ("# aquila.yaml", "aquila.yaml")];

#[test]
fn every_whole_configuration_of_the_readme_loads() -> TestResult {
    let mut loaded = BTreeSet::new();
    for block in blocks(&readme()?) {
        let Some((_, name)) = WHOLE.iter().find(|(mark, _)| block.lines().next() == Some(*mark)) else { continue };
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(name);
        fs::write(&path, &block)?;
        load(&path).map_err(|error| format!("{error}\nin this block of README.md:\n{block}"))?;
        loaded.insert(*name);
    }
    assert_eq!(loaded.len(), WHOLE.len(), "README.md has no whole configuration in one of the two syntaxes");
    Ok(())
}

#[test]
fn twin_configurations_are_equal() -> TestResult {
    let examples = root().join("examples");
    let (toml, yaml) = (load(&examples.join("aquila.toml"))?, load(&examples.join("aquila.yaml"))?);
    assert!(toml.contains("elf-uat"), "the rendering holds the values: {toml}");
    assert_eq!(toml, yaml);

    // In README the YAML twin follows the block that it repeats.
    let blocks = blocks(&readme()?);
    let at = blocks.iter().position(|block| block.starts_with("# aquila.yaml")).ok_or("README.md has no YAML twin")?;
    let pair = blocks.get(at.saturating_sub(1)..=at).unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let mut rendered = BTreeSet::new();
    for (block, (_, name)) in pair.iter().zip(WHOLE) {
        let path = folder.path().join(name);
        fs::write(&path, block)?;
        rendered.insert(load(&path)?);
    }
    assert_eq!(rendered.len(), 1, "the two blocks of README.md differ:\n{rendered:#?}");
    Ok(())
}

#[test]
fn the_reference_has_every_setting_with_its_default_and_no_other() -> TestResult {
    let readme = readme()?;
    let schema = config::schema();
    let mut problems = Vec::new();
    for (name, section) in properties(&schema) {
        // A table of sections under names of the operator's own choice.
        let (heading, section) = match section.get("additionalProperties") {
            Some(named) if named.is_object() => (format!("### `[{name}.NAME]`"), named),
            _ => (format!("### `[{name}]`"), section),
        };
        let rows = match part(&readme, &heading) {
            Some(text) => rows(text),
            None => {
                problems.push(format!("README.md has no heading {heading}"));
                continue;
            }
        };
        let required = section.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (key, setting) in properties(section) {
            let Some(row) = rows.iter().find(|row| row.first() == Some(&format!("`{key}`"))) else {
                problems.push(format!("{heading} has no row for `{key}`"));
                continue;
            };
            let expected = default_cell(setting, required.contains(&Value::from(key)));
            if row.get(1) != Some(&expected) {
                problems.push(format!("{heading} {key}: the default is {expected}"));
            }
            let said = row.join(" ");
            let inner = properties(setting).filter(|(inner, _)| !said.contains(*inner));
            problems.extend(inner.map(|(inner, _)| format!("{heading} {key}: `{inner}` is not mentioned")));
        }
        let known: BTreeSet<String> = properties(section).map(|(key, _)| format!("`{key}`")).collect();
        let invented = rows.iter().filter_map(|row| row.first()).filter(|key| key.starts_with('`'));
        problems.extend(invented.filter(|key| !known.contains(*key)).map(|key| format!("{heading} has no {key}")));
    }
    verdict(problems)
}

#[test]
fn the_metrics_of_the_readme_are_those_of_the_code() -> TestResult {
    let sources = [
        fs::read_to_string(root().join("src/telemetry/metrics.rs"))?,
        fs::read_to_string(root().join("src/telemetry/gauges.rs"))?,
        fs::read_to_string(root().join("src/telemetry/store_meters.rs"))?,
    ];
    let code = sources.iter().filter_map(|source| source.split("#[cfg(test)]").next());
    let registered: BTreeSet<&str> = code.flat_map(|code| code.split('"')).filter(|text| is_metric(text)).collect();
    let readme = readme()?;
    let told: BTreeSet<&str> = readme
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter_map(|word| word.strip_prefix("aquila_"))
        // An API key has capitals or digits.
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .collect();
    assert!(registered.len() > 5, "the sources were read and hardly a name was found in them: {registered:?}");
    assert_eq!(told, registered);
    Ok(())
}

#[test]
fn the_page_on_scale_shows_what_its_program_prints() -> TestResult {
    let page = fs::read_to_string(root().join("docs/scale.md"))?;
    let tables = scale::tables();
    let missing: Vec<&String> = tables.iter().filter(|table| !page.contains(table.as_str())).collect();
    assert!(missing.is_empty(), "docs/scale.md does not have, as `cargo run --example scale` prints it:\n{missing:#?}");
    // Beside them what is assumed, and what breaks first: no table of an older play is left.
    assert_eq!(page.matches("\n| --- |").count(), tables.len() + 2);
    Ok(())
}

#[test]
fn every_test_that_the_guarantees_name_exists() -> TestResult {
    let readme = readme()?;
    let guarantees = part(&readme, "## Guarantees").ok_or("README.md has no guarantees")?;
    let mut problems = Vec::new();
    let mut found = 0;
    for row in rows(guarantees) {
        let Some(proof) = row.last().filter(|cell| cell.contains("](")) else { continue };
        let mut sources = String::new();
        for target in links(proof) {
            sources.push_str(&fs::read_to_string(root().join(target))?);
        }
        for name in proof.split('`').skip(1).step_by(2) {
            found += 1;
            if !["fn", "def"].iter().any(|keyword| sources.contains(&format!("{keyword} {name}("))) {
                problems.push(format!("there is no `{name}` in the files of its row"));
            }
        }
    }
    assert!(found > 0, "no test was found in the table");
    verdict(problems)
}

#[test]
fn the_page_of_the_audit_trail_tells_every_member_and_every_word_of_its_schema() -> TestResult {
    let page = fs::read_to_string(root().join("docs/audit.md"))?;
    let schema: Value = serde_json::from_str(&fs::read_to_string(root().join("audit.schema.json"))?)?;
    let mut problems = Vec::new();
    for (member, described) in properties(&schema) {
        let sentence = described.get("description").and_then(Value::as_str).unwrap_or("?");
        if !rows(&page)
            .iter()
            .any(|row| row.first() == Some(&format!("`{member}`")) && row.last().is_some_and(|cell| cell == sentence))
        {
            problems.push(format!("docs/audit.md has no row for `{member}` that says: {sentence}"));
        }
        let words = described.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let untold = words.filter(|word| !page.contains(&format!("`{word}`")));
        problems.extend(untold.map(|word| format!("docs/audit.md does not tell `{word}` of `{member}`")));
    }
    // Each example is a record: all members, in the order in which they are written.
    let order: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let examples: Vec<String> = blocks(&page).into_iter().filter(|block| block.starts_with('{')).collect();
    assert!(examples.len() >= 6 && !order.is_empty(), "docs/audit.md has too few examples");
    for example in examples {
        let members = example.split("\":").filter_map(|part| part.rsplit_once('"')).map(|(_, name)| name);
        if members.collect::<Vec<_>>() != order {
            problems.push(format!("this example has other members than the schema: {example}"));
        }
    }
    verdict(problems)
}

#[test]
fn no_link_leads_nowhere() -> TestResult {
    let pages = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/audit.md",
        "docs/clients.md",
        "docs/elastic.md",
        "docs/operations.md",
        "docs/performance.md",
        "docs/salesforce-setup.md",
        "docs/tracing.md",
        "docs/troubleshooting.md",
    ];
    let mut problems = Vec::new();
    for page in pages {
        let page = root().join(page);
        let text = fs::read_to_string(&page)?;
        for target in links(&text).filter(|target| !target.contains("://")) {
            let (file, place) = target.split_once('#').map_or((target, None), |(file, place)| (file, Some(place)));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let there = match place {
                Some(place) => fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(place)),
                None => file.exists(),
            };
            if !there {
                problems.push(format!("{}: {target} leads nowhere", page.display()));
            }
        }
    }
    verdict(problems)
}

#[test]
fn the_map_names_every_module() -> TestResult {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let library = fs::read_to_string(root().join("src/lib.rs"))?;
    let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let unnamed =
        modules.filter(|module| !map.contains(&format!("`{module}`")) && !map.contains(&format!("`{module}/`")));
    verdict(unnamed.map(|module| format!("ARCHITECTURE.md does not name `{module}`")).collect())
}

// --- configurations ------------------------------------------------------------

/// All values of a configuration without warnings that are errors, and without the places where they stand.
fn load(path: &Path) -> Result<String, Box<dyn Error>> {
    let loaded = config::load(path).map_err(|refused| {
        let told =
            refused.report.sorted().into_iter().map(|it| format!("{}: {} ({})", it.setting, it.message, it.remedy));
        format!("{}: refused\n{}", path.display(), told.collect::<Vec<_>>().join("\n"))
    })?;
    let rendered = format!("{:#?}", loaded.config);
    let values = rendered.lines().filter(|line| !line.trim_start().starts_with("place: "));
    Ok(values.collect::<Vec<_>>().join("\n"))
}

// --- the schema ------------------------------------------------------------------

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = schema.get("properties").and_then(Value::as_object);
    members.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// What stands in the column of defaults.
fn default_cell(setting: &Value, required: bool) -> String {
    match (required, setting.get("default"), setting.get("type").and_then(Value::as_str)) {
        (true, _, _) => "required".to_owned(),
        (false, Some(default), _) => format!("`{default}`"),
        (false, None, Some("array")) => "`[]`".to_owned(),
        (false, None, _) => "–".to_owned(),
    }
}

fn is_metric(text: &str) -> bool {
    let kinds = ["_total", "_seconds", "_info", "_remaining", "_open", "_in_use", "_up"];
    kinds.iter().any(|kind| text.ends_with(kind)) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

// --- Markdown --------------------------------------------------------------------

fn readme() -> std::io::Result<String> {
    fs::read_to_string(root().join("README.md"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The insides of all fenced blocks.
fn blocks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (line.starts_with("```"), &mut block) {
            (true, None) => block = Some(String::new()),
            (true, Some(_)) => found.extend(block.take()),
            (false, Some(inside)) => {
                inside.push_str(line);
                inside.push('\n');
            }
            (false, None) => {}
        }
    }
    found
}

/// What follows a heading, up to the next one.
fn part<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("\n{heading}\n"))?;
    Some(rest.find("\n#").and_then(|end| rest.get(..end)).unwrap_or(rest))
}

/// The cells of all table rows.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).map(cells).collect()
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn anchors(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// The anchor that code hosts give to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

fn verdict(problems: Vec<String>) -> TestResult {
    if problems.is_empty() { Ok(()) } else { Err(format!("\n{}", problems.join("\n")).into()) }
}

// --- the rules can fail ------------------------------------------------------------

#[test]
fn a_block_a_row_a_part_and_a_link_are_found() {
    let text = "# A b\n\n## `[x]`\n\n| `k` | `\"v\"` | with `a | b`\n| --- | --- |\n```toml\n# mark\nk = 1\n```\n[l](t.md)\n### c\nd";
    assert_eq!(blocks(text), ["# mark\nk = 1\n"]);
    assert_eq!(rows(text).first().map(|row| row.join("/")), Some("`k`/`\"v\"`/with `a/b`".to_owned()));
    assert_eq!(part(text, "### c"), Some("d"));
    assert_eq!(part(text, "### e"), None);
    assert_eq!(part(text, "## `[x]`").map(|part| part.contains("| `k`") && !part.contains("# mark")), Some(true));
    assert_eq!(links(text).collect::<Vec<_>>(), ["t.md"]);
    assert_eq!(anchor("## What `expires_in` means"), "what-expires_in-means");
    assert!(is_metric("mints_total") && !is_metric("Logins at Salesforce."));
}
