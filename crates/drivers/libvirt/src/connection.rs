//! A connection to one libvirtd: many calls at once, each with its own deadline, none able to harm another.
//!
//! ```text
//! open ──▶ transport ──▶ authenticate ──▶ connect_open ──▶ calls, events ──▶ closed(reason)
//! ```
//! A call that misses its deadline leaves the connection as it was; its answer, should it come, is thrown away. Once
//! closed a connection stays so: open another. Dropping the last clone ends both tasks and the transport.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    auth::{self, Credentials},
    error::{CloseReason, Error, ErrorCode, Result, is_shortage},
    events::{EventKind, Sink},
    frame::{Header, kind},
    procedures::Procedure,
    pump::{self, Download, Refusal, Shared, Waiting},
    transport,
    types::WireError,
    uri::{Endpoint, Uri},
    xdr::{Decode, Decoder, Encode},
};

/// `VIR_DRV_FEATURE_PROGRAM_KEEPALIVE`: asking for it lets the server send keepalives too.
const FEATURE_KEEPALIVE: i32 = 10;

/// How to open a connection.
#[derive(Debug, Clone)]
pub struct Options {
    /// For everything until the connection is usable.
    pub limit: Duration,
    /// When silence means that the other side is gone.
    pub keepalive: Keepalive,
    /// User and password for SASL.
    pub credentials: Option<Credentials>,
    /// Calls in flight. libvirtd stops reading, and so stops answering keepalives, at its `max_client_requests` (5
    /// unless configured): stay below. One of them is kept for calls that end what hangs (destroy, abort).
    pub calls: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { limit: Duration::from_secs(5), keepalive: Keepalive::default(), credentials: None, calls: 4 }
    }
}

/// After `interval` without a byte a keepalive is sent; after `count` such intervals the connection is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before each keepalive.
    pub interval: Duration,
    /// Intervals of silence that end the connection.
    pub count: u32,
    /// Also while nothing is awaited, neither an answer nor events. False for a connection that only stands ready: its end
    /// shows when it is used.
    pub at_rest: bool,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), count: 3, at_rest: true }
    }
}

/// A connection to one libvirtd. Clones share it.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    target: String,
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Vec<u8>>,
    serial: AtomicU32,
    slots: Arc<Semaphore>,
    urgent_slot: Arc<Semaphore>,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Connection").field(&self.0.target).finish()
    }
}

impl Connection {
    /// Connects, authenticates and opens, all within `options.limit`. [`Error::Connect`] means that nobody was reached, or
    /// somebody who does not answer; [`Error::says_nothing_of_the_host`] that nobody was asked, or that we were turned away.
    pub async fn open(uri: &Uri, options: &Options) -> Result<Self> {
        let deadline = Instant::now() + options.limit;
        let transport = transport::connect(uri, deadline).await?;
        let shared = Arc::new(Shared::new());
        let (outgoing, tasks) = pump::start(transport, &shared, options.keepalive);
        let connection = Self(Arc::new(Inner {
            target: uri.target(),
            shared,
            outgoing,
            serial: AtomicU32::new(1),
            slots: Arc::new(Semaphore::new(options.calls.saturating_sub(1).max(1))),
            urgent_slot: Arc::new(Semaphore::new(1)),
            _tasks: tasks,
        }));
        match connection.negotiate(uri, options, deadline).await {
            Ok(()) => Ok(connection),
            Err(error) => Err(never_came_up(uri, options.limit, error)),
        }
    }

    async fn negotiate(&self, uri: &Uri, options: &Options, deadline: Instant) -> Result<()> {
        let left = || deadline.saturating_duration_since(Instant::now());
        auth::authenticate(self, uri, options.credentials.as_ref(), deadline).await?;
        let (_supported,): (i32,) = self.call(Procedure::ConnectSupportsFeature, &(FEATURE_KEEPALIVE,), left()).await?;
        self.call(Procedure::ConnectOpen, &(Some(&uri.name), 0_u32), left()).await
    }

    /// Address, socket or host, for messages.
    pub fn target(&self) -> &str {
        &self.0.target
    }

    /// When the last byte came from the server, of whatever kind: the heartbeat of the connection.
    pub fn last_heard(&self) -> std::time::Instant {
        self.0.shared.last_heard()
    }

    /// Calls that missed their deadline and that libvirtd still works on. As many as `Options::calls` make the
    /// connection unusable until one is answered: then open another.
    pub fn unanswered(&self) -> usize {
        self.0.shared.abandoned()
    }

    /// Waits for the end and tells why.
    pub async fn closed(&self) -> Arc<CloseReason> {
        let mut closed = self.0.shared.closed.subscribe();
        let ended = closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        ended.unwrap_or_else(|| Arc::new(CloseReason::Local))
    }

    /// Why it ended, if it has.
    pub fn close_reason(&self) -> Option<Arc<CloseReason>> {
        self.0.shared.closed.borrow().clone()
    }

    /// Ends it for all clones; calls under way fail as `Closed`.
    pub fn close(&self) {
        self.0.shared.close(CloseReason::Local);
    }

    /// Sends a keepalive and measures until the answer. Costs no call slot: works while calls are stuck.
    pub async fn ping(&self, limit: Duration) -> Result<Duration> {
        const PING: Procedure = Procedure::KeepalivePing;
        let began = Instant::now();
        let mut pongs = self.0.shared.pongs.subscribe();
        let ping = pump::message(PING).map_err(|source| Error::Malformed { procedure: PING, source })?;
        let answered = async {
            self.0.outgoing.send(ping).await.map_err(|_| self.closed_during(PING))?;
            tokio::select! {
                _ = pongs.changed() => Ok(began.elapsed()),
                reason = self.closed() => Err(Error::Closed { procedure: PING, reason }),
            }
        };
        timeout_at(began + limit, answered).await.map_err(|_| Error::Deadline { procedure: PING, limit })?
    }

