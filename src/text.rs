//! Strings between JavaScript and Rust.
//!
//! Threads: on the JavaScript thread that the environment belongs to.

use napi::bindgen_prelude::Env;
use napi::{JsString, JsValue, Result, check_status, sys};

/// A JavaScript string. ASCII, which session records mostly are, needs no decoding. Fails when V8
/// has no string of this length.
pub(crate) fn to_js_string<'env>(env: &'env Env, text: &str) -> Result<JsString<'env>> {
    if text.is_ascii() { env.create_string_latin1(text) } else { env.create_string(text) }
}

/// Uses a JavaScript string as UTF-8. It is copied to the stack when it has less than `N - 4`
/// bytes, else to the heap.
pub(crate) fn with_utf8<const N: usize, T>(
    env: &Env,
    text: &JsString,
    use_it: impl FnOnce(&str) -> T,
) -> Result<T> {
    let mut buffer = [0_u8; N];
    let mut length = 0;
    // SAFETY: `text` is a live value of `env`, whose thread this is. `buffer` has the length that
    // is passed, and Node.js writes at most so many bytes, a NUL included.
    check_status!(unsafe {
        sys::napi_get_value_string_utf8(
            env.raw(),
            text.raw(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &mut length,
        )
    })?;
    // Node.js writes whole characters only: within four bytes of the end, some may be missing.
    match str::from_utf8(&buffer[..length]) {
        Ok(short) if length < buffer.len() - 4 => Ok(use_it(short)),
        _ => Ok(use_it(&text.into_utf8()?.into_owned()?)),
    }
}
