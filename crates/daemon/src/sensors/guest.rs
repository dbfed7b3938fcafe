//! Whether guests answer: by ping, a TCP port, a URL, or their agent, as their policy says. Each probe has a second, and no
//! guest waits for another. Addresses come from the policy, or are asked of libvirt now and then.

use super::{Context, Present, ping};
use crate::link::Links;
use mainstay_libvirt::{Connection, DomainRef, Error, domain::agent::AddressSource};
use mainstay_model::{
    Fact, GuestChannel, WorkloadId,
    spec::{ClusterSpec, Probes},
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, timeout},
};

/// Between two rounds of probes of one guest.
const EVERY: Duration = Duration::from_secs(1);
/// For one probe.
const LIMIT: Duration = Duration::from_millis(900);
/// For one question about its address or system, which takes an agent several commands.
const IDENTIFY_LIMIT: Duration = Duration::from_secs(4);
/// Between two looks for a guest's address and system.
const IDENTIFY_EVERY: Duration = Duration::from_secs(60);
/// While a guest has no address yet it is looked for more often.
const IDENTIFY_SOON: Duration = Duration::from_secs(5);
/// libvirt waits so much longer for an agent than we do: asking again before would only fill its workers.
const AGENT_REST: Duration = Duration::from_secs(6);

/// What is remembered of a guest between rounds.
#[derive(Default)]
struct Turn {
    identified: Option<Instant>,
    agent_rests_until: Option<Instant>,
}

/// What a probe of a guest found out.
struct Round {
    workload: WorkloadId,
    agent_late: bool,
}

/// Probes guests for ever.
pub(crate) async fn watch_guests(context: Context, links: Links, spec: watch::Receiver<Arc<ClusterSpec>>) {
    let mut turns: BTreeMap<WorkloadId, Turn> = BTreeMap::new();
    let mut rounds: JoinSet<Round> = JoinSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while let Some(done) = rounds.try_join_next() {
            if let Ok(Round { workload, agent_late: true }) = done {
                turns.entry(workload).or_default().agent_rests_until = Some(Instant::now() + AGENT_REST);
            }
        }
        let present = context.roster.all();
        turns.retain(|workload, _| present.contains_key(workload));
        let spec = Arc::clone(&spec.borrow());
        let count = u32::try_from(present.len()).unwrap_or(u32::MAX).max(1);
        for (position, (workload, present)) in (0_u32..).zip(present) {
            let probes = spec.workload_rule(&workload, &present.tags).map(|rule| rule.policy.probes.clone());
            let turn = turns.entry(workload.clone()).or_default();
            let again = if present.address.is_some() { IDENTIFY_EVERY } else { IDENTIFY_SOON };
            let identify = turn.identified.is_none_or(|at| at.elapsed() > again);
            if identify {
                turn.identified = Some(Instant::now());
            }
            let ask_agent = turn.agent_rests_until.is_none_or(|until| until < Instant::now());
            let guest = Guest { workload, present, context: context.clone(), links: links.clone() };
            // Spread over the second, so that hosts and this process are not hit at once.
            let later = (EVERY - LIMIT) * position / count;
            rounds.spawn(async move {
                tokio::time::sleep(later).await;
                let identified = async {
                    if identify {
                        guest.identify().await;
                    }
                };
                let ((), agent_late) = tokio::join!(identified, guest.probe(probes.unwrap_or_default(), ask_agent));
                Round { workload: guest.workload, agent_late }
            });
        }
    }
}

struct Guest {
    workload: WorkloadId,
    present: Present,
    context: Context,
    links: Links,
}

