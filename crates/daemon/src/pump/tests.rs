//! The pump with a real engine, over a memory that can be made to fail and executors that only write down.

use super::*;
use mainstay_model::{
    Action, DomainChange, DomainSeen, DomainState, Fact, HostChannel, HostId, OffReason, PauseReason, Resources,
    WorkloadId, config::load,
};
use std::{collections::BTreeSet, path::PathBuf, sync::Mutex};

const CONFIG: &str = r#"
[cluster]
name = "test"
[site.lab]
shared_storage = true
[site.lab.libvirt]
[site.lab.host.h1]
address = "192.0.2.1"
[site.lab.host.h2]
address = "192.0.2.2"
[[vm]]
match = "*"
"#;

/// What the outside saw, in order.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Persisted(Vec<String>),
    Left(Action),
}

#[derive(Clone, Default)]
struct Outside {
    seen: watch::Sender<Vec<Seen>>,
    full: Arc<Mutex<bool>>,
}

impl Outside {
    fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }
    fn orders(&self) -> usize {
        self.seen().iter().filter(|seen| matches!(seen, Seen::Left(_))).count()
    }
}

impl Journal for Outside {
    async fn persist(&self, _at: Time, step: &Step) -> Result<(), mainstay_store::Error> {
        if *self.full.lock().unwrap() {
            return Err(mainstay_store::Error::Full { path: PathBuf::from("/full/mainstay.db") });
        }
        let texts = step.events.iter().map(|event| event.text.clone()).collect();
        self.seen.send_modify(|seen| seen.push(Seen::Persisted(texts)));
        Ok(())
    }
}

impl Dispatch for Outside {
    fn dispatch(&mut self, order: Order) {
        self.seen.send_modify(|seen| seen.push(Seen::Left(order.action)));
    }
}

struct World {
    outside: Outside,
    facts: mpsc::Sender<Input>,
    requests: mpsc::Sender<Request>,
    health: watch::Receiver<Health>,
    clock: Clock,
    news: broadcast::Sender<News>,
    _stop: watch::Sender<bool>,
}

impl World {
    fn start() -> World {
        let outside = Outside::default();
        World::with(outside.clone(), outside)
    }

    fn over(journal: impl Journal + Send + Sync + 'static) -> World {
        World::with(journal, Outside::default())
    }

    fn with(journal: impl Journal + Send + Sync + 'static, outside: Outside) -> World {
        let clock = Clock::start(Time(0));
        let spec = load("test.toml", CONFIG).unwrap_or_else(|problems| panic!("{problems:?}")).spec;
        let (controller, first) = Controller::start(Arc::new(spec), Vec::new(), clock.now()).unwrap();
        let (facts, inputs) = mpsc::channel(INPUTS);
        let (requests, asked) = mpsc::channel(16);
        let (health, seen_health) = watch::channel(Health { ready: false, storage_trouble: None, last_step: Time(0) });
        let (stop, stopping) = watch::channel(false);
        let executors = outside.clone();
        let news = broadcast::channel(16).0;
        let troubles = Troubles::default();
        let pump = Pump {
            controller,
            clock,
            journal,
            executors,
            inputs,
            requests: asked,
            news: news.clone(),
            health,
            troubles,
            viewers: Viewers::default(),
            die_at: None,
            stop: stopping,
        };
        tokio::spawn(pump.run(first));
        World { outside, facts, requests, health: seen_health, clock, news, _stop: stop }
    }

    async fn tell(&self, fact: Fact) {
        self.facts.send(Input::Fact(fact)).await.unwrap();
    }

    /// h1 has web-1, running; h2 has nothing.
    async fn settle(&self) {
        for host in ["h1", "h2"].map(HostId::from) {
            self.tell(Fact::HostHeard { host: host.clone(), channel: HostChannel::Hypervisor }).await;
            let web = DomainSeen {
                uuid: "77000000-0000-4000-8000-000000000001".to_owned(),
                state: DomainState::Running,
                needs: Resources::of(96, 1),
                autostart: false,
                tags: BTreeSet::new(),
                datastores: BTreeSet::new(),
                movable: true,
                only_here: Default::default(),
                passed_through: Default::default(),
            };
            let domains = if host.as_str() == "h1" { [(web_1(), web)].into() } else { Default::default() };
            let (asked_at, capacity) = (self.clock.now(), Resources::of(8192, 4));
            self.tell(Fact::Inventory { host, asked_at, capacity, domains: Arc::new(domains) }).await;
        }
    }

