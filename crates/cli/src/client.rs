//! The client of the HTTP API, over the UNIX socket or TCP. Every call has a deadline.

use crate::{
    arguments::{Everywhere, SOCKET},
    failure::Failure,
    render::span,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use mainstay_model::{Command, Reply, Secret, Span, plain};
use mainstay_web::{Envelope, Notice, Problem, TlsClient, no_tls};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{borrow::Cow, fmt, io::ErrorKind, net::IpAddr, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// Longer than the controller itself allows for an answer, so that its own reason is heard.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Older data than this is not shown as if it were true.
const DATA_AT_MOST: Span = Span::secs(15);
/// A silent stream is a dead one: views come every 5 s.
const STREAM_SILENT_AT_MOST: Duration = Duration::from_secs(20);

/// The way to a controller.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    token: Option<Secret>,
}

#[derive(Clone, Debug)]
enum Endpoint {
    Socket(PathBuf),
    /// In clear: on this machine only.
    Tcp(String),
    Tls {
        address: String,
        authority: Option<PathBuf>,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Socket(path) => write!(f, "{}", path.display()),
            Endpoint::Tcp(address) => f.write_str(address),
            Endpoint::Tls { address, .. } => write!(f, "https://{address}"),
        }
    }
}

impl Client {
    /// To the controller that the command line names.
    pub fn new(everywhere: &Everywhere) -> Client {
        let endpoint = match &everywhere.api {
            Some(address) => {
                let address = address.trim_end_matches('/');
                match address.strip_prefix("https://") {
                    Some(address) => {
                        Endpoint::Tls { address: address.to_owned(), authority: everywhere.api_ca.clone() }
                    }
                    None => Endpoint::Tcp(address.trim_start_matches("http://").to_owned()),
                }
            }
            None => Endpoint::Socket(everywhere.socket.clone().unwrap_or_else(|| SOCKET.into())),
        };
        Client { endpoint, token: std::env::var("MAINSTAY_TOKEN").ok().map(Secret::new) }
    }

    /// Where the controller is, as a text that stays the same.
    pub fn endpoint(&self) -> String {
        self.endpoint.to_string()
    }

    /// To the controller behind a socket.
    pub fn at_socket(path: impl Into<PathBuf>) -> Client {
        Client { endpoint: Endpoint::Socket(path.into()), token: None }
    }

