//! A server that misbehaves as no libvirtd does: whatever it sends, the client neither panics nor hangs, and says what
//! was wrong.

use std::{path::Path, time::Duration};

use mainstay_libvirt::{
    CloseReason, Connection, DomainRef, Error, ErrorCode, Event, EventKind, Keepalive, Options, Uuid,
    domain::{inventory::ListFlags, statistics::StatsGroups},
    frame::{Header, kind, status},
    procedures::Procedure,
    xdr::Encode,
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

const LIMIT: Duration = Duration::from_secs(120);

/// What the server answers to a call, as raw bytes; nothing if empty.
type Script = fn(Procedure, Header) -> Vec<u8>;

fn reply(call: Header, payload: &impl Encode) -> Vec<u8> {
    Header { kind: kind::REPLY, ..call }.frame(payload).unwrap()
}

/// What a decent server says until the connection is open.
fn opening(procedure: Procedure, call: Header) -> Option<Vec<u8>> {
    match procedure {
        Procedure::AuthList => Some(reply(call, &(vec![0_i32],))),
        Procedure::ConnectSupportsFeature => Some(reply(call, &(1_i32,))),
        Procedure::ConnectRegisterCloseCallback => Some(reply(call, &())),
        Procedure::ConnectOpen => Some(reply(call, &())),
        Procedure::ConnectDomainEventCallbackRegisterAny => Some(reply(call, &(7_i32,))),
        _ => None,
    }
}

async fn read_call(stream: &mut UnixStream) -> Option<(Procedure, Header)> {
    let length = stream.read_u32().await.ok()? as usize;
    let mut message = vec![0; length - 4];
    stream.read_exact(&mut message).await.ok()?;
    let mut frame = (length as u32).to_be_bytes().to_vec();
    frame.extend(message);
    let (header, _, _) = mainstay_libvirt::frame::first(&frame).unwrap().unwrap();
    Some((Procedure::from_number(header.program, header.procedure).unwrap(), header))
}

async fn serve(listener: UnixListener, script: Script) {
    let (mut stream, _) = listener.accept().await.unwrap();
    while let Some((procedure, call)) = read_call(&mut stream).await {
        let answer = opening(procedure, call).unwrap_or_else(|| script(procedure, call));
        if stream.write_all(&answer).await.is_err() {
            break;
        }
    }
}

async fn connect_to(folder: &Path, script: Script) -> Connection {
    let socket = folder.join("socket");
    tokio::spawn(serve(UnixListener::bind(&socket).unwrap(), script));
    let uri = format!("qemu+unix:///system?socket={}", socket.display()).parse().unwrap();
    let keepalive = Keepalive { interval: LIMIT, ..Keepalive::default() };
    Connection::open(&uri, &Options { keepalive, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn malformed_answers_are_errors_of_their_call_alone() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connect_to(folder.path(), |procedure, call| match procedure {
        // Claims a string of 4 GiB.
        Procedure::ConnectGetHostname => reply(call, &(u32::MAX,)),
        // Nine thousand domains in no bytes.
        Procedure::ConnectListAllDomains => reply(call, &(9_000_u32,)),
        // Too short.
        Procedure::NodeGetInfo => reply(call, &(1_i32,)),
        // An error without its fields.
        Procedure::ConnectGetCapabilities => {
            Header { kind: kind::REPLY, status: status::ERROR, ..call }.frame(&(1_i32,)).unwrap()
        }
        _ => reply(call, &(9_000_000_u64,)),
    })
    .await;
    let malformed = |error: &Error| matches!(error, Error::Malformed { .. });
    assert!(malformed(&connection.hostname(LIMIT).await.unwrap_err()));
    assert!(malformed(&connection.inventory(LIMIT).await.unwrap_err()));
    assert!(malformed(&connection.node_info(LIMIT).await.unwrap_err()));
    assert!(malformed(&connection.capabilities(LIMIT).await.unwrap_err()));
    assert_eq!(connection.libvirt_version(LIMIT).await.unwrap().to_string(), "9.0.0");
}

#[tokio::test]
async fn errors_keep_libvirts_words_and_unknown_codes() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connect_to(folder.path(), |_, call| {
        let nothing: Option<String> = None;
        let error = (4711_i32, 10_i32, Some("no such thing"), 2_i32, &nothing, &nothing);
        Header { kind: kind::REPLY, status: status::ERROR, ..call }.frame(&error).unwrap()
    })
    .await;
    let error = connection.hostname(LIMIT).await.unwrap_err();
    assert!(error.is(ErrorCode(4711)), "{error:?}");
    assert_eq!(error.to_string(), "connect_get_hostname: no such thing (libvirt error 4711)");
}

#[tokio::test]
async fn bytes_that_are_no_message_end_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connect_to(folder.path(), |_, _| vec![0xff; 64]).await;
    let error = connection.hostname(LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
    assert!(matches!(*connection.closed().await, CloseReason::Malformed(_)));
}

#[tokio::test]
async fn answers_to_nobody_and_unknown_messages_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connect_to(folder.path(), |_, call| {
        let mut bytes = reply(Header { serial: call.serial + 1000, ..call }, &());
        bytes.extend(Header { procedure: 99_999, kind: kind::MESSAGE, ..call }.frame(&()).unwrap());
        bytes.extend(Header { kind: kind::STREAM, serial: 77, ..call }.frame(&(1_u32,)).unwrap());
        bytes.extend(Header { program: 1, ..call }.frame(&()).unwrap());
        bytes.extend(reply(call, &("h9",)));
        bytes
    })
    .await;
    assert_eq!(connection.hostname(LIMIT).await.unwrap(), "h9");
}

/// A picture of the console: a stream of two packets, and the reply after so many of them.
fn screenshot(call: Header, reply_comes: usize) -> Vec<u8> {
    if call.kind == kind::STREAM {
        return Vec::new(); // the client acknowledges the end
    }
    let packet = Header { kind: kind::STREAM, status: status::CONTINUE, ..call };
    let picture = packet.frame(&(u32::from_be_bytes(*b"PNG!"),)).unwrap();
    let mut messages = vec![picture, packet.frame(&()).unwrap()];
    messages.insert(reply_comes, reply(call, &(1_u32, "image/png")));
    messages.concat()
}

/// Streams are another thread's work in libvirtd: on a busy machine a short one is over before the reply is sent.
#[tokio::test]
async fn a_stream_may_come_before_the_reply_that_it_belongs_to() {
    let answers: [fn(Procedure, Header) -> Vec<u8>; 3] =
        [|_, call| screenshot(call, 0), |_, call| screenshot(call, 1), |_, call| screenshot(call, 2)];
    for answer in answers {
        let folder = tempfile::tempdir().unwrap();
        let connection = connect_to(folder.path(), answer).await;
        let web = DomainRef { name: "web-1".to_owned(), uuid: Uuid([1; 16]), id: 1 };
        let shot = connection.screenshot(&web, LIMIT).await.unwrap();
        assert_eq!((shot.mime.as_str(), shot.bytes.as_slice()), ("image/png", &b"PNG!"[..]));
        assert_eq!(connection.unanswered(), 0);
    }
}

fn resident_mib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
}

