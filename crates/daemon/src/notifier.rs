//! Tells people of alarms: runs the program that the configuration names for each alarm that was raised or cleared, and
//! again for a red one that nobody acknowledges.
//!
//! ```text
//!   news, reminder due ──▶ look at the alarms that stand ──what is new──▶ queue ──▶ one program at a time
//! ```
//! It only asks: the pump does not know it and never waits for it. Each look is compared with the one before, so a look
//! that was missed is made good by the next. What stood before the controller's start was told by the process before; if
//! that died too early, the reminder still comes when it is due, since reminders are counted from when the alarm was raised.
//! An alarm that came and went between two looks is in the events only.

use crate::{
    Clock, News,
    handle::{Request, answer},
    shortage,
};
use mainstay_fence::process;
use mainstay_model::{Alarm, Code, Secret, Severity, Span, Subject, Time, config::NotifyConfig};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    process::Command,
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Notices that wait for the program. If it is so slow that they become more, the log says what was not told.
const QUEUE: usize = 256;
/// A program that can't be started for want of files, memory or processes is tried again for so long.
const PATIENCE: Duration = Duration::from_secs(600);
/// Of what a failed program said.
const QUOTED_CHARS: usize = 300;

/// The way to the notifier; it ends when this is dropped, and so does the program that runs.
pub(crate) struct Notifier {
    config: watch::Sender<NotifyConfig>,
    _tasks: JoinSet<()>,
}

impl Notifier {
    /// Begins to listen.
    pub fn start(
        config: NotifyConfig,
        requests: mpsc::Sender<Request>,
        news: &broadcast::Sender<News>,
        clock: Clock,
    ) -> Notifier {
        let (config, seen) = watch::channel(config);
        let (queue, notices) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(seen, requests, news.subscribe(), clock, queue));
        tasks.spawn(tell(notices));
        Notifier { config, _tasks: tasks }
    }

    /// Puts a new configuration in force. Notices that wait already are told as the old one says.
    pub fn adopt(&self, config: &NotifyConfig) {
        self.config.send_replace(config.clone());
    }

    /// Tells of an alarm of a controller that ends: nobody will look any more. Waits for the program, within its bound.
    pub async fn tell_at_once(&self, alarm: Alarm) {
        let config = self.config.borrow().clone();
        if !config.program.is_empty() && alarm.severity >= config.from {
            let patience = config.timeout.as_duration();
            Notice { config, state: State::Raised, alarm }.tell(patience).await;
        }
    }
}

/// What became of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Raised,
    Cleared,
    Reminder,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Raised => "raised",
            State::Cleared => "cleared",
            State::Reminder => "reminder",
        }
    }
}

/// The alarms as they stood at the last look.
struct Look {
    at: Time,
    standing: BTreeMap<(Subject, Code), Alarm>,
}

impl Look {
    /// Looks again: what became of which alarms since.
    fn again(&mut self, now: Time, alarms: &[Alarm], remind_every: Span) -> Vec<(State, Alarm)> {
        let standing: BTreeMap<_, _> =
            alarms.iter().map(|alarm| ((alarm.subject.clone(), alarm.code), alarm.clone())).collect();
        let mut told = vec![];
        for (key, alarm) in &standing {
            let is_new = match self.standing.get(key) {
                None => alarm.raised_at >= self.at,
                Some(before) => before.raised_at != alarm.raised_at || before.severity < alarm.severity,
            };
            if is_new {
                told.push((State::Raised, alarm.clone()));
            } else if next_reminder(alarm, self.at, remind_every).is_some_and(|due| due <= now) {
                told.push((State::Reminder, alarm.clone()));
            }
        }
        let gone = self.standing.iter().filter(|(key, _)| !standing.contains_key(*key));
        told.extend(gone.map(|(_, alarm)| (State::Cleared, alarm.clone())));
        (self.at, self.standing) = (now, standing);
        told
    }

    /// When somebody has to be reminded next.
    fn next_reminder(&self, every: Span) -> Option<Time> {
        self.standing.values().filter_map(|alarm| next_reminder(alarm, self.at, every)).min()
    }
}

