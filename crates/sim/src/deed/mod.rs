//! Everything that can be done to the simulated world from outside: faults, people, operators. Each deed is one line of
//! a script and prints as the line it was read from, so that what a seed drew can be written down as a scenario.

mod command;
mod person;

pub(crate) use person::PersonDeed;

use command::Spoken;
use mainstay_model::{Command, DeviceId, HostId, Span, WorkloadId};
use std::fmt;

/// Declares an enum of single words, each with its spelling in scripts.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($variant),+ }
        impl $name {
            /// Every one, for drawing.
            #[allow(dead_code, reason = "not every kind is drawn")]
            pub const ALL: &[$name] = &[$($name::$variant),+];
            pub fn parse(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($name::$variant => $word),+ })
            }
        }
    };
}

words!(
    /// What can happen to a host.
    HostDeed {
        PowerCut = "power-cut",
        MainsCut = "mains-cut",
        MainsBack = "mains-back",
        PowerOn = "power-on",
        Shutdown = "host-shutdown",
        Reboot = "host-reboot",
        NetworkDown = "network-down",
        NetworkUp = "network-up",
        AnswersLost = "answers-lost",
        AnswersBack = "answers-back",
        RequestsLost = "requests-lost",
        RequestsBack = "requests-back",
        ManagementNetworkDown = "management-network-down",
        ManagementNetworkUp = "management-network-up",
        Freeze = "freeze",
        Thaw = "thaw",
        Hibernate = "hibernate",
        LibvirtdStop = "libvirtd-stop",
        LibvirtdContinue = "libvirtd-continue",
        LibvirtdKill = "libvirtd-kill",
        LibvirtdStart = "libvirtd-start",
        LibvirtdRestart = "libvirtd-restart",
    }
);
words!(
    /// What can happen to a guest, by itself or by its owner inside.
    GuestDeed {
        Kill = "guest-kill",
        Signal = "guest-signal",
        Stop = "guest-stop",
        Continue = "guest-continue",
        Panic = "guest-panic",
        Hang = "guest-hang",
        Deaf = "guest-deaf",
        Wake = "guest-wake",
        Damage = "guest-damage",
        BootLoop = "guest-boot-loop",
        Mend = "guest-mend",
        Shutdown = "guest-shutdown",
        Reboot = "guest-reboot",
        Lock = "guest-lock",
        Unlock = "guest-unlock",
    }
);
words!(
    /// What shared storage does.
    StorageState {
        Ok = "ok",
        Slow = "slow",
        Hang = "hang",
        IoError = "io-error",
        Full = "full",
        ReadOnly = "read-only",
    }
);

impl StorageState {
    /// Writes are done, if slowly.
    pub fn lets_write(self) -> bool {
        matches!(self, StorageState::Ok | StorageState::Slow)
    }

    /// Writes fail, and QEMU pauses whoever writes.
    pub fn stops_writers(self) -> bool {
        matches!(self, StorageState::IoError | StorageState::Full | StorageState::ReadOnly)
    }
}

words!(
    /// What a fence device does.
    DeviceState { Ok = "ok", DoesNothing = "does-nothing", Slow = "slow", Fails = "fails", Dead = "dead", Lies = "lies", Hangs = "hangs", Early = "early", Confused = "confused", Starved = "starved" }
);
words!(
    /// How a call to a hypervisor or fence device can go wrong.
    CallFault {
        Fail = "fail",
        Lie = "lie",
        Unanswered = "unanswered",
        Slow = "slow",
        Late = "late",
    }
);
words!(
    /// How facts can go wrong on their way.
    Weather { Drop = "drop", Double = "double", Delay = "delay" }
);
words!(
    /// What can happen between two hosts.
    LinkDeed { Cut = "link-cut", Mend = "link-mend" }
);
words!(
    /// What can happen to a bridge of a host.
    BridgeDeed { Gone = "bridge-gone", Back = "bridge-back" }
);
words!(
    /// Which way the wall clock jumps.
    ClockJump { Forward = "forward", Back = "back" }
);
words!(
    /// Where in its step the controller dies.
    CrashPoint {
        Now = "now",
        BeforePersist = "before-persist",
        AfterPersist = "after-persist",
        BetweenOrders = "between-orders",
    }
);

