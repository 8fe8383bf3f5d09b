//! The addresses of a host name, as the system's resolver knows them.
//!
//! The resolver blocks, for half a minute where no name server answers. So each name is asked for
//! by one thread at a time, and whoever wants to know it meanwhile waits for the same answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::node::Node;
use super::threads::blocking;

type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The names that are asked for now.
static ASKED: LazyLock<Mutex<HashMap<String, watch::Receiver<Option<Answer>>>>> =
    LazyLock::new(Mutex::default);

/// The addresses of a server. An error also where the system refuses a thread or a descriptor to
/// ask with.
pub(crate) async fn addresses(node: &Node) -> Answer {
    if let Ok(address) = node.host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, node.port())]);
    }
    let with_port = |mut address: SocketAddr| {
        address.set_port(node.port());
        address
    };
    Ok(ask(node.host()).await?.into_iter().map(with_port).collect())
}

/// With port 0.
async fn ask(host: &str) -> Answer {
    let (tell, mut told) = {
        let mut asked = asked();
        match asked.get(host) {
            Some(told) => (None, told.clone()),
            None => {
                let (tell, told) = watch::channel(None);
                asked.insert(host.to_owned(), told.clone());
                (Some(tell), told)
            }
        }
    };
    if let Some(tell) = tell {
        let question = Question { host: host.to_owned(), tell };
        blocking(move || question.resolve()).await?;
    }
    let answer = told
        .wait_for(Option::is_some)
        .await
        .map_err(|_| Arc::new(io::ErrorKind::Interrupted.into()))?;
    answer.clone().unwrap_or_else(|| Ok(Vec::new()))
}

struct Question {
    host: String,
    tell: watch::Sender<Option<Answer>>,
}

impl Question {
    fn resolve(self) {
        let found = (&*self.host, 0).to_socket_addrs().map(Iterator::collect).map_err(Arc::new);
        self.tell.send_replace(Some(found));
    }
}

/// Also where there was no thread to ask on.
impl Drop for Question {
    fn drop(&mut self) {
        asked().remove(&self.host);
    }
}

fn asked() -> MutexGuard<'static, HashMap<String, watch::Receiver<Option<Answer>>>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_addresses_and_an_address_is_its_own() {
        let found = addresses(&Node::new("localhost", 7)).await.unwrap();
        assert!(
            !found.is_empty()
                && found.iter().all(|address| address.ip().is_loopback() && address.port() == 7)
        );
        assert_eq!(addresses(&Node::new("::1", 8)).await.unwrap(), ["[::1]:8".parse().unwrap()]);
        addresses(&Node::new("no-such-name.invalid", 7)).await.unwrap_err();
        assert!(asked().is_empty());
    }
}
