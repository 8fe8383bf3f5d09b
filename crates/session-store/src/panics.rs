//! Tasks that live as long as a store. A panic in one of them is a defect, and must not leave the
//! store without it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use crate::error::{Code, Error};

/// How long a task that has panicked waits before it starts again.
const PAUSE: Duration = Duration::from_millis(250);

/// The result of `work`; `None`: it panicked.
pub(crate) async fn catch_panic<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// Runs a task to its end, and starts it again for as long as it panics.
pub(crate) async fn restart_after_panics<Task: Future<Output = ()>>(start: impl Fn() -> Task) {
    while catch_panic(start()).await.is_none() {
        sleep(PAUSE).await;
    }
}

/// The error of an operation that panicked.
pub(crate) fn defect() -> Error {
    Error::new(Code::Protocol, "a defect in better-auth-redis-store: please report it")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn a_task_is_started_again_until_it_ends_by_itself() {
        let starts = AtomicU32::new(0);
        restart_after_panics(|| async {
            assert!(starts.fetch_add(1, SeqCst) == 2, "on purpose");
        })
        .await;
        assert_eq!(starts.load(SeqCst), 3);
    }
}
