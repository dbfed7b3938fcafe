//! The pump below a connection: one task reads, one writes. Replies go to the calls that wait for them, events to the
//! subscriber, keepalives are answered, and silence ends the connection.
//!
//! Nothing here waits for a consumer: a slow subscriber loses events, a caller that left costs nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    connection::Keepalive,
    error::CloseReason,
    events::{self, EventKind, Sink},
    frame::{self, Header, kind, status},
    procedures::Procedure,
    transport::{Reader, Transport, Writer},
    xdr::XdrError,
};

/// Messages that wait to be written. Calls in flight are bounded already; this leaves room for keepalives.
pub(crate) const OUTGOING: usize = 32;
/// A read buffer that grew over this for one big answer is given back: there are thousands of connections.
const BUFFER_KEPT: usize = 2 * 1024;
/// Room for a short answer; every connection has this much.
const READ_AT_LEAST: usize = 1024;
/// The other side may claim any length: room is made only as its bytes come.
const READ_AT_MOST: usize = 64 * 1024;
/// ssh may take this long to say why it ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a call gets: the reply's payload and the bytes of its stream.
pub(crate) type Answer = Result<(Vec<u8>, Vec<u8>), Refusal>;

/// What a call gets instead.
pub(crate) enum Refusal {
    /// The payload of libvirt's error.
    Libvirt(Vec<u8>),
    /// An answer that can't be taken.
    Malformed(XdrError),
}

