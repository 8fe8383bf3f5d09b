//! User name and password by a function of the application's, which is asked at each connection,
//! and again before a password expires.
//!
//! A store has as many functions as handles that brought one. The newest is asked; one that goes
//! away without an answer leaves the question to the one before it. No `Debug` output and no
//! message contains what was answered.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Code, Error, Result};

/// What to log in with. `Debug` shows none of it.
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

/// Something that can be asked.
pub trait Provider: Send + Sync {
    /// Hands on a question. Dropping it says that nobody is there to answer.
    fn ask(&self, question: Question);
}

/// A question that waits for its answer.
pub struct Question(oneshot::Sender<Result<Login>>);

impl Question {
    /// Answers it.
    pub fn answer(self, login: Login) {
        // It is no loss that nobody waits any more.
        let _ = self.0.send(Ok(login));
    }

    /// The function failed, or what it resolved to is of no use. `what`: without secrets.
    pub fn refuse(self, code: Code, what: &str) {
        let _ = self.0.send(Err(Error::new(code, format!("credentials: the function {what}"))));
    }
}

/// The functions of one store.
#[derive(Clone, Default)]
pub(crate) struct Credentials(Arc<Mutex<Given>>);

#[derive(Default)]
struct Given {
    /// Each with a number of its own, the newest last.
    providers: Vec<(u64, Arc<dyn Provider>)>,
    last: u64,
}

/// Keeps a function until it is dropped.
pub struct Registration {
    credentials: Credentials,
    number: u64,
}

impl Credentials {
    /// From now on this one is asked, until the registration is dropped or a newer one comes.
    pub(crate) fn register(&self, provider: Arc<dyn Provider>) -> Registration {
        let mut given = self.lock();
        given.last += 1;
        let number = given.last;
        given.providers.push((number, provider));
        Registration { credentials: self.clone(), number }
    }

    /// Asks for what to log in with.
    pub(crate) async fn ask(&self) -> Result<Login> {
        let mut before = u64::MAX;
        loop {
            let newest = {
                let given = self.lock();
                given.providers.iter().rev().find(|(number, _)| *number < before).cloned()
            };
            let Some((number, provider)) = newest else {
                let what = "credentials: the function is gone with the worker thread or store that gave it; \
                    open a store with the option credentials where it lives as long as it is needed";
                return Err(Error::new(Code::Auth, what));
            };
            let (question, answer) = oneshot::channel();
            provider.ask(Question(question));
            // What is held here would keep the question of one that goes away.
            drop(provider);
            match answer.await {
                Ok(answer) => return answer,
                Err(_) => before = number,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut given = self.credentials.lock();
        let place = given.providers.iter().position(|(number, _)| *number == self.number);
        let gone = place.map(|place| given.providers.remove(place));
        drop(given);
        // May take others with it, so not under the lock.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with a password, or with nothing.
    struct Says(Option<&'static str>);

    impl Provider for Says {
        fn ask(&self, question: Question) {
            if let Some(password) = self.0 {
                question.answer(Login {
                    username: None,
                    password: password.into(),
                    expires_at: None,
                });
            }
        }
    }

    async fn password(credentials: &Credentials) -> Option<String> {
        credentials.ask().await.ok().map(|login| login.password)
    }

    #[tokio::test]
    async fn the_newest_that_lives_is_asked() {
        let credentials = Credentials::default();
        assert_eq!(credentials.ask().await.unwrap_err().code, Code::Auth);
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
