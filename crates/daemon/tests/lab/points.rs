//! What a recovery point promises, it gives back: sequences of points of both kinds, reverts, deletions, moves, crashes and
//! deaths of the controller, drawn from a seed, against real libvirt and QEMU.
//!
//! The guest's own counter on disk is the witness. Before anything that changes what it should be, the test lets the guest
//! count on from a number that was never used before (an *age*). A point then promises the age in which it was taken, and
//! a counter not below the one that the guest had told before. After a revert the guest must be in that age again.
//!
//! A revert may be refused, with nothing changed, if it would ruin another point. Nothing else may be refused.
//!
//! `MAINSTAY_TEST_SEED=N` replays one round (each guest of a lab plays a sequence of its own), `MAINSTAY_TEST_ROUNDS=N` plays
//! more than the usual four. The seed is printed first.

use crate::support::{SOON, TestLab};
use mainstay_daemon::{EventQuery, Handle, Options, start};
use mainstay_model::{Command, EventKind, PointId, PointState, RecoveryPoint, Reply, StopHow, Subject, Time};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Child,
    sync::{Mutex as AsyncMutex, oneshot},
    time::{sleep, timeout},
};

/// Tells a child of this test that it is the controller, and with which configuration.
const CONTROLLER: &str = "MAINSTAY_TEST_POINTS_CONTROLLER";
const SEED: &str = "MAINSTAY_TEST_SEED";
const ROUNDS: &str = "MAINSTAY_TEST_ROUNDS";

/// Sequences in a round: guests of its lab.
const GUESTS: u8 = 5;
/// Rounds, unless said otherwise: twenty sequences.
const USUAL_ROUNDS: u64 = 4;
/// In every so many rounds the controller is killed.
const KILLED_EVERY: u64 = 4;
/// Numbers of one age; a guest counts ten in a second.
const AGE: u64 = 1_000_000;
/// A command is given again for so long while something else is under way.
const PATIENCE: Duration = Duration::from_secs(180);

// ---- the controller's process ---------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
struct Ask {
    id: u64,
    what: What,
}

#[derive(Serialize, Deserialize)]
enum What {
    /// Give a command; its order begins with these words.
    Do(Command, String),
    Points(String),
    Reload,
    Story(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Answer {
    Refused(String),
    Outcome(String),
    Points(Vec<RecoveryPoint>),
    Text(String),
}

/// No test: the controller's process, when this file's tests start themselves again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_process() {
    let Some(config) = std::env::var_os(CONTROLLER) else { return };
    tracing_subscriber::fmt().with_env_filter("info").with_ansi(false).with_writer(std::io::stderr).init();
    let running = start(Options { config: config.into(), ..Options::default() }).await.unwrap();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let ask: Ask = serde_json::from_str(&line).unwrap();
        let handle = running.handle.clone();
        tokio::spawn(async move {
            let answer = answer(&handle, ask.what).await;
            eprintln!("@{} {}", ask.id, serde_json::to_string(&answer).unwrap());
        });
    }
}

async fn answer(handle: &Handle, what: What) -> Answer {
    match what {
        What::Do(command, order) => obey(handle, command, &order).await,
        What::Points(guest) => Answer::Points(handle.points(&guest.as_str().into()).await.unwrap().to_vec()),
        What::Reload => Answer::Text(format!("{:?}", handle.reload().await)),
        What::Story(guest) => {
            let query = EventQuery {
                subject: Some(Subject::Workload(guest.as_str().into())),
                limit: 500,
                ..Default::default()
            };
            let events = handle.events(query).await.unwrap();
            let explained = handle.explain(&guest).await.unwrap();
            let lines = events.iter().map(|event| format!("{} {:?}: {}\n", event.at.0, event.kind, event.text));
            Answer::Text(lines.collect::<String>() + &format!("{explained:?}"))
        }
    }
}

