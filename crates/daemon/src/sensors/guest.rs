//! Whether guests answer: by ping, a TCP port, a URL, or their agent, as their policy says. Each probe has a second, and no
//! guest waits for another. Addresses come from the policy, or are asked of libvirt now and then.

use super::{Context, Present, STUCK, ping::NoPong};
use crate::{link::Links, shortage, supervise::Pulse};
use mainstay_libvirt::{Connection, DomainRef, Error, domain::agent::AddressSource, resolve};
use mainstay_model::{
    Fact, GuestChannel, WorkloadId, is_nobodys, plain,
    spec::{ClusterSpec, Probes},
};
use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, timeout, timeout_at},
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

/// A guest may claim any number.
const ADDRESSES_SHOWN: usize = 16;

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
pub(crate) async fn watch_guests(
    context: Context,
    pulse: Pulse,
    links: Links,
    spec: watch::Receiver<Arc<ClusterSpec>>,
) {
    let mut turns: BTreeMap<WorkloadId, Turn> = BTreeMap::new();
    let mut rounds: JoinSet<Round> = JoinSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let turns_on = pulse.part("probes", STUCK);
    loop {
        ticks.tick().await;
        turns_on.beat();
        while let Some(done) = rounds.try_join_next() {
            if let Ok(Round { workload, agent_late: true }) = done {
                turns.entry(workload).or_default().agent_rests_until = Some(Instant::now() + AGENT_REST);
            }
        }
        let spec = Arc::clone(&spec.borrow());
        let due = due(&context, &spec, &mut turns);
        let count = u32::try_from(due.len()).unwrap_or(u32::MAX).max(1);
        for (position, Due { workload, present, probes, identify, ask_agent }) in (0_u32..).zip(due) {
            let (context, links, spec) = (context.clone(), links.clone(), Arc::clone(&spec));
            let guest = Guest { workload, present, context, links, spec };
            // Spread over the second, so that hosts and this process are not hit at once.
            let later = (EVERY - LIMIT) * position / count;
            rounds.spawn(async move {
                tokio::time::sleep(later).await;
                let identified = async {
                    if identify {
                        guest.identify().await;
                    }
                };
                let ((), agent_late) = tokio::join!(identified, guest.probe(probes, ask_agent));
                Round { workload: guest.workload, agent_late }
            });
        }
    }
}

/// A guest that is asked something in this round.
struct Due {
    workload: WorkloadId,
    present: Present,
    probes: Probes,
    identify: bool,
    ask_agent: bool,
}

/// Of all guests those whose turn it is: nothing is spent on the others.
fn due(context: &Context, spec: &ClusterSpec, turns: &mut BTreeMap<WorkloadId, Turn>) -> Vec<Due> {
    context.roster.with(|roster| {
        turns.retain(|workload, _| roster.contains_key(workload));
        let guest = |(workload, present): (&WorkloadId, &Present)| {
            let probes = spec.workload_rule(workload, &present.tags).map(|rule| &rule.policy.probes);
            let probes = probes.filter(|probes| probes.any());
            if !turns.contains_key(workload) {
                turns.insert(workload.clone(), Turn::default());
            }
            let turn = turns.get_mut(workload)?;
            let again = if present.address.is_some() { IDENTIFY_EVERY } else { IDENTIFY_SOON };
            let identify = turn.identified.is_none_or(|at| at.elapsed() > again);
            if identify {
                turn.identified = Some(Instant::now());
            }
            let ask_agent = turn.agent_rests_until.is_none_or(|until| until < Instant::now());
            (identify || probes.is_some()).then(|| Due {
                workload: workload.clone(),
                present: present.clone(),
                probes: probes.cloned().unwrap_or_default(),
                identify,
                ask_agent,
            })
        };
        roster.iter().filter_map(guest).collect()
    })
}

struct Guest {
    workload: WorkloadId,
    present: Present,
    context: Context,
    links: Links,
    spec: Arc<ClusterSpec>,
}

