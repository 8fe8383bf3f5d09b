//! The queue between the store thread and one JavaScript thread: many completions, one wake-up.
//!
//! Threads: the store thread pushes, the JavaScript thread drains, and the environment's cleanup
//! hook closes, on the JavaScript thread. No wake-up is lost: the flag falls before the queue is
//! taken, so a completion that is pushed after that wakes the thread again. After
//! [`CompletionQueue::close`] nothing is woken, because the environment is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use session_store::{CredentialsRequest, Event, Mutex, ReadNumber, Reply, Result};
use tokio::sync::oneshot;

use crate::packed::Packed;
use crate::runtime;
use crate::waker::Waker;

/// The content of a completion. `handle` is the handle of its store.
pub(crate) enum Outcome {
    /// One call has ended.
    Call(Result<Reply>),
    /// A tick's reads, or some of them.
    Reads(Result<ReadsPart>),
    /// Something happened to a store's connection.
    Event { handle: u32, event: Event },
    /// A store needs credentials.
    CredentialsWanted { handle: u32, request: CredentialsRequest },
    /// A store's credentials function is not called any more.
    CredentialsReleased { handle: u32 },
}

/// Some of a tick's reads, in their order.
pub(crate) struct ReadsPart {
    /// The values, each string with how many it holds.
    pub(crate) packed: Vec<(usize, Packed)>,
    /// Whether these are all reads of the tick.
    pub(crate) is_whole: bool,
    /// The number under which these reads were recorded.
    pub(crate) read_number: ReadNumber,
    /// Signalled when JavaScript has taken this part. `None`: it is the last.
    pub(crate) taken: Option<oneshot::Sender<()>>,
}

/// The number that JavaScript gave a call, and its outcome. [`NOT_A_CALL`] if JavaScript did not
/// begin it.
pub(crate) type Completion = (u32, Outcome);

/// In place of a call's number.
pub(crate) const NOT_A_CALL: u32 = 0;

/// Completions on their way to one JavaScript thread.
pub(crate) struct CompletionQueue {
    /// `None`: closed. Later completions are dropped. A credentials request in one of them then
    /// fails over to another function.
    queue: Mutex<Option<Vec<Completion>>>,
    /// Whether a wake-up is under way.
    is_waking: AtomicBool,
    /// Taken away under this lock when the environment ends, because a threadsafe function must not
    /// be called from another thread while its environment is torn down (nodejs/node#55706).
    waker: Mutex<Option<Waker>>,
}

impl CompletionQueue {
    pub(crate) fn new(waker: Waker) -> Self {
        CompletionQueue {
            queue: Mutex::new(Some(Vec::new())),
            is_waking: AtomicBool::new(false),
            waker: Mutex::new(Some(waker)),
        }
    }

    /// Adds a completion and wakes the JavaScript thread, unless a wake-up is under way.
    pub(crate) fn push_now(&self, completion: Completion) {
        if self.push(completion) {
            self.wake();
        }
    }

    /// Adds a completion. The JavaScript thread is woken at the end of the store thread's turn, so
    /// that one wake-up covers the whole turn. On the store thread only.
    pub(crate) fn push_at_turn_end(self: &Arc<Self>, completion: Completion) {
        if self.push(completion) {
            let queue = self.clone();
            runtime::at_turn_end(move || queue.wake());
        }
    }

    /// Takes everything that has completed.
    pub(crate) fn drain(&self) -> Vec<Completion> {
        self.is_waking.store(false, Ordering::Release);
        self.queue.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether the environment has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.waker.lock().is_none()
    }

    /// Drops the waker and everything that is queued, for good.
    pub(crate) fn close(&self) {
        self.waker.lock().take();
        let dropped = self.queue.lock().take();
        // Outside the lock: dropping a credentials request may push to this queue.
        drop(dropped);
    }

    /// Adds a completion. Returns whether the caller has to call [`CompletionQueue::wake`].
    #[must_use]
    fn push(&self, completion: Completion) -> bool {
        match &mut *self.queue.lock() {
            Some(queue) => queue.push(completion),
            None => return false,
        }
        !self.is_waking.swap(true, Ordering::AcqRel)
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake();
        }
    }
}
