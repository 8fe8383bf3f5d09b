//! The store thread, which does the work of all stores. The first batch starts it, and the whole
//! process shares it.
//!
//! Threads: JavaScript threads call [`submit`]. Everything else here runs on the store thread.
//!
//! Waking a sleeping thread costs tens of microseconds, more than a read itself. So the thread
//! spins for a moment before it sleeps, as long as spinning has paid off lately.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io::Result as IoResult;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use session_store::{Code, Error, Mutex, Result};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

/// Work for the store thread. It pushes its own completion.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long the thread spins before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

/// Each task has a deadline of its own. Setting one costs a system call, unless the thread is to be
/// woken earlier anyway. So while there is work, the thread is woken at this interval.
const ALARM: Duration = Duration::from_millis(50);

/// The largest number of tasks that run in one turn.
const TASKS_PER_TURN: u32 = 512;

/// The largest number of chances to spin that are skipped after spinning was in vain.
const MAX_SKIPPED: u32 = 1023;

/// Tasks on their way to the store thread.
#[derive(Default)]
struct TaskQueue {
    tasks: Mutex<Vec<Task>>,
    /// Whether the thread waits for `arrival`. While it is awake, submitting wakes no thread.
    is_asleep: AtomicBool,
    arrival: Notify,
}

thread_local! {
    /// Work for the end of this turn of the store thread.
    static AT_TURN_END: RefCell<Vec<Box<dyn FnOnce()>>> = const { RefCell::new(Vec::new()) };
}

static TASK_QUEUE: OnceLock<Arc<TaskQueue>> = OnceLock::new();

/// Hands tasks to the store thread. Fails when the system refuses the thread or its descriptors;
/// the next call tries again.
pub(crate) fn submit(tasks: Vec<Task>) -> IoResult<()> {
    let queue = task_queue()?;
    queue.tasks.lock().extend(tasks);
    if queue.is_asleep.swap(false, Ordering::SeqCst) {
        queue.arrival.notify_one();
    }
    Ok(())
}

/// Starts background work, which is not counted as work in progress. On the store thread only.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// Runs `work` at the end of this turn of the store thread, after every task that can go on. One
/// wake-up of a JavaScript thread then covers all their completions.
pub(crate) fn at_turn_end(work: impl FnOnce() + 'static) {
    AT_TURN_END.with_borrow_mut(|queued| queued.push(Box::new(work)));
}

/// The result of `work`; a panic becomes an error.
pub(crate) async fn catch_panic<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let defect = |_| {
        Err(Error::new(Code::Protocol, "a defect in better-auth-redis-store: please report it"))
    };
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(defect)
}

/// The store thread's queue. Starts the thread if there is none.
fn task_queue() -> IoResult<&'static Arc<TaskQueue>> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(queue) = TASK_QUEUE.get() {
        return Ok(queue);
    }
    let _alone = STARTING.lock();
    match TASK_QUEUE.get() {
        Some(queue) => Ok(queue),
        None => start_thread().map(|queue| TASK_QUEUE.get_or_init(|| queue)),
    }
}

fn start_thread() -> IoResult<Arc<TaskQueue>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .event_interval(TASKS_PER_TURN)
        .enable_all()
        .build()?;
    let queue = Arc::new(TaskQueue::default());
    let thread_queue = queue.clone();
    std::thread::Builder::new().name("session-store".into()).spawn(move || {
        // The loop is a task, because each wake-up of the future that `block_on` itself polls costs
        // a system call. It ends by a panic only.
        while runtime.block_on(runtime.spawn(run_tasks(thread_queue.clone()))).is_err() {}
    })?;
    Ok(queue)
}

/// Starts each task that arrives, spins, then sleeps until something happens.
async fn run_tasks(queue: Arc<TaskQueue>) {
    let running = Arc::new(AtomicUsize::new(0));
    let (mut for_calls, mut for_replies) = (AdaptiveSpin::default(), AdaptiveSpin::default());
    let mut alarm = None;
    loop {
        for task in std::mem::take(&mut *queue.tasks.lock()) {
            alarm.get_or_insert_with(|| Box::pin(sleep(ALARM)));
            start(task, &running, &queue);
        }
        for work in AT_TURN_END.take() {
            work();
        }
        let in_progress = running.load(Ordering::Relaxed);
        let has_news =
            || !queue.tasks.lock().is_empty() || running.load(Ordering::Relaxed) != in_progress;
        let spin = if in_progress == 0 { &mut for_calls } else { &mut for_replies };
        if spin.until(has_news).await {
            continue;
        }
        sleep_until_arrival(&queue, &mut alarm).await;
    }
}

fn start(task: Task, running: &Arc<AtomicUsize>, queue: &Arc<TaskQueue>) {
    let (running, queue) = (running.clone(), queue.clone());
    running.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        task.await;
        running.fetch_sub(1, Ordering::Relaxed);
        queue.arrival.notify_one();
    });
}

/// Returns when a task arrived or ended, or the alarm went off.
async fn sleep_until_arrival(queue: &TaskQueue, alarm: &mut Option<Pin<Box<Sleep>>>) {
    queue.is_asleep.store(true, Ordering::SeqCst);
    // A task that was submitted before the flag was set is found here. A later one wakes the
    // thread.
    if queue.tasks.lock().is_empty() {
        let ring = async {
            match alarm {
                Some(alarm) => alarm.await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = queue.arrival.notified() => {}
            () = ring => *alarm = None,
        }
    }
    queue.is_asleep.store(false, Ordering::SeqCst);
}

/// Decides whether spinning is worthwhile. Each time it was in vain, twice as many chances are
/// skipped before the next attempt.
#[derive(Default)]
struct AdaptiveSpin {
    to_skip: u32,
    skipped: u32,
}

impl AdaptiveSpin {
    /// Spins until `has_news`, for [`SPIN`] at most, while tasks and sockets go on. Returns whether
    /// there was any.
    async fn until(&mut self, has_news: impl Fn() -> bool) -> bool {
        if self.skipped < self.to_skip {
            self.skipped += 1;
            return false;
        }
        let since = Instant::now();
        while since.elapsed() < SPIN {
            yield_now().await;
            if has_news() {
                *self = AdaptiveSpin::default();
                return true;
            }
        }
        let to_skip = (self.to_skip * 2 + 1).min(MAX_SKIPPED);
        *self = AdaptiveSpin { to_skip, skipped: 0 };
        false
    }
}
