//! The way to a server, byte for byte: TCP, TLS over it, or a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::select_ok;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::heard::Heard;
use super::names;
use super::node::Node;
use super::threads;
use super::tls::{self, Secure};
use crate::error::{Code, Error, Result};

/// After so long without a word in a handshake it is asked, on another connection, whether the
/// server speaks without TLS.
const SILENCE: Duration = Duration::from_millis(500);

/// How much of what a server says first is kept.
const FIRST_BYTES: usize = 64;

/// How long addresses that were not tried may be silent before the others of a name are connected
/// to as well.
const TRIED_AFTER: Duration = Duration::from_secs(1);

/// Where to connect.
#[derive(Clone)]
pub(crate) enum Target {
    Tcp(Node),
    /// One of the addresses that a name has.
    Address(Node, SocketAddr),
    Unix(PathBuf),
}

/// What the making of a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Step {
    Name,
    Connection,
    Handshake,
    Credentials,
    Login,
}

const STEPS: [Step; 5] =
    [Step::Name, Step::Connection, Step::Handshake, Step::Credentials, Step::Login];

impl Step {
    /// What has not happened, for a sentence that goes on from "Redis at …".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Step::Name => "its host name has not been resolved",
            Step::Connection => {
                "it has not answered; its address may be wrong, its machine down, or a firewall in between"
            }
            Step::Handshake => {
                "it has not answered the TLS handshake; does it speak TLS on this port?"
            }
            Step::Credentials => "the function of option credentials has not answered",
            Step::Login => "it takes the connection and does not answer",
        }
    }
}

/// How far the making of a connection has come.
pub(crate) struct Progress {
    step: AtomicU8,
    /// Where nothing took the connection.
    closed: Mutex<Option<ClosedDoor>>,
    addresses: Mutex<Addresses>,
}