    async fn crash(&self) {
        let change = DomainChange::State(DomainState::Off(OffReason::Crashed));
        self.tell(Fact::Domain { host: "h1".into(), workload: web_1(), change }).await;
    }

    async fn view(&self) -> Arc<mainstay_engine::view::ClusterView> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::View(answer)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(300), answered).await.unwrap().unwrap()
    }

    async fn alarms(&self) -> Vec<Alarm> {
        self.view().await.alarms.clone()
    }

    async fn until(&self, what: &str, wanted: impl Fn() -> bool) {
        let mut seen = self.outside.seen.subscribe();
        let comes = seen.wait_for(|_| wanted());
        let came = tokio::time::timeout(Duration::from_secs(300), comes).await.is_ok();
        assert!(came, "{what}: {:#?}", self.outside.seen());
    }
}

fn web_1() -> WorkloadId {
    WorkloadId::from("web-1")
}

#[tokio::test]
async fn an_order_leaves_after_it_is_durable() {
    let world = World::start();
    world.settle().await;
    world.crash().await;
    world.until("an order leaves", || world.outside.orders() == 1).await;
    let seen = world.outside.seen();
    let left = seen.iter().position(|seen| matches!(seen, Seen::Left(_))).unwrap();
    assert_eq!(seen[left], Seen::Left(Action::Start { workload: web_1(), host: "h1".into() }));
    let Seen::Persisted(texts) = &seen[left - 1] else { panic!("{seen:#?}") };
    assert!(texts.iter().any(|text| text == "start web-1 on h1"), "{texts:?}");
}

#[tokio::test]
async fn while_nothing_can_be_remembered_nothing_is_done_and_questions_are_answered() {
    let mut world = World::start();
    world.settle().await;
    world.health.wait_for(|health| health.ready).await.unwrap();
    *world.outside.full.lock().unwrap() = true;
    world.crash().await;
    world.health.wait_for(|health| health.storage_trouble.is_some()).await.unwrap();
    let alarms = world.alarms().await;
    assert!(alarms[0].code == Code::NOTHING_REMEMBERED && alarms[0].text.contains("no space left"), "{alarms:?}");
    assert_eq!(world.outside.orders(), 0);
    assert!(world.health.borrow().storage_trouble.as_deref().unwrap().contains("no space left"));

    *world.outside.full.lock().unwrap() = false;
    world.until("the order leaves after all", || world.outside.orders() == 1).await;
    world.health.wait_for(|health| health.storage_trouble.is_none()).await.unwrap();
    assert_eq!(world.outside.orders(), 1, "once");
    assert!(world.alarms().await.iter().all(|alarm| alarm.code != Code::NOTHING_REMEMBERED));
}

/// The scenario: the disk is full for long; meanwhile the guest is started by a person. What was decided before is of no use.
#[tokio::test(start_paused = true)]
async fn what_was_decided_long_before_it_could_be_remembered_is_decided_anew() {
    let mut world = World::start();
    world.settle().await;
    world.health.wait_for(|health| health.ready).await.unwrap();
    *world.outside.full.lock().unwrap() = true;
    world.crash().await;
    world.health.wait_for(|health| health.storage_trouble.is_some()).await.unwrap();
    // Time is simulated here: it passes when everybody waits.
    tokio::time::sleep(FRESH.as_duration()).await;
    world.settle().await;
    *world.outside.full.lock().unwrap() = false;
    world.health.wait_for(|health| health.storage_trouble.is_none()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.outside.orders(), 0, "it runs: {:#?}", world.outside.seen());
    world.crash().await;
    world.until("the next crash is answered", || world.outside.orders() == 1).await;
}

