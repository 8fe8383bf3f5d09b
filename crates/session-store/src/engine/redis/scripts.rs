//! The Lua scripts, put together from `scripts/*.lua`, and their calls.

use std::sync::LazyLock;

use ::redis::{Arg, Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

use super::wire::Wire;
use crate::engine::{INDEX_MARGIN_MS, SAME_CLOCK_MS, TOGETHER, YOUNG_MS};
use crate::value::{TOMBSTONE, TOMBSTONE_BYTES};

/// In place of what is expected to lie under a key: nothing is. It is no text, so no record equals
/// it.
pub(super) const NOTHING: &[u8] = b"\xff";

/// A script out of its parts: the constants and the clock, then the named files. What a script does
/// not use costs it time.
macro_rules! script {
    ($name:ident: $($file:literal)+) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            script(&[include_str!("scripts/clock.lua"), $(include_str!(concat!("scripts/", $file, ".lua"))),+])
        });
    };
}

// On one server, over a record, its owner's index and what another store left.
script!(PUT: "score" "keep" "index" "past" "check" "each" "put_only" "put");
script!(PUT_LISTING: "score" "keep" "index" "past" "check" "each" "put_listing" "put");
script!(END: "owner" "another" "keep" "index" "end" "end_only");
script!(END_SOME: "owner" "keep" "index" "raise" "end_of_user" "end_some");
script!(PRUNE: "keep" "index" "past" "prune");
script!(ADOPT: "keep" "index" "adopt");

// Over one key, wherever it lies.
script!(SET_VALUE: "another" "set");
script!(RAISE: "raise" "raise_only");
script!(INCREMENT: "each" "increment");
script!(REWRITE_TOMBSTONE: "owner" "reaffirm");
script!(FOLD_LEGACY_LIST: "keep" "fold");
script!(DELETE_LEGACY_LIST: "forget_list");
script!(CONVERT_PLAIN_SET: "keep" "convert");

// The same steps as on one server, cut to one key each.
script!(ADD_TO_INDEX: "score" "keep" "past" "cluster/enter");
script!(CHECK_PUT: "check" "cluster/may_put");
script!(PUT_RECORD: "check" "cluster/put_record");
script!(END_RECORD: "owner" "another" "end" "cluster/end_told");
script!(END_IF_OWNED: "owner" "end_of_user" "cluster/end_of_user");
script!(CLAIM_ABSENCE: "cluster/claim");
script!(MARK_INDEXED: "cluster/adopt_record");
script!(DROP_PAST_ENTRIES: "past" "cluster/drop_past");

fn script(parts: &[&str]) -> Script {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:03}")).collect::<String>();
    let (tombstone, nothing) = (text(TOMBSTONE), text(NOTHING));
    let names =
        "TOMBSTONE, NOTHING, YOUNG_MS, INDEX_MARGIN_MS, SAME_CLOCK_MS, TOGETHER, TOMBSTONE_BYTES";
    let numbers =
        format!("{YOUNG_MS}, {INDEX_MARGIN_MS}, {SAME_CLOCK_MS}, {TOGETHER}, {TOMBSTONE_BYTES}");
    let constants = format!("local {names} = '{tombstone}', '{nothing}', {numbers}\n");
    let code = [&constants, &*parts.concat()].concat();
    let digest = ::redis::Script::new(&code).get_hash().to_owned();
    Script { code, digest }
}

/// A script.
pub(super) struct Script {
    code: String,
    /// What the server knows it by.
    digest: String,
}

impl Script {
    /// A call with its first key.
    pub(super) fn key(&self, key: impl ToRedisArgs) -> ScriptInvocation<'_> {
        let mut call = self.prepare_invoke();
        call.key(key);
        call
    }

    /// A call without keys and arguments so far.
    pub(super) fn prepare_invoke(&self) -> ScriptInvocation<'_> {
        ScriptInvocation { script: self, keys: Cmd::new(), args: Cmd::new() }
    }
}

/// A call of a script.
pub(super) struct ScriptInvocation<'s> {
    script: &'s Script,
    /// Words only, no commands: so they lie in one piece of memory.
    keys: Cmd,
    args: Cmd,
}

impl ScriptInvocation<'_> {
    pub(super) fn key(&mut self, key: impl ToRedisArgs) -> &mut Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    /// Carries it out. The server is sent the script's text when it does not know it (and keeps it
    /// then): SCRIPT LOAD, which not every server permits, is not needed.
    pub(super) async fn invoke<T: FromRedisValue>(&self, wire: &mut Wire) -> RedisResult<T> {
        match self.by_digest().query_async(wire).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.in_full().query_async(wire).await
            }
            answer => answer,
        }
    }

    /// As a command to a server that knows the script.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.script.digest)
    }

    /// As a command that brings the script along.
    pub(super) fn in_full(&self) -> Cmd {
        self.command("EVAL", &self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let words = || self.keys.args_iter().chain(self.args.args_iter());
        let words = || {
            words().filter_map(|word| if let Arg::Simple(word) = word { Some(word) } else { None })
        };
        let bytes: usize = words().map(<[u8]>::len).sum();
        let mut command = Cmd::with_capacity(words().count() + 3, bytes + script.len() + 32);
        command.arg(name).arg(script).arg(self.keys.args_iter().len());
        words().for_each(|word| _ = command.arg(word));
        command
    }
}