/// One thing done to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Host(HostDeed, HostId),
    Guest(GuestDeed, WorkloadId),
    /// What a datastore does, for all hosts or for one.
    Storage(String, StorageState, Option<HostId>),
    /// From now on what is written to the datastore is durable only after so long, though acknowledged at once.
    StorageKeepsUnflushed(String, Span),
    /// The datastore loses its power, and with it what is not durable.
    StoragePowerCut(String),
    Device(DeviceId, DeviceState),
    Person(PersonDeed),
    /// The guest's boots take so many times as long from now on.
    SlowBoot(WorkloadId, u64),
    StartFails(WorkloadId, u32, Option<HostId>),
    MigrationFails(WorkloadId, u32),
    /// A host loses a bridge that guests need, or gets it back.
    Bridge(BridgeDeed, HostId, String),
    /// The way between two hosts is cut, or mended.
    Link(LinkDeed, HostId, HostId),
    /// So many of a thousand calls, everywhere or to one host.
    Calls(CallFault, u64, Option<HostId>),
    /// Lists of domains take up to so many milliseconds, everywhere or of one host.
    Lists(u64, Option<HostId>),
    /// So many of a thousand facts, or, for delays, up to so many milliseconds; everywhere or of one host.
    Weather(Weather, u64, Option<HostId>),
    /// The controller dies in its next step, and starts again after a while.
    Crash(CrashPoint, Span),
    /// The controller sleeps for a while, as a suspended machine does, and wakes up believing that nothing happened.
    Pause(Span),
    /// The controller stands still for a while, from that point of its next step, and another takes over at once.
    Rival(CrashPoint, Span),
    /// A backup of the controller's memory is made.
    StoreBackUp,
    /// That backup is put in the place of the memory, while the controller is down for so long.
    StorePutBack(Span),
    /// The wall clock of the controller's machine jumps.
    ClockJump(ClockJump, Span),
    Operator(Command),
    /// The configuration is replaced.
    Reload(Reload),
}

/// What the configuration is replaced by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reload {
    /// Another file in the scenario's folder.
    File(String),
    /// That of `setup.toml` with this line of TOML merged into it.
    With(String),
    /// That of `setup.toml` without this key.
    Without(String),
    /// By nothing: what is there is wrong, and the old one stays in use.
    Refused,
}