/// The scenario: a host comes back, and everything that happened there is told at once. What is believed in the end is the
/// newest, in bounded time, with a bounded channel before the engine and a watcher who reads nothing.
#[tokio::test]
async fn ten_thousand_events_at_once_end_in_the_newest_state() {
    const EVENTS: u32 = 10_000;
    let directory = tempfile::tempdir().unwrap();
    let store = mainstay_store::Store::open(&directory.path().join("mainstay.db")).await.unwrap();
    let (memory, _) = crate::memory::Memory::open(store, Time(0)).await.unwrap();
    let world = World::over(memory.clone());
    world.settle().await;
    let mut slow = world.news.subscribe();
    let began = Instant::now();
    for number in 1..=EVENTS {
        let change = match number % 4 {
            1 => DomainChange::Rebooted,
            2 => DomainChange::State(DomainState::Paused(PauseReason::Person)),
            _ => DomainChange::State(DomainState::Running),
        };
        world.tell(Fact::Domain { host: "h1".into(), workload: web_1(), change }).await;
    }
    let told = began.elapsed();
    // The channel is empty when all is taken in, and a question is answered between two steps.
    let all_taken = world.facts.reserve_many(INPUTS);
    drop(tokio::time::timeout(Duration::from_secs(300), all_taken).await.expect("all is taken in").unwrap());
    let view = world.view().await;
    assert!(view.workloads.iter().all(|one| one.health == "running"), "{view:#?}");
    let took = began.elapsed();
    tracing::info!("{EVENTS} events were taken in within {told:?}, and all believed within {took:?}");
    assert!(view.alarms.is_empty(), "{:?}", view.alarms);
    assert_eq!(world.outside.orders(), 0, "a guest paused and resumed by a person is left alone");
    // Who reads nothing is told how much it missed, and goes on with the newest.
    let missed = loop {
        match slow.try_recv() {
            Err(broadcast::error::TryRecvError::Lagged(missed)) => break missed,
            Ok(_) => {}
            Err(error) => panic!("{error}: it missed nothing of {EVENTS} events?"),
        }
    };
    tracing::info!("a slow watcher missed {missed}");
    let events = memory.events(&crate::EventQuery { limit: 10_000, ..Default::default() }).await.unwrap();
    let reboots = events.iter().filter(|event| event.text.contains("rebooted")).count();
    assert_eq!(reboots, EVENTS as usize / 4, "history has each of them");
}

/// Events are kept in columns, and come back as they were told.
#[tokio::test]
async fn the_events_of_an_incident_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let store = mainstay_store::Store::open(&directory.path().join("mainstay.db")).await.unwrap();
    let (memory, _) = crate::memory::Memory::open(store, Time(0)).await.unwrap();
    let world = World::over(memory.clone());
    world.settle().await;
    world.crash().await;
    world.until("an order leaves", || world.outside.orders() == 1).await;
    let incidents = world.view().await.incidents.clone();
    let [incident] = incidents.as_slice() else { panic!("{incidents:?}") };
    let query = crate::EventQuery { incident: Some(incident.id), limit: 100, ..Default::default() };
    let events = memory.events(&query).await.unwrap();
    assert!(events.len() >= 2 && events == incident.timeline, "{events:#?}\n{:#?}", incident.timeline);
    let newest = memory.events(&crate::EventQuery { limit: 1, ..query }).await.unwrap();
    assert_eq!(newest.last(), incident.timeline.last());
}

/// Ten dashboards on a large cluster: what they look at is made once for all, and takes a tenth of the time at most.
#[tokio::test(start_paused = true)]
async fn who_looks_while_a_view_was_just_made_waits_for_the_next_and_shares_it() {
    let spec = load("test.toml", CONFIG).unwrap_or_else(|problems| panic!("{problems:?}")).spec;
    let (controller, _) = Controller::start(Arc::new(spec), Vec::new(), Time(0)).unwrap();
    let made = std::cell::Cell::new(0);
    // As long as the view of a large cluster takes.
    let make = || {
        made.set(made.get() + 1);
        let began = thread_time();
        while thread_time() - began < Duration::from_millis(5) {}
        controller.view_with(Time(0), Vec::new())
    };
    let mut viewers = Viewers::default();
    let mut answers = Vec::new();
    for _ in 0..100 {
        let (answer, answered) = oneshot::channel();
        viewers.waiting.push(answer);
        answers.push(answered);
        viewers.answer(make);
    }
    assert_eq!(made.get(), 1, "the first is answered at once, the others wait");
    assert!(answers.remove(0).await.is_ok() && answers[0].try_recv().is_err());
    view_due(viewers.due()).await;
    viewers.answer(make);
    assert_eq!(made.get(), 2);
    let first = answers.remove(0).await.unwrap();
    for answer in answers {
        assert!(Arc::ptr_eq(&first, &answer.await.unwrap()));
    }
    assert!(viewers.due().is_none());
}
