//! Facts for the tests of this folder, with letters in them that mean something to XML and shells.

use super::facts::{App, Facts, Kind};

/// An External Client App of an org.
pub(super) fn facts() -> Facts {
    Facts {
        folder: "elf".parse().unwrap(),
        integration: "elf-prod".parse().unwrap(),
        org: "acme.my.salesforce.com".parse().unwrap(),
        username: "o'brien@acme.example".parse().unwrap(),
        email: "o'brien@acme.example".parse().unwrap(),
        app: App {
            name: "Aquila_elf_prod".parse().unwrap(),
            label: "Aquila <elf> & \"prod\"".parse().unwrap(),
            kind: Kind::ExternalClientApp,
        },
        bits: "2048".parse().unwrap(),
        days: "730".parse().unwrap(),
        subject: "CN=aquila-elf-prod".parse().unwrap(),
        session: "2h".parse().unwrap(),
        view_all_data: false,
        client_id: None,
    }
}
