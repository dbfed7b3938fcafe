//! What the tests share: labs, connections to their hosts, waiting with a limit.

use std::{fs::File, future::Future, ops::Deref, os::fd::AsFd, time::Duration};

use mainstay_lab::{Lab, LabSpec, ScratchLab};
use mainstay_libvirt::{Connection, DomainEvent, DomainRef, Event, Events, Lifecycle, Options, Uri};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// For a call; far above what any takes on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(120);
/// For what takes a guest's boot.
pub const BOOT: Duration = Duration::from_secs(400);

/// A lab of this test, with ways to its hosts.
pub struct TestLab(ScratchLab);

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl TestLab {
    /// A lab with `hosts` hosts and these guests, running; the first with a guest agent.
    pub async fn up(hosts: u8, guests: u8) -> Self {
        let mut spec = ScratchLab::spec("lv", hosts, guests);
        if let Some(first) = spec.guests.first_mut() {
            first.agent = true;
        }
        Self::of(spec).await
    }

    pub async fn of(spec: LabSpec) -> Self {
        let built = ScratchLab::up(spec, |_| ()).await;
        Self(built.unwrap_or_else(|error| panic!("no lab to test on: {error}")))
    }

    /// The first host's libvirtd as a URI that works from anywhere on this machine.
    pub fn uri(&self, host: &str) -> Uri {
        let socket = self.libvirt_socket(host).unwrap();
        format!("qemu+unix:///system?socket={}", socket.display()).parse().unwrap()
    }

    pub async fn open(&self, host: &str) -> Connection {
        Connection::open(&self.uri(host), &Options::default()).await.unwrap()
    }
}

/// While it lives, this thread (and so its test, on a single-threaded runtime) is in a lab's network.
pub struct InNetwork(File);

impl InNetwork {
    pub fn of(lab: &Lab) -> Self {
        let home = File::open("/proc/thread-self/ns/net").unwrap();
        enter(&File::open(lab.controller_namespace()).unwrap());
        Self(home)
    }
}

impl Drop for InNetwork {
    fn drop(&mut self) {
        enter(&self.0);
    }
}

fn enter(network: &File) {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

pub async fn domain(connection: &Connection, name: &str) -> DomainRef {
    connection.find_domain(name, LIMIT).await.unwrap().unwrap_or_else(|| panic!("no domain {name}"))
}

/// The first event of `domain` that `wanted` accepts; fails after [`BOOT`].
pub async fn event<T>(events: &mut Events, domain: &str, wanted: impl Fn(&DomainEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            match events.next().await.expect("the connection stays") {
                Event::Domain { name, what, .. } if name == domain => {
                    if let Some(found) = wanted(&what) {
                        return found;
                    }
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(BOOT, found).await.expect("the event comes")
}

pub async fn turn(events: &mut Events, domain: &str, wanted: Lifecycle) {
    event(events, domain, |what| (*what == DomainEvent::Lifecycle(wanted)).then_some(())).await;
}

/// Asks again until the answer is `Some`; fails after [`BOOT`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BOOT, asked).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}
