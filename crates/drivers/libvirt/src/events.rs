//! Events pushed by the server: what can be subscribed to, how each is read, and the bounded way to the subscriber.
//!
//! A subscriber that does not keep up loses events, but never silently: a `Lagged` with the count takes their place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::{
    connection::Connection,
    error::Result,
    lifecycle::Lifecycle,
    numbers::wire_enum,
    procedures::Procedure,
    types::{DomainRef, Uuid},
    xdr::{Decode, Decoder, XdrError},
};

/// Events that wait for a slow subscriber. A host with hundreds of domains restarting sends a handful each.
const QUEUE: usize = 4096;

/// What can be subscribed to (`virDomainEventID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Defined, started, suspended, stopped, crashed and so on.
    Lifecycle,
    /// The guest rebooted.
    Reboot,
    /// The guest's watchdog fired.
    Watchdog,
    /// A disk failed, with the reason.
    IoError,
    /// libvirtd lost touch with a QEMU's monitor.
    ControlError,
    /// A block job (commit, copy, pull) ended or became ready.
    BlockJob,
    /// The guest agent came or went.
    AgentLifecycle,
    /// The host's memory failed under a guest.
    MemoryFailure,
    /// The daemon we talk to lost the one behind it (virtproxyd and virtqemud).
    HypervisorClosed,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Lifecycle,
        Self::Reboot,
        Self::Watchdog,
        Self::IoError,
        Self::ControlError,
        Self::BlockJob,
        Self::AgentLifecycle,
        Self::MemoryFailure,
        Self::HypervisorClosed,
    ];

    /// libvirt's number; `None` for what is no event of domains.
    fn number(self) -> Option<i32> {
        match self {
            Self::Lifecycle => Some(0),
            Self::Reboot => Some(1),
            Self::Watchdog => Some(3),
            Self::IoError => Some(6),
            Self::ControlError => Some(7),
            Self::BlockJob => Some(16),
            Self::AgentLifecycle => Some(18),
            Self::MemoryFailure => Some(25),
            Self::HypervisorClosed => None,
        }
    }
}

/// Something the server told unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something happened to a domain.
    Domain {
        /// Its name at the time.
        name: String,
        /// Its identity.
        uuid: Uuid,
        /// What happened.
        what: DomainEvent,
    },
    /// The daemon we talk to lost the one behind it (`virConnectCloseReason`): nothing is known any more, reconnect.
    HypervisorClosed {
        /// 0 error, 1 end of file, 2 keepalive, 3 by request.
        reason: i32,
    },
    /// This many events were lost here, because the subscriber did not keep up: look at everything anew.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// What happened to a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainEvent {
    /// Its life took a turn.
    Lifecycle(Lifecycle),
    /// The guest rebooted.
    Reboot,
    /// Its watchdog fired, and QEMU does this about it.
    Watchdog(WatchdogAction),
    /// A disk failed.
    IoError {
        /// The image's path.
        source: String,
        /// The device's alias, such as `virtio-disk0`.
        device: String,
        /// What QEMU does about it.
        action: IoErrorAction,
        /// `enospc`, or empty when QEMU does not say.
        reason: String,
    },
    /// libvirtd lost touch with its monitor: it may run, but can't be managed.
    ControlError,
    /// A block job changed.
    BlockJob {
        /// The disk's target, such as `vda`.
        disk: String,
        /// `virDomainBlockJobType`.
        kind: i32,
        /// Where the job stands now.
        status: BlockJobStatus,
    },
    /// The guest agent came (true) or went (false).
    Agent {
        /// True if it is now connected.
        connected: bool,
    },
    /// The host's memory failed.
    MemoryFailure {
        /// True if the guest's memory is hit, false if the hypervisor's own.
        guest: bool,
        /// `virDomainMemoryFailureActionType`.
        action: i32,
    },
}

wire_enum! {
    /// What QEMU does when the watchdog fires.
    WatchdogAction {
        /// Nothing.
        None = 0,
        /// Pauses the guest.
        Pause = 1,
        /// Resets it.
        Reset = 2,
        /// Switches it off.
        PowerOff = 3,
        /// Presses the power button.
        Shutdown = 4,
        /// Writes a debug message.
        Debug = 5,
        /// Injects a non-maskable interrupt.
        InjectNmi = 6,
    }
}

wire_enum! {
    /// What QEMU does when a disk fails.
    IoErrorAction {
        /// Nothing.
        None = 0,
        /// Pauses the guest.
        Pause = 1,
        /// Reports the error to the guest.
        Report = 2,
    }
}

wire_enum! {
    /// Where a block job stands.
    BlockJobStatus {
        /// Done.
        Completed = 0,
        /// Failed.
        Failed = 1,
        /// Aborted.
        Canceled = 2,
        /// In step: may be pivoted.
        Ready = 3,
    }
}

