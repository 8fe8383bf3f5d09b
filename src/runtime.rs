//! The thread on which stores do their work. Started by the first batch, shared by the whole
//! process.
//!
//! Waking a sleeping thread costs tens of microseconds, more than a read itself. So the thread
//! looks for what comes next for a moment before it sleeps, as long as looking has paid off lately.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io::Result as IoResult;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use session_store::{Code, Error, Result};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

/// Something to be carried out on the store thread. It tells its outcome by itself.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long the thread looks before it sleeps.
const LOOK: Duration = Duration::from_micros(50);

/// Each task has a deadline of its own. Setting one costs a system call unless the thread is to be
/// woken before it anyhow: so while there is work, it is woken this often.
const ALARM: Duration = Duration::from_millis(50);

/// How many tasks go on in one turn, at most.
const TURN: u32 = 512;

/// How many chances to look are let go at most, after looking was in vain.
const MOST_SKIPPED: u32 = 1023;

#[derive(Default)]
struct Inbox {
    tasks: Mutex<Vec<Task>>,
    /// Whether the thread waits for `arrival`. While it is awake, submitting wakes nobody.
    asleep: AtomicBool,
    arrival: Notify,
}

thread_local! {
    /// What is left for the end of a turn, on the store thread.
    static AFTER_TURN: RefCell<Vec<Box<dyn FnOnce()>>> = const { RefCell::new(Vec::new()) };
}

static INBOX: OnceLock<Arc<Inbox>> = OnceLock::new();

/// Hands tasks to the store thread. An error: the system refuses the thread or its descriptors, and
/// the next call tries again.
pub(crate) fn submit(tasks: Vec<Task>) -> IoResult<()> {
    let inbox = inbox()?;
    inbox.lock().extend(tasks);
    if inbox.asleep.swap(false, Ordering::SeqCst) {
        inbox.arrival.notify_one();
    }
    Ok(())
}

/// Starts something that goes on by itself. On the store thread only.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// Leaves something for the end of this turn of the store thread, when every task that can go on
/// has: one wake-up of a JavaScript thread then tells it of everything.
pub(crate) fn after_turn(work: impl FnOnce() + 'static) {
    AFTER_TURN.with_borrow_mut(|left| left.push(Box::new(work)));
}

/// What `work` comes to; a panic is an error.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let defect = |_| {
        Err(Error::new(Code::Protocol, "a defect in better-auth-redis-store: please report it"))
    };
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(defect)
}

fn inbox() -> IoResult<&'static Arc<Inbox>> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(inbox) = INBOX.get() {
        return Ok(inbox);
    }
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    match INBOX.get() {
        Some(inbox) => Ok(inbox),
        None => start().map(|inbox| INBOX.get_or_init(|| inbox)),
    }
}

fn start() -> IoResult<Arc<Inbox>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().event_interval(TURN).enable_all().build()?;
    let inbox = Arc::new(Inbox::default());
    let served = inbox.clone();
    std::thread::Builder::new().name("session-store".into()).spawn(move || {
        // As a task, because waking what `block_on` itself polls costs a system call each time. It
        // ends by a panic only.
        while runtime.block_on(runtime.spawn(serve(served.clone()))).is_err() {}
    })?;
    Ok(inbox)
}

async fn serve(inbox: Arc<Inbox>) {
    let running = Arc::new(AtomicUsize::new(0));
    let (mut for_calls, mut for_replies) = (Patience::default(), Patience::default());
    let mut alarm = None;
    loop {
        for task in std::mem::take(&mut *inbox.lock()) {
            alarm.get_or_insert_with(|| Box::pin(sleep(ALARM)));
            let (running, inbox) = (running.clone(), inbox.clone());
            running.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                task.await;
                running.fetch_sub(1, Ordering::Relaxed);
                inbox.arrival.notify_one();
            });
        }
        for work in AFTER_TURN.take() {
            work();
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
            let ring = async {
                match &mut alarm {
                    Some(alarm) => alarm.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = inbox.arrival.notified() => {}
                () = ring => alarm = None,
            }
        }
        inbox.asleep.store(false, Ordering::SeqCst);
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether looking is worth while: each time it was in vain, twice as many chances are let go
/// before it is tried again.
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
