//! The options `keyPrefix` and `userPrefix`: how the keys of a store begin.

use super::describe::shortened;
use super::reader::OptionReader;

impl OptionReader {
    /// `keyPrefix` and `userPrefix`. Neither is a prefix of the other.
    pub(super) fn prefixes(&mut self) -> (String, String) {
        let problems_before = self.problem_count();
        let [key, user] = ["keyPrefix", "userPrefix"].map(|option| self.text_or_default(option));
        let overlap = key.starts_with(&user) || user.starts_with(&key);
        if overlap && self.problem_count() == problems_before {
            let given = ["keyPrefix", "userPrefix"].into_iter().find(|o| self.has(o));
            let (key, user) = (shortened(&key), shortened(&user));
            let what = format!(
                "sessions and indexes would share keys; neither of keyPrefix {key} and \
                 userPrefix {user} may be a prefix of the other"
            );
            self.problem(given.unwrap_or("keyPrefix"), what);
        }
        (key, user)
    }
}
