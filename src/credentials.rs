//! The application's function for user name and password (option `credentials`).
//!
//! Threads: the store thread asks. The request travels to the JavaScript thread as a completion,
//! and its answer comes back by [`answer_credentials`] or [`reject_credentials`]. A request that is
//! dropped makes the store try the function of another handle.

use std::sync::Arc;

use napi::Result;
use napi_derive::napi;
use session_store::{Code, CredentialsProvider, CredentialsRequest, Login};

use crate::completions::{CompletionQueue, NOT_A_CALL, Outcome};
use crate::handles::{instance_of, unknown_number, with_handle_mut};

/// Calls the credentials function of one handle.
struct CredentialsFunction {
    handle: u32,
    completions: Arc<CompletionQueue>,
}

impl CredentialsProvider for CredentialsFunction {
    fn provide(&self, request: CredentialsRequest) {
        let outcome = Outcome::CredentialsWanted { handle: self.handle, request };
        self.completions.push_now((NOT_A_CALL, outcome));
    }
}

impl Drop for CredentialsFunction {
    fn drop(&mut self) {
        let outcome = Outcome::CredentialsReleased { handle: self.handle };
        self.completions.push_now((NOT_A_CALL, outcome));
    }
}

/// From now on a store's connections request user name and password from this module instance,
/// through what `drain` returns, until the handle is released. Of several handles of one store, the
/// newest that registered is asked.
#[napi(catch_unwind)]
pub fn register_credentials(handle: u32) -> Result<()> {
    with_handle_mut(handle, |entry| {
        let completions = entry.instance.completions.clone();
        let function = CredentialsFunction { handle, completions };
        entry.credentials = entry.store.register(Arc::new(function)).map(Arc::new);
        Ok(())
    })
}

/// Answers a request for user name and password. `expires_at`: when the password expires, in ms
/// since the epoch.
#[napi(catch_unwind)]
pub fn answer_credentials(
    instance: u32,
    request: u32,
    password: String,
    username: Option<String>,
    expires_at: Option<f64>,
) -> Result<()> {
    let expires_at = expires_at.map(|ms| ms as i64);
    take_request(instance, request)?.answer(Login { username, password, expires_at });
    Ok(())
}

/// Answers that there are none: the function failed, or (`is_wrong`) it returned something
/// unusable. `problem`: a text without secrets.
#[napi(catch_unwind)]
pub fn reject_credentials(
    instance: u32,
    request: u32,
    is_wrong: bool,
    problem: String,
) -> Result<()> {
    let code = if is_wrong { Code::InvalidArgument } else { Code::Auth };
    take_request(instance, request)?.refuse(code, &problem);
    Ok(())
}

fn take_request(instance: u32, request: u32) -> Result<CredentialsRequest> {
    instance_of(instance)?
        .credentials_requests
        .borrow_mut()
        .remove(&request)
        .ok_or_else(unknown_number)
}
