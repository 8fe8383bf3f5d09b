//! Synchronous reads of a store's near cache.
//!
//! Threads: the functions run on a JavaScript thread and read the process's table directly. The
//! memory of [`near_cache_memory`] is written by the store thread and read by one JavaScript
//! thread, without a call.

use std::sync::Arc;

use napi::bindgen_prelude::{ArrayBuffer, Either3, Env, Null};
use napi::{JsString, Result};
use napi_derive::napi;
use session_store::{CopyFreshness, Hit, TwoClockTime};

use crate::handles::{StoreHandle, with_handle};
use crate::text::{to_js_string, with_utf8};

/// Most keys are shorter, in bytes.
const KEY_BYTES: usize = 256;

/// What a key holds according to the near cache: a text, or null where there is nothing. Undefined
/// when the near cache does not know.
#[napi(catch_unwind)]
pub fn cached<'env>(
    env: &'env Env,
    handle: u32,
    key: JsString<'env>,
) -> Result<Either3<JsString<'env>, Null, ()>> {
    let hit = with_handle(handle, |StoreHandle { store, .. }| {
        with_utf8::<KEY_BYTES, _>(env, &key, |key| store.cached(key))
    })?;
    match hit.as_ref().map(Hit::text) {
        Some(Some(text)) => to_js_string(env, text).map(Either3::A),
        Some(None) => Ok(Either3::B(Null)),
        None => Ok(Either3::C(())),
    }
}

/// For how many ms what [`cached`] returned stays valid, while the memory of [`near_cache_memory`]
/// says that nothing has changed.
#[napi(catch_unwind)]
pub fn cached_life_ms(env: &Env, handle: u32, key: JsString) -> Result<f64> {
    with_handle(handle, |StoreHandle { store, .. }| {
        with_utf8::<KEY_BYTES, _>(env, &key, |key| store.fresh_for_ms(key))
    })
}

/// What a JavaScript thread needs to keep copies of the near cache's values.
#[napi(object)]
pub struct NearCacheMemory<'env> {
    /// The last sign of life by the clock of [`monotonic_ms`] and by the wall clock (two doubles,
    /// in ms), then 32-bit integers: hits of the copies, and for each stripe of keys a counter of
    /// removals.
    pub memory: ArrayBuffer<'env>,
    /// How old a sign of life may be, in ms.
    pub max_staleness_ms: f64,
    /// How much the near cache may hold, in bytes.
    pub max_bytes: f64,
}

/// The near cache's memory for this module instance. Null when the store has no near cache, or the
/// runtime allows no external memory.
#[napi(catch_unwind)]
pub fn near_cache_memory<'env>(
    env: &'env Env,
    handle: u32,
) -> Result<Option<NearCacheMemory<'env>>> {
    let Some((shared, settings)) =
        with_handle(handle, |StoreHandle { store, .. }| Ok(store.copy_freshness()))?
    else {
        return Ok(None);
    };
    let address: *mut u8 = Arc::as_ptr(&shared).cast_mut().cast();
    // SAFETY: `address` points to `size_of::<CopyFreshness>()` initialized bytes. The finalizer owns the
    // `Arc`, so they live until JavaScript has collected the buffer. `CopyFreshness` consists of atomics.
    // JavaScript reads its integers atomically and its doubles as aligned words of 8 bytes, which
    // the platforms of this package do not tear. It adds to the hits atomically and writes nothing
    // else.
    let memory = unsafe {
        ArrayBuffer::from_external(env, address, size_of::<CopyFreshness>(), shared, |_, shared| {
            drop(shared)
        })
    }?;
    if memory.as_ptr() != address {
        // A runtime that allows no external memory returns a copy, which would never change.
        return Ok(None);
    }
    let max_staleness_ms = settings.max_staleness.as_secs_f64() * 1e3;
    Ok(Some(NearCacheMemory { memory, max_staleness_ms, max_bytes: settings.max_bytes as f64 }))
}

/// The monotonic clock of [`near_cache_memory`], in ms.
#[napi(catch_unwind)]
pub fn monotonic_ms() -> f64 {
    TwoClockTime::now().monotonic_ms
}
