//! The search for secrets in everything that a service under test wrote. Both suites stand on it: whatever their services
//! wrote is searched when they end, in each test.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// So many characters in a row of a secret, in any form, are a leak.
const WINDOW: usize = 16;

/// What each token of the simulator and each assertion of the broker begins with.
const MARKS: [(&str, &str); 2] =
    [("an access token", "00D5g00000SIMU1!AQ.SIMULATED."), ("an assertion", "eyJhbGciOiJSUzI1NiI")];

/// Every form in which a text may turn up.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let url = url::form_urlencoded::byte_serialize(bytes).collect();
    let all_percent = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let numbers = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex, url, all_percent, numbers];
    // Inside a longer text base64 looks different by where the secret begins in it.
    for skipped in 0..3 {
        let rest = bytes.get(skipped..).unwrap();
        forms.extend([BASE64_STANDARD_NO_PAD.encode(rest), BASE64_URL_SAFE_NO_PAD.encode(rest)]);
    }
    forms
}

/// Windows over all forms of all secrets, each with the name of its secret.
#[derive(Default)]
pub(crate) struct Search {
    windows: HashMap<[u8; WINDOW], String>,
}

impl Search {
    pub(crate) fn add(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= WINDOW, "{name} is too short to be searched for");
        for form in forms(secret) {
            for window in form.as_bytes().windows(WINDOW) {
                self.windows.insert(window.try_into().unwrap(), name.to_owned());
            }
        }
    }

    /// What was found, with a little of its surroundings.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        let bytes = text.as_bytes();
        let place = bytes.windows(WINDOW).position(|window| self.windows.contains_key(window))?;
        let name = self.windows.get(bytes.get(place..place + WINDOW)?)?;
        let around = bytes.get(place.saturating_sub(300)..(place + 60).min(bytes.len()))?;
        Some(format!("{name} in: {}", String::from_utf8_lossy(around)))
    }
}

static KNOWN: Mutex<Option<Search>> = Mutex::new(None);

fn with_known<R>(what: impl FnOnce(&mut Search) -> R) -> R {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    what(known.get_or_insert_with(|| {
        let mut search = Search::default();
        MARKS.iter().for_each(|(name, mark)| search.add(name, mark));
        search
    }))
}

/// Has a secret of this run searched for, from now on, by every test.
pub(crate) fn note(name: &str, secret: &str) {
    with_known(|search| search.add(name, secret));
}

/// Has a private key searched for, line by line.
pub(crate) fn note_private_key(pem: &str) {
    pem.lines().filter(|line| line.len() == 64).for_each(|line| note("a line of a private key", line));
}

/// Fails the test when a secret of this run, or a mark of one, is in what a service wrote.
pub(crate) fn search(place: &str, text: &str) {
    // A test that fails already tells why; a second panic would hide it.
    if std::thread::panicking() {
        return;
    }
    if let Some(found) = with_known(|search| search.find(text)) {
        panic!("{place} holds {found}");
    }
}

/// The same for the records and the output that lie in a folder.
pub(crate) fn search_folder(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let written = name.contains(".jsonl") || name == "stdout.txt" || name == "stderr.txt";
        if written && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            search(&name, &String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default()));
        }
    }
}
