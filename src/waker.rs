//! Wakes a JavaScript thread, by a threadsafe function with an async resource of its own. napi's
//! has no resource, so tools that watch async hooks take it for a handle that keeps the process
//! alive (Jest's `--detectOpenHandles`).
//!
//! Threads: made and dropped on the JavaScript thread, called on any thread.

use std::ptr;

use napi::bindgen_prelude::{Env, Function, Object};
use napi::{JsValue, Result, check_status, sys};

/// Calls a function on its own JavaScript thread, from any thread. Alone it does not keep the
/// process alive.
pub(crate) struct Waker(sys::napi_threadsafe_function);

// SAFETY: Node-API lets any thread call a threadsafe function and release it.
unsafe impl Send for Waker {}
// SAFETY: as above; calls from several threads at once are allowed.
unsafe impl Sync for Waker {}

impl Waker {
    pub(crate) fn new(env: Env, function: Function<(), ()>, resource: Object) -> Result<Self> {
        let name = env.create_string("better-auth-redis-store")?;
        let mut raw = ptr::null_mut();
        // SAFETY: the values are of `env`, and this is its thread. The null pointers are allowed:
        // without a callback Node.js calls `function` itself, with no arguments.
        check_status!(unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                function.raw(),
                resource.raw(),
                name.raw(),
                0, // no bound on the queue: a completion queue has one wake-up under way at most
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                None,
                &mut raw,
            )
        })?;
        let waker = Waker(raw);
        // SAFETY: on the thread of `env`, and `raw` was made just now.
        check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), raw) })?;
        Ok(waker)
    }

    /// The function itself, valid until this is dropped.
    pub(crate) fn raw(&self) -> sys::napi_threadsafe_function {
        self.0
    }

    pub(crate) fn wake(&self) {
        // SAFETY: the function is released only when this is dropped. The call may fail while the
        // environment ends; then JavaScript waits for nothing any more.
        unsafe {
            sys::napi_call_threadsafe_function(
                self.0,
                ptr::null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        // SAFETY: the function was made for one thread, and this is its one release. Its
        // environment still exists, because the cleanup hook of `attach` drops this first.
        unsafe {
            sys::napi_release_threadsafe_function(
                self.0,
                sys::ThreadsafeFunctionReleaseMode::release,
            )
        };
    }
}
