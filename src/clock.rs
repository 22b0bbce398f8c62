//! Time as a value that is handed around. Only this file asks the system.
//!
//! Two kinds, never mixed: a [`Moment`] measures how long something has lasted (it runs during suspend and never
//! jumps), a [`Timestamp`] tells the date, as `exp` and records need it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};

/// A point on a clock that only ever runs forward, in nanoseconds since an arbitrary start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment that lies `span` later; the far end of time when that cannot be counted.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(span)))
    }

    /// The moment that lay `span` earlier; the clock's start when that is before it.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(span)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since the clock's start, for keeping a moment in an atomic.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`Moment::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Where time comes from: the machine, or a hand that a test moves.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    hand: Option<Arc<Hand>>,
}

#[derive(Debug)]
struct Hand {
    elapsed: AtomicU64,
    wall: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is moved. It starts at the machine's date.
    pub fn manual() -> Self {
        let wall = Self::system().timestamp().as_nanosecond();
        let wall = u64::try_from(wall).unwrap_or_default();
        Self { hand: Some(Arc::new(Hand { elapsed: AtomicU64::new(nanoseconds(HOUR)), wall: AtomicU64::new(wall) })) }
    }

    /// Moves a manual clock forward, elapsed time and date alike. The machine's clock does not take orders.
    pub fn advance(&self, span: Duration) {
        if let Some(hand) = &self.hand {
            hand.elapsed.fetch_add(nanoseconds(span), Ordering::SeqCst);
            hand.wall.fetch_add(nanoseconds(span), Ordering::SeqCst);
        }
    }

    /// Sets the date of a manual clock forward or back, as an operator or NTP does; elapsed time does not notice.
    pub fn jump(&self, by: SignedDuration) {
        if let Some(hand) = &self.hand {
            let span = nanoseconds(by.unsigned_abs());
            let jumped =
                |wall: u64| if by.is_negative() { wall.saturating_sub(span) } else { wall.saturating_add(span) };
            let _ = hand.wall.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |wall| Some(jumped(wall)));
        }
    }

    /// Now, for measuring.
    pub fn now(&self) -> Moment {
        match &self.hand {
            Some(hand) => Moment(hand.elapsed.load(Ordering::SeqCst)),
            None => boot_time(),
        }
    }

    /// Now, as a date.
    pub fn timestamp(&self) -> Timestamp {
        let since_epoch = match &self.hand {
            Some(hand) => Duration::from_nanos(hand.wall.load(Ordering::SeqCst)),
            None => wall_time(),
        };
        let nanoseconds = i128::try_from(since_epoch.as_nanos()).unwrap_or(i128::MAX);
        Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::MAX)
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn boot_time() -> Moment {
    // CLOCK_BOOTTIME counts suspend; elsewhere than on Linux the monotonic clock is the nearest thing.
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let fraction = u64::try_from(now.tv_nsec).unwrap_or_default();
    Moment(seconds.saturating_mul(1_000_000_000).saturating_add(fraction))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
fn wall_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual();
        let (moment, date) = (clock.now(), clock.timestamp());
        assert_eq!(clock.now(), moment);
        let other = clock.clone();
        other.advance(Duration::from_secs(90));
        assert_eq!(clock.now().since(moment), Duration::from_secs(90));
        assert_eq!(clock.timestamp().as_second() - date.as_second(), 90);
    }

    #[test]
    fn a_jump_moves_the_date_and_no_elapsed_time() {
        let clock = Clock::manual();
        let (moment, date) = (clock.now(), clock.timestamp().as_second());
        clock.jump(SignedDuration::from_hours(3));
        assert_eq!((clock.now(), clock.timestamp().as_second() - date), (moment, 3 * 3600));
        clock.jump(SignedDuration::from_hours(-6));
        assert_eq!((clock.now(), clock.timestamp().as_second() - date), (moment, -3 * 3600));
    }

    #[test]
    fn elapsed_time_is_never_negative() {
        let clock = Clock::manual();
        let earlier = clock.now();
        clock.advance(Duration::from_secs(1));
        assert_eq!(earlier.since(clock.now()), Duration::ZERO);
        assert_eq!(earlier.after(Duration::MAX).after(Duration::MAX).to_bits(), u64::MAX);
    }

    #[test]
    fn the_machines_clock_runs() {
        let clock = Clock::system();
        let earlier = clock.now();
        assert!(clock.now() >= earlier);
        assert!(clock.timestamp().as_second() > 1_700_000_000);
    }
}
