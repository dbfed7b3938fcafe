//! Where the API is reached: a UNIX socket for whoever the file mode lets in, and TCP for whoever has the token.

use crate::Problem;
use axum::{
    Router,
    extract::{Request, State},
    http::header,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use mainstay_model::config::TOKEN_AT_LEAST;
use std::{
    fmt, fs,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::{TcpListener, UnixListener};

/// Owner and group may talk to the controller, nobody else.
const SOCKET_MODE: u32 = 0o660;

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
        source: std::io::Error,
    },
    /// The address cannot be used.
    #[error("can't listen on {address}; give another as `api_listen` in the configuration")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The token is too short.
    #[error("the token has fewer than {TOKEN_AT_LEAST} characters; make one with `openssl rand -hex 32`")]
    ShortToken,
    /// Serving ended.
    #[error("serving the API failed")]
    Serve(#[source] std::io::Error),
}

/// What every request over TCP must carry. Never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// A token, if it is long enough.
    ///
    /// # Errors
    /// [`ListenError::ShortToken`].
    pub fn new(text: &str) -> Result<Token, ListenError> {
        let text = text.trim();
        (text.len() >= TOKEN_AT_LEAST).then(|| Token(text.into())).ok_or(ListenError::ShortToken)
    }

    /// Compares every byte whatever differs first, so that the time taken tells nothing.
    fn is(&self, other: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), other.as_bytes());
        own.len() == other.len() && own.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The API's open doors.
#[derive(Debug)]
pub struct Listeners {
    socket: UnixListener,
    file: SocketFile,
    tcp: Option<(TcpListener, Token)>,
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

    /// Opens a TCP address too, for requests with the token.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub async fn and_tcp(mut self, address: SocketAddr, token: Token) -> Result<Listeners, ListenError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ListenError::Address { address, source })?;
        self.tcp = Some((listener, token));
        Ok(self)
    }

    /// The TCP address really listened on, if any: with port 0 the system chose one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Serves until `stop` completes. Open requests are dropped then: none of them holds state.
    ///
    /// # Errors
    /// If a listener breaks.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) -> Result<(), ListenError> {
        let Listeners { socket, file: _file, tcp } = self;
        let guarded = router.clone();
        let over_tcp = async {
            let Some((listener, token)) = tcp else { return std::future::pending().await };
            axum::serve(listener, guarded.layer(from_fn_with_state(token, with_token))).await
        };
        tokio::select! {
            () = stop => Ok(()),
            ended = axum::serve(socket, router) => ended.map_err(ListenError::Serve),
            ended = over_tcp => ended.map_err(ListenError::Serve),
        }
    }
}

/// Made beside its place with its mode set, then moved there: nobody meets it with another mode, nor finds it missing.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
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

async fn with_token(State(token): State<Token>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match header.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(given) if token.is(given) => next.run(request).await,
        _ => Problem::no_token().into_response(),
    }
}
