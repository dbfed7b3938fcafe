//! Whether a host's address answers: ICMP echo, or, where raw sockets are not permitted, whether its libvirt port can be
//! connected to.

use super::{Context, STUCK};
use crate::{link::Link, pump::with_causes, shortage, supervise::Pulse};
use mainstay_libvirt::resolve;
use mainstay_model::{Fact, HostChannel, Span};
use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence};
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, timeout, timeout_at},
};

const PAYLOAD: [u8; 16] = *b"mainstay is here";
/// No ping waits less for its answer.
const SHORTEST_WAIT: Duration = Duration::from_millis(800);
/// Port that is tried without raw sockets: refused is an answer too.
const LIBVIRT_PORT: u16 = 16_509;

/// The sockets from which this process pings. Clones share them.
#[derive(Clone)]
pub(crate) struct Pings(Arc<Sockets>);

struct Sockets {
    v4: Option<Client>,
    v6: Option<Client>,
    /// Over all pings, so that no answer is taken for another's.
    sequence: AtomicU16,
}

/// Why there was no answer, in words.
#[derive(Debug)]
pub(crate) enum NoPong {
    /// No question left this machine: the name does not resolve, or this machine lacks what asking takes.
    Unasked(String),
    /// Nobody answered.
    Silent(String),
}

/// Pings a host for ever. A host without an address is not pinged.
pub(super) async fn watch(link: &Link, context: &Context, pulse: &Pulse, every: Span) {
    if link.config.address.is_empty() {
        return std::future::pending().await;
    }
    let every = every.as_duration();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut silent, part) = (false, pulse.part("ping", STUCK + every));
    loop {
        ticks.tick().await;
        part.beat();
        let (host, channel) = (link.host.clone(), HostChannel::Ping);
        let answer = context.pings.ping(&link.config.address, every.max(SHORTEST_WAIT)).await;
        if std::mem::replace(&mut silent, answer.is_err()) && !silent {
            link.heard_again.notify_waiters();
        }
        let fact = match answer {
            Ok(()) => Fact::HostHeard { host, channel },
            Err(NoPong::Unasked(error)) => Fact::HostUnasked { host, channel, error },
            Err(NoPong::Silent(error)) => Fact::HostSilent { host, channel, error, closed: false },
        };
        context.report(fact).await;
    }
}

impl Pings {
    /// Opens the sockets; must be called within the runtime that is to use them.
    pub fn open() -> Pings {
        let client = |kind| Client::new(&Config::builder().kind(kind).build());
        let v4 = client(ICMP::V4);
        if let Err(error) = &v4 {
            tracing::warn!(%error, "no raw sockets (CAP_NET_RAW is missing?): connecting to ports instead of pinging");
        }
        Pings(Arc::new(Sockets { v4: v4.ok(), v6: client(ICMP::V6).ok(), sequence: AtomicU16::new(0) }))
    }

    /// Succeeds if the address answers in time.
    pub async fn ping(&self, address: &str, limit: Duration) -> Result<(), NoPong> {
        let unresolved = |error: String| NoPong::Unasked(format!("the name {address} does not resolve: {error}"));
        let late = |_| NoPong::Silent(format!("{address} did not answer within {limit:?}"));
        let began = Instant::now();
        let ip = match timeout(limit, resolve(address)).await {
            Ok(found) => found.map_err(|error| unresolved(error.to_string()))?[0],
            Err(_) => return Err(unresolved("no name server answered in time".to_owned())),
        };
        let answered = async {
            match if ip.is_ipv4() { &self.0.v4 } else { &self.0.v6 } {
                Some(client) => self.echo(client, ip, limit).await,
                None => connects(ip, LIBVIRT_PORT).await,
            }
        };
        match timeout_at(began + limit, answered).await.map_err(late)? {
            Err(error) if shortage::is_ours(&error) => Err(NoPong::Unasked(with_causes(&error))),
            answered => answered.map_err(|error| NoPong::Silent(error.to_string())),
        }
    }

    async fn echo(&self, client: &Client, ip: IpAddr, limit: Duration) -> io::Result<()> {
        let sequence = self.0.sequence.fetch_add(1, Ordering::Relaxed);
        let mut pinger = client.pinger(ip, PingIdentifier(std::process::id() as u16)).await;
        pinger.timeout(limit);
        pinger.ping(PingSequence(sequence), &PAYLOAD).await.map(drop).map_err(io::Error::other)
    }
}

impl std::fmt::Debug for Pings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pings")
    }
}

/// Anything that answers proves life, a refusal as well.
pub(super) async fn connects(ip: IpAddr, port: u16) -> io::Result<()> {
    match TcpStream::connect((ip, port)).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_answers_and_an_address_nobody_can_have_does_not() {
        let pings = Pings::open();
        pings.ping("127.0.0.1", Duration::from_secs(60)).await.unwrap();
        // Class E; some networks answer for every other address.
        assert!(pings.ping("240.0.0.1", Duration::from_millis(200)).await.is_err());
    }
}
