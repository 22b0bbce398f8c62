//! What stands at a place: a token or the mark of one that was dropped, a failure, a lease.

use std::time::Duration;

use zeroize::Zeroizing;

use super::lease::{LEASE, Put};
use super::link::{FENCE_LASTS, millis};
use super::reply::{Nonsense, Reply};
use super::seal::Label;
use super::time::{Fence, StoreTime};
use super::{Away, LARGEST_VALUE, Place, Store, scripts};

/// A token is one thing that can stand in its place.
pub(super) const TOKEN: &str = "token";
/// The mark of one that was dropped is the other.
pub(super) const DROPPED: &str = "dropped";
pub(super) const FAILURE: &str = "failure";

/// A value that opened: written by a replica that has one of our keys, for this place.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The right by which it was written.
    pub fence: Fence,
    /// What was sealed.
    pub content: Zeroizing<Vec<u8>>,
}

/// What stands at a place. What does not open counts as absent.
#[derive(Debug)]
pub struct Seen {
    /// The token.
    pub token: Option<Entry>,
    /// Instead of a token: the mark of one that was dropped.
    pub dropped: Option<Entry>,
    /// Why there is none.
    pub failure: Option<Entry>,
    /// What is left of the lease, if somebody has it.
    pub lease: Option<Duration>,
    /// The store's clock.
    pub at: StoreTime,
    /// The last fence that was given out; 0 if none is known.
    pub(super) given: u64,
    /// A lease that follows from this look has a fence above it.
    pub(super) above: u64,
}

impl Seen {
    /// Has the lease that follows from this look be above a fence that was seen before: a Redis that lost everything, and
    /// whose clock is behind the one before, would give out lower ones, which nobody who remembers takes for news.
    pub fn rise_above(&mut self, fence: u64) {
        self.above = fence;
    }
}

impl Store {
    /// What stands at a place, in one look.
    ///
    /// # Errors
    /// The store is away.
    pub async fn look(&self, place: &Place) -> Result<Seen, Away> {
        let names = [TOKEN, FAILURE, "lease", "fence"].map(|what| self.name(place, what));
        let arguments = [LARGEST_VALUE.to_string().into_bytes(), millis(LEASE)];
        let reply = self.link.call("look", scripts::LOOK, &names, &arguments).await?;
        self.seen(place, &names, &reply).map_err(|nonsense| self.link.nonsense(nonsense))
    }

    /// Forgets the failure of a place, and tells the others so: what caused it may be cured.
    ///
    /// # Errors
    /// The store is away.
    pub async fn forgive(&self, place: &Place) -> Result<(), Away> {
        let names = [self.name(place, FAILURE)];
        self.link.call("forgive", scripts::REMOVE, &names, &[]).await?;
        self.tell(place, FAILURE, Fence::NONE).await;
        Ok(())
    }

    pub(super) fn name(&self, place: &Place, what: &str) -> String {
        self.link.names().below(place.tag(), what)
    }

    fn seen(&self, place: &Place, [token, failure, ..]: &[String; 4], reply: &Reply) -> Result<Seen, Nonsense> {
        let kind = reply.word(1)?;
        let entry = |wanted: &'static str, name: &String, at: usize| {
            let fence = Fence::new(reply.number(at)?);
            let label = Label { kind: wanted, name, digest: place.digest(), fence };
            let content = self.link.open(&label, reply.bytes(at + 1)?);
            Ok(content.map(|content| Entry { fence, content }))
        };
        let token_entry = match kind {
            "" => None,
            DROPPED => None,
            // Of a kind that is none it is told by the same words as of a token that does not open.
            _ => entry(TOKEN, token, 2)?,
        };
        let dropped = if kind == DROPPED { entry(DROPPED, token, 2)? } else { None };
        let failure = if reply.word(4)?.is_empty() { None } else { entry(FAILURE, failure, 5)? };
        let left = Duration::from_millis(reply.number(7)?);
        let lease = (!left.is_zero()).then_some(left);
        Ok(Seen { token: token_entry, dropped, failure, lease, at: reply.at, given: reply.number(8)?, above: 0 })
    }

    /// Writes a value by the right of `fence`, if that was the last one given out.
    pub(super) async fn put(
        &self,
        place: &Place,
        (kind, fence): (&'static str, Fence),
        content: &[u8],
        keep: Duration,
    ) -> Result<Put, Away> {
        let name = self.name(place, if kind == FAILURE { FAILURE } else { TOKEN });
        let label = Label { kind, name: &name, digest: place.digest(), fence };
        let sealed = self.link.seal(&label, content).ok_or(Away)?;
        let names = [name, self.name(place, "fence"), self.name(place, FAILURE)];
        let arguments = [kind.as_bytes().to_vec(), number(fence), sealed, millis(keep), millis(FENCE_LASTS)];
        let reply = self.link.call("put", scripts::PUT, &names, &arguments).await?;
        match reply.word(1) {
            Ok("kept") => Ok(Put::Kept),
            Ok("overtaken") => Ok(Put::Overtaken),
            _ => Err(self.link.nonsense(Nonsense)),
        }
    }

    /// Tells the other replicas, if they can be told: who misses it looks by itself in a while.
    pub(super) async fn tell(&self, place: &Place, kind: &'static str, fence: Fence) {
        let names = [self.link.names().events()];
        let most = super::events::MOST_EVENTS.to_string().into_bytes();
        let replica = self.replica().as_bytes().to_vec();
        let arguments =
            [most, place.tag().as_str().as_bytes().to_vec(), kind.as_bytes().to_vec(), number(fence), replica];
        let _ = self.link.call("tell", scripts::TELL, &names, &arguments).await;
    }
}

pub(super) fn number(fence: Fence) -> Vec<u8> {
    fence.number().to_string().into_bytes()
}
