//! What docs/troubleshooting.md says of each cause, held against the code that decides it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};

use aquila::salesforce::{Cause, Rule};
use aquila::walk::Step;

type TestResult = Result<(), Box<dyn Error>>;

const GUIDE: &str = "docs/troubleshooting.md";
/// Sections with a name that a program uses and no login failed for.
const NO_CAUSES: [&str; 1] = ["token_unusable"];
/// Nobody is asked because of these, and they know exactly until when.
const RESTRAINTS: [Cause; 4] = [Cause::CircuitOpen, Cause::LoginBudget, Cause::LoginReserve, Cause::OtherReplica];
/// What an operator looks for, in the order in which it is looked for.
const PARTS: [&str; 6] = ["**Rule:** ", "**Seen:** ", "**Means:** ", "**Tell apart:** ", "**Click:** ", "**Cured:** "];

#[test]
fn every_cause_has_its_section_and_no_section_has_a_cause_of_its_own() -> TestResult {
    let guide = guide()?;
    let sections = sections(&guide);
    let codes: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.code()).collect();
    let named_by_programs = sections.keys().copied().filter(|heading| is_code(heading));
    let told: BTreeSet<&str> = named_by_programs.filter(|heading| !NO_CAUSES.contains(heading)).collect();
    assert_eq!(told, codes);
    assert!(NO_CAUSES.iter().all(|heading| sections.contains_key(heading)));
    Ok(())
}

#[test]
fn each_section_says_what_the_code_does() -> TestResult {
    let guide = guide()?;
    let sections = sections(&guide);
    let mut problems = Vec::new();
    for cause in Cause::ALL {
        let Some(text) = sections.get(cause.code()) else { continue };
        let mut missing = |what: String| problems.push(format!("{}: {what}", cause.code()));
        let places: Vec<Option<usize>> = PARTS.iter().map(|part| text.find(&format!("\n{part}"))).collect();
        if places.contains(&None) || !places.is_sorted() {
            missing(format!("not all of {PARTS:?}, in this order"));
        }
        if !text.contains(&format!("\n*{}*\n", cause.sentence())) {
            missing(format!("the sentence is: {}", cause.sentence()));
        }
        if !text.contains(&format!("\n**Rule:** {}", rule(cause))) {
            missing(format!("the rule is: {}", rule(cause)));
        }
        // Ahead of an end there is a token to answer with.
        let status = if cause.rule() == Rule::WaitForChange { "502" } else { "503" };
        if cause != Cause::LoginReserve && !text.contains(&format!("Callers without a warm token get {status}")) {
            missing(format!("callers get {status}"));
        }
        if !text.contains("Setup > ") {
            missing("no page in Setup".to_owned());
        }
        let unnamed = named_in(cause.remedy()).into_iter().filter(|word| !text.contains(word));
        unnamed.for_each(|word| missing(format!("the remedy speaks of {word}")));
    }
    verdict(problems)
}

#[test]
fn each_answer_of_salesforce_stands_in_the_section_of_its_cause() -> TestResult {
    let guide = guide()?;
    let (mut problems, mut found) = (Vec::new(), 0);
    for (heading, text) in sections(&guide).into_iter().filter(|(heading, _)| is_code(heading)) {
        for (error, description) in answers(text) {
            found += 1;
            let code = Cause::of_answer(error, description).code();
            if code != heading {
                problems.push(format!("{heading}: {error} / {description} is {code}"));
            }
        }
    }
    assert!(found >= 20, "only {found} answers were found");
    verdict(problems)
}

#[test]
fn every_place_that_an_operator_is_sent_to_exists() -> TestResult {
    let guide = guide()?;
    let anchors = anchors(&guide);
    let mut files = rust_files(&root().join("src"))?;
    files.extend(["openapi/aquila.openapi.yaml", "README.md", GUIDE].map(|file| root().join(file)));
    let (mut problems, mut found) = (Vec::new(), 0);
    for file in files {
        let text = fs::read_to_string(&file)?;
        for rest in text.split(&format!("{GUIDE}#")).skip(1) {
            let anchor: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
            // `{}`: made of a cause's code, which the first test holds.
            if anchor.is_empty() && rest.starts_with("{}") {
                continue;
            }
            found += 1;
            if !anchors.contains(&anchor) {
                problems.push(format!("{}: #{anchor} leads nowhere", file.display()));
            }
        }
    }
    assert!(found >= 10, "only {found} places were found");
    for cause in Cause::ALL {
        assert_eq!(cause.help(), format!("{GUIDE}#{}", cause.code()));
    }
    verdict(problems)
}

