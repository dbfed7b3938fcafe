//! The controller process from start to stop: puts the parts together, reloads the configuration, keeps history short,
//! and tells the service manager how it is.
//!
//! The service's own loop never waits for the pump or for the disk: while nothing can be made durable, it still stops when
//! asked, answers the watchdog, and finds out that its term is over.
//!
//! ```text
//!   configuration, store ──▶ engine's first step carried out ──▶ sensors ──▶ ready ──▶ … ──▶ stop, or deposed
//! ```

use crate::{
    Clock, Handle, StatsBoard,
    clock::ClockMark,
    config::{Config, ConfigError},
    executors::{Executors, Tools},
    handle::{Health, ReloadRefused, ReloadReport, ServiceRequest},
    housekeeping::keep_house,
    link::{Link, Links},
    memory::{Journal, Memory},
    news::News,
    notifier::Notifier,
    pump::{INPUTS, Pump, Viewers, with_causes},
    rehearse::DieAt,
    sensors::{Context, Needs, Pings, Roster, recall, watch_devices, watch_guests, watch_host},
    shortage,
    supervise::Supervisor,
    trouble::Troubles,
};
use mainstay_engine::{
    Input, Step,
    control::{BadRow, Circumstances, Controller},
};
use mainstay_model::{
    Alarm, Code, Event, EventKind, HostId, Severity, Span, Subject, Time, config::ControllerConfig, spec::ClusterSpec,
};
use mainstay_store::Store;
use std::{collections::BTreeMap, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedMutexGuard, broadcast, mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

/// Questions that wait for an answer; more are refused by being late.
const REQUESTS: usize = 256;
/// News kept for a slow watcher, who is then told how much it missed.
const NEWS: usize = 1024;
/// The service manager hears of a healthy controller so often, well within a watchdog of 30 s.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// How the controller is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file; read again at a reload.
    pub config: PathBuf,
    /// Where everything is kept (database, pictures); none: what the configuration says.
    pub state_dir: Option<PathBuf>,
    /// Rehearsals only: when to die.
    pub die_at: Option<DieAt>,
}

/// Why the controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] mainstay_store::Error),
    /// What was remembered can't be read.
    #[error("what the controller remembers can't be understood: was it written by another version?")]
    Memory(#[from] BadRow),
}

/// A controller that runs.
#[derive(Debug)]
pub struct Running {
    /// The way into it.
    pub handle: Handle,
    /// How the configuration wants the process to run: where the API is served.
    pub controller: ControllerConfig,
    /// What is allowed in the configuration but looks wrong.
    pub warnings: Vec<String>,
    task: tokio::task::JoinHandle<Result<(), Deposed>>,
}

/// The memory of this controller is not its own any more, and it has ended by itself: another controller has taken over, and
/// this one must not be started again while the other runs; or the database was deleted or replaced.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Deposed(mainstay_store::Error);

impl Deposed {
    /// The database was deleted or replaced; no other controller leads.
    pub fn is_gone(&self) -> bool {
        matches!(self.0, mainstay_store::Error::Gone { .. })
    }

    /// The controller's machine was put back to an earlier state; started again, the controller knows it and asks.
    pub fn is_put_back(&self) -> bool {
        matches!(self.0, mainstay_store::Error::Overtaken { .. })
    }
}

impl Running {
    /// Waits until it has stopped, after [`Handle::shutdown`] or by itself.
    ///
    /// # Errors
    /// If it stopped because another controller leads, or because its database is gone.
    pub async fn stopped(self) -> Result<(), Deposed> {
        // A panic of the service was printed by the panic hook; there is nothing left to wait for.
        self.task.await.unwrap_or(Ok(()))
    }
}

/// Starts the controller: reads configuration and memory, carries out the first step, begins to watch the hosts.
///
/// # Errors
/// If the configuration or the store can't be used. Nothing runs then.
pub async fn start(options: Options) -> Result<Running, StartError> {
    start_with_room(options, INPUTS).await
}

