//! Resolves host names by the system's resolver.
//!
//! The resolver blocks, for half a minute where no name server answers. So one thread at a time
//! resolves a name, and later callers wait for the same answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, MutexGuard};

use tokio::sync::watch;

use super::node::Node;
use super::threads::run_blocking;
use crate::sync::Mutex;

type Resolved = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The lookups that are under way, by host name.
static LOOKUPS: LazyLock<Mutex<HashMap<String, watch::Receiver<Option<Resolved>>>>> =
    LazyLock::new(Mutex::default);

/// The addresses of a server. Also fails where the system refuses a thread or a descriptor for the
/// lookup.
pub(crate) async fn resolve(node: &Node) -> Resolved {
    if let Ok(address) = node.host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, node.port())]);
    }
    let with_port = |mut address: SocketAddr| {
        address.set_port(node.port());
        address
    };
    Ok(look_up(node.host()).await?.into_iter().map(with_port).collect())
}

/// The addresses of a host, with port 0.
async fn look_up(host: &str) -> Resolved {
    let (to_resolve, mut resolved) = {
        let mut lookups = lookups();
        match lookups.get(host) {
            Some(resolved) => (None, resolved.clone()),
            None => {
                let (sender, resolved) = watch::channel(None);
                lookups.insert(host.to_owned(), resolved.clone());
                (Some(sender), resolved)
            }
        }
    };
    if let Some(sender) = to_resolve {
        let lookup = NameLookup { host: host.to_owned(), sender };
        run_blocking(move || lookup.run()).await?;
    }
    let answer = resolved
        .wait_for(Option::is_some)
        .await
        .map_err(|_| Arc::new(io::ErrorKind::Interrupted.into()))?;
    answer.clone().unwrap_or_else(|| Ok(Vec::new()))
}

/// One lookup under way.
struct NameLookup {
    host: String,
    sender: watch::Sender<Option<Resolved>>,
}

impl NameLookup {
    fn run(self) {
        let found = (&*self.host, 0).to_socket_addrs().map(Iterator::collect).map_err(Arc::new);
        self.sender.send_replace(Some(found));
    }
}

/// Also removes it where there was no thread to run it on.
impl Drop for NameLookup {
    fn drop(&mut self) {
        lookups().remove(&self.host);
    }
}

fn lookups() -> MutexGuard<'static, HashMap<String, watch::Receiver<Option<Resolved>>>> {
    LOOKUPS.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_resolved_and_addresses_are_not() {
        let found = resolve(&Node::new("localhost", 7)).await.unwrap();
        assert!(
            !found.is_empty()
                && found.iter().all(|address| address.ip().is_loopback() && address.port() == 7)
        );
        assert_eq!(resolve(&Node::new("::1", 8)).await.unwrap(), ["[::1]:8".parse().unwrap()]);
        resolve(&Node::new("no-such-name.invalid", 7)).await.unwrap_err();
        assert!(lookups().is_empty());
    }
}