#[test]
fn every_row_of_the_walk_leads_to_a_section_that_speaks_of_it() -> TestResult {
    let mut problems = Vec::new();
    for step in Step::ALL {
        let (file, anchor) = step.guide().split_once('#').ok_or("a row leads to no section")?;
        let page = fs::read_to_string(root().join(file))?;
        let named = sections(&page).into_iter().find(|(heading, _)| heading.to_lowercase().replace(' ', "-") == anchor);
        match named {
            None => problems.push(format!("{step:?}: {} leads nowhere", step.guide())),
            Some((_, text)) if !text.contains(step.title()) => {
                problems.push(format!("{}: nothing about {}", step.guide(), step.title()));
            }
            Some(_) => {}
        }
    }
    verdict(problems)
}

// That links lead somewhere is held by tests/readme.rs.
#[test]
fn each_section_of_a_cause_is_linked_and_each_source_is_cited() -> TestResult {
    let guide = guide()?;
    let linked: BTreeSet<&str> = guide.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let codes = Cause::ALL.iter().map(|cause| cause.code());
    let mut problems: Vec<String> =
        codes.filter(|code| !linked.contains(code)).map(|code| format!("nothing leads to #{code}")).collect();
    let lines = guide.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    let sources: BTreeSet<&str> = lines.map(|(source, _)| source).collect();
    let cited: BTreeSet<&str> = guide.split("][").skip(1).filter_map(|rest| rest.split(']').next()).collect();
    let odd = sources.symmetric_difference(&cited);
    problems.extend(odd.map(|source| format!("[{source}] is only listed, or only cited")));
    verdict(problems)
}

// --- the code ----------------------------------------------------------------------

/// The rule of a cause in the words of the guide, with the bounds of its pauses.
fn rule(cause: Cause) -> String {
    let rule = match cause.rule() {
        Rule::RetryNow => "retry now",
        Rule::RetryLater => "retry later",
        Rule::WaitForChange => "wait for a change",
    };
    let bound = |streak| cause.pause(streak, 1.0).as_secs();
    match RESTRAINTS.contains(&cause) {
        true => format!("{rule}, "),
        false => format!("{rule}, pauses of {} s to {} s.", bound(1), bound(1000)),
    }
}

/// The settings, the addresses and the page of Setup that a remedy names.
fn named_in(remedy: &str) -> Vec<String> {
    let words = remedy.split(|c: char| c.is_whitespace() || ",;()".contains(c));
    let mut named: Vec<String> =
        words.filter(|word| word.contains('_') || word.contains("://")).map(str::to_owned).collect();
    let page = remedy.split_once("Setup > ").map(|(_, rest)| rest.split([' ', ':', ';']).next().unwrap_or_default());
    named.extend(page.map(|page| format!("Setup > {page}")));
    named
}

fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

// --- the guide ---------------------------------------------------------------------

fn guide() -> io::Result<String> {
    fs::read_to_string(root().join(GUIDE))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text below each heading of the second level.
fn sections(guide: &str) -> BTreeMap<&str, &str> {
    guide.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

fn is_code(heading: &str) -> bool {
    heading.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// `error` and `error_description` of the table rows that have both, in code.
fn answers(section: &str) -> impl Iterator<Item = (&str, &str)> {
    section.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `error`")).filter_map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let error = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let description = cells.next().map_or("", |cell| cell.trim_matches(|c| c == '`' || c == '|' || c == ' '));
        (error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).then_some((error, description))
    })
}

fn anchors(guide: &str) -> BTreeSet<String> {
    let headings = guide.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-")).collect()
}

fn verdict(problems: Vec<String>) -> TestResult {
    if problems.is_empty() { Ok(()) } else { Err(format!("\n{}", problems.join("\n")).into()) }
}

// --- the rules can fail --------------------------------------------------------------

#[test]
fn a_section_an_answer_and_a_name_are_found() {
    let text = "# T\n\n## some_cause\n\n| `error` | `error_description` |\n| --- | --- |\n| `a_b` | `c d` |\n| `e` | |\n| text | x |\n\n## Other one\n";
    assert_eq!(sections(text).keys().copied().collect::<Vec<_>>(), ["Other one", "some_cause"]);
    assert!(is_code("some_cause") && !is_code("Other one"));
    assert_eq!(
        answers(sections(text).get("some_cause").copied().unwrap_or_default()).collect::<Vec<_>>(),
        [("a_b", "c d"), ("e", "")]
    );
    assert!(anchors(text).contains("other-one"));
    assert_eq!(
        named_in("set token_url to (https://x.y), or Setup > Users > it"),
        ["token_url", "https://x.y", "Setup > Users"]
    );
}
