//! The tables of `docs/scale.md`, as Markdown.

mod drills;
mod fleet;
mod hour;
mod store;

use self::fleet::{FLEET, Used};
use self::hour::{Hour, Sharing};
use self::store::Load;

/// The session timeouts that are compared, in seconds: the default and what most orgs have.
const TIMEOUTS: [(&str, f64); 2] = [("15 min", 900.0), ("2 h", 7200.0)];
/// Bytes of a token: opaque, and the longest JWT that the design counts with.
const TOKENS: [u64; 2] = [112, 2000];
/// API calls a day of an org of the Enterprise Edition before any licence is counted.
const CALLS_A_DAY: f64 = 100_000.0;

/// All of them, in the order of the page.
pub(crate) fn tables() -> Vec<String> {
    let all = fleet::draw(&FLEET);
    let hours: Vec<Played> = TIMEOUTS.iter().map(|(told, timeout)| Played::new(&all, told, *timeout)).collect();
    vec![
        who(&all),
        salesforce(&all, &hours),
        redis(&hours),
        kept(&all),
        brokers(&all),
        needs(&all, &hours),
        failures(&all),
    ]
}

/// An hour with one session timeout.
struct Played {
    told: &'static str,
    timeout: f64,
    region: Hour,
    everybody: Hour,
    org: Hour,
}

impl Played {
    fn new(all: &[Used], told: &'static str, timeout: f64) -> Self {
        let play = |sharing| hour::play(all, sharing, timeout);
        Self {
            told,
            timeout,
            region: play(Sharing::Region),
            everybody: play(Sharing::Everybody),
            org: play(Sharing::Org),
        }
    }

    fn of(&self, sharing: Sharing) -> &Hour {
        match sharing {
            Sharing::Nobody | Sharing::Region => &self.region,
            Sharing::Everybody => &self.everybody,
            Sharing::Org => &self.org,
        }
    }

    /// Confirm calls a second.
    fn calls(&self, sharing: Sharing) -> f64 {
        // Without a store each process of a region does what one of them does with it.
        let each = if sharing == Sharing::Nobody { FLEET.processes } else { 1 };
        a_second(self.of(sharing).renewals) * each as f64
    }

    fn load(&self, sharing: Sharing) -> Load {
        let hour = self.of(sharing);
        let readers = FLEET.processes as f64 * FLEET.regions as f64 / sharing.stores() as f64;
        Load {
            renewals: a_second(hour.renewals),
            follows: a_second(hour.follows),
            net: hour.held as f64 / store::NET,
            readers,
        }
    }
}

fn a_second(in_an_hour: u64) -> f64 {
    in_an_hour as f64 / 3600.0
}

fn who(all: &[Used]) -> String {
    let held: u64 = all.iter().map(Used::regions).sum();
    let everywhere = all.iter().filter(|used| used.regions() == FLEET.regions as u64).count();
    let one = all.iter().filter(|used| used.regions() == 1).count();
    let most = all.iter().map(|used| used.callers).max().unwrap_or_default();
    let mut table = Table::new(&["What is drawn", "Number"]);
    table.row(&["integrations in use", &count(all.len() as f64)]);
    table.row(&["callers of the one that is used most", &count(f64::from(most))]);
    table.row(&[
        "integrations used in all 50 regions, in one only",
        &format!("{}, {}", count(everywhere as f64), count(one as f64)),
    ]);
    table.row(&["integrations used in a region", &count(held as f64 / FLEET.regions as f64)]);
    table.row(&["requests for a token a second, in all, in a region", &{
        let rate = FLEET.callers as f64 / FLEET.asks_every;
        format!("{}, {}", count(rate), count(rate / FLEET.regions as f64))
    }]);
    table.told()
}

fn salesforce(all: &[Used], hours: &[Played]) -> String {
    let mut table = Table::new(&[
        "Session timeout",
        "Who shares",
        "Confirm calls a second, all orgs",
        "of one integration used everywhere, a day",
        "of the org's 100,000",
        "Logins of its user at a cold start",
    ]);
    for played in hours {
        let a_day = 86_400.0 / hour::renewed_after(played.timeout, 0.5);
        for sharing in Sharing::ALL {
            let groups = all.iter().map(|used| sharing.groups(used).0).max().unwrap_or_default();
            let calls = groups as f64 * a_day;
            table.row(&[
                played.told,
                sharing.name(),
                &count(played.calls(sharing)),
                &count(calls),
                &format!("{:.1} %", calls / CALLS_A_DAY * 100.0),
                &count(groups as f64),
            ]);
        }
    }
    table.told()
}

