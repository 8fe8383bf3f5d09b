//! One script for many callers: what is asked for in one turn of the thread goes out together, because calling a script costs
//! the server, and this process, as much as what it does for one caller.
//!
//! What must always hold:
//! - Every caller gets the answer to what it asked, or an error. A caller that gives up takes nothing from the others.
//! - What fails on the server is one caller's failure (scripts/each.lua), unless the server refused all of them.

use std::sync::{Arc, Mutex, PoisonError};

use ::redis::{Script, ScriptInvocation, Value};
use tokio::sync::oneshot;

use super::steps::{Repeat, Steps, unexpected};
use super::supervisor::Supervisor;
use crate::error::{Code, Error, Result};

/// How many callers share a script at most. The server does nothing else while one runs: some 5 µs for each.
const MOST: usize = 8;

/// How many bytes they bring along at most, but for the last.
const MOST_BYTES: usize = 256 * 1024;

/// A script that answers an array: for each caller what it came to.
pub(super) struct Batch(Arc<Shared>);

struct Shared {
    steps: Arc<Steps<Supervisor>>,
    script: &'static Script,
    repeat: Repeat,
    /// What all callers have in common: the first of ARGV.
    common: Vec<String>,
    open: Mutex<Option<Call>>,
}

/// A call that further callers may join.
struct Call {
    script: ScriptInvocation<'static>,
    bytes: usize,
    callers: Vec<oneshot::Sender<Result<Value>>>,
}

impl Batch {
    pub(super) fn new(
        steps: Arc<Steps<Supervisor>>,
        script: &'static Script,
        repeat: Repeat,
        common: Vec<String>,
    ) -> Self {
        Batch(Arc::new(Shared { steps, script, repeat, common, open: Mutex::default() }))
    }

    /// Asks for something among what others ask for at this time. `add` adds its keys and arguments, of so many bytes.
    pub(super) async fn join(&self, bytes: usize, add: impl FnOnce(&mut ScriptInvocation<'static>)) -> Result<Value> {
        let (tell, told) = oneshot::channel();
        let full = {
            let mut open = self.0.lock();
            let call = open.get_or_insert_with(|| {
                // Its turn comes after that of everybody who can go on now.
                tokio::spawn(self.0.clone().send_open());
                self.0.new_call()
            });
            add(&mut call.script);
            call.callers.push(tell);
            call.bytes += bytes;
            let is_full = call.callers.len() >= MOST || call.bytes >= MOST_BYTES;
            if is_full { open.take() } else { None }
        };
        if let Some(call) = full {
            tokio::spawn(self.0.clone().send(call));
        }
        let gone = || Error::new(Code::Closed, "the store was closed");
        told.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Call>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_call(&self) -> Call {
        let mut script = self.script.prepare_invoke();
        for argument in &self.common {
            script.arg(argument);
        }
        Call { script, bytes: 0, callers: Vec::new() }
    }

    /// Sends the call that is open, if none of its callers has filled it.
    async fn send_open(self: Arc<Self>) {
        let open = self.lock().take();
        if let Some(call) = open {
            self.send(call).await;
        }
    }

    async fn send(self: Arc<Self>, Call { script, callers, .. }: Call) {
        let answers = match self.steps.script_of_many("", self.repeat, &script).await {
            Ok(answers) if answers.len() == callers.len() => answers,
            Ok(_) => vec![Err(unexpected()); callers.len()],
            Err(error) => vec![Err(error); callers.len()],
        };
        for (caller, answer) in callers.into_iter().zip(answers) {
            // It may have run out of time, and wait no more.
            let _ = caller.send(answer);
        }
    }
}
