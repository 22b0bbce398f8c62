//! The types of single settings that say who may come to a door, and from where.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::document::Node;
use super::report::{Located, Report};
use super::setting::Setting;
use super::show;
use super::values::text;

/// A network, or one address.
#[derive(Debug)]
pub(super) struct Network(pub(super) IpNet);

impl Setting for Network {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let text = text(at, "10.0.0.0/8", report)?;
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(network) = network else {
            let message = format!("{} is no address and no network", show::value(text));
            report.error(at, message, "write it like \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"");
            return None;
        };
        if network.trunc() != network {
            let remedy = format!("write \"{}\" for the network, or the address alone", network.trunc());
            report.error(at, "this address is inside its network, not the beginning of it", remedy);
            return None;
        }
        if network.prefix_len() == 0 {
            let remedy = "name the networks of your proxies";
            report.error(at, "this is every address: anybody could say where a request comes from", remedy);
            return None;
        }
        Some(Self(network))
    }

    fn schema() -> Value {
        let examples = ["10.0.0.0/8", "fd00::/8"];
        json!({"type": "string", "description": "An IP address, or a network with its prefix.", "examples": examples})
    }
}

/// Whether a client certificate has to be there.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    pub(super) required: bool,
}

impl Setting for ClientCertificate {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        match text(at, "optional", report)? {
            "optional" => Some(Self { required: false }),
            "required" => Some(Self { required: true }),
            other => {
                let message = format!("{} is neither of the two", show::value(other));
                report.error(at, message, "write optional or required");
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"enum": ["optional", "required"]})
    }
}