fn redis(hours: &[Played]) -> String {
    let mut table = Table::new(&[
        "Session timeout",
        "Stores",
        "Calls a second of one",
        "of these by the net",
        "busiest second",
        "Events a second, read by",
        "Cores of one",
        "MB/s of one, both ways",
        "A stream of 10,000 lasts",
        "Connections of one",
    ]);
    for played in hours {
        for sharing in [Sharing::Region, Sharing::Everybody, Sharing::Org] {
            let stores = sharing.stores() as f64;
            let load = played.load(sharing);
            let more = played.of(sharing).busiest as f64 / load.renewals;
            let events = load.events() / stores;
            table.row(&[
                played.told,
                sharing.name(),
                &count(load.calls() / stores),
                &count(load.net / stores),
                &count(((load.calls() - load.net) * more + load.net) / stores),
                &format!("{}, {}", count(events), count(load.readers)),
                &format!("{:.2}", load.cores() / stores),
                &format!("{:.1}", load.bytes(TOKENS[0]) / stores / 1e6),
                &lasting(10_000.0 / events),
                &count(load.readers * 2.0),
            ]);
        }
    }
    table.told()
}

fn kept(all: &[Used]) -> String {
    let a_region = all.iter().map(Used::regions).sum::<u64>() as f64 / FLEET.regions as f64;
    let mut table = Table::new(&["In Redis", "in a region's store", "in one for all"]);
    for token in TOKENS {
        let bytes = store::place(token) as f64;
        table.row(&[
            &format!("tokens of {} bytes, sealed, with fences", count(token as f64)),
            &size(a_region * bytes),
            &size(all.len() as f64 * bytes),
        ]);
    }
    let logins = store::LOGINS as f64;
    table.row(&[
        "logins, if every user had one within the hour",
        &size(a_region * logins),
        &size(all.len() as f64 * logins),
    ]);
    table.row(&["the stream", &size(store::STREAM as f64), &size(store::STREAM as f64)]);
    let marks = FLEET.callers as f64 / FLEET.asks_every * 180.0 * store::MARK as f64;
    table.row(&[
        "used assertions, if every caller signed one for each request",
        &size(marks / FLEET.regions as f64),
        &size(marks),
    ]);
    table.told()
}

/// Bytes of a broker: what an empty one takes, and what each integration, caller and token in memory adds.
const BROKER: (f64, f64, f64, f64) = (12e6, 3.9e3, 3.0e3, 2.0e3);
/// Bytes of the configuration of an integration and of a caller, and the most that a file may have.
const FILE: (f64, f64, f64) = (300.0, 132.0, 67_108_864.0);

fn brokers(all: &[Used]) -> String {
    let a_region = all.iter().map(Used::regions).sum::<u64>() as f64 / FLEET.regions as f64;
    let (everything, everybody) = (FLEET.integrations as f64, FLEET.callers as f64);
    let (dealt, near) = (everything / FLEET.regions as f64, everybody / FLEET.regions as f64);
    let mut table = Table::new(&["One broker process with", "memory", "its configuration", "fits into one file"]);
    let mut row = |told: &str, integrations: f64, callers: f64, tokens: f64| {
        let file = integrations * FILE.0 + callers * FILE.1;
        table.row(&[
            told,
            &size(memory(integrations, callers, tokens)),
            &size(file),
            if file <= FILE.2 { "yes" } else { "**no**" },
        ]);
    };
    row("all integrations and the callers of its region", everything, near, a_region);
    row("all integrations and all callers", everything, everybody, a_region);
    row("the orgs dealt to it and the callers that these have", dealt, near, dealt);
    table.told()
}

/// Bytes of a request for a token and its answer, with their headers.
const ANSWER: f64 = 1500.0;
/// Warm answers a second of one core: `docs/performance.md`.
const ANSWERS_A_CORE: f64 = 69_411.0 / 2.0;
const MONTH: f64 = 30.0 * 86_400.0;

