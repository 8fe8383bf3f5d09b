//! A store as [`Sessions`]: hands each command to its operation, and bounds how long it may take.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::state::Store;
use crate::api::{Command, DeliverPart, OperationFuture, Reply, Sessions};
use crate::config::NearCacheSettings;
use crate::credentials::{CredentialsProvider, ProviderRegistration};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::events::EventListener;
use crate::near_cache::{CopyFreshness, Hit};

/// How much longer than `commandTimeout` an operation may take whose steps Redis keeps answering.
const MAX_BUSY: Duration = Duration::from_secs(60);

impl<E: Engine> Sessions for Store<E> {
    fn run(self: Arc<Self>, command: Command) -> OperationFuture<Reply> {
        Box::pin(async move {
            let _in_flight = self.admit(1)?;
            Store::run(&self, command).await
        })
    }

    fn read(
        self: Arc<Self>,
        keys: String,
        is_trusted: bool,
        deliver: DeliverPart,
    ) -> OperationFuture<()> {
        Box::pin(async move {
            let keys: Vec<_> = keys.split('\0').collect();
            let in_flight = self.admit(keys.len())?;
            self.read_in_parts(&keys, is_trusted, in_flight, deliver).await
        })
    }

    fn follow_clock(&self, now_ms: i64) {
        Store::follow_clock(self, now_ms);
    }

    fn expect_session_lifetime(&self, ms: u64) {
        Store::expect_session_lifetime(self, ms);
    }

    fn cached(&self, key: &str) -> Option<Hit> {
        Store::cached(self, key)
    }

    fn fresh_for_ms(&self, key: &str) -> f64 {
        self.near_cache().map_or(0.0, |cache| cache.fresh_for_ms(key))
    }

    fn copy_freshness(&self) -> Option<(Arc<CopyFreshness>, NearCacheSettings)> {
        self.near_cache().map(|cache| (cache.copy_freshness(), cache.settings().clone()))
    }

    fn metrics(&self) -> String {
        Store::metrics(self).to_json()
    }

    fn subscribe(&self) -> Option<EventListener> {
        self.app_hooks().map(|hooks| hooks.events.subscribe())
    }

    fn register(&self, provider: Arc<dyn CredentialsProvider>) -> Option<ProviderRegistration> {
        self.app_hooks().map(|hooks| hooks.credentials.register(provider))
    }
}

impl<E: Engine> Store<E> {
    /// Carries out a command. Each of its steps ends when the server that it waits for is silent
    /// for `commandTimeout`.
    pub(crate) async fn run(self: &Arc<Self>, command: Command) -> Result<Reply> {
        match command {
            Command::ListKeys | Command::Clear | Command::Cleanup => {
                self.with_deadline(self.wait_for_pending_ends()).await?;
                match command {
                    Command::ListKeys => Box::pin(self.list_keys()).await,
                    Command::Clear => Box::pin(self.clear()).await,
                    _ => Box::pin(self.cleanup()).await,
                }
            }
            command => {
                let fallback = self.outage_fallback(&command);
                let outcome = match self.sessions_to_end(&command)? {
                    Some(request) => Box::pin(self.end_sessions(request)).await,
                    None => self.with_deadline(pin!(self.run_one(command))).await,
                };
                self.apply_fallback(fallback, outcome)
            }
        }
    }

    /// Carries out a command that is one operation. Each operation is in a box of its own: else
    /// every call would move as many bytes as the largest of them has, some 15,000.
    async fn run_one(self: &Arc<Self>, command: Command) -> Result<Reply> {
        self.wait_for_pending_ends().await?;
        match command {
            Command::Set { key, value, ttl, writer } => {
                Box::pin(self.set(&key, &value, ttl, writer)).await
            }
            Command::Delete { key } => Box::pin(self.delete(&key)).await.map(|()| Reply::Nothing),
            Command::Take { key } => Box::pin(self.take(&key)).await,
            Command::Increment { key, ttl } => {
                Box::pin(self.increment(&key, ttl)).await.map(Reply::Count)
            }
            Command::Create { token, session } => {
                Box::pin(self.create(&token, &session)).await.map(|()| Reply::Nothing)
            }
            Command::Update { token, changes } => {
                Box::pin(self.update(&token, &changes)).await.map(Reply::from)
            }
            Command::List { user } => Box::pin(self.list(&user)).await.map(Reply::from),
            Command::UserHalves { user } => Box::pin(self.user_halves(&user)).await,
            Command::InstallUser { user, halves, row, as_it_is } => {
                Box::pin(self.install_user(&user, &halves, &row, as_it_is)).await.map(Reply::Count)
            }
            Command::Ping => Box::pin(self.engine.ping()).await.map(|()| Reply::Nothing),
            Command::EndAll { .. } | Command::ListKeys | Command::Clear | Command::Cleanup => {
                unreachable!("run() keeps these")
            }
        }
    }

    /// Ends what would go on for ever because others keep changing the same data. What a silent
    /// server does not answer is ended by the engine.
    pub(super) async fn with_deadline<T>(
        &self,
        step: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let bound = self.command_timeout + MAX_BUSY;
        timeout(bound, step).await.unwrap_or_else(|_| {
            let what = "though Redis answers; a write may or may not have been carried out";
            Err(Error::new(Code::Timeout, format!("not done within {} s, {what}", bound.as_secs())))
        })
    }
}