/// With room for so many facts that the pump has not taken in.
async fn start_with_room(options: Options, room: usize) -> Result<Running, StartError> {
    let mut config = Config::read(&options.config).await?;
    config.warnings.extend(shortage::raise_file_limit(config.spec.hosts.len()));
    let directory = options.state_dir.clone().unwrap_or_else(|| PathBuf::from(&config.controller.state_directory));
    let witness = config.controller.witness_file.as_ref().map(PathBuf::from);
    let store = open_store(directory.join("mainstay.db"), witness).await?;
    let wall = Clock::start(Time(0));
    let (memory, found) = Memory::open_at(store, wall.now(), ClockMark::of(&wall).as_ref()).await?;
    let clock = Clock::start(found.not_before);
    let mark = ClockMark::of(&clock);
    let set_ahead = mark.as_ref().zip(found.clock.as_ref()).map_or(Span::ZERO, |(now, then)| now.set_ahead_since(then));
    let put_back = found.put_back.is_some();
    let circumstances = Circumstances { set_ahead, restored: found.put_back };
    let (controller, first) = Controller::start_with(Arc::clone(&config.spec), found.rows, clock.now(), circumstances)?;

    let (facts, inputs) = mpsc::channel(room);
    let (requests, asked) = mpsc::channel(REQUESTS);
    let (service_requests, service_asked) = mpsc::channel(REQUESTS);
    let (news, _) = broadcast::channel(NEWS);
    let (health, health_seen) = watch::channel(Health { ready: false, storage_trouble: None, last_step: clock.now() });
    let (stop, stopping) = watch::channel(false);
    let (spec, spec_seen) = watch::channel(Arc::clone(&config.spec));
    let (links, stats, troubles) = (Links::default(), StatsBoard::default(), Troubles::default());

    let tools = Tools {
        clock,
        memory: memory.clone(),
        links: links.clone(),
        spec: spec_seen,
        pictures: directory.join("incidents"),
        hook_turns: Default::default(),
        boards: Default::default(),
        die_at: options.die_at.clone(),
    };
    let executors = Executors::new(tools.clone(), facts.clone());
    let (journal, closing) = (memory.with_clock(mark), memory.clone());
    let pump = Pump {
        controller,
        clock,
        journal,
        executors,
        inputs,
        requests: asked,
        news: news.clone(),
        health,
        troubles: troubles.clone(),
        viewers: Viewers::default(),
        die_at: options.die_at.clone(),
        stop: stopping,
    };
    let pump = tokio::spawn(pump.run(first));

    let notifier = Notifier::start(config.notify.clone(), requests.clone(), &news, clock);
    let supervisor = Supervisor {
        facts: facts.clone(),
        clock,
        memory: memory.clone(),
        news: news.clone(),
        troubles: troubles.clone(),
    };
    let context = Context {
        facts: facts.clone(),
        clock,
        memory,
        stats: stats.clone(),
        roster: Roster::default(),
        pings: Pings::open(),
        needs: Needs::default(),
    };
    let handle = Handle {
        requests,
        news: news.clone(),
        health: health_seen.clone(),
        service: service_requests,
        stats,
        clock,
        tools: tools.clone(),
        facts,
    };
    let (keep, pictures) = (watch::Sender::new(config.controller.keep_history), directory.join("incidents"));
    let (controller, warnings) = (config.controller.clone(), config.warnings.clone());
    let service = Service {
        options,
        config,
        tools,
        context,
        supervisor,
        links,
        spec,
        keep,
        pictures,
        notifier,
        news,
        health: health_seen,
        hosts: BTreeMap::new(),
        tasks: JoinSet::new(),
        reloading: Arc::default(),
        put_back,
        stop,
    };
    let task = tokio::spawn(async move {
        let ended = service.run(service_asked).await;
        // It ends at its next turn; whatever it did not make durable is not done.
        let _ = pump.await;
        // A copy of the one file is a whole backup then.
        closing.store().write_back().await;
        ended
    });
    Ok(Running { handle, controller, warnings, task })
}