/// A call that waits for its reply. It stays here when its caller has left, since libvirtd still works on it and
/// counts it against its limit; so does the slot it holds.
pub(crate) struct Waiting {
    pub(crate) procedure: Procedure,
    pub(crate) answer: oneshot::Sender<Answer>,
    pub(crate) download: Option<Download>,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// A stream that comes with the reply. Another thread of libvirtd sends it: on a busy machine all of it may come before the reply.
#[derive(Default)]
pub(crate) struct Download {
    reply: Option<Vec<u8>>,
    bytes: Vec<u8>,
    ended: bool,
    limit: usize,
}

impl Download {
    /// `limit`: no more bytes than this are taken.
    pub(crate) fn of_at_most(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }
}

/// What reader, writer and callers share.
pub(crate) struct Shared {
    opened: Instant,
    heard_after_us: AtomicU64,
    /// `None` once closed.
    waiting: Mutex<Option<BTreeMap<u32, Waiting>>>,
    subscription: Mutex<Subscription>,
    pub(crate) pongs: watch::Sender<u64>,
    pub(crate) closed: watch::Sender<Option<Arc<CloseReason>>>,
}

#[derive(Default)]
pub(crate) struct Subscription {
    pub(crate) sink: Option<Sink>,
    pub(crate) registered: Vec<EventKind>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            heard_after_us: AtomicU64::new(0),
            waiting: Mutex::new(Some(BTreeMap::new())),
            subscription: Mutex::default(),
            pongs: watch::Sender::new(0),
            closed: watch::Sender::new(None),
        }
    }

    pub(crate) fn last_heard(&self) -> Instant {
        self.opened + Duration::from_micros(self.heard_after_us.load(Ordering::Relaxed))
    }

    /// Enters a call. Gives it back if the connection is closed.
    pub(crate) fn enter(&self, serial: u32, call: Waiting) -> Result<(), Waiting> {
        match self.waiting().as_mut() {
            Some(waiting) => {
                waiting.insert(serial, call);
                Ok(())
            }
            None => Err(call),
        }
    }

    /// Calls that libvirtd owes an answer although their caller has left.
    pub(crate) fn abandoned(&self) -> usize {
        let waiting = self.waiting();
        waiting.as_ref().map_or(0, |calls| calls.values().filter(|call| call.answer.is_closed()).count())
    }

    /// True if nobody waits for an answer or for events.
    fn is_at_rest(&self) -> bool {
        self.waiting().as_ref().is_none_or(BTreeMap::is_empty) && self.subscription().sink.is_none()
    }

    pub(crate) fn subscription(&self) -> MutexGuard<'_, Subscription> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<BTreeMap<u32, Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it: the first reason stays, every waiting call fails at once, the subscriber sees the end.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            if first {
                *closed = Some(Arc::new(reason));
            }
            first
        });
        drop(self.waiting().take());
        self.subscription().sink = None;
    }

    /// Waits for the end.
    async fn ended(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives in `self`, so this can't fail.
        let _reason = closed.wait_for(Option::is_some).await;
    }

    fn receive(&self, header: Header, payload: &[u8], outgoing: &mpsc::Sender<Vec<u8>>) -> Result<(), XdrError> {
        match (header.kind, Procedure::from_number(header.program, header.procedure)) {
            (kind::REPLY, _) => self.reply(header, payload),
            (kind::STREAM, Some(_)) => self.stream(header, payload, outgoing)?,
            // A full queue means that many messages of ours are under way: they show life as well as a pong does.
            (kind::MESSAGE, Some(Procedure::KeepalivePing)) => {
                let _full = outgoing.try_send(message(Procedure::KeepalivePong)?);
            }
            (kind::MESSAGE, Some(Procedure::KeepalivePong)) => self.pongs.send_modify(|pongs| *pongs += 1),
            (kind::MESSAGE, Some(procedure)) => match events::decode(procedure, payload)? {
                Some(event) => {
                    if let Some(sink) = &self.subscription().sink {
                        sink.push(event);
                    }
                }
                None => tracing::debug!(?header, "libvirtd sent a message that is no event"),
            },
            _ => tracing::debug!(?header, "libvirtd sent a message this client does not know"),
        }
        Ok(())
    }

    fn reply(&self, header: Header, payload: &[u8]) {
        let mut waiting = self.waiting();
        let Some(calls) = waiting.as_mut() else { return };
        let Some(mut call) = calls.remove(&header.serial) else { return };
        match &mut call.download {
            Some(download) if header.status == status::OK => {
                download.reply = Some(payload.to_vec());
                if let Some(call) = call.finish_download() {
                    calls.insert(header.serial, call);
                }
            }
            _ if header.status == status::OK => call.finish(Ok((payload.to_vec(), Vec::new()))),
            _ => call.finish(Err(Refusal::Libvirt(payload.to_vec()))),
        }
    }

    fn stream(&self, header: Header, payload: &[u8], outgoing: &mpsc::Sender<Vec<u8>>) -> Result<(), XdrError> {
        let mut waiting = self.waiting();
        let Some(calls) = waiting.as_mut() else { return Ok(()) };
        let Some(mut call) = calls.remove(&header.serial) else { return Ok(()) };
        let Some(download) = &mut call.download else { return Ok(()) };
        match header.status {
            status::ERROR => {
                call.finish(Err(Refusal::Libvirt(payload.to_vec())));
                return Ok(());
            }
            // An empty packet is the end of the file, and wants to be acknowledged.
            status::CONTINUE if payload.is_empty() => {
                let _full = outgoing.try_send(Header { status: status::OK, ..header }.frame(&())?);
                download.ended = true;
            }
            status::CONTINUE if download.bytes.len() + payload.len() > download.limit => {
                let _full = outgoing.try_send(Header { status: status::ERROR, ..header }.frame(&())?);
                let (length, limit) = (download.bytes.len() + payload.len(), download.limit);
                call.finish(Err(Refusal::Malformed(XdrError::TooLong { length, limit })));
                return Ok(());
            }
            status::CONTINUE => download.bytes.extend_from_slice(payload),
            _ => download.ended = true,
        }
        if let Some(call) = call.finish_download() {
            calls.insert(header.serial, call);
        }
        Ok(())
    }
}

impl Waiting {
    /// Hands over reply and stream if both are there; else the call waits on.
    fn finish_download(mut self) -> Option<Self> {
        match self.download.take() {
            Some(Download { reply: Some(reply), bytes, ended: true, .. }) => {
                self.finish(Ok((reply, bytes)));
                None
            }
            download => Some(Self { download, ..self }),
        }
    }

