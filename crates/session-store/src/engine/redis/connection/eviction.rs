//! Warns when a server may evict sessions and their indexes at its memory limit.

use ::redis::cmd;

use super::wire::Wire;

/// What is wrong with the server's `maxmemory-policy`; `None`: nothing, or the server does not
/// tell.
pub(crate) async fn eviction_warning(mut connection: Wire) -> Option<String> {
    let info: String = cmd("INFO").arg("memory").query_async(&mut connection).await.ok()?;
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let policy = field("maxmemory_policy")?;
    // Without a limit nothing is evicted.
    if policy == "noeviction" || field("maxmemory") == Some("0") {
        return None;
    }
    Some(format!(
        "its maxmemory-policy is {policy}: it may evict sessions, the marks of ended ones and users' indexes, and then \
         ending all sessions of a user misses some; set noeviction"
    ))
}