impl Guest {
    /// Probes on all channels at once. Returns whether the agent was asked and did not answer in time.
    async fn probe(&self, probes: Probes, ask_agent: bool) -> bool {
        let address = probes.address.as_deref().or(self.present.address.as_deref());
        // At an address that the guest gave itself, another machine may answer.
        let at_its_word = probes.address.is_none();
        let pinged = async {
            if let (true, Some(address)) = (probes.ping, address) {
                let answer = match self.context.pings.ping(address, LIMIT).await {
                    Ok(()) => Some(true),
                    Err(NoPong::Silent(_)) => Some(false),
                    Err(NoPong::Unasked(_)) => None,
                };
                self.tell(GuestChannel::Ping, answer, at_its_word).await;
            }
        };
        let connected = async {
            if let (false, Some(address)) = (probes.tcp.is_empty(), address) {
                let answer = any_port(address, &probes.tcp, Instant::now() + LIMIT).await;
                self.tell(GuestChannel::Tcp, answer, at_its_word).await;
            }
        };
        let fetched = async {
            let filled = |url: &String| match url.contains("{address}") {
                true => address.map(|address| mainstay_model::config::filled(url, address)),
                false => Some(url.clone()),
            };
            let urls: Vec<String> = probes.http.iter().filter_map(filled).collect();
            if !urls.is_empty() {
                let its_own = at_its_word && probes.http.iter().any(|url| url.contains("{address}"));
                self.tell(GuestChannel::Http, any_url(&urls, Instant::now() + LIMIT).await, its_own).await;
            }
        };
        let asked = async {
            if !(probes.agent && ask_agent && self.present.has_agent) {
                return false;
            }
            match self.ask_agent().await {
                Some(answers) => {
                    self.context.stats.learn(&self.workload, |stats| stats.agent = Some(answers));
                    self.tell(GuestChannel::Agent, Some(answers), false).await;
                    !answers
                }
                None => false,
            }
        };
        let ((), (), (), late) = tokio::join!(pinged, connected, fetched, asked);
        late
    }

    /// `None`: it was not asked (the name does not resolve, or this machine lacks files), which says nothing about the guest.
    async fn tell(&self, channel: GuestChannel, answer: Option<bool>, at_its_word: bool) {
        let workload = self.workload.clone();
        match answer {
            Some(true) if at_its_word => {
                self.context.report(Fact::GuestHeardAtItsWord { workload, channel }).await;
            }
            Some(true) => self.context.report(Fact::GuestHeard { workload, channel }).await,
            Some(false) => self.context.report(Fact::GuestSilent { workload, channel }).await,
            None => tracing::debug!(%workload, %channel, "could not be asked"),
        }
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
                        let told = plain(&told.join(", ")).into_owned();
                        self.context.stats.learn(&self.workload, |stats| stats.guest_system = Some(told));
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
            // Asked anew each time, so that a changed configuration counts.
            let probed = addresses.iter().find(|address| self.may_be_probed(address)).cloned();
            self.context.roster.learn(&self.workload, |present| present.address = probed);
            self.context.stats.learn(&self.workload, |stats| stats.addresses = addresses);
        }
    }

    /// True if the configuration lets guests be probed there. A guest could name any machine.
    fn may_be_probed(&self, address: &str) -> bool {
        may_be_probed(&self.spec, address)
    }

    async fn at_host(&self) -> Option<(Connection, DomainRef)> {
        let link = self.links.get(&self.present.host)?;
        let connection = timeout(LIMIT, link.take()).await.ok()?.ok()?;
        let domain = connection.find_domain_by_uuid(self.present.uuid, LIMIT).await.ok()??;
        Some((connection, domain))
    }
}

/// An address that a guest gave itself: in a network that the configuration allows, and no host's.
fn may_be_probed(spec: &ClusterSpec, address: &str) -> bool {
    let Ok(ip) = address.parse::<IpAddr>() else { return false };
    let allowed = spec.guest_networks.iter().any(|network| network.contains(ip));
    let is_a_host = spec.hosts.values().any(|host| host.address.parse() == Ok(ip));
    allowed && !is_a_host && !is_nobodys(ip)
}

async fn usable(connection: &Connection, domain: &DomainRef, source: AddressSource) -> Vec<String> {
    let cards = connection.addresses(domain, source, IDENTIFY_LIMIT).await.unwrap_or_default();
    let addresses = cards.into_iter().flat_map(|card| card.addresses).map(|(address, _)| address);
    addresses
        .filter(|address| address.parse::<IpAddr>().is_ok_and(|address| !is_nobodys(address)))
        .take(ADDRESSES_SHOWN)
        .collect()
}