    /// Hands over the answer; a caller that has left does not mind.
    fn finish(self, answer: Answer) {
        if self.answer.send(answer).is_err() {
            tracing::debug!(procedure = %self.procedure, "answered after its deadline");
        }
        drop(self.slot);
    }
}

/// A message without content: the keepalives.
pub(crate) fn message(procedure: Procedure) -> Result<Vec<u8>, XdrError> {
    Header::new(procedure.program(), procedure.number(), kind::MESSAGE, 0).frame(&())
}

/// Starts both tasks; they end with the connection, or when the set is dropped.
pub(crate) fn start(
    transport: Transport,
    shared: &Arc<Shared>,
    keepalive: Keepalive,
) -> (mpsc::Sender<Vec<u8>>, JoinSet<()>) {
    let Transport { reader, writer, mut last_words } = transport;
    let (outgoing, frames) = mpsc::channel(OUTGOING);
    let mut tasks = JoinSet::new();
    let (ours, pongs) = (Arc::clone(shared), outgoing.clone());
    tasks.spawn(async move {
        let mut reason = tokio::select! {
            reason = read(reader, &ours, &pongs, keepalive) => reason,
            () = ours.ended() => return,
        };
        if matches!(reason, CloseReason::EndOfFile)
            && let Ok(Some(Ok(words))) = timeout(LAST_WORDS, last_words.join_next()).await
        {
            reason = CloseReason::Transport(std::io::Error::other(words));
        }
        tracing::debug!(%reason, "connection ended");
        ours.close(reason);
    });
    let ours = Arc::clone(shared);
    tasks.spawn(async move {
        tokio::select! {
            written = write(writer, frames) => if let Err(error) = written {
                ours.close(CloseReason::Transport(error));
            },
            () = ours.ended() => {}
        }
    });
    (outgoing, tasks)
}

async fn write(mut writer: Writer, mut frames: mpsc::Receiver<Vec<u8>>) -> std::io::Result<()> {
    // Calls that are made together leave together.
    let mut ready = Vec::new();
    while frames.recv_many(&mut ready, OUTGOING).await > 0 {
        writer.write_all(&ready.concat()).await?;
        writer.flush().await?;
        ready.clear();
    }
    Ok(())
}

async fn read(
    mut reader: Reader,
    shared: &Shared,
    outgoing: &mpsc::Sender<Vec<u8>>,
    keepalive: Keepalive,
) -> CloseReason {
    let mut buffer = Vec::new();
    let mut pings = 0;
    loop {
        buffer.reserve(awaited(&buffer));
        match timeout(keepalive.interval, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return CloseReason::EndOfFile,
            Ok(Ok(_)) => {
                pings = 0;
                shared.heard_after_us.store(shared.opened.elapsed().as_micros() as u64, Ordering::Relaxed);
                if let Err(error) = receive_all(&mut buffer, shared, outgoing) {
                    return error.into();
                }
            }
            Ok(Err(error)) => return error.into(),
            Err(_) if !keepalive.at_rest && shared.is_at_rest() => pings = 0,
            Err(_) if pings + 1 >= keepalive.count => {
                return CloseReason::Silent { silence: shared.last_heard().elapsed(), pings };
            }
            Err(_) => {
                pings += 1;
                if let Ok(ping) = message(Procedure::KeepalivePing) {
                    let _full = outgoing.try_send(ping);
                }
            }
        }
    }
}

/// How many bytes to make room for: what is missing of the message that has begun, so that a long one takes few reads.
fn awaited(buffer: &[u8]) -> usize {
    let begun = buffer.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    begun.saturating_sub(buffer.len()).clamp(READ_AT_LEAST, READ_AT_MOST)
}

fn receive_all(buffer: &mut Vec<u8>, shared: &Shared, outgoing: &mpsc::Sender<Vec<u8>>) -> Result<(), XdrError> {
    let mut done = 0;
    while let Some((header, payload, length)) = frame::first(&buffer[done..])? {
        shared.receive(header, payload, outgoing)?;
        done += length;
    }
    buffer.drain(..done);
    if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT {
        *buffer = Vec::new();
    }
    Ok(())
}
