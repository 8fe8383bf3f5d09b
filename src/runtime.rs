//! The thread on which stores do their work. Started by the first batch of calls, shared by the whole process.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use session_store::{Code, Command, Error, Reply, Result, Sessions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One call: what to do on which store, and who is told.
pub(crate) struct Call {
    pub(crate) store: Arc<dyn Sessions>,
    pub(crate) command: Command,
    pub(crate) done: Box<dyn FnOnce(Result<Reply>) + Send>,
}

static BATCHES: OnceLock<Option<UnboundedSender<Vec<Call>>>> = OnceLock::new();

/// Hands a batch of calls to the store thread. Each is told its outcome exactly once.
pub(crate) fn submit(batch: Vec<Call>) {
    let refused = match BATCHES.get_or_init(start) {
        Some(batches) => batches.send(batch).err().map(|unsent| unsent.0),
        None => Some(batch),
    };
    for call in refused.into_iter().flatten() {
        (call.done)(Err(Error::new(Code::Unavailable, "the operating system gives this process no further thread")));
    }
}

fn start() -> Option<UnboundedSender<Vec<Call>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let (sender, receiver) = unbounded_channel();
    std::thread::Builder::new().name("session-store".into()).spawn(move || runtime.block_on(serve(receiver))).ok()?;
    Some(sender)
}

async fn serve(mut batches: UnboundedReceiver<Vec<Call>>) {
    while let Some(batch) = batches.recv().await {
        for Call { store, command, done } in batch {
            tokio::spawn(async move {
                let outcome = AssertUnwindSafe(async move { store.run(command).await }).catch_unwind().await;
                done(outcome.unwrap_or_else(|_| {
                    Err(Error::new(Code::Protocol, "a defect in better-auth-redis-store: please report it"))
                }));
            });
        }
    }
}
