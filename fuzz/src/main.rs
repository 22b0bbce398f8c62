//! One binary for all properties of `aquila::fuzzing`; the environment says which one libFuzzer tries to break.
#![no_main]

use std::sync::OnceLock;

use aquila::fuzzing::{properties, Property};

static PROPERTY: OnceLock<Property> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let wanted = std::env::var("AQUILA_FUZZ").unwrap_or_default();
        let Some((_, property)) = properties().find(|(name, _)| *name == wanted) else {
            let names: Vec<_> = properties().map(|(name, _)| name).collect();
            eprintln!("AQUILA_FUZZ must be one of: {}", names.join(" "));
            std::process::exit(2);
        };
        let _ = PROPERTY.set(property);
    },
    |bytes: &[u8]| {
        if let Some(property) = PROPERTY.get() {
            property(bytes);
        }
    }
);
