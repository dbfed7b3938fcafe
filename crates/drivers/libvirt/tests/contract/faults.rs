//! Faults of hosts and guests: what this client says of them, and that none delays what is well.

use std::time::{Duration, Instant};

use mainstay_lab::{DiskKind, ScratchLab};
use mainstay_libvirt::{
    CloseReason, Connection, DomainEvent, Error, EventKind, Keepalive, Lifecycle, Options, StopCause,
    domain::{
        power::{DestroyFlags, StartFlags},
        state::{DomainState, Paused},
        statistics::StatsGroups,
    },
    events::IoErrorAction,
    lifecycle::{Crashed, Started, Stopped, Suspended},
};

use crate::fixture::{InNetwork, LIMIT, TestLab, domain, event, turn, until};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_frozen_libvirtd_costs_its_own_calls_their_deadline_and_nothing_else() {
    let lab = TestLab::up(2, 0).await;
    // Keepalives are set out of the way: this is about deadlines.
    let patient = Keepalive { interval: Duration::from_secs(60), ..Keepalive::default() };
    let options = Options { keepalive: patient, ..Options::default() };
    let frozen = Connection::open(&lab.uri("h1"), &options).await.unwrap();
    let well = lab.open("h2").await;

    lab.libvirtd_stop("h1").await.unwrap();
    let (first, second, ping, other) =
        tokio::join!(frozen.inventory(SHORT), frozen.hostname(2 * SHORT), frozen.ping(SHORT), well.inventory(LIMIT));
    assert!(matches!(first, Err(Error::Deadline { limit: SHORT, .. })), "{first:?}");
    assert!(matches!(second, Err(Error::Deadline { .. })), "{second:?}");
    assert!(matches!(ping, Err(Error::Deadline { .. })), "{ping:?}");
    assert!(other.is_ok(), "{other:?}");
    assert!(frozen.last_heard().elapsed() >= 2 * SHORT);
    assert_eq!(frozen.unanswered(), 2);
    // The usual calls' places are taken now; one is kept for what ends a hang.
    assert!(matches!(frozen.hostname(SHORT).await, Err(Error::Deadline { .. })));
    assert!(matches!(frozen.hostname(SHORT).await, Err(Error::Busy { unanswered: 3, .. })));
    let opened = Connection::open(&lab.uri("h1"), &Options { limit: SHORT, ..Options::default() }).await;
    assert!(opened.is_err_and(|error| error.to_string().contains("does libvirtd hang?")));

    // The same connection goes on, late answers hurt nobody.
    lab.libvirtd_cont("h1").await.unwrap();
    assert_eq!(frozen.hostname(LIMIT).await.unwrap(), "h1");
    until("late answers", async || (frozen.unanswered() == 0).then_some(())).await;
}

#[tokio::test]
async fn silence_ends_a_connection_and_its_calls_when_the_keepalive_says_so() {
    let lab = TestLab::up(1, 0).await;
    // A libvirtd that lives answers within this, however loaded the machine is.
    let keepalive = Keepalive { interval: Duration::from_secs(2), ..Keepalive::default() };
    let options = Options { keepalive, ..Options::default() };
    let _network = InNetwork::of(&lab);
    let uri = lab.libvirt_uri("h1").unwrap().parse().unwrap();
    let connection = Connection::open(&uri, &options).await.unwrap();
    let mut events = connection.subscribe(&[EventKind::Lifecycle], LIMIT).await.unwrap();
    // While the other side lives, silence of ours is no fault.
    for _ in 0..2 {
        let heard = connection.last_heard();
        until("an answer to a keepalive", async || (connection.last_heard() > heard).then_some(())).await;
    }
    assert!(connection.close_reason().is_none());

    lab.partition("h1").await.unwrap();
    let began = Instant::now();
    let (waiting, reason, no_event) = tokio::join!(connection.hostname(LIMIT), connection.closed(), events.next());
    assert!(matches!(*reason, CloseReason::Silent { .. }), "{reason}");
    assert!(matches!(waiting, Err(Error::Closed { .. })), "{waiting:?}");
    assert_eq!(no_event, None);
    // Not by the first silence. That it was the keepalive, and not the call's own deadline, its error says.
    assert!(began.elapsed() >= 2 * keepalive.interval, "{:?}", began.elapsed());
    let unreachable = Connection::open(&uri, &Options { limit: SHORT, ..Options::default() }).await.unwrap_err();
    assert!(matches!(unreachable, Error::Connect { .. }), "{unreachable:?}");
}