impl Deed {
    /// Reads a deed; the error says what was expected.
    pub fn parse(text: &str) -> Result<Deed, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let deed = match words.as_slice() {
            [verb, host] if HostDeed::parse(verb).is_some() => {
                HostDeed::parse(verb).map(|deed| Deed::Host(deed, HostId::from(*host)))
            }
            [verb, guest] if GuestDeed::parse(verb).is_some() => {
                GuestDeed::parse(verb).map(|deed| Deed::Guest(deed, WorkloadId::from(*guest)))
            }
            ["storage", name, "unflushed", span] => {
                span.parse().ok().map(|span| Deed::StorageKeepsUnflushed((*name).to_owned(), span))
            }
            ["storage", name, "power-cut"] => Some(Deed::StoragePowerCut((*name).to_owned())),
            ["storage", name, state, rest @ ..] => StorageState::parse(state)
                .zip(on_host(rest))
                .map(|(state, host)| Deed::Storage((*name).to_owned(), state, host)),
            ["guest-slow-boot", guest, times] => {
                times.parse().ok().map(|times| Deed::SlowBoot(WorkloadId::from(*guest), times))
            }
            ["fence-device", name, state] => {
                DeviceState::parse(state).map(|state| Deed::Device(DeviceId::from(*name), state))
            }
            ["virsh", rest @ ..] => PersonDeed::parse(rest).map(Deed::Person),
            ["start-fails", guest, times, rest @ ..] => times
                .parse()
                .ok()
                .zip(on_host(rest))
                .map(|(times, host)| Deed::StartFails(WorkloadId::from(*guest), times, host)),
            ["migration-fails", guest, times] => {
                times.parse().ok().map(|times| Deed::MigrationFails(WorkloadId::from(*guest), times))
            }
            [verb, host, bridge] if BridgeDeed::parse(verb).is_some() => {
                BridgeDeed::parse(verb).map(|deed| Deed::Bridge(deed, HostId::from(*host), (*bridge).to_owned()))
            }
            [verb, one, other] if LinkDeed::parse(verb).is_some() => {
                LinkDeed::parse(verb).map(|deed| Deed::Link(deed, HostId::from(*one), HostId::from(*other)))
            }
            ["calls", fault, permille, rest @ ..] => CallFault::parse(fault)
                .zip(permille.parse().ok())
                .zip(on_host(rest))
                .map(|((fault, permille), host)| Deed::Calls(fault, permille, host)),
            ["lists", most, rest @ ..] => {
                most.parse().ok().zip(on_host(rest)).map(|(most, host)| Deed::Lists(most, host))
            }
            ["weather", kind, amount, rest @ ..] => Weather::parse(kind)
                .zip(amount.parse().ok())
                .zip(on_host(rest))
                .map(|((kind, amount), host)| Deed::Weather(kind, amount, host)),
            ["controller-crash", point, "for", span] => {
                CrashPoint::parse(point).zip(span.parse().ok()).map(|(point, span)| Deed::Crash(point, span))
            }
            ["controller-crash", "for", span] => span.parse().ok().map(|span| Deed::Crash(CrashPoint::Now, span)),
            ["controller-pause", "for", span] => span.parse().ok().map(Deed::Pause),
            ["controller-rival", point, "for", span] => {
                CrashPoint::parse(point).zip(span.parse().ok()).map(|(point, span)| Deed::Rival(point, span))
            }
            ["controller-rival", "for", span] => span.parse().ok().map(|span| Deed::Rival(CrashPoint::Now, span)),
            ["store-back-up"] => Some(Deed::StoreBackUp),
            ["store-put-back", "for", span] => span.parse().ok().map(Deed::StorePutBack),
            ["clock-jump", way, span] => {
                ClockJump::parse(way).zip(span.parse().ok()).map(|(way, span)| Deed::ClockJump(way, span))
            }
            ["operator", rest @ ..] => command::parse(rest).map(Deed::Operator),
            ["reload", "with", change @ ..] => Some(Deed::Reload(Reload::With(change.join(" ")))),
            ["reload", "without", path] => Some(Deed::Reload(Reload::Without((*path).to_owned()))),
            ["reload", "refused"] => Some(Deed::Reload(Reload::Refused)),
            ["reload", file] => Some(Deed::Reload(Reload::File((*file).to_owned()))),
            _ => None,
        };
        deed.ok_or_else(|| format!("`{text}` is not a deed; docs/simulator.md lists them, for example `power-cut h1`"))
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reload::File(file) => f.write_str(file),
            Reload::With(change) => write!(f, "with {change}"),
            Reload::Without(path) => write!(f, "without {path}"),
            Reload::Refused => f.write_str("refused"),
        }
    }
}

/// `on HOST` at the end of a deed, or nothing: everywhere.
fn on_host(words: &[&str]) -> Option<Option<HostId>> {
    match words {
        [] => Some(None),
        ["on", host] => Some(Some(HostId::from(*host))),
        _ => None,
    }
}

/// The same, written.
struct On<'a>(&'a Option<HostId>);