/// As many as the protocol allows. Each is short, so that the whole message stays within its bound.
fn a_quarter_of_a_million(procedure: Procedure, call: Header) -> Vec<u8> {
    const DOMAINS: u32 = 262_144;
    struct Domains(bool);
    impl Encode for Domains {
        fn encode(&self, out: &mut Vec<u8>) -> Result<(), mainstay_libvirt::xdr::XdrError> {
            DOMAINS.encode(out)?;
            for number in 0..DOMAINS {
                let mut uuid = [0; 16];
                uuid[..4].copy_from_slice(&number.to_be_bytes());
                (format!("vm-{number}"), Uuid(uuid), -1_i32).encode(out)?;
                if self.0 {
                    0_u32.encode(out)?;
                }
            }
            Ok(())
        }
    }
    match procedure {
        Procedure::ConnectListAllDomains => reply(call, &(Domains(false), DOMAINS)),
        Procedure::ConnectGetAllDomainStats => reply(call, &(Domains(true),)),
        _ => reply(call, &("h9",)),
    }
}

#[tokio::test]
async fn a_list_of_a_quarter_of_a_million_domains_is_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connect_to(folder.path(), a_quarter_of_a_million).await;
    // The message itself has been there once: what grows after it is what the domains would take.
    let told = |error: Error| {
        assert!(matches!(error, Error::Unfit { .. }), "{error:?}");
        assert!(error.to_string().contains("lists 262144 domains") && error.to_string().contains("10000"), "{error}");
    };
    told(connection.list_domains(ListFlags::NONE, LIMIT).await.unwrap_err());
    let before = resident_mib();
    for _ in 0..5 {
        told(connection.inventory(LIMIT).await.unwrap_err());
        told(connection.statistics(StatsGroups::ALL, LIMIT).await.unwrap_err());
    }
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < 100, "{grown} MiB more");
    assert_eq!(connection.hostname(LIMIT).await.unwrap(), "h9", "and the connection goes on");
}