/// Reads the message of `procedure`. `None` if it is no event, an error if its payload is none of the kind.
pub fn decode(procedure: Procedure, payload: &[u8]) -> Result<Option<Event>, XdrError> {
    let mut input = Decoder::new(payload);
    let input = &mut input;
    if procedure == Procedure::ConnectEventConnectionClosed {
        return Ok(Some(Event::HypervisorClosed { reason: i32::decode(input)? }));
    }
    // All domain events begin alike: callback number, domain.
    let mut domain = || <(i32, DomainRef)>::decode(input).map(|(_, domain)| domain);
    let (domain, what) = match procedure {
        Procedure::DomainEventCallbackLifecycle => {
            let domain = domain()?;
            let (event, detail) = Decode::decode(input)?;
            (domain, DomainEvent::Lifecycle(Lifecycle::new(event, detail)))
        }
        Procedure::DomainEventCallbackReboot => (domain()?, DomainEvent::Reboot),
        Procedure::DomainEventCallbackWatchdog => (domain()?, DomainEvent::Watchdog(i32::decode(input)?.into())),
        Procedure::DomainEventCallbackIoErrorReason => {
            let domain = domain()?;
            let (source, device, action, reason): (_, _, i32, _) = Decode::decode(input)?;
            (domain, DomainEvent::IoError { source, device, action: action.into(), reason })
        }
        Procedure::DomainEventCallbackControlError => (domain()?, DomainEvent::ControlError),
        Procedure::DomainEventBlockJob2 => {
            let domain = domain()?;
            let (disk, kind, status): (_, _, i32) = Decode::decode(input)?;
            (domain, DomainEvent::BlockJob { disk, kind, status: status.into() })
        }
        Procedure::DomainEventCallbackAgentLifecycle => {
            (domain()?, DomainEvent::Agent { connected: i32::decode(input)? == 1 })
        }
        Procedure::DomainEventMemoryFailure => {
            let domain = domain()?;
            let (recipient, action): (i32, i32) = Decode::decode(input)?;
            (domain, DomainEvent::MemoryFailure { guest: recipient == 1, action })
        }
        _ => return Ok(None),
    };
    Ok(Some(Event::Domain { name: domain.name, uuid: domain.uuid, what }))
}

/// The subscriber's end.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
    missed: Arc<AtomicU64>,
}

impl Events {
    /// The next event; `None` when the connection has ended (`Connection::closed` says why) or another subscription
    /// took this one's place. Can be dropped while waiting without losing anything.
    pub async fn next(&mut self) -> Option<Event> {
        // A gap lies behind all that is queued: the sink queues nothing more before it was taken.
        match self.queue.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Disconnected) => self.gap(),
            Err(TryRecvError::Empty) => match self.gap() {
                Some(gap) => Some(gap),
                None => match self.queue.recv().await {
                    Some(event) => Some(event),
                    None => self.gap(),
                },
            },
        }
    }

    fn gap(&self) -> Option<Event> {
        let missed = self.missed.swap(0, Ordering::AcqRel);
        (missed > 0).then_some(Event::Lagged { missed })
    }
}

/// The connection's end: never blocks the reader.
#[derive(Debug)]
pub(crate) struct Sink {
    queue: mpsc::Sender<Event>,
    missed: Arc<AtomicU64>,
}

impl Sink {
    pub(crate) fn new(capacity: usize) -> (Self, Events) {
        let (sender, queue) = mpsc::channel(capacity);
        let missed = Arc::new(AtomicU64::new(0));
        (Self { queue: sender, missed: Arc::clone(&missed) }, Events { queue, missed })
    }

    pub(crate) fn push(&self, event: Event) {
        // Nothing may overtake a gap that the subscriber has not taken yet.
        if self.missed.load(Ordering::Acquire) > 0 || self.queue.try_send(event).is_err() {
            self.missed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Connection {
    /// Subscribes to `kinds`, of all domains. Events come from now on; each subscription takes the place of the one
    /// before, and ends it. `limit` holds for each of the few calls it takes.
    pub async fn subscribe(&self, kinds: &[EventKind], limit: Duration) -> Result<Events> {
        let (sink, events) = Sink::new(QUEUE);
        for kind in self.replace_sink(sink, kinds) {
            match kind.number() {
                Some(number) => {
                    let arguments = (number, None::<DomainRef>);
                    let register = Procedure::ConnectDomainEventCallbackRegisterAny;
                    let (_callback,): (i32,) = self.call(register, &arguments, limit).await?;
                }
                None => self.call(Procedure::ConnectRegisterCloseCallback, &(), limit).await?,
            }
            self.registered(kind);
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gap_is_reported_in_its_place_and_without_waiting_for_more() {
        let (sink, mut events) = Sink::new(2);
        let event = |reason| Event::HypervisorClosed { reason };
        (0..5).for_each(|reason| sink.push(event(reason)));
        assert_eq!(events.next().await, Some(event(0)));
        sink.push(event(5));
        assert_eq!(events.next().await, Some(event(1)));
        assert_eq!(events.next().await, Some(Event::Lagged { missed: 4 }));
        sink.push(event(6));
        drop(sink);
        assert_eq!(events.next().await, Some(event(6)));
        assert_eq!(events.next().await, None);
    }

    #[test]
    fn truncated_events_are_errors() {
        for kind in [Procedure::DomainEventCallbackLifecycle, Procedure::DomainEventBlockJob2] {
            assert!(decode(kind, &[0, 0, 0, 1, 0, 0, 0, 9]).is_err());
        }
    }
}