/// Opens the store, in a directory that only its owner can read: definitions hold the passwords of consoles and disks.
///
/// On a thread of its own: checking a large store takes a while, and the compiler can't see that its migration is `Send`.
pub(crate) async fn open_store(path: PathBuf, witness: Option<PathBuf>) -> Result<Store, mainstay_store::Error> {
    let runtime = tokio::runtime::Handle::current();
    let open = move || {
        if let Some(directory) = path.parent() {
            // One that is there keeps the mode its owner gave it; whatever is wrong with it, the store says.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        }
        runtime.block_on(Store::open_with(&path, witness.as_deref()))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.expect("opening a store does not panic, and nobody aborts it")
}

/// What comes of a reload.
type Answer = Result<ReloadReport, ReloadRefused>;

/// A configuration that the engine has been handed, or one that was refused.
struct Reload {
    read: Result<Box<Config>, ReloadRefused>,
    answer: oneshot::Sender<Answer>,
    turn: OwnedMutexGuard<()>,
}

struct Service {
    options: Options,
    config: Config,
    tools: Tools,
    context: Context,
    supervisor: Supervisor,
    links: Links,
    spec: watch::Sender<Arc<ClusterSpec>>,
    /// How long history is kept.
    keep: watch::Sender<Span>,
    pictures: PathBuf,
    notifier: Notifier,
    news: broadcast::Sender<News>,
    health: watch::Receiver<Health>,
    hosts: BTreeMap<HostId, AbortHandle>,
    /// Sensors; they end with the service.
    tasks: JoinSet<()>,
    /// One reload after the other.
    reloading: Arc<tokio::sync::Mutex<()>>,
    /// The store says that its memory was put back, and goes on saying so until the engine has that on record.
    put_back: bool,
    /// Tells the pump.
    stop: watch::Sender<bool>,
}

impl Service {
    async fn run(mut self, mut requests: mpsc::Receiver<ServiceRequest>) -> Result<(), Deposed> {
        let mut ready = self.health.clone();
        let mut alive = interval(ALIVE_EVERY);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut begun = false;
        let memory = self.context.memory.clone();
        let mut taken_over = std::pin::pin!(taken_over(&memory));
        let (reloads, mut reloaded) = mpsc::channel(REQUESTS);
        let ended = loop {
            tokio::select! {
                () = is_ready(&mut ready), if !begun => {
                    begun = true;
                    self.begin();
                }
                request = requests.recv() => match request {
                    Some(ServiceRequest::Events(query, answer)) => {
                        let memory = self.context.memory.clone();
                        // Whoever asked may have given up.
                        tokio::spawn(async move { drop(answer.send(readable(memory.events(&query).await))) });
                    }
                    Some(ServiceRequest::Reload(answer)) => self.begin_reload(answer, reloads.clone()),
                    Some(ServiceRequest::Stop) | None => break Ok(()),
                },
                Some(reload) = reloaded.recv() => self.finish_reload(reload),
                _ = alive.tick() => self.show_alive(),
                error = &mut taken_over => break Err(error),
            }
        };
        notify(&[sd_notify::NotifyState::Stopping]);
        self.stop.send_replace(true);
        self.tasks.abort_all();
        match ended {
            Ok(()) => tracing::info!("the controller stops; guests go on as they are"),
            Err(ref error) => self.last_words(error).await,
        }
        ended.map_err(Deposed)
    }

    /// The memory is another controller's now, so this alarm is on no record.
    async fn last_words(&self, error: &mainstay_store::Error) {
        tracing::error!(%error, "the controller ends; guests go on as they are");
        let gone = matches!(error, mainstay_store::Error::Gone { .. });
        let (code, advice) = if gone {
            // The open file still has everything, until this process ends.
            let rescued = self.context.memory.store().rescue().await;
            match rescued.map_err(|error| tracing::error!(error = with_causes(&error), "it can't be rescued")) {
                Ok(path) => {
                    (Code::MEMORY_GONE, format!("the last state is in {}: mainstay explain MS1006", path.display()))
                }
                Err(()) => (Code::MEMORY_GONE, "put a backup in its place: mainstay explain MS1006".to_owned()),
            }
        } else if matches!(error, mainstay_store::Error::Overtaken { .. }) {
            (Code::MEMORY_RESTORED, "start it again, and say which VMs should run: mainstay explain MS1005".to_owned())
        } else {
            (Code::TAKEN_OVER, "keep one controller: mainstay explain MS1004".to_owned())
        };
        let Some(severity) = self.config.spec.alarms.severity(code, Severity::Red) else { return };
        let alarm = Alarm {
            code,
            subject: Subject::Cluster,
            severity,
            text: error.to_string(),
            advice,
            raised_at: self.context.clock.now(),
            acknowledged: None,
        };
        self.notifier.tell_at_once(alarm).await;
    }

    /// The engine has taken its first step: the world may come in.
    fn begin(&mut self) {
        if self.put_back {
            let memory = self.context.memory.clone();
            tokio::spawn(async move {
                if let Err(error) = memory.store().put_back_is_known().await {
                    tracing::warn!(error = with_causes(&error), "the store will say once more that it was put back");
                }
            });
        }
        for (host, config) in self.config.links.clone() {
            self.watch(host, config);
        }
        let Context { memory, stats, clock, .. } = self.context.clone();
        let (keep, pictures) = (self.keep.subscribe(), self.pictures.clone());
        self.tasks.spawn(async move { keep_house(memory, stats, clock, keep, &pictures).await });
        self.tasks.spawn(recall(self.context.clone(), self.spec.subscribe()));
        let (context, links, spec) = (self.context.clone(), self.links.clone(), self.spec.subscribe());
        let sensor = move |pulse| watch_guests(context.clone(), pulse, links.clone(), spec.clone());
        self.tasks.spawn(self.supervisor.clone().watch(Subject::Cluster, sensor));
        let (context, tools) = (self.context.clone(), self.tools.clone());
        let sensor = move |pulse| watch_devices(context.clone(), pulse, tools.clone());
        self.tasks.spawn(shortage::watch(self.supervisor.clone()));
        self.tasks.spawn(self.supervisor.clone().watch(Subject::Cluster, sensor));
        notify(&[sd_notify::NotifyState::Ready]);
        tracing::info!(cluster = self.config.spec.name, hosts = self.config.links.len(), "the controller is ready");
    }

    fn watch(&mut self, host: HostId, config: crate::link::LinkConfig) {
        match Link::new(host.clone(), config) {
            Ok(link) => {
                let link = Arc::new(link);
                self.links.insert(Arc::clone(&link));
                let every = self.config.spec.detection.heartbeat_every;
                let context = self.context.clone();
                let sensor = move |pulse| watch_host(Arc::clone(&link), context.clone(), pulse, every);
                let task = self.tasks.spawn(self.supervisor.clone().watch(Subject::Host(host.clone()), sensor));
                self.hosts.insert(host, task);
            }
            // Checked when the configuration was read.
            Err(error) => tracing::error!(%host, error = with_causes(&error), "not watched"),
        }
    }

    fn forget(&mut self, host: &HostId) {
        if let Some(task) = self.hosts.remove(host) {
            task.abort();
        }
        self.links.remove(host);
        self.context.roster.forget(host);
        self.context.needs.forget(host);
    }

    /// Reads the configuration and hands it to the engine, which must know a host before it hears of it. That may take as
    /// long as the pump takes nothing in, so it is a task of its own.
    fn begin_reload(&self, answer: oneshot::Sender<Answer>, reloads: mpsc::Sender<Reload>) {
        let now = i128::from(self.context.clock.now().0) * 1_000;
        let reloading =
            sd_notify::NotifyState::monotonic_usec_now().unwrap_or(sd_notify::NotifyState::MonotonicUsec(now));
        notify(&[sd_notify::NotifyState::Reloading, reloading]);
        let (file, facts, turn) =
            (self.options.config.clone(), self.context.facts.clone(), Arc::clone(&self.reloading));
        tokio::spawn(async move {
            let turn = turn.lock_owned().await;
            let read = Config::read(&file).await.map_err(|error| ReloadRefused { problems: error.lines() });
            let input = match &read {
                Ok(new) => Input::Spec(Arc::clone(&new.spec)),
                // An alarm until a good one comes.
                Err(refused) => Input::Refused(refused.in_short()),
            };
            // If nobody is there to take it, the controller stops.
            if facts.send(input).await.is_ok() {
                let _ = reloads.send(Reload { read: read.map(Box::new), answer, turn }).await;
            }
        });
    }

    fn finish_reload(&mut self, Reload { read, answer, turn }: Reload) {
        let result = read.map(|new| self.adopt(*new));
        drop(turn);
        notify(&[sd_notify::NotifyState::Ready]);
        if let Ok(report) = &result {
            let text = format!("the configuration was read again: {}", summary(report));
            self.tell(Severity::Green, text);
        }
        drop(answer.send(result));
    }

    /// Puts a new configuration in force that the engine has.
    fn adopt(&mut self, new: Config) -> ReloadReport {
        let old = std::mem::replace(&mut self.config, new);
        let (spec, links) = (Arc::clone(&self.config.spec), self.config.links.clone());
        self.notifier.adopt(&self.config.notify);
        let mut report = ReloadReport { warnings: self.config.warnings.clone(), ..ReloadReport::default() };
        if self.config.controller != old.controller {
            report.warnings.push("changes in [controller] take effect at the controller's next start".to_owned());
        }
        let same_pace = spec.detection.heartbeat_every == old.spec.detection.heartbeat_every;
        self.spec.send_replace(spec);
        self.keep.send_replace(self.config.controller.keep_history);
        for host in old.links.keys().filter(|host| !links.contains_key(*host)) {
            report.hosts_removed.push(host.to_string());
            self.forget(host);
        }
        for (host, link) in links {
            match old.links.get(&host) {
                Some(before) if *before == link && same_pace => continue,
                Some(_) => report.hosts_changed.push(host.to_string()),
                None => report.hosts_added.push(host.to_string()),
            }
            self.forget(&host);
            self.watch(host, link);
        }
        report
    }

    /// An event of the process itself. A disk that hangs does not hold up the service.
    fn tell(&self, severity: Severity, text: String) {
        let at = self.context.clock.now();
        let event = Event {
            at,
            subject: Subject::Cluster,
            severity,
            kind: EventKind::Controller,
            text,
            incident: None,
            by: None,
        };
        crate::pump::log(&event);
        let step = Step { events: vec![event.clone()], ..Step::default() };
        let (memory, news) = (self.context.memory.clone(), self.news.clone());
        tokio::spawn(async move {
            if let Err(error) = memory.persist(at, &step).await {
                tracing::error!(error = with_causes(&error), "this event is not on record");
            }
            let _ = news.send(News::Event(Arc::new(event)));
        });
    }

    fn show_alive(&self) {
        let health = self.health.borrow();
        let age = self.context.clock.now().since(health.last_step);
        let status = match &health.storage_trouble {
            Some(trouble) => format!("nothing is done, since nothing can be remembered: {trouble}"),
            None if age > Span::secs(10) => format!("the loop has not turned for {age}"),
            None => format!("watching {} hosts", self.hosts.len()),
        };
        // A full disk is no reason to be restarted: the controller waits and shouts. A loop that stands still is.
        if health.storage_trouble.is_some() || age <= Span::secs(10) {
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
        notify(&[sd_notify::NotifyState::Status(&status)]);
    }
}

/// Waits until another controller has taken over. With nothing to write it would never be found out: so it is looked for.
async fn taken_over(memory: &Memory) -> mainstay_store::Error {
    let look = async {
        loop {
            // Whatever else goes wrong with the store is found out by the pump.
            let _ = memory.store().confirm_term().await;
            let heard = memory.store().bear_witness().await;
            if let Err(error @ mainstay_store::Error::Witness { .. }) = &heard {
                tracing::warn!(error = with_causes(error), "the witness does not know how far the memory has come");
            }
            sleep(ALIVE_EVERY).await;
        }
    };
    tokio::select! {
        error = memory.store().deposed() => error,
        () = look => unreachable!("it looks for ever"),
    }
}

/// Waits until the engine's first step was carried out.
async fn is_ready(health: &mut watch::Receiver<Health>) {
    if health.wait_for(|health| health.ready).await.is_err() {
        // The pump has ended without: the service is told to stop on another way.
        std::future::pending::<()>().await;
    }
}

fn readable(found: Result<Vec<Event>, mainstay_store::Error>) -> Option<Vec<Event>> {
    found.inspect_err(|error| tracing::error!(error = with_causes(error), "history can't be read")).ok()
}

fn summary(report: &ReloadReport) -> String {
    let parts =
        [("added", &report.hosts_added), ("removed", &report.hosts_removed), ("changed", &report.hosts_changed)];
    let parts = parts.iter().filter(|(_, hosts)| !hosts.is_empty());
    let text: Vec<String> = parts.map(|(what, hosts)| format!("{what} {}", hosts.join(", "))).collect();
    if text.is_empty() { "the same hosts".to_owned() } else { text.join("; ") }
}

/// Without a service manager this does nothing.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests;
