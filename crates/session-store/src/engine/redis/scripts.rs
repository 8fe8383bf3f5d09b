//! The Lua scripts, put together from `scripts/*.lua`.

use std::sync::LazyLock;

use ::redis::Script;

use crate::engine::{INDEX_MARGIN_MS, TOMBSTONE, YOUNG_MS};

/// A script out of its parts: the constants and the clock, then the named files. What a script does not use costs it time.
macro_rules! script {
    ($name:ident: $($file:literal)+) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            script(&[include_str!("scripts/clock.lua"), $(include_str!(concat!("scripts/", $file, ".lua"))),+])
        });
    };
}

// On one server, over a record, its owner's index and what another store left.
script!(PUT: "keep" "index" "check" "put" "put_only");
script!(PUT_LISTING: "keep" "index" "legacy" "check" "put" "put_listing");
script!(END: "owner" "keep" "index" "end" "end_only");
script!(END_ALL: "owner" "keep" "index" "legacy" "end_all");
script!(LIST: "keep" "index" "legacy" "list");
script!(PRUNE: "keep" "index" "legacy" "prune");
script!(ADOPT: "keep" "index" "legacy" "adopt");

// Over one key, wherever it lies.
script!(RAISE: "raise");
script!(INCREMENT: "increment");
script!(REAFFIRM: "owner" "reaffirm");

// The same steps as on one server, cut to one key each.
script!(ENTER: "keep" "cluster/enter");
script!(MAY_PUT: "check" "cluster/may_put");
script!(PUT_RECORD: "check" "cluster/put_record");
script!(END_RECORD: "owner" "end" "cluster/end_told");
script!(END_OF_USER: "owner" "cluster/end_of_user");
script!(CLAIM: "cluster/claim");
script!(ADOPT_RECORD: "cluster/adopt_record");
script!(DROP_PAST: "cluster/drop_past");
script!(FOLD: "keep" "cluster/fold");
script!(FORGET_LIST: "cluster/forget_list");
script!(CONVERT: "keep" "cluster/convert");

fn script(parts: &[&str]) -> Script {
    let tombstone: String = TOMBSTONE.iter().map(|byte| format!("\\{byte:03}")).collect();
    let names = "TOMBSTONE, YOUNG_MS, INDEX_MARGIN_MS";
    let constants = format!("local {names} = '{tombstone}', {YOUNG_MS}, {INDEX_MARGIN_MS}\n");
    Script::new(&[&constants, &*parts.concat()].concat())
}
