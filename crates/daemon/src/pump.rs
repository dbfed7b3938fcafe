//! The one task that owns the engine: takes in what there is, lets it take a step, makes the step durable, and only then
//! lets its orders leave and its replies go.
//!
//! ```text
//!   inputs, commands ──▶ step ──▶ persist ──▶ dispatch orders, send replies ──▶ sleep until wake_at or input
//!                                   │ fails: back off, answer questions, take in nothing, try again
//!                                   │ refused, since another controller took over: end
//! ```
//! It never waits for a host: executors and sensors are tasks of their own and meet it only at bounded channels.

use crate::{
    Clock, DieAt, Moment, News,
    handle::{Health, Request},
    memory::Journal,
    rehearse::{maybe_die, maybe_die_of},
    trouble::Troubles,
};
use mainstay_engine::{Input, Step, control::Controller, view::ClusterView};
use mainstay_model::{
    Actor, Alarm, Code, Command, CommandId, Event, FailureKind, Order, Outcome, Reply, Severity, Span, Subject, Time,
    plain,
};
use rustix::time::{ClockId, clock_gettime};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::Instant,
};

/// Inputs taken into one step. The channel holds no more. A thousand hosts tell some 9,000 facts a second: while a step takes
/// seconds to become durable, none of their heartbeats should be held up outside, where nobody hears them. If they are all the
/// same, the engine is told ([`Input::Behind`]), or sound hosts would count as silent and be fenced (`script/bench --daemon` on a
/// machine six times overloaded: 57 were).
pub(crate) const INPUTS: usize = 32_768;
/// Even when the engine asks for nothing, the loop shows that it turns.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Steps begin no sooner one after the other: what a thousand hosts tell within it is taken in by one step and made durable by
/// one commit. Whatever comes alone is taken in at once.
const PACE: Duration = Duration::from_millis(5);
/// Between attempts to make a step durable: first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// What was decided longer ago than this before it could be made durable is not carried out: hosts and guests may have come
/// back meanwhile. The engine decides anew.
const FRESH: Span = Span::secs(5);
/// The process stood still (stopped, swapped, its machine suspended) if the loop wakes so much later than it wanted.
const STALL: Duration = Duration::from_secs(1);
/// After that, what hosts said meanwhile and say now is waited for, so that nobody counts as silent for our own sleep.
const AFTER_STALL: Duration = Duration::from_millis(1_500);

/// Making a view takes time from deciding: after each, no other is made for so many times as long. Who asks meanwhile waits, and
/// all who wait get the same.
const VIEW_SHARE: u32 = 10;
/// No reader waits longer than this for the next view.
const VIEW_WAITS: Duration = Duration::from_secs(1);

/// Who wants to see the cluster, and when the next picture of it may be made.
#[derive(Default)]
pub(crate) struct Viewers {
    waiting: Vec<oneshot::Sender<Arc<ClusterView>>>,
    not_before: Option<Instant>,
}

impl Viewers {
    /// When those who wait are to be answered.
    fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        (!self.waiting.is_empty()).then(|| self.not_before.map_or(now, |at| at.max(now)))
    }

    /// Answers all who wait by one view, if one may be made now.
    fn answer(&mut self, make: impl FnOnce() -> ClusterView) {
        let now = Instant::now();
        self.waiting.retain(|waiting| !waiting.is_closed());
        if self.waiting.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        let began = thread_time();
        let view = Arc::new(make());
        let took = thread_time().saturating_sub(began);
        self.not_before = Some(now + (took * VIEW_SHARE).min(VIEW_WAITS));
        // A reader may have given up.
        self.waiting.drain(..).for_each(|waiting| drop(waiting.send(Arc::clone(&view))));
    }
}

