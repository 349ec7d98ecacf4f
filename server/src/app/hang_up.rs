//! Callers that hang up. The HTTP server goes on with a request whose connection was closed; here its handler can learn of it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// The open connections, by their callers' addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct HangUps(Arc<Mutex<HashMap<SocketAddr, CancellationToken>>>);

impl HangUps {
    /// Ends when the caller at `address` has hung up; never, when nothing is known of the connection.
    pub(crate) async fn of(&self, address: &RemoteAddr) {
        let known = address
            .as_socket_addr()
            .and_then(|address| self.open().get(address).cloned());
        match known {
            Some(gone) => gone.cancelled().await,
            None => std::future::pending().await,
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SocketAddr, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An acceptor whose connections are watched: [`App::watched`](crate::App::watched).
#[derive(Debug)]
pub struct WatchedAcceptor<A> {
    inner: A,
    hang_ups: HangUps,
}

impl<A> WatchedAcceptor<A> {
    pub(super) fn new(inner: A, hang_ups: HangUps) -> Self {
        Self { inner, hang_ups }
    }
}

impl<A: Acceptor> Acceptor for WatchedAcceptor<A> {
    type Io = WatchedStream<A::Io>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.inner.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, local, remote, scheme) = self.inner.accept().await?;
        let gone = CancellationToken::new();
        let address = remote.as_socket_addr().copied();
        if let Some(address) = address {
            self.hang_ups.open().insert(address, gone.clone());
        }
        let watched = WatchedStream {
            stream,
            gone,
            address,
            hang_ups: self.hang_ups.clone(),
        };
        Ok((watched, local, remote, scheme))
    }
}

/// A connection that notes its end: a caller that has sent all it will send, or an error.
#[derive(Debug)]
pub struct WatchedStream<S> {
    stream: S,
    gone: CancellationToken,
    address: Option<SocketAddr>,
    hang_ups: HangUps,
}

impl<S> WatchedStream<S> {
    fn noted<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if outcome.is_err() {
            self.gone.cancel();
        }
        outcome
    }
}

impl<S> Drop for WatchedStream<S> {
    fn drop(&mut self) {
        self.gone.cancel();
        if let Some(address) = &self.address {
            self.hang_ups.open().remove(address);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if room > 0 && buffer.filled().len() == before {
            self.gone.cancel();
        }
        Poll::Ready(self.noted(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(self.noted(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        Poll::Ready(self.noted(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
