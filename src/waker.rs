//! A threadsafe function that has a resource of its own. napi's gives it none, and whoever watches
//! async hooks then takes it for a handle that keeps the process alive (Jest's
//! `--detectOpenHandles`).

use std::ptr;

use napi::bindgen_prelude::{Env, Function, Object};
use napi::{JsValue, Result, check_status, sys};

/// Calls a function on its own thread, from any thread. Weak: alone it keeps no process alive.
pub(crate) struct Waker(sys::napi_threadsafe_function);

// SAFETY: Node-API lets any thread call a threadsafe function and release it.
unsafe impl Send for Waker {}
// SAFETY: as above.
unsafe impl Sync for Waker {}

impl Waker {
    pub(crate) fn new(env: Env, function: Function<(), ()>, resource: Object) -> Result<Self> {
        let name = env.create_string("better-auth-redis-store")?;
        let mut raw = ptr::null_mut();
        // SAFETY: the values are of `env`, and this is its thread. Without a callback Node.js calls
        // `function` itself, with no arguments.
        check_status!(unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                function.raw(),
                resource.raw(),
                name.raw(),
                0, // no bound on the queue: `Completions` has one wake-up under way at most
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                None,
                &mut raw,
            )
        })?;
        let waker = Waker(raw);
        // SAFETY: on the thread of `env`.
        check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), raw) })?;
        Ok(waker)
    }

    /// Valid until this is dropped.
    pub(crate) fn raw(&self) -> sys::napi_threadsafe_function {
        self.0
    }

    pub(crate) fn wake(&self) {
        // SAFETY: it is released only when this is dropped. It may refuse, when its environment
        // ends: nobody waits then.
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
        // SAFETY: the one release of the one thread that it was made for. Its environment is there:
        // `attach` has a hook that drops this first.
        unsafe {
            sys::napi_release_threadsafe_function(
                self.0,
                sys::ThreadsafeFunctionReleaseMode::release,
            )
        };
    }
}
