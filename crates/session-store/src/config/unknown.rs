//! What is said of an option that does not exist: what to do instead of an ioredis option, or the
//! option that was probably meant.

use strsim::normalized_damerau_levenshtein;

use super::describe::shortened;
use super::options::OPTIONS;

/// Options of ioredis that people bring along and that have no place here, with what to do instead.
#[rustfmt::skip]
pub(super) const IOREDIS_HINTS: [(&str, &str); 8] = [
    ("nodes", "give the servers of a cluster as option cluster"),
    ("redisOptions", "there is one level of options: give its members beside cluster"),
    ("lazyConnect", "the store always connects lazily; remove the option"),
    ("enableAutoPipelining", "always on: calls made together are sent together; remove the option"),
    ("maxRetriesPerRequest", "an operation ends within commandTimeout; set that instead"),
    ("retryStrategy", "the store reconnects by its own backoff and never gives up; remove the option"),
    ("enableOfflineQueue", "there is no such queue, calls fail while Redis is down; remove the option"),
    ("family", "every address that the host name resolves to is tried; remove the option"),
];

/// Least likeness (1 is equal) at which an unknown option is taken for a misspelling.
const LIKENESS: f64 = 0.65;

/// What to do instead of an option of ioredis.
pub(super) fn ioredis_hint(name: &str) -> Option<&'static str> {
    IOREDIS_HINTS.iter().find(|(option, _)| *option == name).map(|(_, hint)| *hint)
}

/// The whole sentence.
pub(super) fn unknown_option(name: &str) -> String {
    if let Some(hint) = ioredis_hint(name) {
        return format!("{name}: {hint}");
    }
    let advice = match nearest_option(name) {
        Some(option) => format!("did you mean \"{option}\"?"),
        None => "see docs/options.md, and docs/options-from-ioredis.md for those of other clients"
            .into(),
    };
    format!("unknown option {}: {advice}", shortened(name))
}

/// The option that `name` is most likely a misspelling of. Case does not count.
fn nearest_option(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let likeness = |o: &str| normalized_damerau_levenshtein(&name, &o.to_lowercase());
    OPTIONS
        .iter()
        .map(|row| (likeness(row.name), row.name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, option)| option)
}