async fn obey(handle: &Handle, command: Command, order: &str) -> Answer {
    let begun = Instant::now();
    let since = loop {
        let since = handle.now();
        match handle.command(command.clone()).await.unwrap() {
            Reply::Accepted { .. } => break since,
            Reply::Refused { text } | Reply::Nothing { text } if begun.elapsed() > PATIENCE => {
                return Answer::Refused(text);
            }
            Reply::Refused { text } if !is_for_now(&text) => return Answer::Refused(text),
            _ => sleep(Duration::from_millis(200)).await,
        }
    };
    loop {
        let query = EventQuery { since: Some(since), limit: 1000, ..Default::default() };
        let events = handle.events(query).await.unwrap();
        let ended = |event: &&mainstay_model::Event| event.kind == EventKind::Outcome && event.text.starts_with(order);
        if let Some(event) = events.iter().find(ended) {
            return Answer::Outcome(event.text.clone());
        }
        if begun.elapsed() > PATIENCE * 2 {
            return Answer::Outcome(format!("{order}: nothing came of it"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Refused because of something that ends.
fn is_for_now(text: &str) -> bool {
    [
        "try again",
        "does not run",
        "not certain where",
        "is busy",
        "not in service",
        "does not answer",
        "there is no",
        "is not well",
    ]
    .iter()
    .any(|part| text.contains(part))
}

// ---- the controller as the sequences see it -------------------------------------------------------------------------

/// A controller that can be killed and begun anew; what was asked of the one that died has no answer.
struct Mortal {
    lab: Arc<TestLab>,
    life: AsyncMutex<Life>,
    /// Kind of points of each guest, and how many scheduled ones are kept; the configuration is written from it.
    kinds: Mutex<BTreeMap<String, Kind>>,
    log: Arc<Mutex<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    kind: &'static str,
    last: u32,
}

struct Life {
    child: Child,
    waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>>,
    next: u64,
}

impl Mortal {
    async fn begin(lab: Arc<TestLab>) -> Arc<Mortal> {
        let kinds = lab.guest_names().into_iter().map(|guest| (guest, Kind { kind: "auto", last: 100 })).collect();
        write_configuration(&lab, &kinds);
        let log = Arc::default();
        let life = AsyncMutex::new(Self::live(&lab, &log));
        Arc::new(Mortal { lab, life, kinds: Mutex::new(kinds), log })
    }

    fn live(lab: &TestLab, log: &Arc<Mutex<String>>) -> Life {
        let mut command = lab.controller_command(std::env::current_exe().unwrap());
        command.args(["--exact", "points::controller_process", "--nocapture"]);
        command.env(CONTROLLER, lab.layout().dir.join("mainstay.toml"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>> = Arc::default();
        let (answered, log) = (Arc::clone(&waiting), Arc::clone(log));
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = line.strip_prefix('@').and_then(|line| line.split_once(' '));
                match answer.and_then(|(id, answer)| Some((id.parse().ok()?, serde_json::from_str(answer).ok()?))) {
                    Some((id, answer)) => {
                        let id: u64 = id;
                        answered.lock().unwrap().remove(&id).map(|asked| asked.send(answer));
                    }
                    None => writeln!(log.lock().unwrap(), "{line}").unwrap(),
                }
            }
            answered.lock().unwrap().clear();
        });
        Life { child, waiting, next: 0 }
    }

    /// `None`: it died meanwhile.
    async fn ask(&self, what: What) -> Option<Answer> {
        let asked = {
            let mut life = self.life.lock().await;
            life.next += 1;
            let (id, (answer, asked)) = (life.next, oneshot::channel());
            life.waiting.lock().unwrap().insert(id, answer);
            let line = serde_json::to_string(&Ask { id, what }).unwrap() + "\n";
            life.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).await.ok()?;
            asked
        };
        asked.await.ok()
    }

    async fn kill(&self) {
        let mut life = self.life.lock().await;
        life.child.kill().await.unwrap();
        *life = Self::live(&self.lab, &self.log);
    }

    /// From now on points of this guest are taken and kept so.
    async fn set_kind(&self, guest: &str, change: impl FnOnce(&mut Kind)) {
        let changed = {
            let mut kinds = self.kinds.lock().unwrap();
            let kind = kinds.get_mut(guest).unwrap();
            let before = *kind;
            change(kind);
            let changed = *kind != before;
            if changed {
                write_configuration(&self.lab, &kinds);
            }
            changed
        };
        // A controller that is begun anew reads it by itself.
        if changed && let Some(Answer::Text(reloaded)) = self.ask(What::Reload).await {
            assert!(reloaded.contains("Ok(Ok("), "{reloaded}");
        }
    }

    async fn points(&self, guest: &str) -> Vec<RecoveryPoint> {
        loop {
            if let Some(Answer::Points(points)) = self.ask(What::Points(guest.to_owned())).await {
                return points;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn story(&self, guest: &str) -> String {
        let told = timeout(Duration::from_secs(10), self.ask(What::Story(guest.to_owned()))).await;
        format!("{told:?}").replace("\\n", "\n")
    }
}

fn write_configuration(lab: &TestLab, kinds: &BTreeMap<String, Kind>) {
    let rule = |(guest, Kind { kind, last }): (&String, &Kind)| {
        format!("[[protection]]\nmatch = \"{guest}\"\nevery = \"12h\"\nkind = \"{kind}\"\nkeep = {{ last = {last} }}\n")
    };
    let rules: String = kinds.iter().map(rule).collect();
    let own = lab.mainstay_toml().split("[[protection]]").next().unwrap().to_owned();
    let patience =
        "[[recovery]]\nmatch = \"*\"\nladder = [\"restart x100\"]\nbackoff_limit = \"1s\"\nhung_after = \"2m\"\n";
    std::fs::write(lab.layout().dir.join("mainstay.toml"), format!("{own}\n{rules}{patience}")).unwrap();
}

// ---- the model --------------------------------------------------------------------------------------------------------

/// What a point must give back.
#[derive(Clone, Copy, Debug)]
struct Promise {
    age: u64,
    not_below: u64,
    memory: bool,
}

/// What must be true of a guest.
struct Model {
    /// The age that the guest is in.
    age: u64,
    /// The last counter that it told in this age.
    counter: u64,
    points: BTreeMap<PointId, Promise>,
    /// Retention may delete the scheduled point.
    tight: bool,
    /// The point that it was brought back to last.
    reverted_to: Option<PointId>,
    /// Points after which it fell over: they count as doubtful, and give back what they promised all the same.
    doubted: BTreeSet<PointId>,
}

/// Numbers from a seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_of<T: Clone>(&mut self, all: impl Iterator<Item = T>) -> Option<T> {
        let all: Vec<T> = all.collect();
        if all.is_empty() { None } else { Some(all[self.below(all.len())].clone()) }
    }
}

struct Sequence {
    controller: Arc<Mortal>,
    guest: String,
    draw: Draw,
    model: Model,
    /// What was done so far.
    said: Vec<String>,
    names: u32,
}

static AGES: AtomicU64 = AtomicU64::new(1);

impl Sequence {
    fn lab(&self) -> &TestLab {
        &self.controller.lab
    }

    fn say(&mut self, what: impl Into<String>) {
        self.said.push(what.into());
    }

    async fn fail(&self, why: &str) -> ! {
        let listed = self.records().await;
        let log = self.controller.log.lock().unwrap().clone();
        panic!(
            "{}: {why}\n  done: {}\n  age {} counter {}, promised {:#?}\n  on record with libvirt: {listed:?}\n{}\n{}\n{}",
            self.guest,
            self.said.join("\n        "),
            self.model.age,
            self.model.counter,
            self.model.points,
            self.images().await,
            self.controller.story(&self.guest).await,
            log.lines().filter(|line| line.contains(&self.guest)).collect::<Vec<_>>().join("\n"),
        );
    }

    /// On which images it stands, and on which its snapshots do.
    async fn images(&self) -> String {
        let Some(host) = self.lab().where_runs(&self.guest).unwrap().pop() else { return String::new() };
        let chains = r#"
            disk=$(virsh domblklist "$0" | awk '/qcow2/ {print $2}')
            echo "in use: $disk"
            for image in $(dirname "$disk")/"$0"*.qcow2; do
              echo "$image on $(qemu-img info -U "$image" | sed -n 's/^backing file: //p')"
            done
            for name in $(virsh snapshot-list --name "$0"); do
              echo "record of $name"
              virsh snapshot-dumpxml "$0" "$name" | grep "<parent>\|<source file\|<domain\|<inactiveDomain\|<backingStore type"
            done"#;
        self.lab()
            .run_in_host(&host, &["sh", "-c", chains, &self.guest])
            .await
            .unwrap_or_else(|error| error.to_string())
    }

    /// Names of its snapshots, wherever it runs.
    async fn records(&self) -> Vec<String> {
        let Some(host) = self.lab().where_runs(&self.guest).unwrap().pop() else { return Vec::new() };
        let names = self.lab().virsh(&host, &["snapshot-list", "--name", &self.guest]).await.unwrap_or_default();
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// The guest's age and counter, once it answers and runs on one host.
    async fn witness(&self) -> (u64, u64) {
        let answered = self.lab().wait_guest_answers(&self.guest, SOON).await;
        let Ok(heartbeat) = answered else { self.fail("it does not answer").await };
        (heartbeat.disk_counter / AGE, heartbeat.disk_counter)
    }

    /// A new age: whatever the guest does from here on is told from all before.
    async fn new_age(&mut self) {
        let age = AGES.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.lab().guest_count_from(&self.guest, age * AGE, SOON).await {
            self.fail(&format!("{error}")).await;
        }
        (self.model.age, self.model.counter) = (age, age * AGE);
    }

    /// The guest is where the model says; what is promised is on record with both.
    async fn check(&mut self) {
        let (age, counter) = self.witness().await;
        if age != self.model.age || counter < self.model.counter {
            self.fail(&format!("it counts {counter}")).await;
        }
        self.model.counter = counter;
        let begun = Instant::now();
        loop {
            let (points, records) = (self.controller.points(&self.guest).await, self.records().await);
            let good = |id: &PointId| {
                let doubted = self.model.doubted.contains(id);
                let counts = |state| state == PointState::Good || doubted && state == PointState::Bad;
                points.iter().any(|point| point.id == *id && counts(point.state))
            };
            let missing: Vec<&PointId> = self
                .model
                .points
                .keys()
                .filter(|id| !self.may_be_gone(id))
                .filter(|id| !good(id) || !records.iter().any(|record| record == id.as_str()))
                .collect();
            if missing.is_empty() {
                return;
            }
            if begun.elapsed() > SOON {
                let known: Vec<String> = points.iter().map(|point| format!("{} {:?}", point.id, point.state)).collect();
                self.fail(&format!("gone: {missing:?}; known: {known:?}")).await;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn step(&mut self) {
        match self.draw.below(18) {
            0..=2 => self.take("memory").await,
            3..=5 => self.take("disk").await,
            6..=9 => self.revert_to_one().await,
            10..=11 => self.delete().await,
            12..=13 => self.move_away().await,
            14 => self.tighten().await,
            15..=16 => self.take_while_off().await,
            _ => self.crash().await,
        }
        self.check().await;
    }

    /// Retention keeps the newest point only, of those that the schedule took.
    async fn tighten(&mut self) {
        self.say("only one point is kept");
        self.model.tight = true;
        self.controller.set_kind(&self.guest, |kept| kept.last = 1).await;
    }

    /// True if retention may have deleted it.
    fn may_be_gone(&self, name: &PointId) -> bool {
        self.model.tight && name.as_str().starts_with("ms-")
    }

    async fn take(&mut self, kind: &'static str) {
        self.controller.set_kind(&self.guest, |taken| taken.kind = kind).await;
        self.new_age().await;
        self.names += 1;
        let name = PointId::new(format!("p{}-{kind}", self.names));
        let not_below = self.model.counter;
        let command = Command::TakePoint { workload: self.guest.as_str().into(), name: Some(name.clone()) };
        let order = format!("take recovery point {name} of {}", self.guest);
        let promise = Promise { age: self.model.age, not_below, memory: kind == "memory" };
        let answer = self.controller.ask(What::Do(command, order)).await;
        self.say(format!("take {name}: {answer:?}"));
        match answer {
            Some(Answer::Outcome(text)) if text.ends_with(": done") => {
                self.model.points.insert(name, promise);
            }
            // It was taken, or it was not.
            None => {
                if self.settled(&name).await {
                    self.model.points.insert(name, promise);
                }
            }
            _ => self.fail("no point was taken").await,
        }
    }

    /// A person stops it, takes a point of it, and starts it again.
    async fn take_while_off(&mut self) {
        self.new_age().await;
        let guest = self.guest.clone();
        let stop = || Command::StopWorkload { workload: guest.as_str().into(), how: StopHow::Force, within: None };
        self.ask_until("stop", stop, |hosts| hosts.is_empty()).await;
        self.names += 1;
        let name = PointId::new(format!("p{}-off", self.names));
        let promise = Promise { age: self.model.age, not_below: self.model.counter, memory: true };
        let command = Command::TakePoint { workload: guest.as_str().into(), name: Some(name.clone()) };
        let answer = self.controller.ask(What::Do(command, format!("take recovery point {name} of {guest}"))).await;
        self.say(format!("take {name}: {answer:?}"));
        let start = || Command::StartWorkload { workload: guest.as_str().into(), host: None, leave_state: false };
        self.ask_until("start", start, |hosts| hosts.len() == 1).await;
        let taken = match answer {
            Some(Answer::Outcome(text)) if text.ends_with(": done") => true,
            None => self.settled(&name).await,
            _ => self.fail("no point of the stopped guest was taken").await,
        };
        if taken {
            self.model.points.insert(name, promise);
        }
    }

    /// Gives a command, again if the controller died over it, until the guest is where it should be.
    async fn ask_until(&mut self, verb: &str, command: impl Fn() -> Command, wanted: impl Fn(&[String]) -> bool) {
        let begun = Instant::now();
        while !wanted(&self.lab().where_runs(&self.guest).unwrap()) {
            let answer = self.controller.ask(What::Do(command(), format!("{verb} {} on ", self.guest))).await;
            self.say(format!("{verb}: {answer:?}"));
            if begun.elapsed() > PATIENCE * 2 {
                self.fail(&format!("{verb}: nothing comes of it")).await;
            }
        }
    }

    /// Whether a point is there, once the new controller knows.
    async fn settled(&self, name: &PointId) -> bool {
        let (begun, mut same, mut last) = (Instant::now(), Instant::now(), None);
        loop {
            let points = self.controller.points(&self.guest).await;
            let state = points.iter().find(|point| point.id == *name).map(|point| point.state);
            if state != last {
                (same, last) = (Instant::now(), state);
            }
            let listed = self.records().await.iter().any(|record| record == name.as_str());
            let certain = match state {
                Some(PointState::Good) => listed,
                None => !listed,
                _ => false,
            };
            if certain && same.elapsed() > Duration::from_secs(5) {
                return listed;
            }
            if begun.elapsed() > PATIENCE {
                self.fail(&format!("{name} is {state:?}, listed by libvirt: {listed}")).await;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn revert_to_one(&mut self) {
        if let Some(name) = self.draw.one_of(self.model.points.keys().cloned()) {
            self.new_age().await;
            self.revert(name).await;
        }
    }

    async fn revert(&mut self, name: PointId) {
        let promise = self.model.points[&name];
        self.model.reverted_to = Some(name.clone());
        let command = Command::Revert { workload: self.guest.as_str().into(), point: Some(name.clone()) };
        let order = format!("revert {} on ", self.guest);
        let answer = self.controller.ask(What::Do(command, order)).await;
        self.say(format!("revert {name}: {answer:?}"));
        match answer {
            Some(Answer::Outcome(text)) if text.ends_with(": done") => {
                let (age, counter) = self.witness().await;
                if age != promise.age || counter < promise.not_below {
                    self.fail(&format!("{name} promised {promise:?}, and gave {counter}")).await;
                }
                (self.model.age, self.model.counter) = (age, promise.not_below);
            }
            Some(Answer::Outcome(text)) if promise.memory && refuses_to_ruin(&text) => {}
            Some(Answer::Refused(_)) if self.may_be_gone(&name) => drop(self.model.points.remove(&name)),
            // It was brought back, or it was not.
            None => {
                let (age, counter) = self.witness().await;
                if age == promise.age && counter >= promise.not_below {
                    (self.model.age, self.model.counter) = (age, promise.not_below);
                }
            }
            _ => self.fail("the revert failed").await,
        }
    }

    async fn delete(&mut self) {
        let Some(name) = self.draw.one_of(self.model.points.keys().cloned()) else { return };
        let command = Command::DeletePoint { workload: self.guest.as_str().into(), point: name.clone() };
        let order = format!("delete recovery point {name} of {}", self.guest);
        let answer = self.controller.ask(What::Do(command, order)).await;
        self.say(format!("delete {name}: {answer:?}"));
        let there = match answer {
            Some(Answer::Refused(_)) if self.may_be_gone(&name) => false,
            Some(Answer::Refused(text)) => text.contains("the last good"),
            Some(Answer::Outcome(text)) if text.ends_with(": done") => false,
            None => self.settled(&name).await,
            _ => self.fail("it was not deleted").await,
        };
        if !there {
            self.model.points.remove(&name);
        }
    }

    async fn move_away(&mut self) {
        let Some(from) = self.lab().where_runs(&self.guest).unwrap().pop() else { return };
        let to = if from == "h1" { "h2" } else { "h1" };
        let command = Command::MoveWorkload { workload: self.guest.as_str().into(), to: Some(to.into()), cold: false };
        let answer = self.controller.ask(What::Do(command, format!("migrate {} from", self.guest))).await;
        self.say(format!("move to {to}: {answer:?}"));
    }

    async fn crash(&mut self) {
        let before = self.lab().wait_guest_answers(&self.guest, SOON).await.unwrap();
        self.say("its QEMU is killed");
        self.model.doubted.extend(self.model.reverted_to.take());
        self.lab().guest_kill(&self.guest).await.unwrap();
        if let Err(error) = self.lab().wait_guest_rebooted(&self.guest, &before.boot_id, PATIENCE).await {
            self.fail(&format!("{error}")).await;
        }
    }

    /// All of it: some steps, and then every point that is left is gone back to.
    async fn play(mut self) {
        self.first_point().await;
        for _ in 0..4 + self.draw.below(4) {
            self.step().await;
        }
        for name in self.model.points.keys().cloned().collect::<Vec<_>>() {
            self.new_age().await;
            self.revert(name).await;
            self.check().await;
        }
        println!("{}: {}", self.guest, self.said.join("\n    "));
    }

    /// The schedule takes one soon after a guest is first seen: it promises the guest's first age.
    async fn first_point(&mut self) {
        let begun = Instant::now();
        loop {
            let points = self.controller.points(&self.guest).await;
            if let Some(point) = points.iter().find(|point| point.state == PointState::Good) {
                let promise = Promise { age: 0, not_below: 0, memory: true };
                assert!(point.taken_at > Time(0));
                self.model.points.insert(point.id.clone(), promise);
                return;
            }
            if begun.elapsed() > PATIENCE {
                self.fail("the schedule takes no point").await;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }
}

fn refuses_to_ruin(text: &str) -> bool {
    text.contains("failed") && (text.contains("would write over") || text.contains("would ruin"))
}

/// One lab, each of whose guests plays a sequence.
async fn round(seed: u64, killed: bool) {
    println!("points: {SEED}={seed}{}", if killed { ", the controller is killed now and then" } else { "" });
    let lab = Arc::new(TestLab::up("points", |_| (), 2, GUESTS).await);
    let controller = Mortal::begin(Arc::clone(&lab)).await;
    let mut sequences = Vec::new();
    for (guest, number) in lab.guest_names().into_iter().zip(0_u64..) {
        let draw = Draw(seed.wrapping_mul(GUESTS.into()).wrapping_add(number));
        let model =
            Model { age: 0, counter: 0, points: BTreeMap::new(), tight: false, reverted_to: None, doubted: [].into() };
        let sequence = Sequence { controller: Arc::clone(&controller), guest, draw, model, said: Vec::new(), names: 0 };
        sequences.push(tokio::spawn(sequence.play()));
    }
    let mut draw = Draw(!seed);
    let deaths = async {
        loop {
            sleep(Duration::from_millis(8_000 + draw.next() % 12_000)).await;
            if killed {
                controller.kill().await;
            }
        }
    };
    let played = async {
        for sequence in sequences {
            sequence.await.unwrap_or_else(|failed| panic!("{SEED}={seed}: {failed}"));
        }
    };
    tokio::select! {
        () = deaths => unreachable!("it goes on for ever"),
        () = played => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_point_gives_back_what_it_promised() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = number(ROUNDS).unwrap_or(USUAL_ROUNDS);
    if let Some(seed) = number(SEED) {
        return round(seed, seed % KILLED_EVERY == 0).await;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = now.as_secs() / KILLED_EVERY * KILLED_EVERY;
    println!("points: rounds {first} to {}", first + rounds - 1);
    for seed in first..first + rounds {
        round(seed, seed % KILLED_EVERY == 0).await;
    }
}
