//! A thread of its own for what is exchanged with the store.
//!
//! In a stampede of cold callers the other threads are behind by more than an answer may take. Were its time measured
//! there, a Redis that answered at once would count as slow, and each replica would go on alone just when it matters most.

use std::future::Future;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Ends with its owner.
pub(super) struct Lane {
    /// Nothing, if there was no thread to be had: then it is done by whoever asks.
    open: Option<(Handle, oneshot::Sender<()>)>,
}

impl Lane {
    pub(super) fn new() -> Self {
        let open = || {
            let runtime = Builder::new_current_thread().enable_all().build().ok()?;
            let (handle, (owner, gone)) = (runtime.handle().clone(), oneshot::channel());
            let work = move || drop(runtime.block_on(gone));
            thread::Builder::new().name("aquila-store".to_owned()).spawn(work).ok()?;
            Some((handle, owner))
        };
        Self { open: open() }
    }

    /// Does it there, beginning now, whether or not anybody waits for it. Nothing comes of it if it panicked, or if the lane ends meanwhile.
    pub(super) fn run<F>(&self, task: F) -> impl Future<Output = Option<F::Output>> + Send + use<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (there, here) = match &self.open {
            Some((handle, _)) => (Some(handle.spawn(task)), None),
            None => (None, Some(Box::pin(task))),
        };
        async {
            match (there, here) {
                (Some(there), _) => there.await.ok(),
                (None, Some(task)) => Some(task.await),
                (None, None) => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_goes_on_while_the_thread_of_whoever_asked_is_busy() {
        let (lane, (done, told)) = (Lane::new(), mpsc::channel());
        let asked = lane.run(async move {
            tokio::task::yield_now().await;
            done.send(()).is_ok()
        });
        // Nothing else runs on this thread meanwhile.
        told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(asked.await, Some(true));
    }

    #[tokio::test]
    async fn a_lane_that_ends_leaves_nobody_waiting() {
        let lane = Lane::new();
        let asked = lane.run(std::future::pending::<()>());
        drop(lane);
        assert_eq!(asked.await, None);
    }
}
