//! User name and password from a function of the application, called for each connection, and again
//! before a password expires.
//!
//! A store has one function for each handle that was opened with one. The newest is called. When it
//! goes away without an answer, the one before it is called. No `Debug` output and no message
//! contains an answer.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::{Code, Error, Result};
use crate::sync::Mutex;

/// User name and password. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// ACL user; `None`: as option `username` says.
    pub username: Option<String>,
    /// Password or token.
    pub password: String,
    /// When the password expires, in ms since the epoch; `None`: it does not, as far as is known.
    pub expires_at: Option<i64>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(<redacted>)")
    }
}

/// A function that gives user name and password.
pub trait CredentialsProvider: Send + Sync {
    /// Calls the function. Dropping the request says that the function is gone.
    fn provide(&self, request: CredentialsRequest);
}

/// A request that waits for its answer.
pub struct CredentialsRequest(oneshot::Sender<Result<Login>>);

impl CredentialsRequest {
    /// Answers it.
    pub fn answer(self, login: Login) {
        // The connection attempt may have been given up.
        let _ = self.0.send(Ok(login));
    }

    /// The function failed, or what it resolved to is of no use. `what`: without secrets.
    pub fn refuse(self, code: Code, what: &str) {
        let _ = self.0.send(Err(Error::new(code, format!("credentials: the function {what}"))));
    }
}

/// The functions of one store.
#[derive(Clone, Default)]
pub(crate) struct Credentials(Arc<Mutex<Providers>>);

#[derive(Default)]
struct Providers {
    /// Each with a number of its own, the newest last.
    all: Vec<(u64, Arc<dyn CredentialsProvider>)>,
    last: u64,
}

/// Keeps a function until it is dropped.
pub struct ProviderRegistration {
    credentials: Credentials,
    number: u64,
}

impl Credentials {
    /// From now on this one is called, until the registration is dropped or a newer one comes.
    pub(crate) fn register(&self, provider: Arc<dyn CredentialsProvider>) -> ProviderRegistration {
        let mut providers = self.0.lock();
        providers.last += 1;
        let number = providers.last;
        providers.all.push((number, provider));
        ProviderRegistration { credentials: self.clone(), number }
    }

    /// Gets user name and password.
    pub(crate) async fn login(&self) -> Result<Login> {
        let mut before = u64::MAX;
        loop {
            let newest = {
                let providers = self.0.lock();
                providers.all.iter().rev().find(|(number, _)| *number < before).cloned()
            };
            let Some((number, provider)) = newest else {
                let what = "credentials: the function is gone with the worker thread or store that gave it; \
                    open a store with the option credentials where it lives as long as it is needed";
                return Err(Error::new(Code::Auth, what));
            };
            let (request, answer) = oneshot::channel();
            provider.provide(CredentialsRequest(request));
            // Held here, it would keep the request of a function that goes away.
            drop(provider);
            match answer.await {
                Ok(answer) => return answer,
                Err(_) => before = number,
            }
        }
    }
}

impl Drop for ProviderRegistration {
    fn drop(&mut self) {
        let mut providers = self.credentials.0.lock();
        let place = providers.all.iter().position(|(number, _)| *number == self.number);
        let gone = place.map(|place| providers.all.remove(place));
        drop(providers);
        // Its drop may drop other registrations, so it is not done under the lock.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with a password, or with nothing.
    struct Says(Option<&'static str>);

    impl CredentialsProvider for Says {
        fn provide(&self, request: CredentialsRequest) {
            if let Some(password) = self.0 {
                request.answer(Login {
                    username: None,
                    password: password.into(),
                    expires_at: None,
                });
            }
        }
    }

    async fn password(credentials: &Credentials) -> Option<String> {
        credentials.login().await.ok().map(|login| login.password)
    }

    #[tokio::test]
    async fn the_newest_that_lives_is_called() {
        let credentials = Credentials::default();
        assert_eq!(credentials.login().await.unwrap_err().code, Code::Auth);
        let _old = credentials.register(Arc::new(Says(Some("old"))));
        let new = credentials.register(Arc::new(Says(Some("new"))));
        assert_eq!(password(&credentials).await.as_deref(), Some("new"));
        let mute = credentials.register(Arc::new(Says(None)));
        assert_eq!(password(&credentials).await.as_deref(), Some("new"));
        drop((mute, new));
        assert_eq!(password(&credentials).await.as_deref(), Some("old"));
    }

    #[test]
    fn nothing_shows_a_login() {
        let login =
            Login { username: Some("secret".into()), password: "secret".into(), expires_at: None };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