impl fmt::Display for On<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |host| write!(f, " on {host}"))
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Host(deed, host) => write!(f, "{deed} {host}"),
            Deed::Guest(deed, guest) => write!(f, "{deed} {guest}"),
            Deed::Storage(name, state, host) => write!(f, "storage {name} {state}{}", On(host)),
            Deed::StorageKeepsUnflushed(name, span) => write!(f, "storage {name} unflushed {span}"),
            Deed::StoragePowerCut(name) => write!(f, "storage {name} power-cut"),
            Deed::SlowBoot(guest, times) => write!(f, "guest-slow-boot {guest} {times}"),
            Deed::Device(name, state) => write!(f, "fence-device {name} {state}"),
            Deed::Person(deed) => write!(f, "virsh {deed}"),
            Deed::StartFails(guest, times, host) => write!(f, "start-fails {guest} {times}{}", On(host)),
            Deed::MigrationFails(guest, times) => write!(f, "migration-fails {guest} {times}"),
            Deed::Bridge(deed, host, bridge) => write!(f, "{deed} {host} {bridge}"),
            Deed::Link(deed, one, other) => write!(f, "{deed} {one} {other}"),
            Deed::Calls(fault, permille, host) => write!(f, "calls {fault} {permille}{}", On(host)),
            Deed::Lists(most, host) => write!(f, "lists {most}{}", On(host)),
            Deed::Weather(kind, amount, host) => write!(f, "weather {kind} {amount}{}", On(host)),
            Deed::Crash(CrashPoint::Now, span) => write!(f, "controller-crash for {span}"),
            Deed::Crash(point, span) => write!(f, "controller-crash {point} for {span}"),
            Deed::Pause(span) => write!(f, "controller-pause for {span}"),
            Deed::Rival(CrashPoint::Now, span) => write!(f, "controller-rival for {span}"),
            Deed::Rival(point, span) => write!(f, "controller-rival {point} for {span}"),
            Deed::StoreBackUp => f.write_str("store-back-up"),
            Deed::StorePutBack(span) => write!(f, "store-put-back for {span}"),
            Deed::ClockJump(way, span) => write!(f, "clock-jump {way} {span}"),
            Deed::Operator(command) => write!(f, "operator {}", Spoken(command)),
            Deed::Reload(reload) => write!(f, "reload {reload}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_prints_as_the_line_it_was_read_from() {
        for line in [
            "power-cut h1",
            "guest-kill web-1",
            "storage san hang",
            "storage san read-only on h1",
            "storage san unflushed 5s",
            "storage san power-cut",
            "guest-slow-boot web-1 20",
            "fence-device ipmi lies",
            "fence-device ipmi early",
            "virsh destroy web-1",
            "virsh start web-1 h2",
            "virsh autostart web-1 h2 on",
            "virsh snapshot-delete web-1 newest",
            "virsh snapshot-create web-1 before-update",
            "virsh domrename web-1 web-9",
            "virsh redefine web-1 h2",
            "virsh define-namesake web-1 h2",
            "virsh undefine-namesake web-1 h2",
            "start-fails web-1 3",
            "start-fails web-1 3 on h1",
            "migration-fails web-1 1",
            "answers-lost h1",
            "bridge-gone h2 br7",
            "link-cut h1 h2",
            "calls lie 100",
            "calls unanswered 100 on h2",
            "calls late 100",
            "lists 3000 on h1",
            "weather delay 300",
            "weather drop 300 on h1",
            "controller-crash after-persist for 5s",
            "controller-crash for 5s",
            "controller-pause for 1m",
            "controller-rival for 1m",
            "controller-rival after-persist for 1m",
            "clock-jump back 2h",
            "store-back-up",
            "store-put-back for 5s",
            "operator accept-memory",
            "operator accept-memory start",
            "operator maintenance h1 on",
            "operator stop web-1 force",
            "operator stop web-1 within 30s",
            "operator move web-1 h2",
            "operator move web-1 h2 cold",
            "guest-lock web-1",
            "libvirtd-restart h1",
            "operator rebalance",
            "operator ack MS1201 vm web-1",
            "operator ack MS1001 the cluster",
            "reload other.toml",
            "reload with limits.starts_per_host = 1",
            "reload without site.lab.host.h1",
            "reload refused",
        ] {
            assert_eq!(Deed::parse(line).unwrap().to_string(), line);
        }
    }

    #[test]
    fn what_is_no_deed_is_refused() {
        for line in ["", "power-cut", "power-cut h1 h2", "storage san wet", "operator dance h1", "calls lie often"] {
            assert!(Deed::parse(line).unwrap_err().contains("is not a deed"), "{line}");
        }
    }
}
