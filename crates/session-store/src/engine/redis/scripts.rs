//! The Lua scripts, put together from `scripts/`, and their calls.
//!
//! `scripts/standalone/` works on a record, its owner's index and what another store left, all on
//! one server. `scripts/one_key/` touches one key each, wherever it lies. `scripts/lib/` holds the
//! fragments that they share: a script names those that it uses by `--- @include "…"` lines, and a
//! fragment likewise. A script lists its KEYS and ARGV in a table at its top.
//!
//! What must always hold: a script is sent without its comments, and only with the fragments and
//! constants that it uses, because the server runs all of its text at each call.

use std::sync::LazyLock;

use ::redis::{Arg, Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

use super::connection::wire::Wire;
use crate::engine::{IDS_PER_STEP, INDEX_MARGIN_MS, SAME_CLOCK_MS, YOUNG_MS};
use crate::value::{TOMBSTONE, TOMBSTONE_BYTES};

/// In place of what is expected to lie under a key: nothing is. It is no text, so no record equals
/// it.
pub(super) const NOTHING: &[u8] = b"\xff";

/// Names files of a folder, and embeds them.
macro_rules! files {
    ($folder:literal: $($name:literal)+) => {
        &[$(($name, include_str!(concat!("scripts/", $folder, "/", $name, ".lua")))),+]
    };
}

/// The fragments by their names.
const FRAGMENTS: &[(&str, &str)] = files!("lib":
    "another_application" "clock" "digits" "drop_past_entries" "each" "end_if_owned" "end_record"
    "index_call" "index_life" "owner" "past_entries" "put_records" "raise" "remove_from_index"
    "score" "tombstone" "write_refusal");

/// Declares the scripts of a folder. Each is put together when it is first used.
macro_rules! scripts {
    ($folder:literal: $($name:ident = $file:literal;)+) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(include_str!(concat!("scripts/", $folder, "/", $file, ".lua")))
        });)+
    };
}

scripts! { "standalone":
    PUT = "put";
    PUT_LISTING = "put_listing";
    END = "end";
    END_SOME = "end_some";
    PRUNE = "prune";
    ADOPT = "adopt";
}

scripts! { "one_key":
    SET_VALUE = "set_value";
    RAISE = "raise";
    INCREMENT = "increment";
    ADD_TO_INDEX = "add_to_index";
    DROP_PAST_ENTRIES = "drop_past_entries";
    CHECK_PUT = "check_put";
    PUT_RECORD = "put_record";
    MARK_INDEXED = "mark_indexed";
    END_RECORD = "end_record";
    END_IF_OWNED = "end_if_owned";
    CLAIM_ABSENCE = "claim_absence";
    REWRITE_TOMBSTONE = "rewrite_tombstone";
    FOLD_LEGACY_LIST = "fold_legacy_list";
    DELETE_LEGACY_LIST = "delete_legacy_list";
    CONVERT_PLAIN_SET = "convert_plain_set";
}

/// The text of a script as the server gets it.
///
/// # Errors
/// The name of an include that is no fragment.
fn assemble(source: &str) -> Result<String, String> {
    let mut included = Vec::new();
    let mut body = String::new();
    append(source, &mut included, &mut body)?;
    Ok([constants(&body), body].concat())
}

/// Appends a file's code, after that of the fragments that it includes, each of them once.
fn append<'s>(
    source: &'s str,
    included: &mut Vec<&'s str>,
    body: &mut String,
) -> Result<(), String> {
    for name in source.lines().filter_map(include) {
        if !included.contains(&name) {
            included.push(name);
            let fragment = FRAGMENTS.iter().find(|(fragment, _)| *fragment == name);
            append(fragment.ok_or(name)?.1, included, body)?;
        }
    }
    for line in source.lines().filter(|line| is_code(line)) {
        body.push_str(line);
        body.push('\n');
    }
    Ok(())
}

/// The fragment that a line includes.
fn include(line: &str) -> Option<&str> {
    line.strip_prefix("--- @include \"")?.strip_suffix('"')
}

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("--")
}

/// The declaration of the constants that a script's code names.
fn constants(code: &str) -> String {
    let text = |bytes: &[u8]| {
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
        format!("'{escaped}'")
    };
    let mut declaration = String::new();
    for (name, value) in [
        ("TOMBSTONE", text(TOMBSTONE)),
        ("NOTHING", text(NOTHING)),
        ("YOUNG_MS", YOUNG_MS.to_string()),
        ("INDEX_MARGIN_MS", INDEX_MARGIN_MS.to_string()),
        ("SAME_CLOCK_MS", SAME_CLOCK_MS.to_string()),
        ("IDS_PER_STEP", IDS_PER_STEP.to_string()),
        ("TOMBSTONE_BYTES", TOMBSTONE_BYTES.to_string()),
    ] {
        if code.contains(name) {
            declaration.push_str(&format!("local {name} = {value}\n"));
        }
    }
    declaration
}

