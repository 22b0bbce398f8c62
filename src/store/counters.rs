//! What is counted over all replicas: logins of a user, failures of a host, assertions that were used.

use std::time::Duration;

use uuid::Uuid;

use super::link::millis;
use super::reply::Nonsense;
use super::{Away, Store, Tag, scripts};

/// Whether there was room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It is counted; so many are left.
    Counted(u32),
    /// There was none; there is in so long.
    In(Duration),
}

/// Whether a host may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostGate {
    /// It may.
    Go,
    /// By us alone: whether it is back. Told by [`Store::host_answered`] or [`Store::host_failed`], or given back by
    /// [`Store::host_not_asked`].
    Probe(Probe),
    /// Not for so long.
    Wait(Duration),
}

/// The right to find out whether a host is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe(Uuid);

/// When a host is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So many failures in a row, each of another replica than the one before.
    pub tolerated: u32,
    /// For so long at first, then twice as long each time.
    pub shortest: Duration,
    /// Never longer.
    pub longest: Duration,
}

/// Who finds out whether a host is back has so long.
const PROBE: Duration = Duration::from_secs(5);
/// Failures of a host that nobody adds to for so long are forgotten.
pub const STREAK_LASTS: Duration = Duration::from_secs(10 * 60);

impl Store {
    /// Counts one login of a user, unless there were `most` within the last `span`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn count_login(&self, user: &Tag, most: u32, span: Duration) -> Result<Room, Away> {
        let name = [self.link.names().below(user, "logins")];
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let login = format!("{}:{}", self.replica(), Uuid::new_v4());
        let arguments = [most.to_string().into_bytes(), micros.to_string().into_bytes(), login.into_bytes()];
        let reply = self.link.call("count_login", scripts::COUNT, &name, &arguments).await?;
        let number = reply.number(2).map_err(|nonsense| self.link.nonsense(nonsense))?;
        match reply.word(1) {
            Ok("counted") => Ok(Room::Counted(u32::try_from(number).unwrap_or(u32::MAX))),
            Ok("full") => Ok(Room::In(Duration::from_micros(number))),
            _ => Err(self.link.nonsense(Nonsense)),
        }
    }

    /// Whether a host may be asked, by what all replicas found.
    ///
    /// # Errors
    /// The store is away.
    pub async fn enter_host(&self, host: &Tag, patience: Patience) -> Result<HostGate, Away> {
        let probe = Probe(Uuid::new_v4());
        let tolerated = patience.tolerated.to_string().into_bytes();
        let arguments = [tolerated, self.owner(probe), millis(PROBE), millis(patience.longest)];
        let reply = self.link.call("enter_host", scripts::ENTER, &self.circuit(host), &arguments).await?;
        match reply.word(1) {
            Ok("go") => Ok(HostGate::Go),
            Ok("probe") => Ok(HostGate::Probe(probe)),
            Ok("wait") => {
                let left = reply.number(2).map_err(|nonsense| self.link.nonsense(nonsense))?;
                Ok(HostGate::Wait(Duration::from_millis(left)))
            }
            _ => Err(self.link.nonsense(Nonsense)),
        }
    }

    /// Gives back a probe by which nobody was asked: the next who comes may find out, and does not have to wait for its end.
    ///
    /// # Errors
    /// The store is away.
    pub async fn host_not_asked(&self, host: &Tag, probe: Probe) -> Result<(), Away> {
        let [_, name] = self.circuit(host);
        self.link.call("host_not_asked", scripts::RELEASE, &[name], &[self.owner(probe)]).await.map(|_| ())
    }

    /// A host answered: it is in good health for all. Also what is said when a host is forgiven.
    ///
    /// # Errors
    /// The store is away.
    pub async fn host_answered(&self, host: &Tag) -> Result<(), Away> {
        self.link.call("host_answered", scripts::REMOVE, &self.circuit(host), &[]).await.map(|_| ())
    }

    /// A host did not answer, or not as one in good health; comes back with the failures in a row, of which one
    /// replica counts for one. `jitter` is between 0 and 1.
    ///
    /// # Errors
    /// The store is away.
    pub async fn host_failed(&self, host: &Tag, patience: Patience, jitter: f64) -> Result<u32, Away> {
        // Half of it at least: a circuit that hardly opens protects nobody.
        let share = 0.5 + jitter.clamp(0.0, 1.0) / 2.0;
        let arguments = [
            patience.tolerated.to_string().into_bytes(),
            self.replica().as_bytes().to_vec(),
            millis(patience.shortest),
            millis(patience.longest),
            share.to_string().into_bytes(),
            millis(STREAK_LASTS),
        ];
        let reply = self.link.call("host_failed", scripts::FAILED, &self.circuit(host), &arguments).await?;
        let count = reply.number(1).map_err(|nonsense| self.link.nonsense(nonsense))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Whether something that may be used once is used for the first time, by any replica. It is remembered for `lasts`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn use_once(&self, mark: &Tag, lasts: Duration) -> Result<bool, Away> {
        let name = [self.link.names().of(mark)];
        let arguments = [millis(lasts), Uuid::new_v4().to_string().into_bytes()];
        let reply = self.link.call("use_once", scripts::MARK, &name, &arguments).await?;
        match reply.word(1) {
            Ok("first") => Ok(true),
            Ok("again") => Ok(false),
            _ => Err(self.link.nonsense(Nonsense)),
        }
    }

    fn owner(&self, Probe(number): Probe) -> Vec<u8> {
        format!("{}:{number}", self.replica()).into_bytes()
    }

    fn circuit(&self, host: &Tag) -> [String; 2] {
        ["circuit", "probe"].map(|what| self.link.names().below(host, what))
    }
}
