//! Events of a store's connection, on their way to JavaScript.
//!
//! Threads: a task on the store thread listens and pushes each event as a completion. It keeps no
//! process alive.

use napi::Result;
use napi_derive::napi;

use crate::completions::{NOT_A_CALL, Outcome};
use crate::handles::{StoreHandle, with_handle};
use crate::runtime;

/// From now on `drain` also returns the events of a store's connection. The store in memory has
/// none.
#[napi(catch_unwind)]
pub fn watch_events(handle: u32) -> Result<()> {
    with_handle(handle, |StoreHandle { store, instance, .. }| {
        let Some(mut listener) = store.subscribe() else { return Ok(()) };
        let completions = instance.completions.clone();
        // The batched task only starts another one, which lasts as long as the store. As a batched
        // task itself it would count as work in progress.
        instance.batch.borrow_mut().push(Box::pin(async move {
            runtime::spawn(async move {
                while let Some(event) = listener.next().await
                    && !completions.is_closed()
                {
                    completions.push_now((NOT_A_CALL, Outcome::Event { handle, event }));
                }
            });
        }));
        Ok(())
    })
}