/// `None`: the name does not resolve, or not in time.
async fn resolved(name: &str, until: Instant) -> Option<IpAddr> {
    timeout_at(until, resolve(name)).await.ok()?.ok()?.first().copied()
}

/// One port that accepts is enough; a refusal is none here, since the service is asked, not the machine. `None`: not all could
/// be asked.
async fn any_port(address: &str, ports: &[u16], until: Instant) -> Option<bool> {
    let ip = resolved(address, until).await?;
    let mut asked = Some(false);
    for port in ports {
        match timeout_at(until, TcpStream::connect((ip, *port))).await {
            Ok(Ok(_)) => return Some(true),
            Ok(Err(error)) if shortage::is_ours(&error) => asked = None,
            _ => {}
        }
    }
    asked
}

/// One URL that answers well is enough; `None`: none of them could be asked.
async fn any_url(urls: &[String], until: Instant) -> Option<bool> {
    let (mut asked, mut short) = (None, false);
    for url in urls {
        match get(url, until).await {
            Some(Ok(status)) if status < 400 => return Some(true),
            Some(Err(error)) if shortage::is_ours(&error) => short = true,
            Some(_) => asked = Some(false),
            None => {}
        }
    }
    if short { None } else { asked }
}

/// The status of a plain HTTP GET; `None`: the name does not resolve.
async fn get(url: &str, until: Instant) -> Option<io::Result<u16>> {
    let wrong = |what: &str| Some(Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {what}"))));
    let Some(rest) = url.strip_prefix("http://") else { return wrong("only http:// can be probed") };
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, port) = match server.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (server, Some(80)),
    };
    let Some(port) = port else { return wrong("that is no port") };
    let ip = resolved(name.trim_matches(['[', ']']), until).await?;
    let answered = timeout_at(until, status((ip, port), server, path)).await;
    Some(answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
}

/// Only the first line is read: a probe wants to know that someone answers.
async fn status(at: (IpAddr, u16), server: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(at).await?;
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
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{server}: no HTTP answer")))
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

    /// A guest's agent says whatever the guest's owner likes.
    #[test]
    fn a_guest_cannot_steer_probes_to_other_machines() {
        let text = "[cluster]\nguest_networks = [\"10.20.0.0/16\", \"fd00::/8\", \"0.0.0.0/0\"]\n[site.a]\nlibvirt = {}\n\
                    host.h1.address = \"10.20.0.1\"";
        let spec = mainstay_model::config::load("mainstay.toml", text).unwrap().spec;
        for address in ["10.20.3.4", "fd12::7", "203.0.113.9"] {
            assert!(may_be_probed(&spec, address), "{address}");
        }
        for address in [
            "10.20.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.251",
            "::ffff:10.20.3.4",
            "2001:db8::1",
            "h1",
            "",
        ] {
            assert!(!may_be_probed(&spec, address), "{address}");
        }
        let spec = mainstay_model::config::load("mainstay.toml", "[site.a]\nlibvirt = {}\nhost.h1 = {}").unwrap().spec;
        assert!(
            may_be_probed(&spec, "192.168.122.7") && !may_be_probed(&spec, "203.0.113.9"),
            "private ones, if not told"
        );
    }

    fn soon() -> Instant {
        Instant::now() + 10 * LIMIT
    }

    #[tokio::test]
    async fn a_url_counts_by_its_status() {
        let good = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(any_url(&[format!("http://{good}/health")], soon()).await, Some(true));
        let bad = server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert_eq!(any_url(&[format!("http://{bad}/")], soon()).await, Some(false));
        let odd = server("SSH-2.0-OpenSSH_9.2\r\n").await;
        assert!(get(&format!("http://{odd}"), soon()).await.unwrap().is_err());
    }

    /// A name server that is down must not look like guests that hang.
    #[tokio::test]
    async fn a_guest_whose_name_does_not_resolve_is_not_called_silent() {
        assert_eq!(any_url(&["http://no-such-guest.invalid:8080/".to_owned()], soon()).await, None);
        assert_eq!(any_port("no-such-guest.invalid", &[22], soon()).await, None);
    }

    #[tokio::test]
    async fn one_open_port_of_several_is_enough() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap().port();
        assert_eq!(any_port("127.0.0.1", &[1, open], soon()).await, Some(true));
        assert_eq!(any_port("127.0.0.1", &[1], soon()).await, Some(false), "refused is no answer of the service");
    }
}
