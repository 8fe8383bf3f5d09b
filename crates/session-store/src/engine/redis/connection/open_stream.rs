//! Opens a stream to a server: resolves its name, connects, and makes TLS.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::select_ok;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::dial_progress::{DialProgress, DialStep, RefusedTarget};
use super::node::Node;
use super::resolver;
use super::stream::{Carrier, Stream};
use super::threads;
use super::tls::TlsClient;
use super::tls_error;
use crate::error::{Code, Error, Result};

/// After so long without an answer to the TLS handshake, another connection tests whether the
/// server answers without TLS.
const HANDSHAKE_SILENCE: Duration = Duration::from_millis(500);

/// How long addresses that were not tried have for themselves, before the others of the name are
/// connected to as well.
const UNTRIED_FIRST: Duration = Duration::from_secs(1);

/// Where to connect to.
#[derive(Clone)]
pub(crate) enum DialTarget {
    Tcp(Node),
    /// One address of a host name.
    Address(Node, SocketAddr),
    Unix(PathBuf),
}

impl DialTarget {
    /// The same target, at the address that a stream to it reached.
    pub(crate) fn reached_by(&self, stream: &Stream) -> DialTarget {
        match (self, stream.address()) {
            (DialTarget::Tcp(node), Some(address)) => DialTarget::Address(node.clone(), address),
            _ => self.clone(),
        }
    }
}

/// Opens a stream. `at`: the server, as messages name it.
pub(crate) async fn open_stream(
    target: &DialTarget,
    tls: Option<&TlsClient>,
    keep_alive: Option<Duration>,
    progress: &DialProgress,
    at: &str,
) -> Result<Stream> {
    let (node, tcp) = match target {
        DialTarget::Tcp(node) => (node, open_tcp(node, progress, at).await?),
        DialTarget::Address(node, address) => {
            progress.enter(DialStep::Connect);
            (
                node,
                TcpStream::connect(address).await.map_err(|error| unreachable_error(&error, at))?,
            )
        }
        DialTarget::Unix(path) => {
            progress.enter(DialStep::Connect);
            let opened = progress
                .remember_refusal(|| RefusedTarget::Unix(path.clone()), open_unix(path).await);
            let carrier = opened.map_err(|error| unreachable_error(&error, at))?;
            return Ok(Stream::new(carrier, None));
        }
    };
    let tuned = tune(&tcp, keep_alive).and_then(|()| tcp.peer_addr());
    let address = tuned.map_err(|error| unreachable_error(&error, at))?;
    let Some(client) = tls else {
        return Ok(Stream::new(Carrier::Tcp(tcp), Some(address)));
    };
    progress.enter(DialStep::TlsHandshake);
    let (connector, name) = client.connector(node.host()).await?;
    tokio::select! {
        tls = connector.connect(name, tcp) => match tls {
            Ok(tls) => Ok(Stream::new(Carrier::Tls(Box::new(tls)), Some(address))),
            Err(error) => Err(tls_error::handshake_error(&error, at)),
        },
        () = wait_for_plain_answer(address) => Err(tls_error::no_tls_error(at)),
    }
}

/// Whether something accepts a connection there now. The connection is closed at once.
pub(crate) async fn try_connect(target: &RefusedTarget) -> bool {
    match target {
        RefusedTarget::Tcp(addresses) => connect_any(addresses).await.is_ok(),
        RefusedTarget::Unix(path) => open_unix(path).await.is_ok(),
    }
}

async fn open_tcp(node: &Node, progress: &DialProgress, at: &str) -> Result<TcpStream> {
    progress.enter(DialStep::ResolveName);
    let unknown = |why: &io::Error| {
        let what = threads::exhausted_resource(why)
            .unwrap_or("its host name is not known; check it, and the name servers");
        Error::new(Code::Unavailable, format!("Redis at {at} cannot be reached: {what}"))
            .caused_by(why)
    };
    let addresses = resolver::resolve(node).await.map_err(|error| unknown(&error))?;
    progress.enter(DialStep::Connect);
    if addresses.is_empty() {
        return Err(unknown(&io::ErrorKind::NotFound.into()));
    }
    let untried = progress.select_untried(addresses.clone());
    let first = match untried.len() < addresses.len() {
        true => timeout(UNTRIED_FIRST, connect_any(&untried)).await.ok(),
        false => None,
    };
    let opened = match first {
        Some(opened) => opened,
        None => connect_any(&addresses).await,
    };
    let opened = progress.remember_refusal(|| RefusedTarget::Tcp(untried), opened);
    let (tcp, address) = opened.map_err(|error| unreachable_error(&error, at))?;
    progress.record_tried(address, &addresses);
    Ok(tcp)
}

/// Connects to all addresses at once, because some of them may be dead. The first that
/// accepts is kept. There must be one at least.
async fn connect_any(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    // Not its `peer_addr`: that of 0.0.0.0 is another one.
    let connect =
        |&address| Box::pin(async move { Ok((TcpStream::connect(address).await?, address)) });
    select_ok(addresses.iter().map(connect)).await.map(|(opened, _)| opened)
}

#[cfg(unix)]
async fn open_unix(path: &std::path::Path) -> io::Result<Carrier> {
    tokio::net::UnixStream::connect(path).await.map(Carrier::Unix)
}

#[cfg(not(unix))]
async fn open_unix(_: &std::path::Path) -> io::Result<Carrier> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there are no Unix sockets on this platform"))
}

fn tune(tcp: &TcpStream, keep_alive: Option<Duration>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    match keep_alive {
        Some(idle) => SockRef::from(tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle)),
        None => Ok(()),
    }
}

/// Nothing listens there, or it closed the connection.
fn unreachable_error(error: &io::Error, at: &str) -> Error {
    let what =
        threads::exhausted_resource(error).unwrap_or("check that it runs and that url is right");
    Error::new(Code::Unavailable, format!("Redis at {at} cannot be reached: {what}"))
        .caused_by(error)
}

/// Returns once the server has answered as Redis does without TLS; else never. A server without TLS
/// that waits for the end of a line would leave a handshake unanswered for ever.
async fn wait_for_plain_answer(address: SocketAddr) {
    sleep(HANDSHAKE_SILENCE).await;
    let ask = async {
        let mut tcp = TcpStream::connect(address).await?;
        tcp.write_all(b"PING\r\n").await?;
        let mut answer = [0];
        tcp.read_exact(&mut answer).await?;
        io::Result::Ok(answer[0])
    };
    // A simple string, or an error.
    if !matches!(ask.await, Ok(b'+' | b'-')) {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_that_came_before_a_reset_are_read_although_writing_fails_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = DialTarget::Tcp(Node::new("127.0.0.1", listener.local_addr().unwrap().port()));
        let mut stream =
            open_stream(&target, None, None, &DialProgress::new(), "a server").await.unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"-DENIED\r\n").unwrap();
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        // Nothing was awaited meanwhile, so the runtime does not know of the reset.
        stream.write_all(b"PING\r\n").await.unwrap_err();
        assert_eq!(stream.first_bytes().get(), b"-DENIED\r\n");
    }
}
