//! What the slot stands on: locks, atomics, tasks and the timer of the machine; with the feature `model` those of the
//! model check, which decides at each of them who goes on.

#[cfg(not(feature = "model"))]
pub(super) use self::machine::{
    ArcSwapOption, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError, by, spawn,
};
#[cfg(feature = "model")]
pub(super) use self::model::{
    ArcSwapOption, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError, by, spawn,
};

#[cfg(not(feature = "model"))]
mod machine {
    pub(in crate::cache) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(in crate::cache) use std::sync::{Mutex, MutexGuard, PoisonError};

    pub(in crate::cache) use arc_swap::ArcSwapOption;
    pub(in crate::cache) use tokio::time::timeout_at as by;
    use tokio_util::task::TaskTracker;

    /// Runs a flight beside whoever started it.
    pub(in crate::cache) fn spawn(flights: &TaskTracker, flight: impl Future<Output = ()> + Send + 'static) {
        flights.spawn(flight);
    }
}

#[cfg(feature = "model")]
mod model {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use arc_swap::Guard;
    pub(in crate::cache) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(in crate::cache) use shuttle::sync::{Mutex, MutexGuard};
    pub(in crate::cache) use std::sync::PoisonError;
    use tokio::time::Instant;
    use tokio_util::task::TaskTracker;

    /// The usual one, with a point before and after each use at which others may go on.
    #[derive(Debug)]
    pub(in crate::cache) struct ArcSwapOption<T> {
        inner: arc_swap::ArcSwapOption<T>,
        point: AtomicBool,
    }

    impl<T> ArcSwapOption<T> {
        pub(in crate::cache) fn empty() -> Self {
            Self { inner: arc_swap::ArcSwapOption::empty(), point: AtomicBool::new(false) }
        }

        pub(in crate::cache) fn load(&self) -> Guard<Option<Arc<T>>> {
            self.between_points(|inner| inner.load())
        }

        pub(in crate::cache) fn load_full(&self) -> Option<Arc<T>> {
            self.between_points(|inner| inner.load_full())
        }

        pub(in crate::cache) fn store(&self, value: Option<Arc<T>>) {
            self.between_points(|inner| inner.store(value));
        }

        pub(in crate::cache) fn compare_and_swap(&self, current: &Arc<T>, new: Option<Arc<T>>) {
            self.between_points(|inner| inner.compare_and_swap(current, new));
        }

        fn between_points<R>(&self, act: impl FnOnce(&arc_swap::ArcSwapOption<T>) -> R) -> R {
            self.point.load(Ordering::SeqCst);
            let done = act(&self.inner);
            self.point.load(Ordering::SeqCst);
            done
        }
    }

    thread_local! {
        static BROKEN_OFF: Cell<bool> = const { Cell::new(false) };
    }

    /// Breaks off the flight that waits for this, as a panic or the end of the runtime does.
    #[cfg(test)]
    pub(in crate::cache) async fn break_off() {
        poll_fn(|_| {
            BROKEN_OFF.set(true);
            Poll::<()>::Pending
        })
        .await;
    }

    /// Runs a flight beside whoever started it.
    pub(in crate::cache) fn spawn(_: &TaskTracker, flight: impl Future<Output = ()> + Send + 'static) {
        let mut flight: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = Some(Box::pin(flight));
        let until_it_ends = poll_fn(move |context: &mut Context<'_>| {
            let polled = flight.as_mut().map_or(Poll::Ready(()), |flight| flight.as_mut().poll(context));
            if BROKEN_OFF.take() {
                flight = None;
                return Poll::Ready(());
            }
            polled
        });
        shuttle::future::spawn(until_it_ends);
    }

    /// The outcome of `waited`, or an error when the deadline was past from the start: there is no timer in the model.
    pub(in crate::cache) async fn by<F: Future>(deadline: Instant, waited: F) -> Result<F::Output, ()> {
        let mut waited = pin!(waited);
        poll_fn(|context| match waited.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending if deadline <= Instant::now() => Poll::Ready(Err(())),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

#[cfg(all(test, feature = "model"))]
pub(super) use self::model::break_off;
