//! One script for many callers: the calls made in one turn of the thread go out together, because
//! calling a script costs the server, and this process, as much as what it does for one caller.
//!
//! What must always hold:
//! - Every caller gets the reply to its own call, or an error. A caller that gives up takes nothing
//!   from the others.
//! - A call that fails on the server fails for its caller only (scripts/lib/each.lua), unless the
//!   server refused all of them.

use std::sync::Arc;

use ::redis::Value;
use tokio::sync::oneshot;

use super::connection::supervisor::Supervisor;
use super::executor::{Executor, Repeat};
use super::replies::unexpected;
use super::scripts::{Script, ScriptInvocation};
use crate::error::{Code, Error, Result};
use crate::sync::Mutex;

/// How many callers share a script at most. So few, because server, this thread and JavaScript then
/// work on different calls of a turn at the same time: with 64 of 64 each of them waits for the
/// other two, and a sign-in takes 1.6 times as long.
const MAX_CALLERS: usize = 8;

/// A call that has this many bytes of arguments takes no further callers.
const FULL_BYTES: usize = 256 * 1024;

/// A script that answers an array: the reply to each caller.
pub(super) struct Batch(Arc<BatchState>);

struct BatchState {
    executor: Arc<Executor<Supervisor>>,
    script: &'static Script,
    repeat: Repeat,
    /// The first of ARGV, which all callers share.
    common: Vec<String>,
    unsent: Mutex<Vec<SharedCall>>,
}

/// A call of the script for several callers, not sent yet.
struct SharedCall {
    script: ScriptInvocation<'static>,
    bytes: usize,
    callers: Vec<oneshot::Sender<Result<Value>>>,
}

impl SharedCall {
    fn is_full(&self) -> bool {
        self.callers.len() >= MAX_CALLERS || self.bytes >= FULL_BYTES
    }
}

impl Batch {
    /// `common`: the first of ARGV, which all callers share.
    pub(super) fn new(
        executor: Arc<Executor<Supervisor>>,
        script: &'static Script,
        repeat: Repeat,
        common: Vec<String>,
    ) -> Self {
        Batch(Arc::new(BatchState { executor, script, repeat, common, unsent: Mutex::default() }))
    }

    /// Calls the script together with the others of this turn. `add` adds the caller's keys and
    /// arguments, of `bytes` bytes.
    pub(super) async fn join(
        &self,
        bytes: usize,
        add: impl FnOnce(&mut ScriptInvocation<'static>),
    ) -> Result<Value> {
        let (caller, reply) = oneshot::channel();
        self.0.add(caller, bytes, add);
        reply.await.unwrap_or_else(|_| Err(Error::new(Code::Closed, "the store was closed")))
    }
}

impl BatchState {
    fn add(
        self: &Arc<Self>,
        caller: oneshot::Sender<Result<Value>>,
        bytes: usize,
        add: impl FnOnce(&mut ScriptInvocation<'static>),
    ) {
        let mut unsent = self.unsent.lock();
        if unsent.is_empty() {
            // The task runs after all others that can go on now.
            tokio::spawn(self.clone().send_all());
        }
        if unsent.last().is_none_or(SharedCall::is_full) {
            unsent.push(self.new_call());
        }
        if let Some(call) = unsent.last_mut() {
            add(&mut call.script);
            call.bytes += bytes;
            call.callers.push(caller);
        }
    }

    fn new_call(&self) -> SharedCall {
        let mut script = self.script.prepare_invoke();
        for argument in &self.common {
            script.arg(argument);
        }
        SharedCall { script, bytes: 0, callers: Vec::new() }
    }

    /// Sends the calls in the order in which they were made.
    async fn send_all(self: Arc<Self>) {
        for call in std::mem::take(&mut *self.unsent.lock()) {
            tokio::spawn(self.clone().send(call));
        }
    }

    async fn send(self: Arc<Self>, SharedCall { script, callers, .. }: SharedCall) {
        let replies = match self.executor.script_of_many("", self.repeat, &script).await {
            Ok(replies) if replies.len() == callers.len() => replies,
            Ok(_) => vec![Err(unexpected()); callers.len()],
            Err(error) => vec![Err(error); callers.len()],
        };
        for (caller, reply) in callers.into_iter().zip(replies) {
            // A caller that ran out of time waits no more.
            let _ = caller.send(reply);
        }
    }
}