    /// Reads something. Data that is too old is refused.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Envelope<T>, Failure> {
        let answer: Envelope<T> = self.call(Method::GET, path, Bytes::new()).await?;
        match too_old(&answer) {
            Some(failure) => Err(failure),
            None => Ok(answer),
        }
    }

    /// Reads something however old it is; with what has to be said of that, if it is too old to be shown as if it were true.
    pub async fn get_as_it_is<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(Envelope<T>, Option<Failure>), Failure> {
        let answer = self.call(Method::GET, path, Bytes::new()).await?;
        let failure = too_old(&answer);
        Ok((answer, failure))
    }

    /// Gives a command; a refusal is an error.
    pub async fn command(&self, command: &Command) -> Result<Envelope<Reply>, Failure> {
        self.post("/v1/commands", command).await
    }

    /// Sends something.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Envelope<T>, Failure> {
        let body = serde_json::to_vec(body).expect("requests have text keys only, so they can be written as JSON");
        self.call(Method::POST, path, body.into()).await
    }

    /// Follows what happens.
    pub async fn watch(&self) -> Result<Watching, Failure> {
        let response = self.within(ANSWER_WITHIN, self.send(Method::GET, "/v1/watch", Bytes::new())).await?;
        if !response.status().is_success() {
            let body = async { response.into_body().collect().await.map_err(|error| self.no_answer(error)) };
            return Err(self.problem("/v1/watch", &self.within(ANSWER_WITHIN, body).await?.to_bytes()));
        }
        Ok(Watching { client: self.clone(), body: response.into_body(), unread: Vec::new() })
    }

    /// Sends something whose answer may take longer than usual.
    pub async fn post_within<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<Envelope<T>, Failure> {
        self.call_within(Method::POST, path, Bytes::from_static(b"{}"), limit).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        self.call_within(method, path, body, ANSWER_WITHIN).await
    }

    async fn call_within<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<T, Failure> {
        let exchange = async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await.map_err(|error| self.no_answer(error))?.to_bytes();
            Ok((status, bytes))
        };
        let (status, bytes) = self.within(limit, exchange).await?;
        let not_understood = |source| Failure::Answer { path: path.to_owned(), source };
        if status.is_success() {
            return read(&bytes).map_err(not_understood);
        }
        Err(self.problem(path, &bytes))
    }

    /// What the controller says is wrong.
    fn problem(&self, path: &str, body: &[u8]) -> Failure {
        match read::<Problem>(body) {
            Ok(mut problem) => {
                if problem.status == 401 {
                    (problem.detail, problem.help) = self.turned_away(problem.detail);
                }
                Failure::Problem(problem)
            }
            Err(source) => Failure::Answer { path: path.to_owned(), source },
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let late = || self.no_answer(format!("nothing came within {} s", limit.as_secs()));
        timeout(limit, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let unreachable = |source| self.unreachable(source);
        match &self.endpoint {
            Endpoint::Socket(path_of_socket) => {
                let stream = UnixStream::connect(path_of_socket).await.map_err(unreachable)?;
                self.exchange(stream, method, path, body).await
            }
            Endpoint::Tls { address, authority } => {
                let missing = "https:// needs --api-ca FILE (or MAINSTAY_API_CA): the certificates that are trusted";
                let authority = authority.as_ref().ok_or_else(|| Failure::Usage(missing.to_owned()))?;
                let tls = TlsClient::trusting(authority)
                    .map_err(|error| Failure::other("the trusted certificates can't be used", error))?;
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                let connected = tls.connect(host_of(address), stream).await;
                let stream = connected.map_err(|error| self.no_answer(format!("no TLS: {}", no_tls(&error))))?;
                self.exchange(stream, method, path, body).await
            }
            Endpoint::Tcp(address) => {
                if !is_this_machine(host_of(address)) {
                    let text =
                        format!("{address} is another machine: use https://{address}, or the token could be read");
                    return Err(Failure::Usage(text));
                }
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                self.exchange(stream, method, path, body).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.no_answer(error))?;
        // Ends with the last of request and response; its errors show there.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "mainstay");
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request =
            request.body(Full::new(body)).map_err(|error| Failure::Usage(format!("`{path}` is no path: {error}")))?;
        sender.send_request(request).await.map_err(|error| self.no_answer(error))
    }

    fn unreachable(&self, source: std::io::Error) -> Failure {
        let endpoint = self.endpoint.to_string();
        match (&self.endpoint, source.kind()) {
            (Endpoint::Socket(_), ErrorKind::PermissionDenied) => Failure::NotAllowed { endpoint, source },
            _ => Failure::NoController { endpoint, source },
        }
    }

    /// What is wrong with the token, and what to do. The controller can't tell a wrong one from none that it knows.
    fn turned_away(&self, detail: String) -> (String, String) {
        match self.token {
            None => (detail, "put the controller's token into MAINSTAY_TOKEN".to_owned()),
            Some(_) => (
                format!("the controller at {} does not know the token in MAINSTAY_TOKEN", self.endpoint),
                "use the token that the controller was started with".to_owned(),
            ),
        }
    }

    fn no_answer(&self, reason: impl fmt::Display) -> Failure {
        Failure::NoAnswer { endpoint: self.endpoint.to_string(), reason: reason.to_string() }
    }
}

/// What is wrong with an answer that is too old.
fn too_old<T>(answer: &Envelope<T>) -> Option<Failure> {
    let age = Span(answer.age_ms);
    (age > DATA_AT_MOST).then(|| match answer.leader.trouble.clone() {
        Some(trouble) => Failure::NothingRemembered { age: span(age), trouble },
        None => Failure::TooOld { age: span(age) },
    })
}

/// A stream of notices (server-sent events).
#[derive(Debug)]
pub struct Watching {
    client: Client,
    body: Incoming,
    unread: Vec<u8>,
}

impl Watching {
    /// The next notice.
    ///
    /// # Errors
    /// When the controller has gone.
    pub async fn next(&mut self) -> Result<Notice, Failure> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(notice) = notice(&String::from_utf8_lossy(&message))? {
                    return Ok(notice);
                }
            }
            let gone = |reason: &str| self.client.no_answer(format!("the stream of news ended ({reason})"));
            let frame = timeout(STREAM_SILENT_AT_MOST, self.body.frame()).await.map_err(|_| gone("silence"))?;
            let frame = frame.ok_or_else(|| gone("closed"))?.map_err(|error| gone(&error.to_string()))?;
            if let Some(bytes) = frame.data_ref() {
                self.unread.extend_from_slice(bytes);
            }
        }
    }
}

