//! A byte stream to a server: TCP, TLS over it, or a Unix socket. `open_stream.rs` opens it.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::last_heard::LastHeard;
use crate::sync::Mutex;

/// How many of the first bytes that a server sends are kept.
const FIRST_BYTES: usize = 64;

/// An open stream to a server.
pub(crate) struct Stream {
    carrier: Carrier,
    first_bytes: FirstBytes,
    has_read: bool,
    last_heard: LastHeard,
    /// The server's address, where it has one.
    address: Option<SocketAddr>,
}

/// What carries the bytes.
pub(super) enum Carrier {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// The first bytes that a server sent.
#[derive(Clone, Default)]
pub(crate) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    pub(crate) fn get(&self) -> Vec<u8> {
        self.0.lock().clone()
    }

    fn set(&self, bytes: &[u8]) {
        *self.0.lock() = bytes[..bytes.len().min(FIRST_BYTES)].to_vec();
    }
}

impl Stream {
    /// `address`: of the server, over TCP.
    pub(super) fn new(carrier: Carrier, address: Option<SocketAddr>) -> Self {
        Stream {
            carrier,
            first_bytes: FirstBytes::default(),
            has_read: false,
            last_heard: LastHeard::new(),
            address,
        }
    }

    /// The server's address, over TCP.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The first bytes that the server sends. Empty until they have come.
    pub(crate) fn first_bytes(&self) -> FirstBytes {
        self.first_bytes.clone()
    }

    pub(crate) fn last_heard(&self) -> LastHeard {
        self.last_heard.clone()
    }

    /// Whether it is TCP without TLS.
    pub(crate) fn is_plain_tcp(&self) -> bool {
        matches!(self.carrier, Carrier::Tcp(_))
    }

    /// Passes on how writing ended. If it failed, reads first what the server sent before it closed
    /// the connection, because that says more.
    fn read_before_write_error<T>(
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
            Poll::Ready(Err(read_error)) => Poll::Ready(Err(read_error)),
            // The runtime does not know yet that the connection is closed. It will wake this task,
            // because a closed connection has at least an end to read.
            Poll::Pending if is_closed(&error) => Poll::Pending,
            _ => Poll::Ready(Err(error)),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
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
        this.last_heard.record_now();
        if !this.has_read {
            this.has_read = true;
            this.first_bytes.set(&into.filled()[before..]);
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
        this.read_before_write_error(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match &mut this.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Carrier::Tls(tls) => Pin::new(tls).poll_flush(context),
            #[cfg(unix)]
            Carrier::Unix(unix) => Pin::new(unix).poll_flush(context),
        };
        this.read_before_write_error(context, flushed)
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
