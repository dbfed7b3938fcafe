//! Transports: getting a byte stream to a libvirtd. Each brings one up within the caller's deadline, or says why not.

mod ssh;
mod tls;
mod unix;

use std::{io, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    error::{Error, Result},
    uri::{Endpoint, Uri},
};

/// The reading half of a transport.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// The writing half of a transport.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A byte stream to a server.
pub struct Transport {
    /// What the server sends.
    pub reader: Reader,
    /// What we send.
    pub writer: Writer,
    /// A helper process and what it says about its end; empty for transports without one. Dropping kills it.
    pub last_words: JoinSet<String>,
}

/// Connects to where `uri` points. Ends only with the transport up or failed: the caller bounds the time.
pub async fn connect(uri: &Uri) -> Result<Transport> {
    match &uri.endpoint {
        Endpoint::Unix { socket, session } => unix::connect(socket.as_deref(), *session).await,
        Endpoint::Tcp { host, port } => tcp(host, *port).await.map(split),
        Endpoint::Tls { host, port, pki_path, verify } => {
            tls::connect(tcp(host, *port).await?, host, pki_path.as_deref(), *verify).await.map(split)
        }
        Endpoint::Ssh(ssh) => ssh::connect(ssh, &uri.name).await,
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream> {
    let failed = |why: &str, source| unreachable(format!("{host}:{port}"), why, source);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|source| failed("TCP connection failed; does libvirtd listen there (libvirtd --listen)?", source))?;
    // Calls are small and answered one by one: waiting to fill a segment would only delay them.
    stream.set_nodelay(true).map_err(|source| failed("can't set TCP_NODELAY", source))?;
    Ok(stream)
}

fn split<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Transport {
    let (reader, writer) = tokio::io::split(stream);
    Transport { reader: Box::pin(reader), writer: Box::pin(writer), last_words: JoinSet::new() }
}

fn unreachable(target: impl Into<String>, why: &str, source: io::Error) -> Error {
    Error::Connect { target: target.into(), why: why.to_owned(), source: Some(source) }
}
