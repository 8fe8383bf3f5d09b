//! The thread on which stores do their work. Started by the first batch, shared by the whole process.
//!
//! Waking a sleeping thread costs tens of microseconds, more than a read itself. So the thread looks for what comes next for a
//! moment before it sleeps, as long as looking has paid off lately.

use std::future::Future;
use std::io::{Error as IoError, Result as IoResult};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use session_store::{Code, Error, Result};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// Something to be carried out on the store thread. It tells its outcome by itself.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long the thread looks before it sleeps.
const LOOK: Duration = Duration::from_micros(50);

/// How many chances to look are let go at most, after looking was in vain.
const MOST_SKIPPED: u32 = 1023;

#[derive(Default)]
struct Inbox {
    tasks: Mutex<Vec<Task>>,
    /// Whether the thread waits for `arrival`. While it is awake, submitting wakes nobody.
    asleep: AtomicBool,
    arrival: Notify,
}

static INBOX: OnceLock<IoResult<Arc<Inbox>>> = OnceLock::new();

/// Hands tasks to the store thread.
pub(crate) fn submit(tasks: Vec<Task>) -> IoResult<()> {
    let inbox = INBOX.get_or_init(start).as_ref().map_err(|error| IoError::from(error.kind()))?;
    inbox.lock().extend(tasks);
    if inbox.asleep.swap(false, Ordering::SeqCst) {
        inbox.arrival.notify_one();
    }
    Ok(())
}

/// What `work` comes to; a panic is an error.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let defect = |_| Err(Error::new(Code::Protocol, "a defect in better-auth-redis-store: please report it"));
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(defect)
}

fn start() -> IoResult<Arc<Inbox>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inbox = Arc::new(Inbox::default());
    let served = inbox.clone();
    std::thread::Builder::new().name("session-store".into()).spawn(move || runtime.block_on(serve(&served)))?;
    Ok(inbox)
}

async fn serve(inbox: &Inbox) {
    let running = Arc::new(AtomicUsize::new(0));
    let (mut for_calls, mut for_replies) = (Patience::default(), Patience::default());
    loop {
        for task in std::mem::take(&mut *inbox.lock()) {
            let ended = running.clone();
            ended.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                task.await;
                ended.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let waited_for = running.load(Ordering::Relaxed);
        let happened = || !inbox.lock().is_empty() || running.load(Ordering::Relaxed) != waited_for;
        let patience = if waited_for == 0 { &mut for_calls } else { &mut for_replies };
        if patience.look(happened).await {
            continue;
        }
        inbox.asleep.store(true, Ordering::SeqCst);
        // Whoever submitted before the flag stood is found here; whoever does after it wakes.
        if inbox.lock().is_empty() {
            inbox.arrival.notified().await;
        }
        inbox.asleep.store(false, Ordering::SeqCst);
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether looking is worth while: each time it was in vain, twice as many chances are let go before it is tried again.
#[derive(Default)]
struct Patience {
    skip: u32,
    skipped: u32,
}

impl Patience {
    /// Looks for a moment whether something happens, letting tasks and sockets go on meanwhile.
    async fn look(&mut self, happened: impl Fn() -> bool) -> bool {
        if self.skipped < self.skip {
            self.skipped += 1;
            return false;
        }
        let since = Instant::now();
        while since.elapsed() < LOOK {
            yield_now().await;
            if happened() {
                *self = Patience::default();
                return true;
            }
        }
        *self = Patience { skip: (self.skip * 2 + 1).min(MOST_SKIPPED), skipped: 0 };
        false
    }
}