    /// Calls `procedure` and reads its reply.
    pub(crate) async fn call<R: Decode>(
        &self,
        procedure: Procedure,
        arguments: &(impl Encode + ?Sized),
        limit: Duration,
    ) -> Result<R> {
        let (reply, _) = self.exchange(procedure, arguments, None, limit).await?;
        decode(procedure, &reply)
    }

    /// Calls `procedure`, and reads its reply and at most `most` bytes of the stream that follows.
    pub(crate) async fn download<R: Decode>(
        &self,
        procedure: Procedure,
        arguments: &(impl Encode + ?Sized),
        most: usize,
        limit: Duration,
    ) -> Result<(R, Vec<u8>)> {
        let download = Download::of_at_most(most);
        let (reply, bytes) = self.exchange(procedure, arguments, Some(download), limit).await?;
        Ok((decode(procedure, &reply)?, bytes))
    }

    async fn exchange(
        &self,
        procedure: Procedure,
        arguments: &(impl Encode + ?Sized),
        download: Option<Download>,
        limit: Duration,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let deadline = Instant::now() + limit;
        let serial = self.0.serial.fetch_add(1, Ordering::Relaxed);
        let frame = Header::new(procedure.program(), procedure.number(), kind::CALL, serial)
            .frame(arguments)
            .map_err(|source| Error::Malformed { procedure, source })?;

        // Until both are there nothing has happened, and leaving costs nothing.
        let ready = async { (self.slot(procedure).await, self.0.outgoing.reserve().await) };
        let (slot, place) = tokio::select! {
            ready = timeout_at(deadline, ready) => {
                ready.map_err(|_| Error::Busy { procedure, limit, unanswered: self.unanswered() })?
            }
            reason = self.closed() => return Err(Error::Closed { procedure, reason }),
        };
        let place = place.map_err(|_| self.closed_during(procedure))?;
        let (answer, answered) = oneshot::channel();
        self.0
            .shared
            .enter(serial, Waiting { procedure, answer, download, slot })
            .map_err(|_| self.closed_during(procedure))?;
        place.send(frame);

        match timeout_at(deadline, answered).await {
            Ok(Ok(Ok(payloads))) => Ok(payloads),
            Ok(Ok(Err(Refusal::Malformed(source)))) => Err(Error::Malformed { procedure, source }),
            Ok(Ok(Err(Refusal::Libvirt(error)))) => {
                let WireError { code, domain, message, .. } = decode(procedure, &error)?;
                let message = message.unwrap_or_default();
                Err(Error::Libvirt { procedure, code: ErrorCode(code), domain, message })
            }
            Ok(Err(_)) => Err(self.closed_during(procedure)),
            Err(_) => Err(Error::Deadline { procedure, limit }),
        }
    }

    async fn slot(&self, procedure: Procedure) -> OwnedSemaphorePermit {
        let slots = Arc::clone(&self.0.slots).acquire_owned();
        let urgent = Arc::clone(&self.0.urgent_slot).acquire_owned();
        let slot = tokio::select! {
            biased;
            slot = slots => slot,
            slot = urgent, if procedure.is_urgent() => slot,
        };
        slot.expect("the semaphores are never closed")
    }

    fn closed_during(&self, procedure: Procedure) -> Error {
        Error::Closed { procedure, reason: self.close_reason().unwrap_or_else(|| Arc::new(CloseReason::Local)) }
    }

    /// Puts the subscriber in place; returns which of `kinds` the server does not send yet.
    pub(crate) fn replace_sink(&self, sink: Sink, kinds: &[EventKind]) -> Vec<EventKind> {
        let mut subscription = self.0.shared.subscription();
        // On a closed connection the sink is dropped, so that the subscriber sees the end.
        subscription.sink = self.close_reason().is_none().then_some(sink);
        kinds.iter().copied().filter(|kind| !subscription.registered.contains(kind)).collect()
    }

    pub(crate) fn registered(&self, kind: EventKind) {
        self.0.shared.subscription().registered.push(kind);
    }
}

/// To whoever opens, a transport that ends before it is usable never came up.
fn never_came_up(uri: &Uri, limit: Duration, error: Error) -> Error {
    let connect = |why: String| Error::Connect { target: uri.target(), why, source: None };
    let mute =
        |how: String| connect(format!("it takes the connection and does not answer ({how}); does libvirtd hang?"));
    match error {
        Error::Closed { reason, .. } => match (&uri.endpoint, &*reason) {
            (Endpoint::Ssh(_), _) => transport::ssh_failed(uri.target(), reason.to_string()),
            (_, CloseReason::Silent { .. }) => mute(reason.to_string()),
            (_, broken) if is_shortage(broken) => {
                Error::Unasked { target: uri.target(), why: reason.to_string(), source: None }
            }
            _ => connect(reason.to_string()),
        },
        Error::Deadline { procedure, .. } => mute(format!("{procedure}, {limit:?}")),
        error => error,
    }
}

fn decode<R: Decode>(procedure: Procedure, payload: &[u8]) -> Result<R> {
    R::decode(&mut Decoder::new(payload)).map_err(|source| Error::Malformed { procedure, source })
}
