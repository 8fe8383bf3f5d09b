//! Operations and reads on their way to the store thread.
//!
//! Threads: the exported functions run on a JavaScript thread and only add to the instance's batch.
//! [`flush`] hands the batch to the store thread, which runs the tasks. Each task pushes its own
//! completion.

use napi::bindgen_prelude::Env;
use napi::{Error, Result};
use napi_derive::napi;
use session_store::{Command, DeliverPart, Values, WriterContext};
use tokio::sync::oneshot;

use crate::completions::{Outcome, ReadsPart};
use crate::handles::{StoreHandle, instance_of, with_handle};
use crate::packed::Packed;
use crate::runtime;

/// What a call does. `a`, `b` and `n` are its arguments.
#[napi]
#[derive(Debug)]
pub enum Operation {
    /// `a`: key, `b`: value, `n`: ttl in s (NaN: none).
    Set,
    /// `a`: key.
    Delete,
    /// `a`: key.
    Take,
    /// `a`: key, `n`: ttl in s.
    Increment,
    /// No arguments.
    ListKeys,
    /// No arguments.
    Clear,
    /// `a`: token, `b`: session as JSON.
    Create,
    /// `a`: token, `b`: changes as JSON.
    Update,
    /// `a`: user id.
    List,
    /// `a`: user id, `b`: token of the session that stays (empty: none).
    EndAll,
    /// No arguments.
    Cleanup,
    /// `a`: user id.
    UserHalves,
    /// `a`: user id, `b`: row as JSON, `n`: 1 to write an older row too, `cached`: what
    /// `UserHalves` returned.
    InstallUser,
    /// No arguments.
    Ping,
}

/// Adds a call to this tick's batch. `id`: the number of its completion. `cached`: for
/// [`Operation::Set`], what the near cache has just answered for this key, the latest last.
/// `now`: JavaScript's clock, in ms since the epoch.
#[napi(catch_unwind)]
#[allow(
    clippy::too_many_arguments,
    reason = "an object of them would cost more than the call does"
)]
pub fn submit_call(
    env: Env,
    handle: u32,
    id: u32,
    operation: Operation,
    a: String,
    b: String,
    n: f64,
    now: f64,
    cached: Option<Vec<String>>,
) -> Result<()> {
    with_handle(handle, |StoreHandle { store, instance, credentials }| {
        instance.add_pending(env)?;
        store.follow_clock(now as i64);
        let (store, completions, credentials) =
            (store.clone(), instance.completions.clone(), credentials.clone());
        let writer = WriterContext {
            reads: instance.read_window.get(),
            cached: cached.unwrap_or_default(),
            clock_ahead_ms: now as i64 - session_store::now_ms(),
        };
        let command = command(operation, a, b, n, now as i64, writer);
        instance.batch.borrow_mut().push(Box::pin(async move {
            let outcome = runtime::catch_panic(store.run(command)).await;
            // Dropped first, so that JavaScript learns of the function's release no later than of
            // the call's end.
            drop(credentials);
            completions.push_at_turn_end((id, Outcome::Call(outcome)));
        }));
        Ok(())
    })
}

/// Adds the reads of a store in this tick to its batch. `id`: the number of their completions.
/// `keys`: one or more, separated by NUL. `is_trusted`: the application chose or signed the keys.
/// `now`: as in [`submit_call`].
#[napi(catch_unwind)]
pub fn submit_reads(
    env: Env,
    handle: u32,
    id: u32,
    keys: String,
    is_trusted: bool,
    now: f64,
) -> Result<()> {
    with_handle(handle, |StoreHandle { store, instance, credentials }| {
        instance.add_pending(env)?;
        store.follow_clock(now as i64);
        let (store, completions, credentials) =
            (store.clone(), instance.completions.clone(), credentials.clone());
        instance.batch.borrow_mut().push(Box::pin(async move {
            let queue = completions.clone();
            let mut is_first = true;
            let deliver: DeliverPart = Box::new(move |Values { values, read_number }, is_last| {
                let (taken, waits) =
                    if is_last { (None, None) } else { Some(oneshot::channel()).unzip() };
                let is_whole = std::mem::take(&mut is_first) && is_last;
                let part =
                    ReadsPart { packed: Packed::parts(&values), is_whole, read_number, taken };
                let completion = (id, Outcome::Reads(Ok(part)));
                if is_last {
                    queue.push_at_turn_end(completion);
                } else {
                    // The next part is read only after JavaScript has taken this one, which the
                    // end of the turn would wait for.
                    queue.push_now(completion);
                }
                waits
            });
            let outcome = runtime::catch_panic(store.read(keys, is_trusted, deliver)).await;
            drop(credentials);
            if let Err(error) = outcome {
                completions.push_at_turn_end((id, Outcome::Reads(Err(error))));
            }
        }));
        Ok(())
    })
}

/// Hands this tick's batch to the store thread. Throws when the system refuses the thread; then no
/// call of this instance is pending any more.
#[napi(catch_unwind)]
pub fn flush(env: Env, instance: u32) -> Result<()> {
    let instance = instance_of(instance)?;
    runtime::submit(instance.batch.take()).or_else(|error| {
        instance.remove_all_pending(env)?;
        Err(Error::from_reason(format!("no thread can be started: {error}")))
    })
}

fn command(
    operation: Operation,
    a: String,
    b: String,
    n: f64,
    now: i64,
    writer: WriterContext,
) -> Command {
    match operation {
        Operation::Set => {
            Command::Set { key: a, value: b, ttl: (!n.is_nan()).then_some(n), writer: Some(writer) }
        }
        Operation::Delete => Command::Delete { key: a },
        Operation::Take => Command::Take { key: a },
        Operation::Increment => Command::Increment { key: a, ttl: n },
        Operation::ListKeys => Command::ListKeys,
        Operation::Clear => Command::Clear,
        Operation::Create => Command::Create { token: a, session: b },
        Operation::Update => Command::Update { token: a, changes: b },
        Operation::List => Command::List { user: a },
        Operation::EndAll => Command::EndAll { user: a, except: (!b.is_empty()).then_some(b), now },
        Operation::Cleanup => Command::Cleanup,
        Operation::UserHalves => Command::UserHalves { user: a },
        Operation::InstallUser => Command::InstallUser {
            user: a,
            row: b,
            as_it_is: n == 1.0,
            halves: writer.cached.into_iter().next().unwrap_or_default(),
        },
        Operation::Ping => Command::Ping,
    }
}