/// Waits until those who want a view are to be answered; for ever, if there is none.
async fn view_due(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Where orders go.
pub(crate) trait Dispatch {
    /// Begins to carry out an order, without waiting for anything.
    fn dispatch(&mut self, order: Order);
}

/// The engine and what it is connected to.
pub(crate) struct Pump<J, D> {
    pub controller: Controller,
    pub clock: Clock,
    pub journal: J,
    pub executors: D,
    pub inputs: mpsc::Receiver<Input>,
    pub requests: mpsc::Receiver<Request>,
    pub news: broadcast::Sender<News>,
    pub health: watch::Sender<Health>,
    pub troubles: Troubles,
    pub viewers: Viewers,
    pub die_at: Option<DieAt>,
    pub stop: watch::Receiver<bool>,
}

/// Commands on their way through the engine.
#[derive(Default)]
struct Commands {
    last: u64,
    waiting: BTreeMap<CommandId, oneshot::Sender<Reply>>,
    /// Came while nothing could be made durable.
    deferred: Vec<Input>,
}

/// The service asked to stop, or nothing can be written any more: another controller took over, or the database is gone.
struct Stopped;

impl<J: Journal, D: Dispatch> Pump<J, D> {
    /// Carries out the engine's first step, then turns until told to stop. A step that is not durable then is not acted upon.
    pub async fn run(mut self, first: Step) {
        let mut commands = Commands::default();
        let now = self.clock.now();
        let mut turn = self.carry_out(now, first, &mut commands).await;
        self.health.send_modify(|health| health.ready = true);
        let mut next = Instant::now();
        while let Ok(wake_at) = turn {
            turn = match self.wait(wake_at, next, &mut commands).await {
                Ok(inputs) => {
                    next = Instant::now() + PACE;
                    let (now, began, taken) = (self.clock.now(), thread_time(), inputs.len());
                    let step = self.controller.step(now, inputs);
                    if !step.changes.is_empty() {
                        let cpu_us = (thread_time() - began).as_micros() as u64;
                        tracing::debug!(inputs = taken, orders = step.orders.len(), cpu_us, "step");
                    }
                    self.carry_out(now, step, &mut commands).await
                }
                Err(stopped) => Err(stopped),
            };
        }
    }

    /// Sleeps until the next step may begin and there is something to do, answering questions meanwhile, and returns all there is.
    async fn wait(
        &mut self,
        wake_at: Option<Time>,
        next: Instant,
        commands: &mut Commands,
    ) -> Result<Vec<Input>, Stopped> {
        let now = Instant::now();
        let until =
            wake_at.map_or(now + LONGEST_SLEEP, |time| self.clock.instant_of(time)).max(now).min(now + LONGEST_SLEEP);
        self.rest(next.saturating_duration_since(now), commands).await?;
        let mut inputs = std::mem::take(&mut commands.deferred);
        while inputs.is_empty() {
            tokio::select! {
                () = stopped(&mut self.stop) => return Err(Stopped),
                Some(request) = self.requests.recv() => inputs.extend(self.answer(request, commands)),
                () = view_due(self.viewers.due()) => self.show(),
                _ = self.inputs.recv_many(&mut inputs, INPUTS) => {}
                () = tokio::time::sleep_until(until) => inputs.push(Input::Tick),
            }
        }
        if until.elapsed() > STALL {
            let stall = until.elapsed();
            tracing::warn!(?stall, "the controller stood still; listening to the hosts before judging any");
            self.rest(AFTER_STALL, commands).await?;
            inputs.append(&mut commands.deferred);
        }
        while inputs.len() < INPUTS {
            match self.inputs.try_recv() {
                Ok(input) => inputs.push(input),
                Err(_) => break,
            }
        }
        if inputs.len() >= INPUTS {
            tracing::warn!("more is told than can be taken in: no silence is judged now");
            inputs.push(Input::Behind);
        }
        Ok(inputs)
    }

    /// Makes a step durable, then lets it take effect. Returns when the engine wants to be called again.
    async fn carry_out(&mut self, now: Time, step: Step, commands: &mut Commands) -> Result<Option<Time>, Stopped> {
        let changed = !step.changes.is_empty() || !step.events.is_empty();
        maybe_die_of(self.die_at.as_ref(), Moment::BeforePersist, &step.orders);
        if changed {
            let mut back_off = BACK_OFF.0;
            while let Err(error) = self.journal.persist(now, &step).await {
                if error.ends_the_term() {
                    return Err(Stopped);
                }
                self.forgetful(with_causes(&error));
                self.rest(back_off, commands).await?;
                back_off = (back_off * 2).min(BACK_OFF.1);
            }
            self.remembers();
        }
        let late = self.clock.now().since(now) > FRESH;
        maybe_die_of(self.die_at.as_ref(), Moment::AfterPersist, &step.orders);
        for event in step.events {
            log(&event);
            // Nobody watching is no error.
            let _ = self.news.send(News::Event(Arc::new(event)));
        }
        for order in step.orders {
            if late {
                tracing::warn!(id = %order.id, action = %order.action, "too old by now: not carried out");
                let why = "not begun: by the time it was on record, what it was decided on was old";
                let outcome = Outcome::failed(FailureKind::Unreachable, why);
                commands.deferred.push(Input::Outcome { id: order.id, outcome });
                continue;
            }
            tracing::debug!(id = %order.id, action = %order.action, "order leaves");
            let action = order.action.clone();
            self.executors.dispatch(order);
            maybe_die(self.die_at.as_ref(), Moment::AfterLeaving, &action);
        }
        for (id, reply) in step.replies {
            if let Some(sender) = commands.waiting.remove(&id) {
                // Who asked may have given up.
                let _ = sender.send(reply);
            }
        }
        if changed {
            let _ = self.news.send(News::Changed);
        }
        self.health.send_modify(|health| (health.last_step, health.storage_trouble) = (now, None));
        Ok(step.wake_at)
    }

    /// Nothing can be made durable. What says so is not on record either.
    fn forgetful(&self, why: String) {
        let alarm = Alarm {
            code: Code::NOTHING_REMEMBERED,
            subject: Subject::Cluster,
            severity: Severity::Red,
            text: format!("the controller can remember nothing, so it starts nothing: {why}"),
            advice: "mend that: the controller goes on by itself then, and has forgotten nothing".to_owned(),
            raised_at: self.clock.now(),
            acknowledged: None,
        };
        tracing::warn!(error = why, "not on record; tried again");
        self.health.send_modify(|health| health.storage_trouble = Some(why));
        self.tell(self.troubles.raise(alarm));
    }

    fn remembers(&self) {
        self.tell(self.troubles.clear(&Subject::Cluster, Code::NOTHING_REMEMBERED, self.clock.now()));
    }

    fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            log(&event);
            let _ = self.news.send(News::Event(Arc::new(event)));
        }
    }

    /// Waits without taking anything in, answering questions.
    async fn rest(&mut self, time: Duration, commands: &mut Commands) -> Result<(), Stopped> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            tokio::select! {
                () = stopped(&mut self.stop) => return Err(Stopped),
                () = tokio::time::sleep_until(until) => {}
                () = view_due(self.viewers.due()) => self.show(),
                Some(request) = self.requests.recv() => {
                    let input = self.answer(request, commands);
                    commands.deferred.extend(input);
                }
            }
        }
        Ok(())
    }

    /// Answers those who wait for a view, if it is time.
    fn show(&mut self) {
        let Pump { viewers, controller, clock, troubles, .. } = self;
        viewers.answer(|| controller.view_with(clock.now(), troubles.all()));
    }

    /// Answers a question; a command becomes an input.
    fn answer(&mut self, request: Request, commands: &mut Commands) -> Option<Input> {
        // Whoever asked may have given up, so answers that reach nobody are no error.
        match request {
            Request::View(answer) => {
                self.viewers.waiting.push(answer);
                self.show();
            }
            Request::Explain(subject, answer) => {
                drop(answer.send(self.controller.explain(&subject, self.clock.now())));
            }
            Request::Points(workload, answer) => drop(answer.send(self.controller.points(&workload))),
            Request::Ready(subject, answer) => drop(answer.send(self.controller.ready(subject.as_deref()))),
            Request::Incidents(answer) => drop(answer.send(self.controller.incidents())),
            Request::Orders(subject, since, answer) => {
                drop(answer.send(self.controller.orders(subject.as_ref(), since)));
            }
            Request::Copy(answer) => drop(answer.send(Box::new(self.controller.clone()))),
            Request::Command(command, by, answer) => return Some(commands.enter(command, by, answer)),
        }
        None
    }
}

impl Commands {
    fn enter(&mut self, command: Command, by: Option<Actor>, answer: oneshot::Sender<Reply>) -> Input {
        self.waiting.retain(|_, sender| !sender.is_closed());
        self.last += 1;
        let id = CommandId(self.last);
        self.waiting.insert(id, answer);
        Input::Command { id, command, by }
    }
}

/// Waits until told to stop, or until nobody is left who could tell.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// CPU time of this thread: how long a step took, whoever else is busy on this machine.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One line per event; what a person should look at is an error.
pub(crate) fn log(event: &Event) {
    let (subject, kind) = (&event.subject, event.kind);
    match event.severity {
        Severity::Green => tracing::info!(%subject, ?kind, "{}", event.text),
        Severity::Yellow => tracing::warn!(%subject, ?kind, "{}", event.text),
        Severity::Red => tracing::error!(%subject, ?kind, "{}", event.text),
    }
}

/// An error and all that is behind it, in one line. Much of that was said by a hypervisor, an agent or another machine, so
/// nothing in it may steer a terminal.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    plain(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")).into_owned()
}

#[cfg(test)]
mod tests;
