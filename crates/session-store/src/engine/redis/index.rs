//! A user's index: its commands, and what another store left in its place or beside it.
//!
//! The guide's own code left a plain set under the index's key: it is converted when a command
//! meets it. `@better-auth/redis-storage` left a list beside it (the legacy list): it is folded
//! into the index before the index is read.

use ::redis::{Cmd, FromRedisValue, Value, cmd};
use futures_util::future::try_join_all;
use serde_json::value::RawValue;

use super::executor::{Executor, Repeat};
use super::replies;
use super::route::Route;
use super::scripts::{self, Script, ScriptInvocation};
use crate::engine::LOWEST_SCORE;
use crate::error::{Code, Result};

/// Life of an index entry whose record was not looked at, in ms: Better Auth's own default. A prune
/// removes it earlier if it is dead.
const UNKNOWN_LIFE_MS: u64 = 7 * 24 * 3_600_000;

/// No expiry in a list is taken to be later than this: the end of the year 9999, in ms since the
/// epoch.
const FURTHEST_MS: f64 = 253_402_300_799_999.0;

/// How many entries of a list are folded by one script.
const FOLDED: usize = 500;

impl<R: Route> Executor<R> {
    /// A call of a script on a user's index. A plain set is converted first.
    pub(super) async fn on_index<T: FromRedisValue + Send>(
        &self,
        script: &Script,
        user: &str,
        add: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T> {
        let key = self.keyspace.index(user);
        let mut call = script.key(&key);
        add(&mut call);
        match self.script(&key, Repeat::Safe, &call).await {
            Err(error) if error.code == Code::Protocol && self.convert_plain_set(user).await? => {
                self.script(&key, Repeat::Safe, &call).await
            }
            reply => reply,
        }
    }

    /// As [`Executor::on_index`], of a command whose first argument is the index.
    pub(super) async fn index_command<T: FromRedisValue + Send>(
        &self,
        name: &str,
        user: &str,
        add: impl FnOnce(&mut Cmd),
    ) -> Result<T> {
        let key = self.keyspace.index(user);
        let mut command = cmd(name);
        command.arg(&key);
        add(&mut command);
        match self.command(&key, Repeat::Safe, &command).await {
            Err(error) if error.code == Code::Protocol && self.convert_plain_set(user).await? => {
                self.command(&key, Repeat::Safe, &command).await
            }
            reply => reply,
        }
    }

    /// Makes a sorted set of the plain set under an index's key. `false`: it was none.
    async fn convert_plain_set(&self, user: &str) -> Result<bool> {
        let key = self.keyspace.index(user);
        if self.command::<String>(&key, Repeat::Safe, cmd("TYPE").arg(&key)).await? != "set" {
            return Ok(false);
        }
        let ids: Vec<String> = self.command(&key, Repeat::Safe, cmd("SMEMBERS").arg(&key)).await?;
        let lives = try_join_all(ids.iter().map(|id| self.life(id))).await?;
        let mut call = scripts::CONVERT_PLAIN_SET.key(&key);
        call.arg(UNKNOWN_LIFE_MS);
        for (id, life) in ids.iter().zip(lives) {
            call.arg(id).arg(life);
        }
        self.script::<Value>(&key, Repeat::Safe, &call).await?;
        Ok(true)
    }

    /// What a record has left, in ms; less than 0: there is none, or it has no end.
    pub(super) async fn life(&self, id: &str) -> Result<i64> {
        let key = self.keyspace.key(id);
        self.command(&key, Repeat::Safe, cmd("PTTL").arg(&key)).await
    }

    /// The ids in a user's index with their expiries in ms since the epoch, the soonest first.
    pub(super) async fn index_entries(&self, user: &str) -> Result<Vec<(String, i64)>> {
        let add = |zrange: &mut Cmd| _ = zrange.arg(0).arg(-1).arg("WITHSCORES");
        Ok(replies::with_expiries_in_ms(self.index_command("ZRANGE", user, add).await?))
    }

    /// See [`Engine::ids_from`](crate::engine::Engine::ids_from).
    pub(super) async fn ids_from(
        &self,
        user: &str,
        from: &str,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        if from == LOWEST_SCORE {
            self.fold(user).await?;
        }
        let add = |zrange: &mut Cmd| {
            zrange.arg(from).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(count);
        };
        self.index_command("ZRANGEBYSCORE", user, add).await
    }

    /// Folds the legacy list into the index, and deletes it.
    pub(super) async fn fold(&self, user: &str) -> Result<()> {
        let key = self.keyspace.legacy_index(user);
        let list: Option<Vec<u8>> = self.command(&key, Repeat::Safe, cmd("GET").arg(&key)).await?;
        let Some(list) = list else { return Ok(()) };
        for part in legacy_entries(&list).chunks(FOLDED) {
            let add = |call: &mut ScriptInvocation<'_>| {
                for (expires_at, token) in part {
                    call.arg(*expires_at as i64).arg(token);
                }
            };
            let _: Value = self.on_index(&scripts::FOLD_LEGACY_LIST, user, add).await?;
        }
        let mut delete = scripts::DELETE_LEGACY_LIST.key(&key);
        delete.arg(list);
        self.script::<Value>(&key, Repeat::Safe, &delete).await.map(drop)
    }
}

/// The expiries (ms since the epoch) and tokens in a legacy list. Each entry is read by itself: one
/// that is malformed hides no other. Anything but a list has none.
fn legacy_entries(list: &[u8]) -> Vec<(f64, String)> {
    let entries: Vec<&RawValue> = serde_json::from_slice(list).unwrap_or_default();
    let entry = |entry: &&RawValue| {
        let entry: serde_json::Value = serde_json::from_str(entry.get()).ok()?;
        let expires_at = entry.get("expiresAt")?.as_f64()?.clamp(0.0, FURTHEST_MS);
        Some((expires_at, entry.get("token")?.as_str()?.to_owned()))
    };
    entries.iter().filter_map(entry).collect()
}
