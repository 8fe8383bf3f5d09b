//! A store as [`Sessions`]: hands each command to its operation, and bounds how long it may take.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::state::Store;
use crate::api::{Command, Reply, Running, Sessions, Take};
use crate::config::NearCacheSettings;
use crate::credentials::{Provider, Registration};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::events::Listener;
use crate::near_cache::{Hit, Shared};

/// How much longer than `commandTimeout` an operation may take whose steps Redis keeps answering.
const MOST_BUSY: Duration = Duration::from_secs(60);

impl<E: Engine> Sessions for Store<E> {
    fn run(self: Arc<Self>, command: Command) -> Running<Reply> {
        Box::pin(async move {
            let _entered = self.enter(1)?;
            Store::run(&self, command).await
        })
    }

    fn read(self: Arc<Self>, keys: String, is_trusted: bool, take: Take) -> Running<()> {
        Box::pin(async move {
            let keys: Vec<_> = keys.split('\0').collect();
            let entered = self.enter(keys.len())?;
            self.read_in_parts(&keys, is_trusted, entered, take).await
        })
    }

    fn follow_clock(&self, now_ms: i64) {
        Store::follow_clock(self, now_ms);
    }

    fn expect_life(&self, ms: u64) {
        Store::expect_life(self, ms);
    }

    fn cached(&self, key: &str) -> Option<Hit> {
        Store::cached(self, key)
    }

    fn life_ms(&self, key: &str) -> f64 {
        self.near_cache().map_or(0.0, |cache| cache.life_ms(key))
    }

    fn shared(&self) -> Option<(Arc<Shared>, NearCacheSettings)> {
        self.near_cache().map(|cache| (cache.shared(), cache.settings().clone()))
    }

    fn metrics(&self) -> String {
        Store::metrics(self).to_json()
    }

    fn listen(&self) -> Option<Listener> {
        self.connected().map(|connected| connected.events.listen())
    }

    fn register(&self, provider: Arc<dyn Provider>) -> Option<Registration> {
        self.connected().map(|connected| connected.credentials.register(provider))
    }
}

impl<E: Engine> Store<E> {
    /// Carries out a command. Each of its steps ends when the server that it waits for is silent
    /// for `commandTimeout`.
    pub(crate) async fn run(self: &Arc<Self>, command: Command) -> Result<Reply> {
        match command {
            Command::ListKeys | Command::Clear | Command::Cleanup => {
                self.in_time(self.settled()).await?;
                match command {
                    Command::ListKeys => Box::pin(self.list_keys()).await,
                    Command::Clear => Box::pin(self.clear()).await,
                    _ => Box::pin(self.cleanup()).await,
                }
            }
            command => {
                let kept = self.kept(&command);
                let outcome = match self.ending(&command)? {
                    Some(ending) => Box::pin(self.end_in_time(ending)).await,
                    None => self.in_time(pin!(self.run_one(command))).await,
                };
                self.keep(kept, outcome)
            }
        }
    }

    /// Each operation in a box of its own: else every call would move as many bytes as the largest
    /// of them has, some 15,000.
    async fn run_one(self: &Arc<Self>, command: Command) -> Result<Reply> {
        self.settled().await?;
        match command {
            Command::Set { key, value, ttl, read } => {
                Box::pin(self.set(&key, &value, ttl, read)).await
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

    /// The engine ends what a silent server does not answer. This ends what goes on for ever, as
    /// others keep changing what it is about.
    pub(super) async fn in_time<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        let bound = self.command_timeout + MOST_BUSY;
        timeout(bound, step).await.unwrap_or_else(|_| {
            let what = "though Redis answers; a write may or may not have been carried out";
            Err(Error::new(Code::Timeout, format!("not done within {} s, {what}", bound.as_secs())))
        })
    }
}