fn needs(all: &[Used], hours: &[Played]) -> String {
    let held: u64 = all.iter().map(Used::regions).sum();
    let processes = (FLEET.processes * FLEET.regions) as f64;
    let asked = FLEET.callers as f64 / FLEET.asks_every;
    // Of what crosses between regions dealt out by chance, one in so many stays at home.
    let abroad = 1.0 - 1.0 / FLEET.regions as f64;
    let mut table = Table::new(&[
        "Session timeout",
        "Who shares",
        "Cores of all stores",
        "Memory of all stores",
        "Cores of all brokers for answers",
        "Memory of all brokers",
        "TB a month between regions",
    ]);
    for played in hours {
        for sharing in [Sharing::Region, Sharing::Everybody, Sharing::Org] {
            let load = played.load(sharing);
            let places = if sharing == Sharing::Region { held } else { all.len() as u64 };
            let (integrations, tokens) = match sharing {
                Sharing::Org => {
                    (FLEET.integrations as f64 / FLEET.regions as f64, all.len() as f64 / FLEET.regions as f64)
                }
                _ => (FLEET.integrations as f64, held as f64 / FLEET.regions as f64),
            };
            let broker = memory(integrations, FLEET.callers as f64 / FLEET.regions as f64, tokens);
            let between = match sharing {
                Sharing::Everybody => load.bytes(TOKENS[0]),
                Sharing::Org => asked * ANSWER,
                _ => 0.0,
            };
            table.row(&[
                played.told,
                sharing.name(),
                &format!("{:.1}", load.cores()),
                &size((places * store::place(TOKENS[0])) as f64 + (sharing.stores() * store::STREAM) as f64),
                &format!("{:.1}", asked / ANSWERS_A_CORE),
                &size(broker * processes),
                &count(between * abroad * MONTH / 1e12),
            ]);
        }
    }
    table.told()
}

fn memory(integrations: f64, callers: f64, tokens: f64) -> f64 {
    BROKER.0 + integrations * BROKER.1 + callers * BROKER.2 + tokens * BROKER.3
}

fn failures(all: &[Used]) -> String {
    let mut table = Table::new(&[
        "What happens",
        "Who shares",
        "Logins in all",
        "of one user at most",
        "a second",
        "99 of 100 integrations are good after",
    ]);
    for sharing in Sharing::ALL {
        let back = drills::outage(all, sharing);
        let busiest = format!("{} at most", count(back.busiest as f64));
        let after = format!("{} s", back.until_99);
        let (logins, one) = (count(back.logins as f64), count(back.of_one_user as f64));
        table.row(&["Salesforce away for an hour", sharing.name(), &logins, &one, &busiest, &after]);
    }
    let mut replaced = |told: &str, sharing: Sharing, (logins, one): (u64, u64)| {
        let good = if logins == 0 { "at once, from the store" } else { "each at its first login" };
        let mean = format!("{} on average", count(a_second(logins)));
        table.row(&[told, sharing.name(), &count(logins as f64), &count(one as f64), &mean, good]);
    };
    for sharing in Sharing::ALL {
        replaced("every process replaced within an hour", sharing, drills::restart(all, sharing));
    }
    for sharing in [Sharing::Region, Sharing::Everybody, Sharing::Org] {
        replaced(
            "a store away for an hour, and every process that uses it replaced",
            sharing,
            drills::lost_store(all, sharing),
        );
    }
    table.told()
}

/// A table in Markdown.
struct Table(String);

impl Table {
    fn new(heads: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(heads);
        table.row(&vec!["---"; heads.len()]);
        table
    }

    fn row(&mut self, cells: &[&str]) {
        self.0.push_str(&format!("| {} |\n", cells.join(" | ")));
    }

    fn told(self) -> String {
        self.0
    }
}

/// A number as people read it: thousands apart, and a tenth only where it is small.
fn count(number: f64) -> String {
    if number > 0.0 && number < 10.0 && number.fract() > 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut told = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

fn size(bytes: f64) -> String {
    match bytes {
        large if large >= 1e9 => format!("{:.1} GB", large / 1e9),
        small => format!("{:.0} MB", small / 1e6),
    }
}

fn lasting(seconds: f64) -> String {
    match seconds {
        long if long >= 120.0 => format!("{:.0} min", long / 60.0),
        short => format!("{short:.0} s"),
    }
}
