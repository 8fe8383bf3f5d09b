//! SCAN over the keys that begin with a prefix.

use ::redis::{Cmd, cmd};

/// How many keys the server is asked to look at in one step.
const COUNT: usize = 500;

/// A SCAN for the keys under a prefix, from a cursor on.
pub(super) fn scan(prefix: &str, cursor: u64) -> Cmd {
    let mut scan = cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(glob(prefix)).arg("COUNT").arg(COUNT);
    scan
}

/// The found keys without their prefix. A key that is no text was not written by this store.
pub(super) fn without_prefix(prefix: &str, found: Vec<Vec<u8>>) -> Vec<String> {
    let without = |key| String::from_utf8(key).ok()?.strip_prefix(prefix).map(str::to_owned);
    found.into_iter().filter_map(without).collect()
}

/// The pattern that matches every key with `prefix`, whatever characters it holds.
fn glob(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_prefix_is_matched_as_it_is_written() {
        assert_eq!(glob("session:"), "session:*");
        assert_eq!(glob("a*b?[c]\\"), "a\\*b\\?\\[c\\]\\\\*");
    }
}
