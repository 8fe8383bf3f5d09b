//! One script for many callers: what is asked for in one turn of the thread goes out together,
//! because calling a script costs the server, and this process, as much as what it does for one
//! caller.
//!
//! What must always hold:
//! - Every caller gets the answer to what it asked, or an error. A caller that gives up takes
//!   nothing from the others.
//! - What fails on the server is one caller's failure (scripts/each.lua), unless the server refused
//!   all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::redis::Value;
use tokio::sync::oneshot;

use super::scripts::{Script, ScriptInvocation};
use super::steps::{Repeat, Steps, unexpected};
use super::supervisor::Supervisor;
use crate::error::{Code, Error, Result};

/// How many callers share a script at most. So few, because server, this thread and JavaScript then
/// work on different calls of a turn at the same time: with 64 of 64 each of them waits for the
/// other two, and a sign-in takes 1.6 times as long.
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
    open: Mutex<Vec<Call>>,
}

/// A call that is not sent yet.
struct Call {
    script: ScriptInvocation<'static>,
    bytes: usize,
    callers: Vec<oneshot::Sender<Result<Value>>>,
}

impl Call {
    fn is_full(&self) -> bool {
        self.callers.len() >= MOST || self.bytes >= MOST_BYTES
    }
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

    /// Asks for something among what others ask for at this time. `add` adds its keys and
    /// arguments, of so many bytes.
    pub(super) async fn join(
        &self,
        bytes: usize,
        add: impl FnOnce(&mut ScriptInvocation<'static>),
    ) -> Result<Value> {
        let (tell, told) = oneshot::channel();
        self.0.add(tell, bytes, add);
        told.await.unwrap_or_else(|_| Err(Error::new(Code::Closed, "the store was closed")))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        self: &Arc<Self>,
        caller: oneshot::Sender<Result<Value>>,
        bytes: usize,
        add: impl FnOnce(&mut ScriptInvocation<'static>),
    ) {
        let mut open = self.lock();
        if open.is_empty() {
            // Its turn comes after that of everybody who can go on now.
            tokio::spawn(self.clone().send_open());
        }
        if open.last().is_none_or(Call::is_full) {
            open.push(self.new_call());
        }
        if let Some(call) = open.last_mut() {
            add(&mut call.script);
            call.bytes += bytes;
            call.callers.push(caller);
        }
    }

    fn new_call(&self) -> Call {
        let mut script = self.script.prepare_invoke();
        for argument in &self.common {
            script.arg(argument);
        }
        Call { script, bytes: 0, callers: Vec::new() }
    }

    /// Sends what is open, in the order in which it was asked for.
    async fn send_open(self: Arc<Self>) {
        for call in std::mem::take(&mut *self.lock()) {
            tokio::spawn(self.clone().send(call));
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
