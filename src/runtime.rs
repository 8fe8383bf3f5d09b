//! The thread on which stores do their work. Started by the first batch, shared by the whole process.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use session_store::{Code, Error, Result};
use tokio::sync::Notify;

/// Something to be carried out on the store thread. It tells its outcome by itself.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct Inbox {
    tasks: Mutex<Vec<Task>>,
    /// Whether the store thread waits for [`Inbox::arrival`]; while it looks by itself, submitting costs no wake-up.
    asleep: AtomicBool,
    arrival: Notify,
}

impl Inbox {
    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

static INBOX: OnceLock<std::io::Result<Arc<Inbox>>> = OnceLock::new();

/// Hands tasks to the store thread.
pub(crate) fn submit(tasks: Vec<Task>) -> std::io::Result<()> {
    let inbox = INBOX.get_or_init(start).as_ref().map_err(|error| error.kind())?;
    inbox.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
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

fn start() -> std::io::Result<Arc<Inbox>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inbox = Arc::new(Inbox::default());
    let served = inbox.clone();
    std::thread::Builder::new().name("session-store".into()).spawn(move || runtime.block_on(serve(&served)))?;
    Ok(inbox)
}

async fn serve(inbox: &Inbox) {
    let spin: u64 = std::env::var("SPIN_US").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    let spin = Duration::from_micros(spin);
    let running = Arc::new(AtomicUsize::new(0));
    let mut last = Instant::now();
    let mut before = 0;
    loop {
        let tasks = inbox.take();
        if !tasks.is_empty() {
            last = Instant::now();
        }
        for task in tasks {
            let r = running.clone();
            r.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                task.await;
                r.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let now = running.load(Ordering::Relaxed);
        if now != before {
            before = now;
            last = Instant::now();
        }
        if last.elapsed() < spin {
            tokio::task::yield_now().await;
            continue;
        }
        inbox.asleep.store(true, Ordering::SeqCst);
        if inbox.tasks.lock().unwrap().is_empty() {
            inbox.arrival.notified().await;
        }
        inbox.asleep.store(false, Ordering::SeqCst);
    }
}
