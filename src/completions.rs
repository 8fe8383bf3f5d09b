//! The queue between the store's thread and one JavaScript thread: many completions, one wake-up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use session_store::{Event, Question, Reply, Result, Serving};
use tokio::sync::oneshot;

use crate::packed::Packed;

/// What has ended.
pub(crate) enum Outcome {
    /// One call.
    Call(Result<Reply>),
    /// Something that happened to the connection of the store with this handle.
    Event(u32, Event),
    /// The store with this handle wants to log in.
    Asked(u32, Question),
    /// The store with this handle asks no more.
    AsksNoMore(u32),
    /// A tick's reads, or some of them.
    Reads(Result<Part>),
}

/// Some of a tick's reads, in their order.
pub(crate) struct Part {
    /// The values, each string with how many it holds.
    pub(crate) packed: Vec<(usize, Packed)>,
    /// Whether these are all.
    pub(crate) is_whole: bool,
    /// The number of their serving.
    pub(crate) serving: Serving,
    /// Told when JavaScript has them, if there are more to come.
    pub(crate) taken: Option<oneshot::Sender<()>>,
}

/// Something that has ended, and the number that JavaScript gave it; 0 for what it did not begin.
pub(crate) type Completion = (u32, Outcome);

/// Completions on their way to JavaScript. `W` wakes its thread.
///
/// No wake-up is lost: the flag falls before the queue is taken, so that a completion pushed after
/// the taking wakes again. After [`Completions::close`] nothing is woken: the environment is gone.
pub(crate) struct Completions<W> {
    /// `None`: closed. What comes later is dropped, so that a question finds out that nobody will
    /// answer it.
    queue: Mutex<Option<Vec<Completion>>>,
    waking: AtomicBool,
    /// Taken away under this lock when the environment ends, because a threadsafe function must not
    /// be called from another thread while its environment is torn down (nodejs/node#55706).
    waker: Mutex<Option<W>>,
}

impl<W: Fn()> Completions<W> {
    pub(crate) fn new(waker: W) -> Self {
        Completions {
            queue: Mutex::new(Some(Vec::new())),
            waking: AtomicBool::new(false),
            waker: Mutex::new(Some(waker)),
        }
    }

    /// Adds a completion. Answers whether [`Completions::wake`] is to be called, now or later.
    #[must_use]
    pub(crate) fn push(&self, completion: Completion) -> bool {
        match &mut *lock(&self.queue) {
            Some(queue) => queue.push(completion),
            None => return false,
        }
        !self.waking.swap(true, Ordering::AcqRel)
    }

    /// Wakes the JavaScript thread.
    pub(crate) fn wake(&self) {
        if let Some(wake) = &*lock(&self.waker) {
            wake();
        }
    }

    /// Takes everything that has completed.
    pub(crate) fn drain(&self) -> Vec<Completion> {
        self.waking.store(false, Ordering::Release);
        lock(&self.queue).as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether nobody will take anything any more.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.waker).is_none()
    }

    /// Lets go of the waker, for ever.
    pub(crate) fn close(&self) {
        lock(&self.waker).take();
        let dropped = lock(&self.queue).take();
        drop(dropped);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
