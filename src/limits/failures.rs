//! Proofs that failed, by the address they came from. It decides how a failed proof is answered, and nothing else: a good
//! proof is never asked about here, so nobody is locked out by a neighbour.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::at_least_one;
use crate::clock::Moment;
use crate::window::Window;

const SPAN: Duration = Duration::from_secs(60);
/// Go's OAuth client sends every failed first request again, with the same credentials in the other place.
const TWIN: Duration = Duration::from_secs(5);
/// First halves that may wait for their second, of one source: a whole cluster may come from one address. With 32 bytes
/// each they take 4 MiB at most.
const HALVES: usize = 128;
/// Sources that are remembered; then the one that was quiet for the longest is forgotten.
const SOURCES: usize = 1024;

/// Where the credentials stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In the `Authorization` header.
    Header,
    /// In the form.
    Form,
}

/// A proof that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedProof {
    /// Where it came from.
    pub address: IpAddr,
    /// Where in the request it stood.
    pub way: Way,
    /// The same for the same credentials.
    pub mark: u64,
}

/// What is known of a failed proof by those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// There were too many in a minute before it, so the client is told to wait for this time.
    pub wait: Option<Duration>,
    /// It is the second half of a mistake that was counted.
    pub again: bool,
}

/// Failed proofs of the last minute.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<IpAddr, Source>>);

#[derive(Debug, Default)]
struct Source {
    window: Window,
    /// Those that came in a header, with what tells them from others, and whether they were refused.
    halves: VecDeque<(u64, Moment, Option<Duration>)>,
    last: Option<Moment>,
}

impl Failures {
    /// Notes a failed proof, of which there may be `most` in a minute.
    pub fn note(&self, failed: FailedProof, most: u32, now: Moment) -> Noted {
        let FailedProof { address, way, mark } = failed;
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = network(address);
        if sources.len() >= SOURCES && !sources.contains_key(&key) {
            make_room(&mut sources, now);
        }
        let source = sources.entry(key).or_default();
        source.last = Some(now);
        source.halves.retain(|(_, at, _)| now.since(*at) <= TWIN);
        if way == Way::Form
            && let Some(place) = source.halves.iter().position(|(known, ..)| *known == mark)
        {
            // The second half of one mistake is answered as the first was.
            return Noted { wait: source.halves.remove(place).and_then(|(.., told)| told), again: true };
        }
        let wait = source.window.take(at_least_one(most), SPAN, now).err();
        if way == Way::Header {
            if source.halves.len() == HALVES {
                source.halves.pop_front();
            }
            source.halves.push_back((mark, now, wait));
        }
        Noted { wait, again: false }
    }
}

fn make_room(sources: &mut HashMap<IpAddr, Source>, now: Moment) {
    sources.retain(|_, source| source.last.is_some_and(|at| now.since(at) < SPAN));
    if sources.len() >= SOURCES
        && let Some(quiet) =
            sources.iter().min_by_key(|(_, source)| source.last.map(Moment::to_bits)).map(|(key, _)| *key)
    {
        sources.remove(&quiet);
    }
}

/// Whoever has an IPv6 address has a whole /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_bits(1_000_000_000_000).after(Duration::from_secs(seconds))
    }

    fn four(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn by(address: IpAddr, way: Way, mark: u64) -> FailedProof {
        FailedProof { address, way, mark }
    }

    #[test]
    fn the_same_credentials_in_the_header_and_then_in_the_form_are_one_mistake() {
        let failures = Failures::default();
        let note = |way, mark, second| failures.note(by(four(1), way, mark), 3, at(second)).wait.is_some();
        for second in 0..3 {
            assert!(!note(Way::Header, 7, second) && !note(Way::Form, 7, second));
        }
        assert!(note(Way::Header, 7, 3) && note(Way::Form, 7, 3), "both halves of the fourth are refused");
        assert!(!note(Way::Header, 7, 70));
        // Twice in the form, later than a retry comes, or with other credentials: mistakes of their own.
        let failures = Failures::default();
        let told = [(Way::Header, 7, 0), (Way::Form, 7, 0), (Way::Form, 7, 1), (Way::Form, 8, 1), (Way::Form, 7, 2)]
            .map(|(way, mark, second)| failures.note(by(four(1), way, mark), 3, at(second)).wait.is_some());
        assert_eq!(told, [false, false, false, false, true]);
    }

    #[test]
    fn of_a_hundred_clients_behind_one_address_each_makes_one_mistake_and_no_source_remembers_more_for_long() {
        let failures = Failures::default();
        let note = |way, mark| failures.note(by(four(1), way, mark), 100, at(0));
        assert!((0..100).all(|mark| note(Way::Header, mark) == Noted { wait: None, again: false }));
        assert!((0..100).all(|mark| note(Way::Form, mark) == Noted { wait: None, again: true }));
        assert!(note(Way::Header, 100).wait.is_some(), "they were a hundred");
        for mark in 0..10_000 {
            note(Way::Header, mark);
        }
        assert_eq!(failures.0.lock().unwrap().get(&four(1)).unwrap().halves.len(), HALVES);
    }

    #[test]
    fn sources_do_not_share_and_a_network_of_version_six_is_one() {
        let failures = Failures::default();
        let six = |end: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0DB8 << 96) + end));
        let mapped = IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        let note = |address| failures.note(by(address, Way::Form, 1), 1, at(0)).wait.is_some();
        assert_eq!(
            [four(1), four(2), mapped, six(1), six(2), six(1 << 64)].map(note),
            [false, false, true, false, true, false]
        );
    }

    proptest! {
        #[test]
        fn the_table_stays_small_and_no_minute_of_a_source_sees_more_than_the_limit(
            steps in prop::collection::vec((0_u64..10, 0_u8..4, 0_u64..3, any::<bool>()), 1..200), most in 1_u32..5,
        ) {
            let failures = Failures::default();
            let (mut now, mut told): (u64, HashMap<u8, Vec<u64>>) = (0, HashMap::new());
            for (step, source, mark, _) in steps {
                now += step;
                if failures.note(by(four(source), Way::Header, mark), most, at(now)).wait.is_none() {
                    told.entry(source).or_default().push(now);
                }
            }
            for times in told.values() {
                for (place, from) in times.iter().enumerate() {
                    prop_assert!(times.iter().skip(place).filter(|at| **at - from < 60).count() <= most as usize);
                }
            }
        }
    }

    #[test]
    fn however_many_addresses_fail_only_so_many_are_remembered_and_a_busy_one_among_them() {
        let failures = Failures::default();
        let busy = four(1);
        for number in 0..10_000_u32 {
            failures.note(by(Ipv4Addr::from_bits(0x0B00_0000 + number).into(), Way::Header, 1), 5, at(0));
            failures.note(by(busy, Way::Form, u64::from(number)), 5, at(1));
        }
        assert_eq!(failures.0.lock().unwrap().len(), SOURCES);
        assert!(failures.note(by(busy, Way::Form, 0), 5, at(1)).wait.is_some());
    }
}