/// The first reminder of an alarm after `at`, if it has any.
fn next_reminder(alarm: &Alarm, at: Time, every: Span) -> Option<Time> {
    let shouts = alarm.severity == Severity::Red && alarm.acknowledged.is_none() && every > Span::ZERO;
    shouts.then(|| alarm.raised_at + every.times(at.since(alarm.raised_at).0 / every.0 + 1))
}

/// One run of the program.
struct Notice {
    config: NotifyConfig,
    state: State,
    alarm: Alarm,
}

/// Looks whenever something happened, and puts what is to be told into the queue. Without a program it looks at nothing;
/// once there is one, it is told what was raised meanwhile.
async fn listen(
    mut config: watch::Receiver<NotifyConfig>,
    requests: mpsc::Sender<Request>,
    mut news: broadcast::Receiver<News>,
    clock: Clock,
    queue: mpsc::Sender<Notice>,
) {
    let mut look = Look { at: clock.started(), standing: BTreeMap::new() };
    loop {
        let now = config.borrow_and_update().clone();
        if now.program.is_empty() {
            match config.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        // Without an answer there will be another look.
        if let Ok(view) = answer(&requests, Request::View).await {
            for (state, alarm) in look.again(view.at, &view.alarms, now.remind_every) {
                if alarm.severity < now.from {
                    continue;
                }
                if let Err(error) = queue.try_send(Notice { config: now.clone(), state, alarm }) {
                    let Notice { alarm, .. } = error.into_inner();
                    tracing::error!(code = %alarm.code, subject = %alarm.subject, "nobody is told of this alarm: the program that should is too slow");
                }
            }
        }
        let reminder = look.next_reminder(now.remind_every).map(|due| clock.instant_of(due));
        tokio::select! {
            () = event(&mut news) => {}
            changed = config.changed() => if changed.is_err() { return },
            () = sleep_until(reminder.unwrap_or_else(Instant::now)), if reminder.is_some() => {}
        }
    }
}

/// Waits until something happened; many things at once are one.
async fn event(news: &mut broadcast::Receiver<News>) {
    use broadcast::error::RecvError;
    loop {
        match news.recv().await {
            Ok(News::Changed) => {}
            Ok(News::Event(_)) | Err(RecvError::Lagged(_)) => break,
            // The controller is ending, and this with it.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
    *news = news.resubscribe();
}

/// Runs the programs, one after the other.
async fn tell(mut notices: mpsc::Receiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        notice.tell(PATIENCE).await;
    }
}

impl Notice {
    async fn tell(&self, patience: Duration) {
        let Notice { alarm, state, .. } = self;
        if let Err(why) = self.run(patience).await {
            tracing::error!(code = %alarm.code, subject = %alarm.subject, state = state.word(), why, "nobody was told of this alarm");
        }
    }

    async fn run(&self, patience: Duration) -> Result<(), String> {
        let Notice { config, state, alarm } = self;
        let (program, arguments) = config.program.split_first().ok_or("no program is configured")?;
        let json = serde_json::to_string(alarm).map_err(|error| error.to_string())?;
        let input = Secret::new(json + "\n");
        let until = Instant::now() + patience;
        let ended = loop {
            let mut command = Command::new(program);
            command.args(arguments).envs([
                ("MAINSTAY_ALARM_CODE", alarm.code.to_string()),
                ("MAINSTAY_ALARM_SUBJECT", alarm.subject.to_string()),
                ("MAINSTAY_ALARM_SEVERITY", alarm.severity.to_string()),
                ("MAINSTAY_ALARM_STATE", state.word().to_owned()),
                ("MAINSTAY_ALARM_TEXT", alarm.text.clone()),
            ]);
            match process::run(command, input.clone(), config.timeout.as_duration()).await {
                Err(error) if shortage::may_pass(&error, until).await => {}
                ended => break ended.map_err(|error| format!("{program}: {error}"))?,
            }
        };
        match ended.status {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                let said = ended.stderr.lines().next_back().unwrap_or_default();
                Err(format!("{program}: {status}: {}", said.chars().take(QUOTED_CHARS).collect::<String>()))
            }
            None => Err(format!("{program} did not end within {} and was killed", config.timeout)),
        }
    }
}

#[cfg(test)]
mod tests;
