//! Transports: getting a byte stream to a libvirtd. Each brings one up within the caller's deadline, or says why not.

mod ssh;
mod tls;
mod unix;

pub(crate) use tls::key_file;

pub(crate) use ssh::failed as ssh_failed;

use std::{io, net::SocketAddr, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    error::{Error, Result, is_shortage},
    resolve::resolve,
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

/// Connects to where `uri` points, by `deadline`.
pub async fn connect(uri: &Uri, deadline: Instant) -> Result<Transport> {
    let late = || Error::Connect {
        target: uri.target(),
        why: "no connection in time; is the host up, and no firewall between?".to_owned(),
        source: None,
    };
    timeout_at(deadline, connect_to(uri, deadline)).await.map_err(|_| late())?
}

async fn connect_to(uri: &Uri, deadline: Instant) -> Result<Transport> {
    match &uri.endpoint {
        Endpoint::Unix { socket, session } => unix::connect(socket.as_deref(), *session).await,
        Endpoint::Tcp { host, port } => tcp(host, *port, deadline).await.map(split),
        Endpoint::Tls { host, port, pki_path, verify } => {
            let tls = tls::Tls::prepare(host, pki_path.as_deref(), *verify)?;
            tls.connect(tcp(host, *port, deadline).await?, host).await.map(split)
        }
        Endpoint::Ssh(ssh) => ssh::connect(ssh, &uri.name).await,
    }
}

async fn tcp(host: &str, port: u16, deadline: Instant) -> Result<TcpStream> {
    let failed = |why: &str, source| unreachable(format!("{host}:{port}"), why, source);
    let unresolved = |source| Error::Unasked {
        target: format!("{host}:{port}"),
        why: format!("the name {host} does not resolve; check it, DNS, and /etc/hosts of this machine"),
        source: Some(source),
    };
    let late = || unresolved(io::Error::new(io::ErrorKind::TimedOut, "no name server answered in time"));
    let found = timeout_at(deadline, resolve(host)).await.map_err(|_| late())?.map_err(unresolved)?;
    let addresses: Vec<SocketAddr> = found.into_iter().map(|address| (address, port).into()).collect();
    let stream = TcpStream::connect(&addresses[..])
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
    if is_shortage(&source) {
        let why = "this machine has not what a connection takes".to_owned();
        return Error::Unasked { target: target.into(), why, source: Some(source) };
    }
    Error::Connect { target: target.into(), why: why.to_owned(), source: Some(source) }
}