/// What a controller says. Names, errors and reasons in it come from hypervisors, agents and guests: this is the one place where
/// they enter the command line, so it is here that nothing is left in them that could steer a terminal.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    make_plain(&mut value);
    serde_json::from_value(value)
}

fn make_plain(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = plain(text) {
                *text = shown;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_plain),
        Value::Object(fields) => {
            let names: Vec<String> =
                fields.keys().filter(|name| matches!(plain(name), Cow::Owned(_))).cloned().collect();
            for name in names {
                if let Some(value) = fields.remove(&name) {
                    fields.insert(plain(&name).into_owned(), value);
                }
            }
            fields.values_mut().for_each(make_plain);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One message of the stream; comments (keep-alive) and kinds not known here are nothing.
fn notice(message: &str) -> Result<Option<Notice>, Failure> {
    let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    let (Some(kind), Some(data)) = (field("event:"), field("data:")) else { return Ok(None) };
    let read = match kind {
        "view" => read(data.as_bytes()).map(Notice::View),
        "event" => read(data.as_bytes()).map(Notice::Event),
        "missed" => read(data.as_bytes()).map(Notice::Missed),
        _ => return Ok(None),
    };
    read.map(Some).map_err(|source| Failure::Answer { path: "/v1/watch".to_owned(), source })
}

/// The part of `HOST:PORT` before the port, an IPv6 address without its brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// True if what is sent there in clear does not leave this machine.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A name as part of a path.
pub fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_and_unknown_kinds_are_no_notices() {
        assert_eq!(notice(":").unwrap(), None);
        assert_eq!(notice("event: tea\ndata: {}").unwrap(), None);
        assert_eq!(notice("event: missed\ndata: 7").unwrap(), Some(Notice::Missed(7)));
    }

    #[test]
    fn a_socket_that_may_not_be_used_is_not_a_controller_that_is_away() {
        let client = Client::at_socket("/run/mainstay/api.sock");
        let failed = |kind| client.unreachable(ErrorKind::into(kind));
        let (denied, away) = (failed(ErrorKind::PermissionDenied), failed(ErrorKind::NotFound));
        assert!(denied.to_string().starts_with("you may not talk to the controller at /run/mainstay/api.sock"));
        assert_eq!((denied.exit(), away.exit()), (crate::failure::Exit::Failed, crate::failure::Exit::Stale));
    }

    #[test]
    fn a_token_is_sent_in_clear_on_this_machine_only() {
        for (address, host, here) in [
            ("127.0.0.1:7710", "127.0.0.1", true),
            ("localhost:7710", "localhost", true),
            ("[::1]:7710", "::1", true),
            ("[::ffff:127.0.0.1]:7710", "::ffff:127.0.0.1", true),
            ("10.0.0.1:7710", "10.0.0.1", false),
            ("127.example.org:7710", "127.example.org", false),
        ] {
            assert_eq!((host_of(address), is_this_machine(host_of(address))), (host, here), "{address}");
        }
    }

    #[test]
    fn names_cannot_leave_their_place_in_the_path() {
        assert_eq!(segment("web-1"), "web-1");
        assert_eq!(segment("a/../b?c"), "a%2F..%2Fb%3Fc");
    }
}