impl Guest {
    /// Probes on all channels at once. Returns whether the agent was asked and did not answer in time.
    async fn probe(&self, probes: Probes, ask_agent: bool) -> bool {
        let address = probes.address.as_deref().or(self.present.address.as_deref());
        let pinged = async {
            if let (true, Some(address)) = (probes.ping, address) {
                self.tell(GuestChannel::Ping, self.context.pings.ping(address, LIMIT).await).await;
            }
        };
        let connected = async {
            if let (false, Some(address)) = (probes.tcp.is_empty(), address) {
                self.tell(GuestChannel::Tcp, bounded(any_port(address, &probes.tcp)).await).await;
            }
        };
        let fetched = async {
            let filled = |url: &String| match url.contains("{address}") {
                true => address.map(|address| url.replace("{address}", address)),
                false => Some(url.clone()),
            };
            let urls: Vec<String> = probes.http.iter().filter_map(filled).collect();
            if !urls.is_empty() {
                self.tell(GuestChannel::Http, bounded(any_url(&urls)).await).await;
            }
        };
        let asked = async {
            if !(probes.agent && ask_agent && self.present.has_agent) {
                return false;
            }
            match self.ask_agent().await {
                Some(answers) => {
                    let answer = if answers { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
                    self.context.stats.learn(&self.workload, |stats| stats.agent = Some(answers));
                    self.tell(GuestChannel::Agent, answer).await;
                    !answers
                }
                None => false,
            }
        };
        let ((), (), (), late) = tokio::join!(pinged, connected, fetched, asked);
        late
    }

    async fn tell(&self, channel: GuestChannel, answer: io::Result<()>) {
        let workload = self.workload.clone();
        let fact = match answer {
            Ok(()) => Fact::GuestHeard { workload, channel },
            Err(_) => Fact::GuestSilent { workload, channel },
        };
        self.context.report(fact).await;
    }

    /// `None`: the question did not reach the guest, which says nothing about it.
    async fn ask_agent(&self) -> Option<bool> {
        let (connection, domain) = self.at_host().await?;
        let answer = connection.agent_ping(&domain, LIMIT).await;
        self.links.get(&self.present.host)?.give_back(connection);
        match answer {
            Ok(()) => Some(true),
            Err(Error::Deadline { .. } | Error::Libvirt { .. }) => Some(false),
            Err(_) => None,
        }
    }

    /// Looks for the guest's address and system.
    async fn identify(&self) {
        let Some((connection, domain)) = self.at_host().await else { return };
        let mut addresses = Vec::new();
        if self.present.has_agent {
            match connection.guest_info(&domain, IDENTIFY_LIMIT).await {
                Ok(info) => {
                    let told: Vec<String> = [info.system, info.kernel].into_iter().flatten().collect();
                    if !told.is_empty() {
                        self.context.stats.learn(&self.workload, |stats| stats.guest_system = Some(told.join(", ")));
                    }
                }
                Err(error) => {
                    tracing::debug!(workload = %self.workload, %error, "its agent does not tell its system");
                }
            }
            addresses = usable(&connection, &domain, AddressSource::Agent).await;
        }
        for source in [AddressSource::Lease, AddressSource::Neighbours] {
            if addresses.is_empty() {
                addresses = usable(&connection, &domain, source).await;
            }
        }
        if let Some(link) = self.links.get(&self.present.host) {
            link.give_back(connection);
        }
        if !addresses.is_empty() {
            self.context.roster.learn(&self.workload, |present| present.address = addresses.first().cloned());
            self.context.stats.learn(&self.workload, |stats| stats.addresses = addresses);
        }
    }

    async fn at_host(&self) -> Option<(Connection, DomainRef)> {
        let link = self.links.get(&self.present.host)?;
        let connection = timeout(LIMIT, link.take()).await.ok()?.ok()?;
        let domain = connection.find_domain(self.workload.as_str(), LIMIT).await.ok()??;
        Some((connection, domain))
    }
}

async fn usable(connection: &Connection, domain: &DomainRef, source: AddressSource) -> Vec<String> {
    let cards = connection.addresses(domain, source, IDENTIFY_LIMIT).await.unwrap_or_default();
    let addresses = cards.into_iter().flat_map(|card| card.addresses).map(|(address, _)| address);
    addresses
        .filter(|address| !address.starts_with("127.") && address != "::1" && !address.starts_with("fe80:"))
        .collect()
}

async fn bounded(probe: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(LIMIT, probe).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// One port that accepts is enough; a refusal is none here, since the service is asked, not the machine.
async fn any_port(address: &str, ports: &[u16]) -> io::Result<()> {
    let ip = ping::resolve(address).await?;
    let mut last = io::ErrorKind::NotConnected.into();
    for port in ports {
        match TcpStream::connect((ip, *port)).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn any_url(urls: &[String]) -> io::Result<()> {
    let mut last = io::ErrorKind::NotConnected.into();
    for url in urls {
        match get(url).await {
            Ok(status) if status < 400 => return Ok(()),
            Ok(status) => last = io::Error::other(format!("{url} answers {status}")),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The status of a plain HTTP GET. Only the first line is read: a probe wants to know that someone answers.
async fn get(url: &str) -> io::Result<u16> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {what}"));
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong("only http:// can be probed"))?;
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let target = if server.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        server.to_owned()
    } else {
        format!("{server}:80")
    };
    let mut stream = TcpStream::connect(target).await?;
    let request =
        format!("GET /{path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: mainstay\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; 64];
    let mut read = 0;
    while read < line.len() && !line[..read].contains(&b'\n') {
        match stream.read(&mut line[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    let line = String::from_utf8_lossy(&line[..read]);
    let status =
        line.strip_prefix("HTTP/").and_then(|line| line.split(' ').nth(1)).and_then(|code| code.get(..3)?.parse().ok());
    status.ok_or_else(|| wrong("no HTTP answer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Serves one answer, and returns its address.
    async fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_url_counts_by_its_status() {
        let good = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        any_url(&[format!("http://{good}/health")]).await.unwrap();
        let bad = server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert!(any_url(&[format!("http://{bad}/")]).await.unwrap_err().to_string().contains("503"));
        let odd = server("SSH-2.0-OpenSSH_9.2\r\n").await;
        assert!(get(&format!("http://{odd}")).await.is_err());
    }

    #[tokio::test]
    async fn one_open_port_of_several_is_enough() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap().port();
        any_port("127.0.0.1", &[1, open]).await.unwrap();
        assert!(any_port("127.0.0.1", &[1]).await.is_err(), "refused is no answer of the service");
    }
}
