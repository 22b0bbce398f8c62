//! What Redis and the wire are asked to carry: sizes by the forms of the protocol, memory and processor time as measured.

/// Bytes of the sealed value around a token: the other members, version, key id, nonce and tag.
const AROUND: u64 = 457;
/// Redis 7.0, `INFO memory` over 100,000 places of a 112-byte token (569 bytes sealed) and a fence, less the sealed bytes.
const PLACE: u64 = 1258 - 569;
/// Redis 7.0, `MEMORY USAGE`: the logins of a user with one in the last hour.
pub(crate) const LOGINS: u64 = 168;
/// 10,000 events of the stream.
pub(crate) const STREAM: u64 = 1_101_016;
/// A `jti` that was used, with its entry in the table of keys.
pub(crate) const MARK: u64 = 152;

/// Microseconds of processor time in Redis 7.0 for each call, one by one over a local socket, from `INFO cpu`.
const LOOK_US: f64 = 30.0;
const LOOK_IN_BATCHES_US: f64 = 18.0;
const RENEWAL_US: f64 = LOOK_US + 25.0 + 31.0 + 13.0;
/// One event to one reader, in answers of a hundred.
const EVENT_US: f64 = 1.3;

/// Calls of one renewal: look, acquire, put, release.
const RENEWAL_CALLS: u64 = 4;
/// Events of one renewal: there is a token, and the lease is free.
const RENEWAL_EVENTS: u64 = 2;

/// A key of a place: prefix, name, digest, what it is.
const KEY: u64 = 64;
/// Once in so many seconds each held place is looked at, whatever the stream says.
pub(crate) const NET: f64 = 30.0;

/// Bytes in the memory of Redis for one integration.
pub(crate) fn place(token: u64) -> u64 {
    PLACE + AROUND + token
}

/// Bytes of a RESP array of texts of these lengths.
fn resp(texts: &[u64]) -> u64 {
    let text = |length: &u64| 5 + length.to_string().len() as u64 + length;
    4 + texts.iter().map(text).sum::<u64>()
}

/// Bytes of a look, both ways.
fn look(token: u64) -> u64 {
    resp(&[7, 40, 1, KEY, KEY, KEY, KEY, 5]) + resp(&[16, 5, 16, AROUND + token, 0, 1, 0, 1, 16])
}

/// Bytes of one event to one reader.
fn event() -> u64 {
    resp(&[18]) + resp(&[1, 55, 1, 5, 1, 16, 1, 16])
}

/// What one second of a fleet asks of its stores, all of them together.
pub(crate) struct Load {
    /// Renewals a second.
    pub(crate) renewals: f64,
    /// Looks a second after events.
    pub(crate) follows: f64,
    /// Looks a second of the net.
    pub(crate) net: f64,
    /// Processes that read each event.
    pub(crate) readers: f64,
}

impl Load {
    /// Calls a second.
    pub(crate) fn calls(&self) -> f64 {
        self.renewals * RENEWAL_CALLS as f64 + self.follows + self.net
    }

    /// Events a second that are written.
    pub(crate) fn events(&self) -> f64 {
        self.renewals * RENEWAL_EVENTS as f64
    }

    /// Cores of processors, all stores together.
    pub(crate) fn cores(&self) -> f64 {
        let events = self.events() * self.readers * EVENT_US;
        (self.renewals * RENEWAL_US + self.follows * LOOK_US + self.net * LOOK_IN_BATCHES_US + events) / 1e6
    }

    /// Bytes a second, both ways.
    pub(crate) fn bytes(&self, token: u64) -> f64 {
        let renewal = look(token)
            + resp(&[7, 40, 1, KEY, KEY, KEY, 33, 4, 9, 16])
            + resp(&[16, 5, 16])
            + resp(&[7, 40, 1, KEY, KEY, KEY, KEY, KEY, 5, 16, AROUND + token, 6, 9])
            + resp(&[16, 4])
            + resp(&[7, 40, 1, KEY, KEY, 33])
            + resp(&[16, 8]);
        let looks = (self.follows + self.net) * look(token) as f64;
        self.renewals * renewal as f64 + looks + self.events() * self.readers * event() as f64
    }
}