/// Of the addresses that a name has.
#[derive(Default)]
struct Addresses {
    /// Those that were connected to.
    tried: Vec<SocketAddr>,
    /// Whether there are others.
    are_more: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress {
            step: AtomicU8::new(Step::Name as u8),
            closed: Mutex::default(),
            addresses: Mutex::default(),
        }
    }

    pub(crate) fn reaches(&self, step: Step) {
        self.step.store(step as u8, Relaxed);
    }

    pub(crate) fn step(&self) -> Step {
        STEPS[usize::from(self.step.load(Relaxed))]
    }

    /// Where nothing took the connection, since this was asked last.
    pub(crate) fn take_closed(&self) -> Option<ClosedDoor> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What opening came to; a failure is kept, unless this process lacks something.
    fn keeps<T>(
        &self,
        closed: impl FnOnce() -> ClosedDoor,
        opened: io::Result<T>,
    ) -> io::Result<T> {
        if let Err(error) = &opened
            && threads::lack(error).is_none()
        {
            *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(closed());
        }
        opened
    }

    /// Whether the name has addresses that were not tried.
    pub(crate) fn has_untried(&self) -> bool {
        self.addresses().are_more
    }

    /// Whether one of the name's addresses took a connection.
    pub(crate) fn has_tried(&self) -> bool {
        !self.addresses().tried.is_empty()
    }

    /// The next connection may be to any of the addresses.
    pub(crate) fn forget_tried(&self) {
        *self.addresses() = Addresses::default();
    }

    /// Those of `found` that were not tried; all, if all were.
    fn untried(&self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut addresses = self.addresses();
        addresses.are_more = false;
        let untried: Vec<_> =
            found.iter().filter(|address| !addresses.tried.contains(address)).copied().collect();
        if untried.is_empty() {
            addresses.tried.clear();
            return found;
        }
        untried
    }

    /// One of those that were found was connected to.
    fn tries(&self, address: SocketAddr, found: &[SocketAddr]) {
        let mut addresses = self.addresses();
        let is_new = !addresses.tried.contains(&address);
        addresses.tried.push(address);
        addresses.are_more = is_new && found.iter().any(|other| !addresses.tried.contains(other));
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Addresses at which nothing listens, or a Unix socket that is not there.
pub(crate) enum ClosedDoor {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl ClosedDoor {
    /// Whether something takes a connection there now. It costs nobody more than that.
    pub(crate) async fn is_open(&self) -> bool {
        match self {
            ClosedDoor::Tcp(addresses) => connect_any(addresses).await.is_ok(),
            ClosedDoor::Unix(path) => open_unix(path).await.is_ok(),
        }
    }
}

/// An open way to a server.
pub(crate) struct Stream {
    carrier: Carrier,
    first: FirstBytes,
    has_heard: bool,
    heard: Heard,
    /// The server's address, where it has one.
    address: Option<SocketAddr>,
}

enum Carrier {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// What a server said first.
#[derive(Clone, Default)]
pub(crate) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    pub(crate) fn get(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn set(&self, bytes: &[u8]) {
        *self.lock() = bytes[..bytes.len().min(FIRST_BYTES)].to_vec();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Opens one. `at`: the server, as messages name it.
    pub(crate) async fn open(
        target: &Target,
        secure: Option<&Secure>,
        keep_alive: Option<Duration>,
        progress: &Progress,
        at: &str,
    ) -> Result<Self> {
        let (node, tcp) = match target {
            Target::Tcp(node) => (node, open_tcp(node, progress, at).await?),
            Target::Address(node, address) => {
                progress.reaches(Step::Connection);
                (
                    node,
                    TcpStream::connect(address)
                        .await
                        .map_err(|error| unreachable_error(&error, at))?,
                )
            }
            Target::Unix(path) => {
                progress.reaches(Step::Connection);
                let opened =
                    progress.keeps(|| ClosedDoor::Unix(path.clone()), open_unix(path).await);
                let carrier = opened.map_err(|error| unreachable_error(&error, at))?;
                return Ok(Stream::over(carrier, None));
            }
        };
        let tuned = tune(&tcp, keep_alive).and_then(|()| tcp.peer_addr());
        let address = tuned.map_err(|error| unreachable_error(&error, at))?;
        let Some(secure) = secure else {
            return Ok(Stream::over(Carrier::Tcp(tcp), Some(address)));
        };
        progress.reaches(Step::Handshake);
        let (connector, name) = secure.connector(node.host()).await?;
        tokio::select! {
            tls = connector.connect(name, tcp) => match tls {
                Ok(tls) => Ok(Stream::over(Carrier::Tls(Box::new(tls)), Some(address))),
                Err(error) => Err(tls::handshake_error(&error, at)),
            },
            () = speaks_without_tls(address) => Err(tls::no_tls(at)),
        }
    }

    fn over(carrier: Carrier, address: Option<SocketAddr>) -> Self {
        Stream {
            carrier,
            first: FirstBytes::default(),
            has_heard: false,
            heard: Heard::new(),
            address,
        }
    }

    /// Where it leads, of the places that `target` may mean.
    pub(crate) fn leads_to(&self, target: &Target) -> Target {
        match (target, self.address) {
            (Target::Tcp(node), Some(address)) => Target::Address(node.clone(), address),
            _ => target.clone(),
        }
    }

    /// What the server says first, once it has.
    pub(crate) fn first(&self) -> FirstBytes {
        self.first.clone()
    }

    /// When the server was heard last.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// Whether what is sent is sent as it is.
    pub(crate) fn is_plain_tcp(&self) -> bool {
        matches!(self.carrier, Carrier::Tcp(_))
    }

    /// What writing came to. If it failed, what the server said before it closed the connection
    /// says more.
    fn or_last_words<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let error = match ready!(written) {
            Ok(written) => return Poll::Ready(Ok(written)),
            Err(error) => error,
        };
        let mut bytes = [0; FIRST_BYTES];
        match pin!(self).poll_read(context, &mut ReadBuf::new(&mut bytes)) {
            Poll::Ready(Err(words)) => Poll::Ready(Err(words)),
            // The runtime has not heard of it yet, and will: a closed connection has an end to read
            // at least.
            Poll::Pending if is_closed(&error) => Poll::Pending,
            _ => Poll::Ready(Err(error)),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

async fn open_tcp(node: &Node, progress: &Progress, at: &str) -> Result<TcpStream> {
    progress.reaches(Step::Name);
    let unknown = |why: &io::Error| {
        let what = threads::lack(why)
            .unwrap_or("its host name is not known; check it, and the name servers");
        Error::new(Code::Unavailable, format!("Redis at {at} cannot be reached: {what}"))
            .caused_by(why)
    };
    let addresses = names::addresses(node).await.map_err(|error| unknown(&error))?;
    progress.reaches(Step::Connection);
    if addresses.is_empty() {
        return Err(unknown(&io::ErrorKind::NotFound.into()));
    }
    let untried = progress.untried(addresses.clone());
    let first = match untried.len() < addresses.len() {
        true => timeout(TRIED_AFTER, connect_any(&untried)).await.ok(),
        false => None,
    };
    let opened = match first {
        Some(opened) => opened,
        None => connect_any(&addresses).await,
    };
    let opened = progress.keeps(|| ClosedDoor::Tcp(untried), opened);
    let (tcp, address) = opened.map_err(|error| unreachable_error(&error, at))?;
    progress.tries(address, &addresses);
    Ok(tcp)
}

/// To one of the addresses, at least one. All at once: which of them is dead is not known.
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

/// Nothing is there, or it closed the connection.
pub(crate) fn unreachable_error(error: &io::Error, at: &str) -> Error {
    let what = threads::lack(error).unwrap_or("check that it runs and that url is right");
    Error::new(Code::Unavailable, format!("Redis at {at} cannot be reached: {what}"))
        .caused_by(error)
}

/// Until a server turns out to answer as Redis does without TLS. One that waits for the end of a
/// line would leave a handshake unanswered for ever.
async fn speaks_without_tls(address: SocketAddr) {
    sleep(SILENCE).await;
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

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let read = match &mut this.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_read(context, into),
            Carrier::Tls(tls) => Pin::new(tls).poll_read(context, into),
            #[cfg(unix)]
            Carrier::Unix(unix) => Pin::new(unix).poll_read(context, into),
        };
        ready!(read)?;
        this.heard.note();
        if !this.has_heard {
            this.has_heard = true;
            this.first.set(&into.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Carrier::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
            #[cfg(unix)]
            Carrier::Unix(unix) => Pin::new(unix).poll_write(context, bytes),
        };
        this.or_last_words(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match &mut this.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Carrier::Tls(tls) => Pin::new(tls).poll_flush(context),
            #[cfg(unix)]
            Carrier::Unix(unix) => Pin::new(unix).poll_flush(context),
        };
        this.or_last_words(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Carrier::Tls(tls) => Pin::new(tls).poll_shutdown(context),
            #[cfg(unix)]
            Carrier::Unix(unix) => Pin::new(unix).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn each_address_of_a_name_is_tried_before_one_is_tried_again() {
        let all: Vec<SocketAddr> = (1..=3).map(|n| ([127, 0, 0, n], 6379).into()).collect();
        let progress = Progress::new();
        assert!(!progress.has_untried());
        for tried in [1, 0, 2] {
            let untried = progress.untried(all.clone());
            assert!(untried.contains(&all[tried]));
            progress.tries(all[tried], &untried);
            assert_eq!(progress.has_untried(), tried != 2);
        }
        assert_eq!(progress.untried(all.clone()), all);
        progress.tries(all[0], &all);
        progress.forget_tried();
        assert!(!progress.has_untried());
        // The others are silent: one that was tried before is no reason to go on.
        progress.tries(all[0], &all);
        assert!(progress.has_untried());
        progress.tries(all[0], &all);
        assert!(!progress.has_untried());
        progress.forget_tried();
        assert_eq!(progress.untried(all.clone()), all);
    }

    #[tokio::test]
    async fn what_the_server_said_before_a_reset_is_heard_though_writing_finds_out_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(Node::new("127.0.0.1", listener.local_addr().unwrap().port()));
        let mut stream =
            Stream::open(&target, None, None, &Progress::new(), "a server").await.unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"-DENIED\r\n").unwrap();
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        // Nothing has been awaited meanwhile: the runtime knows of no change.
        stream.write_all(b"PING\r\n").await.unwrap_err();
        assert_eq!(stream.first().get(), b"-DENIED\r\n");
    }
}
