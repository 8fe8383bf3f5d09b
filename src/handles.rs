//! The tables behind the numbers that JavaScript holds: module instances and open stores.
//!
//! Threads: both tables are thread-local. A number is valid on the JavaScript thread that got it,
//! until its environment ends. The cleanup hook of [`attach`] then empties both.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::{Env, Function, Object};
use napi::{Error, Result, Status, check_status, sys};
use napi_derive::napi;
use session_store::{Config, CredentialsRequest, ProviderRegistration, ReadWindow, Sessions};

use crate::completions::CompletionQueue;
use crate::runtime::Task;
use crate::waker::Waker;

/// One instance of `lib/` on one JavaScript thread.
pub(crate) struct ModuleInstance {
    pub(crate) completions: Arc<CompletionQueue>,
    waker: sys::napi_threadsafe_function,
    /// Calls of this tick that are not yet handed to the store thread.
    pub(crate) batch: RefCell<Vec<Task>>,
    /// Calls that JavaScript waits for. While there are any, they keep the process alive.
    pending: Cell<usize>,
    /// The reads that the last wake-up answered. Better Auth writes a session back in the same run of
    /// microtasks that its read started.
    pub(crate) read_window: Cell<ReadWindow>,
    /// Requests for credentials that JavaScript has not answered yet, by number.
    pub(crate) credentials_requests: RefCell<HashMap<u32, CredentialsRequest>>,
    pub(crate) last_request: Cell<u32>,
}

impl ModuleInstance {
    /// Counts one more call that JavaScript waits for.
    pub(crate) fn add_pending(&self, env: Env) -> Result<()> {
        if self.pending.get() == 0 {
            // SAFETY: this is the thread of `env`. Its cleanup hook empties the tables before it
            // releases the threadsafe function, so an instance never outlives the function.
            check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.waker) })?;
        }
        self.pending.set(self.pending.get() + 1);
        Ok(())
    }

    /// Counts `settled` calls less.
    pub(crate) fn remove_pending(&self, env: Env, settled: usize) -> Result<()> {
        self.pending.set(self.pending.get() - settled);
        if self.pending.get() == 0 && settled > 0 {
            // SAFETY: as in `ModuleInstance::add_pending`.
            check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.waker) })?;
        }
        Ok(())
    }

    /// Counts every pending call as settled.
    pub(crate) fn remove_all_pending(&self, env: Env) -> Result<()> {
        self.remove_pending(env, self.pending.get())
    }
}

/// An open store, as one module instance holds it.
pub(crate) struct StoreHandle {
    pub(crate) store: Arc<dyn Sessions>,
    pub(crate) instance: Rc<ModuleInstance>,
    /// Keeps this handle's credentials function registered. Calls in flight hold it as well,
    /// because they may need a connection.
    pub(crate) credentials: Option<Arc<ProviderRegistration>>,
}

thread_local! {
    static INSTANCES: RefCell<Vec<Rc<ModuleInstance>>> = const { RefCell::new(Vec::new()) };
    static HANDLES: RefCell<Vec<Option<StoreHandle>>> = const { RefCell::new(Vec::new()) };
}

/// Registers this module instance and returns its number. `onCompletions` is called when `drain`
/// has something to return. `resource` is what async hooks see in place of the addon's function.
#[napi(catch_unwind)]
pub fn attach(env: Env, on_completions: Function<(), ()>, resource: Object) -> Result<u32> {
    let waker = Waker::new(env, on_completions, resource)?;
    let raw = waker.raw();
    let completions = Arc::new(CompletionQueue::new(waker));
    // Hooks run in reverse order. This one is registered after the threadsafe function, so it runs
    // before Node.js tears that down.
    let closing = completions.clone();
    env.add_env_cleanup_hook((), move |()| {
        closing.close();
        HANDLES.take();
        INSTANCES.take();
    })?;
    let instance = ModuleInstance {
        completions,
        waker: raw,
        batch: RefCell::default(),
        pending: Cell::new(0),
        read_window: Cell::default(),
        credentials_requests: RefCell::default(),
        last_request: Cell::new(0),
    };
    INSTANCES.with_borrow_mut(|instances| {
        instances.push(Rc::new(instance));
        Ok(instances.len() as u32 - 1)
    })
}

/// Throws what is wrong with the options of a store (JSON), one problem a line.
#[napi(catch_unwind)]
pub fn check_options(options: String) -> Result<()> {
    parse_options(&options).map(drop)
}

/// Trusts the certificates of a PEM text beside the public authorities; see `trust_certificates` of
/// the core. Returns whether all of it could be read.
#[napi(catch_unwind)]
pub fn trust_certificates(pem: String) -> bool {
    session_store::trust_certificates(&pem)
}

/// Opens a store for the options (JSON) and returns its handle. Throws as [`check_options`] does,
/// and for prefixes that nest in an open store's.
#[napi(catch_unwind)]
pub fn open(instance: u32, options: String) -> Result<u32> {
    let store = session_store::open(parse_options(&options)?)
        .map_err(|problem| Error::new(Status::InvalidArg, problem.to_string()))?;
    let handle = StoreHandle { store, instance: instance_of(instance)?, credentials: None };
    HANDLES.with_borrow_mut(|handles| {
        handles.push(Some(handle));
        Ok(handles.len() as u32 - 1)
    })
}

/// Releases a handle. Calls in flight complete as usual; the connection ends with the last handle.
#[napi(catch_unwind)]
pub fn close(handle: u32) {
    let released =
        HANDLES.with_borrow_mut(|handles| handles.get_mut(handle as usize).and_then(Option::take));
    // Outside the borrow: dropping a store may run code that needs the table.
    drop(released);
}

/// Sets how long sessions live, in s. A user's not-before marker then lives as long.
#[napi(catch_unwind)]
pub fn set_session_life(handle: u32, seconds: f64) -> Result<()> {
    with_handle(handle, |StoreHandle { store, .. }| {
        store.expect_session_lifetime((seconds * 1000.0) as u64);
        Ok(())
    })
}

/// The metrics of a store, as JSON.
#[napi(catch_unwind)]
pub fn metrics(handle: u32) -> Result<String> {
    with_handle(handle, |StoreHandle { store, .. }| Ok(store.metrics()))
}

/// Uses the open store of a handle. Fails when there is none on this thread.
pub(crate) fn with_handle<T>(
    number: u32,
    use_it: impl FnOnce(&StoreHandle) -> Result<T>,
) -> Result<T> {
    HANDLES.with_borrow(|handles| {
        use_it(handles.get(number as usize).and_then(Option::as_ref).ok_or_else(unknown_number)?)
    })
}

/// As [`with_handle`], to change the handle.
pub(crate) fn with_handle_mut<T>(
    number: u32,
    use_it: impl FnOnce(&mut StoreHandle) -> Result<T>,
) -> Result<T> {
    HANDLES.with_borrow_mut(|handles| {
        use_it(
            handles.get_mut(number as usize).and_then(Option::as_mut).ok_or_else(unknown_number)?,
        )
    })
}

/// The module instance of a number that [`attach`] returned.
pub(crate) fn instance_of(number: u32) -> Result<Rc<ModuleInstance>> {
    INSTANCES
        .with_borrow(|instances| instances.get(number as usize).cloned())
        .ok_or_else(unknown_number)
}

/// The error for a number that is in no table of this thread.
pub(crate) fn unknown_number() -> Error {
    Error::new(Status::InvalidArg, "no such handle on this thread")
}

fn parse_options(options: &str) -> Result<Config> {
    Config::from_json(options)
        .map_err(|problems| Error::new(Status::InvalidArg, problems.join("\n")))
}
