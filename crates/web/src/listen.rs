//! Where the API is reached: a UNIX socket for users that the file mode lets in, and TCP for callers with a token, by TLS if it is
//! reached beyond this machine.
//!
//! Before a caller has shown who it is, it gets little: a bounded number of connections, and a bounded time for the TLS
//! handshake and for the head of its request.

use crate::{
    Problem, Tls,
    caller::{Caller, Token, by_token},
};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Response},
    response::IntoResponse,
};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Owner and group may talk to the controller, nobody else.
const SOCKET_MODE: u32 = 0o660;
/// Connections at each door. More wait in the kernel's queue, and the file descriptors that the hosts need are left alone.
const CONNECTIONS: usize = 128;
/// For the TLS handshake, and for the head of each request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// After a connection could not be taken: out of file descriptors, as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Why the API cannot be reached where it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another controller listens there.
    #[error("another controller answers at {}; stop it first, or give this one its own state directory and socket", .0.display())]
    Taken(PathBuf),
    /// The socket cannot be made.
    #[error("the socket {} can't be made; give another place (`--socket`, or `api_socket` in the configuration)", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be used.
    #[error("can't listen on {address}; give another as `api_listen` in the configuration")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An eavesdropper would have the tokens.
    #[error("{0} is reached beyond this machine: without a certificate the API is not served there")]
    InClear(SocketAddr),
    /// The token is too short.
    #[error(
        "the token of `{name}` has fewer than {} characters; make one with `openssl rand -hex 32`",
        mainstay_model::config::TOKEN_AT_LEAST
    )]
    ShortToken {
        /// Whose.
        name: String,
    },
}

/// The API's open doors.
#[derive(Debug)]
pub struct Listeners {
    socket: UnixListener,
    file: SocketFile,
    tcp: Option<Tcp>,
}

#[derive(Debug)]
struct Tcp {
    listener: TcpListener,
    tokens: Arc<[Token]>,
    tls: Option<Tls>,
}

/// Removes the socket's file at the end.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = fs::remove_file(&self.0);
    }
}

impl Listeners {
    /// Opens the UNIX socket, replacing one that nobody answers any more.
    ///
    /// # Errors
    /// If another controller answers there, or the file cannot be made.
    pub fn unix(path: &Path) -> Result<Listeners, ListenError> {
        if UnixStream::connect(path).is_ok() {
            return Err(ListenError::Taken(path.to_owned()));
        }
        let socket = bind(path).map_err(|source| ListenError::Socket { path: path.to_owned(), source })?;
        Ok(Listeners { socket, file: SocketFile(path.to_owned()), tcp: None })
    }

    /// Opens a TCP address too, for requests with one of the tokens.
    ///
    /// # Errors
    /// If the address cannot be used, or is reached beyond this machine and there is no certificate.
    pub async fn and_tcp(
        mut self,
        address: SocketAddr,
        tokens: Vec<Token>,
        tls: Option<Tls>,
    ) -> Result<Listeners, ListenError> {
        if tls.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(ListenError::InClear(address));
        }
        let listener = TcpListener::bind(address).await.map_err(|source| ListenError::Address { address, source })?;
        self.tcp = Some(Tcp { listener, tokens: tokens.into(), tls });
        Ok(self)
    }

    /// The TCP address really listened on, if any: with port 0 the system chose one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.listener.local_addr().ok())
    }

    /// Serves until `stop` completes. Open requests are dropped then: none of them holds state.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let Listeners { socket, file: _file, tcp } = self;
        let over_tcp = async {
            match tcp {
                Some(tcp) => tcp.serve(router.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop => {}
            () = serve_socket(socket, router.clone()) => {}
            () = over_tcp => {}
        }
    }
}

async fn serve_socket(listener: UnixListener, router: Router) {
    let mut door = Door::new();
    loop {
        let permit = door.permit().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(peer) = stream.peer_cred() else { continue };
                let (router, caller) = (router.clone(), Caller::local(peer.uid()));
                door.spawn(permit, converse(stream, router, move |_| Ok(caller.clone())));
            }
            Err(error) => rest(&error).await,
        }
    }
}

impl Tcp {
    async fn serve(self, router: Router) {
        let mut door = Door::new();
        loop {
            let permit = door.permit().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (router, tokens, tls) = (router.clone(), Arc::clone(&self.tokens), self.tls.clone());
                    let known = move |headers: &HeaderMap| by_token(&tokens, headers);
                    door.spawn(permit, async move {
                        match tls {
                            None => converse(stream, router, known).await,
                            Some(tls) => match timeout(HEAD_WITHIN, tls.accept(stream)).await {
                                Ok(Ok(stream)) => converse(stream, router, known).await,
                                Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
                                Err(_) => tracing::debug!("a client did not end its TLS handshake"),
                            },
                        }
                    });
                }
                Err(error) => rest(&error).await,
            }
        }
    }
}

/// The connections of one door.
struct Door {
    places: Arc<Semaphore>,
    open: JoinSet<()>,
}

impl Door {
    fn new() -> Door {
        Door { places: Arc::new(Semaphore::new(CONNECTIONS)), open: JoinSet::new() }
    }

    /// A place for the next connection. The semaphore is never closed.
    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        while self.open.try_join_next().is_some() {}
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn spawn(&mut self, permit: Option<OwnedSemaphorePermit>, conversation: impl Future<Output = ()> + Send + 'static) {
        self.open.spawn(async move {
            let _permit = permit;
            conversation.await;
        });
    }
}

/// Answers the requests of one connection, each with its caller.
async fn converse<S, K>(stream: S, router: Router, known: K)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    K: Fn(&HeaderMap) -> Result<Caller, Problem>,
{
    let inner = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        let caller = known(request.headers());
        let inner = &inner;
        async move {
            match caller {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(problem) => Ok::<Response<Body>, Infallible>(problem.into_response()),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away in the middle is nothing to tell of.
    let _ = connection.await;
}

/// Connections that broke while they waited are none of ours; anything else will be the same in the next moment.
async fn rest(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "the API can't take a connection");
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Made beside its place with its mode set, then moved there: nobody meets it with another mode, nor finds it missing.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    let _leftover = fs::remove_file(&beside);
    let socket = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(SOCKET_MODE))?;
    fs::rename(&beside, path)?;
    Ok(socket)
}
