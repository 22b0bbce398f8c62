//! The properties that the fuzzers in `fuzz/` try to break, of everything that parses input from outside.
//!
//! Each stands beside the parsers that it is about, takes bytes, and panics when it is broken. Built for tests and for
//! the fuzzers only. A file in `fuzz/seeds/NAME` is tried by every `cargo test`, so what a fuzzer finds is kept by
//! putting it there.

use crate::{authn, config, http, keys, salesforce, store};

/// Panics for bytes that break it.
pub type Property = fn(&[u8]);

/// All of them, by name.
pub fn properties() -> impl Iterator<Item = (&'static str, Property)> {
    let all = [
        http::fuzzing::PROPERTIES,
        authn::fuzzing::PROPERTIES,
        config::fuzzing::PROPERTIES,
        keys::fuzzing::PROPERTIES,
        salesforce::fuzzing::PROPERTIES,
        store::fuzzing::PROPERTIES,
    ];
    all.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_property_has_seeds_and_holds_for_them() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        let mut names = BTreeSet::new();
        for (name, property) in properties() {
            assert!(names.insert(name.to_owned()), "two properties are called {name}");
            let files: Vec<_> = fs::read_dir(seeds.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
            assert!(!files.is_empty(), "fuzz/seeds/{name} is empty");
            for file in files {
                println!("{}", file.display());
                property(&fs::read(file).unwrap());
            }
        }
        let folders = fs::read_dir(seeds).unwrap().map(|folder| folder.unwrap().file_name().into_string().unwrap());
        assert_eq!(folders.collect::<BTreeSet<_>>(), names, "seeds of nothing");
    }
}