/// A script.
pub(super) struct Script {
    code: String,
    /// What the server knows it by.
    digest: String,
}

impl Script {
    fn new(source: &str) -> Self {
        let code = assemble(source)
            .unwrap_or_else(|name| panic!("a Lua script includes {name:?}, which is no fragment"));
        let digest = ::redis::Script::new(&code).get_hash().to_owned();
        Script { code, digest }
    }

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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Every Lua file of a folder, by its name.
    fn sources(folder: &str) -> Vec<(String, String)> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/redis/scripts").join(folder);
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (format!("{folder}/{name}"), fs::read_to_string(entry.path()).unwrap())
        };
        fs::read_dir(path).unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    fn scripts() -> Vec<(String, String)> {
        [sources("standalone"), sources("one_key")].concat()
    }

    /// The entries of KEYS or ARGV that code names: `ARGV[2]`, or `ARGV[n]` by a number that it
    /// computes.
    fn entries<'s>(code: &'s str, table: &str) -> Vec<&'s str> {
        code.match_indices(&format!("{table}["))
            .map(|(at, _)| &code[at..=at + code[at..].find(']').unwrap()])
            .collect()
    }

    #[test]
    fn every_include_names_a_fragment() {
        for (file, source) in [scripts(), sources("lib")].concat() {
            assert!(assemble(&source).is_ok(), "{file} includes what is no fragment");
        }
        assert_eq!(assemble("--- @include \"owners\"\nreturn 1\n"), Err("owners".to_owned()));
    }

    #[test]
    fn every_fragment_is_embedded_and_included() {
        let all = [scripts(), sources("lib")].concat();
        for (file, _) in sources("lib") {
            let name = file.trim_start_matches("lib/").trim_end_matches(".lua");
            assert!(FRAGMENTS.iter().any(|(fragment, _)| *fragment == name), "{file}");
            let is_included =
                all.iter().any(|(_, source)| source.lines().filter_map(include).any(|n| n == name));
            assert!(is_included, "no script includes {file}");
        }
    }

    #[test]
    fn a_script_says_at_its_top_what_its_keys_and_arguments_are() {
        for (file, source) in scripts() {
            let comment = source.lines().map_while(|line| line.strip_prefix("--"));
            let comment: Vec<_> = comment.map(str::trim_start).collect();
            let code = assemble(&source).unwrap();
            for table in ["KEYS", "ARGV"] {
                let has_range =
                    comment.iter().any(|line| line.starts_with(table) && line.contains("..]"));
                let is_number =
                    |entry: &&str| entry[table.len() + 1..entry.len() - 1].parse::<usize>().is_ok();
                let (named, computed): (Vec<_>, Vec<_>) =
                    entries(&code, table).into_iter().partition(is_number);
                for entry in named {
                    let is_listed = comment.iter().any(|line| line.starts_with(entry));
                    assert!(is_listed, "{file} does not say what {entry} is");
                }
                let takes_several = !computed.is_empty()
                    || code.contains(&format!("#{table}"))
                    || code.contains(&format!("unpack({table}"));
                assert!(has_range || !takes_several, "{file} does not say what {table}[n..] is");
            }
        }
    }

    /// Redis fails a script that names a global which it does not know, when it comes to it.
    #[test]
    fn a_script_declares_every_constant_and_function_that_it_names() {
        let fragments: String = sources("lib").into_iter().map(|(_, source)| source).collect();
        let functions: Vec<_> = fragments
            .split("local function ")
            .skip(1)
            .map(|function| function.split('(').next().unwrap())
            .collect();
        let is_constant =
            |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        for (file, source) in scripts() {
            let code = assemble(&source).unwrap();
            // Every second part stands in quotation marks.
            let words = code
                .split('\'')
                .step_by(2)
                .flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
            for word in words.filter(|word| is_constant(word) || functions.contains(word)) {
                let is_declared = ["KEYS", "ARGV", "REDIS_VERSION_NUM"].contains(&word)
                    || code.contains(&format!("local {word}"))
                    || code.contains(&format!("local function {word}("))
                    || code.contains(&format!(", {word} = "));
                assert!(is_declared, "{file} names {word}, which nothing declares");
            }
        }
    }

    #[test]
    fn a_script_is_sent_without_comments() {
        for (file, source) in scripts() {
            let code = assemble(&source).unwrap();
            assert!(!code.contains("--") && !code.contains("\n\n"), "{file}");
        }
    }
}
