//! What another store left in place of a user's index, or beside it, and the ids of an index.

use ::redis::{Cmd, FromRedisValue, Value, cmd};
use futures_util::future::try_join_all;
use serde_json::value::RawValue;

use super::scripts::{self, Script, ScriptInvocation};
use super::steps::{Repeat, Route, Steps};
use crate::engine::LOWEST;
use crate::error::{Code, Result};

/// Life of an index entry whose record nobody looked at, in ms: Better Auth's own default. Pruned
/// earlier if it is dead.
const UNKNOWN_LIFE_MS: u64 = 7 * 24 * 3_600_000;

/// No expiry in a list is taken to be later than this: the end of the year 9999, in ms since the
/// epoch.
const FURTHEST_MS: f64 = 253_402_300_799_999.0;

/// How many entries of a list are folded by one script.
const FOLDED: usize = 500;

impl<R: Route> Steps<R> {
    /// A call of a script on a user's index. One that the guide's own code left is a plain set: it
    /// is converted first.
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
            Err(error) if error.code == Code::Protocol && self.convert(user).await? => {
                self.script(&key, Repeat::Safe, &call).await
            }
            answer => answer,
        }
    }

    /// As [`Steps::on_index`], of a command whose first argument is the index.
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
            Err(error) if error.code == Code::Protocol && self.convert(user).await? => {
                self.command(&key, Repeat::Safe, &command).await
            }
            answer => answer,
        }
    }

    /// Makes a sorted set of a plain one; whether it was one.
    pub(super) async fn convert(&self, user: &str) -> Result<bool> {
        let key = self.keyspace.index(user);
        if self.command::<String>(&key, Repeat::Safe, cmd("TYPE").arg(&key)).await? != "set" {
            return Ok(false);
        }
        let ids: Vec<String> = self.command(&key, Repeat::Safe, cmd("SMEMBERS").arg(&key)).await?;
        let lives = try_join_all(ids.iter().map(|id| self.life(id))).await?;
        let mut call = scripts::CONVERT.key(&key);
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

    /// See [`Engine::ids_from`](crate::engine::Engine::ids_from).
    pub(super) async fn ids_from(
        &self,
        user: &str,
        from: &str,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        if from == LOWEST {
            self.fold(user).await?;
        }
        let add = |zrange: &mut Cmd| {
            zrange.arg(from).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(count);
        };
        self.index_command("ZRANGEBYSCORE", user, add).await
    }

    /// Folds the list that another store left into the index, and deletes it.
    pub(super) async fn fold(&self, user: &str) -> Result<()> {
        let key = self.keyspace.legacy_index(user);
        let list: Option<Vec<u8>> = self.command(&key, Repeat::Safe, cmd("GET").arg(&key)).await?;
        let Some(list) = list else { return Ok(()) };
        // Each entry by itself: one that nobody can read hides no other. Anything but a list has
        // none.
        let entries: Vec<&RawValue> = serde_json::from_slice(&list).unwrap_or_default();
        let entry = |entry: &&RawValue| {
            let entry: serde_json::Value = serde_json::from_str(entry.get()).ok()?;
            let expires_at = entry.get("expiresAt")?.as_f64()?.clamp(0.0, FURTHEST_MS);
            Some((expires_at, entry.get("token")?.as_str()?.to_owned()))
        };
        let entries: Vec<_> = entries.iter().filter_map(entry).collect();
        for part in entries.chunks(FOLDED) {
            let add = |call: &mut ScriptInvocation<'_>| {
                for (expires_at, token) in part {
                    call.arg(*expires_at as i64).arg(token);
                }
            };
            let _: Value = self.on_index(&scripts::FOLD, user, add).await?;
        }
        let mut forget = scripts::FORGET_LIST.key(&key);
        forget.arg(list);
        self.script::<Value>(&key, Repeat::Safe, &forget).await.map(drop)
    }
}