#[tokio::test]
async fn a_killed_libvirtd_is_told_at_once() {
    let lab = TestLab::up(1, 0).await;
    let connection = lab.open("h1").await;
    lab.libvirtd_kill("h1").await.unwrap();
    let reason = tokio::time::timeout(LIMIT, connection.closed()).await.unwrap();
    assert!(matches!(*reason, CloseReason::EndOfFile | CloseReason::Transport(_)), "{reason}");
    let later = connection.hostname(LIMIT).await;
    assert!(matches!(later, Err(Error::Closed { .. })), "{later:?}");
    let nobody = Connection::open(&lab.uri("h1"), &Options::default()).await.unwrap_err();
    assert!(matches!(nobody, Error::Connect { .. }), "{nobody:?}");
}

#[tokio::test]
async fn killed_stuck_and_panicked_guests_are_told_apart() {
    let lab = TestLab::up(1, 2).await;
    let connection = lab.open("h1").await;
    let mut events = connection.subscribe(&EventKind::ALL, LIMIT).await.unwrap();

    lab.guest_kill("web-1").await.unwrap();
    let stopped = |what: &DomainEvent| match what {
        DomainEvent::Lifecycle(Lifecycle::Stopped(stopped)) => Some(*stopped),
        _ => None,
    };
    let killed = event(&mut events, "web-1", stopped).await;
    assert_eq!((killed, killed.cause()), (Stopped::Failed, StopCause::Fault));
    let web = domain(&connection, "web-1").await;
    connection.start(&web, StartFlags::NONE, LIMIT).await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Started(Started::Booted)).await;

    lab.guest_panic("db-1").await.unwrap();
    turn(&mut events, "db-1", Lifecycle::Crashed(Crashed::Panicked)).await;
    let panicked = event(&mut events, "db-1", stopped).await;
    assert_eq!((panicked, panicked.cause()), (Stopped::Crashed, StopCause::Fault));

    // A stuck QEMU: bulk statistics and the state do not wait for it, destroying gets through behind stuck calls.
    lab.guest_stop("web-1").await.unwrap();
    let reset = connection.reset(&web, SHORT).await;
    assert!(matches!(reset, Err(Error::Deadline { .. })), "{reset:?}");
    // Within their deadline, which a call that waits for the stuck one would miss.
    let stats = connection.statistics(StatsGroups::ALL, LIMIT).await.unwrap();
    assert!(stats.iter().any(|stats| stats.domain.name == "web-1" && stats.state.is_some()), "{stats:?}");
    assert_eq!(connection.inventory(LIMIT).await.unwrap().len(), 2);
    for _ in 0..2 {
        let suspend = connection.suspend(&web, SHORT).await;
        assert!(matches!(suspend, Err(Error::Deadline { .. })), "{suspend:?}");
    }
    assert!(matches!(connection.hostname(SHORT).await, Err(Error::Busy { .. })));
    connection.ping(LIMIT).await.unwrap();
    connection.destroy(&web, DestroyFlags::NONE, 2 * LIMIT).await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Stopped(Stopped::Destroyed)).await;
    until("stuck calls", async || (connection.unanswered() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_failing_disk_pauses_and_says_so() {
    let mut spec = ScratchLab::spec("disks", 1, 2);
    spec.guests[0].disk = DiskKind::Faulty;
    spec.guests[1].disk = DiskKind::Small;
    let lab = TestLab::of(spec).await;
    let connection = lab.open("h1").await;
    let mut events = connection.subscribe(&EventKind::ALL, LIMIT).await.unwrap();

    // libvirt 9.0 drops the I/O error event of a network disk (it has no path to tell); the pause says enough.
    lab.guest_io_error("web-1").await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Suspended(Suspended::IoError)).await;
    let web = domain(&connection, "web-1").await;
    assert_eq!(connection.domain_state(&web, LIMIT).await.unwrap(), DomainState::Paused(Paused::IoError));

    lab.disk_full("db-1").await.unwrap();
    let failure = event(&mut events, "db-1", |what| match what {
        DomainEvent::IoError { device, action, reason, .. } => Some((device.clone(), *action, reason.clone())),
        _ => None,
    })
    .await;
    assert_eq!(failure, ("virtio-disk0".to_owned(), IoErrorAction::Pause, "enospc".to_owned()));
    turn(&mut events, "db-1", Lifecycle::Suspended(Suspended::IoError)).await;
}