#[tokio::test]
async fn a_flood_of_events_is_bounded_and_the_gap_is_told() {
    const FLOOD: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let connection = connect_to(folder.path(), |_, call| {
        let event = Procedure::ConnectEventConnectionClosed;
        let event = Header::new(event.program(), event.number(), kind::MESSAGE, 0).frame(&(2_i32,)).unwrap();
        let mut bytes = event.repeat(FLOOD as usize);
        bytes.extend(reply(call, &("h9",)));
        bytes
    })
    .await;
    let mut events = connection.subscribe(&EventKind::ALL, LIMIT).await.unwrap();
    // Nobody reads the events, and still the answer behind them arrives.
    assert_eq!(connection.hostname(LIMIT).await.unwrap(), "h9");
    connection.close();
    let (mut seen, mut told) = (0, 0);
    while let Some(event) = events.next().await {
        match event {
            Event::Lagged { missed } => told += missed,
            _ => seen += 1,
        }
    }
    assert!(seen < FLOOD, "bounded");
    assert_eq!(seen + told, FLOOD, "every event is either delivered or counted");
}

#[tokio::test]
async fn a_server_that_never_answers_can_not_hold_open_up() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let uri = format!("qemu+unix:///system?socket={}", socket.display()).parse().unwrap();
    let options = Options { limit: Duration::from_secs(1), ..Options::default() };
    let error = Connection::open(&uri, &options).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.to_string().contains("auth_list, 1s"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever follows the opening, the client ends in an error or an answer, in time.
    #[test]
    fn random_bytes_neither_panic_nor_hang(noise in proptest::collection::vec(any::<u8>(), 0..200), framed: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("socket");
            let listener = UnixListener::bind(&socket).unwrap();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                while let Some((procedure, call)) = read_call(&mut stream).await {
                    match opening(procedure, call) {
                        Some(answer) => stream.write_all(&answer).await.unwrap(),
                        None => {
                            let bytes = match framed {
                                // A proper header, then noise: as an event of every kind, then as the reply.
                                true => framed_noise(call, &noise),
                                false => noise.clone(),
                            };
                            let _closed = stream.write_all(&bytes).await;
                            break;
                        }
                    }
                }
            });
            let uri = format!("qemu+unix:///system?socket={}", socket.display()).parse().unwrap();
            let connection = Connection::open(&uri, &Options::default()).await.unwrap();
            let _events = connection.subscribe(&EventKind::ALL, LIMIT).await.unwrap();
            let answered = tokio::time::timeout(LIMIT, connection.inventory(LIMIT)).await;
            prop_assert!(answered.is_ok());
            Ok(())
        })?;
    }
}

fn framed_noise(call: Header, noise: &[u8]) -> Vec<u8> {
    struct Raw<'a>(&'a [u8]);
    impl Encode for Raw<'_> {
        fn encode(&self, out: &mut Vec<u8>) -> Result<(), mainstay_libvirt::xdr::XdrError> {
            out.extend_from_slice(self.0);
            Ok(())
        }
    }
    let event = Procedure::from_number(call.program, 317 + i32::from(noise.first().copied().unwrap_or(0)) % 50);
    let event = event.map(|event| Header::new(event.program(), event.number(), kind::MESSAGE, 0));
    let mut bytes = event.map(|event| event.frame(&Raw(noise)).unwrap()).unwrap_or_default();
    bytes.extend(reply(call, &Raw(noise)));
    bytes
}
