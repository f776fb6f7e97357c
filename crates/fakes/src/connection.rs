//! Connections that can be cut: one of them by a fault in the middle of a request, and all of them
//! when the stand-in stops.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use url::Url;

/// Handle that cuts a request's connection. Nothing more is sent after the cut, not even a
/// response.
#[derive(Clone)]
pub(crate) struct Cut(CancellationToken);

impl Cut {
    pub(crate) fn cut(&self) {
        self.0.cancel();
    }
}

/// A listener whose connections all end with one cancellation token.
pub(crate) struct Connections {
    listener: TcpListener,
    stop: CancellationToken,
}

impl Connections {
    pub(crate) async fn bind(address: SocketAddr, stop: CancellationToken) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, stop })
    }

    /// Returns the URL at which a client on this machine reaches the listener.
    pub(crate) fn url(&self) -> io::Result<Url> {
        let mut address = self.listener.local_addr()?;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Url::parse(&format!("http://{address}")).map_err(io::Error::other)
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let token = self.stop.child_token();
        (Connection { stream, ended: Box::pin(token.clone().cancelled_owned()), token }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    token: CancellationToken,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    /// Fails after the connection is cut, and registers the task to be woken by the cut.
    fn poll_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected<IncomingStream<'_, Connections>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        Self(stream.io().token.clone())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
