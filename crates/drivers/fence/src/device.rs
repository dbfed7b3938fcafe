//! A fence device: an agent with its options, and the verbs done with it. A verb succeeds by the fact, which is what the
//! device's `status` says afterwards, whatever the exit code of the order was.
//!
//! ```text
//! off: delay ──▶ status ──off──▶ Already
//!                  │ on, or no answer
//!                  ▼
//!              order off ──▶ status until off ──▶ Switched
//!                  ▲             │ still on: next attempt ──▶ Stayed
//!                  └─────────────┘ no answer             ──▶ Unverified
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mainstay_model::{
    Span,
    spec::fencing::{FIRST_LOOK, FenceWaits, POLL_PAUSE, RETRY_PAUSE},
};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::status::{self, Answer};
use crate::{Agent, Error, Metadata, Options, Problem};

/// A device that switches the power of one or more hosts.
#[derive(Debug, Clone)]
pub struct Device {
    /// What the operator calls it.
    pub name: String,
    /// The program that drives it.
    pub agent: Agent,
    /// How to reach it.
    pub options: Options,
    /// What a host is called at this device (outlet, VM, slot), if not by its own name. The option `plug` goes before.
    pub plugs: BTreeMap<String, String>,
    /// For one call of the agent.
    pub timeout: Duration,
    /// For the power state to follow an order.
    pub verify_within: Duration,
    /// How often an order that had no effect is given again.
    pub retries: u32,
    /// Before a device that said off is asked again, whose second answer counts; zero: it is not.
    pub settle: Duration,
    /// Before `off`, so that of two hosts that fence each other one is first.
    pub delay: Duration,
}

/// What a device says about a host's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// It runs, or may run.
    On,
    /// It cannot run.
    Off,
}

/// How a wanted power state came about. The device's `status` said so in both cases.
#[derive(Debug)]
pub enum Done {
    /// It was so before any order.
    Already,
    /// It is so after the order; which may have failed by its exit code.
    Switched {
        /// Why the order seemed to fail.
        despite: Option<Error>,
    },
}

/// Why a wanted power state is not proved.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// Nothing was ordered: this machine lacked a file, memory or a process for the agent.
    #[error("it was not asked")]
    Unasked(#[source] Error),
    /// The device says that the opposite is the case.
    #[error("`{order}` {}, but `status` still says {}", outcome(order_failed), order.opposite())]
    Stayed {
        /// What was ordered.
        order: PowerState,
        /// Why, if the order itself failed; the device lied if it did not.
        order_failed: Option<Error>,
    },
    /// The device does not say what is the case: never to be read as done.
    #[error("unverified: `{order}` {}, and `status` gives no answer", outcome(order_failed))]
    Unverified {
        /// What was ordered.
        order: PowerState,
        /// Why, if the order itself failed.
        order_failed: Option<Error>,
        /// Why there is no status.
        #[source]
        status: Error,
    },
}

impl NotDone {
    /// True if this machine lacked something for a call on which the result depends. It says nothing of the device.
    pub fn is_shortage(&self) -> bool {
        let is_shortage = |error: &Option<Error>| error.as_ref().is_some_and(Error::is_shortage);
        match self {
            Self::Unasked(_) => true,
            Self::Stayed { order_failed, .. } => is_shortage(order_failed),
            Self::Unverified { order_failed, status, .. } => status.is_shortage() || is_shortage(order_failed),
        }
    }
}

/// A target that a device can switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name at the device.
    pub plug: String,
    /// Its description there, may be empty.
    pub alias: String,
}

impl Target {
    /// Reads what an agent prints when asked for its targets; lines that say that there is no list are left out.
    pub fn list(output: &str, separator: &str) -> Vec<Target> {
        // "N/A" and "NOTICE: …" are how agents say that they have no list.
        let lines = output.lines().map(str::trim);
        let targets = lines.filter(|line| !line.is_empty() && *line != "N/A" && !line.starts_with("NOTICE:"));
        let target = |line: &str| {
            let (plug, alias) = line.split_once(separator).unwrap_or((line, ""));
            Target { plug: plug.to_owned(), alias: alias.to_owned() }
        };
        targets.map(target).collect()
    }
}

impl Device {
    /// All that is wrong with its options.
    ///
    /// # Errors
    /// If the agent's metadata cannot be had.
    pub async fn check(&self) -> Result<Vec<Problem>, Error> {
        let any_host = self.plugs.keys().next().map_or("host", String::as_str);
        let options = self.options_for(any_host).await;
        self.agent.check(&options, self.timeout).await
    }

    /// The power state of `host`.
    ///
    /// # Errors
    /// If the device cannot tell; the host is then to be taken as running.
    pub async fn status(&self, host: &str) -> Result<PowerState, Error> {
        let options = self.options_for(host).await;
        let seen = self.look(&options, self.timeout).await?;
        match self.settles(&options, seen).await {
            Ok(()) => Ok(seen),
            Err(second) => second,
        }
    }

    /// Asks for the power state of `host` before anything depends on it, and whether the agent answers in words, as it must
    /// when the host is off.
    ///
    /// # Errors
    /// If the device cannot tell.
    pub async fn probe(&self, host: &str) -> Result<Answer, Error> {
        self.answer(&self.options_for(host).await, self.timeout).await
    }

    /// Cuts the power of `host` and makes certain of it. A host already off is fenced.
    ///
    /// # Errors
    /// [`NotDone`] if the device did not say in the end that the host is off. The host is then not fenced.
    pub async fn off(&self, host: &str) -> Result<Done, NotDone> {
        sleep(self.delay).await;
        self.switch(host, PowerState::Off).await
    }

    /// Powers `host` on and makes certain of it.
    ///
    /// # Errors
    /// [`NotDone`] if the device did not say in the end that the host is on.
    pub async fn on(&self, host: &str) -> Result<Done, NotDone> {
        self.switch(host, PowerState::On).await
    }

    /// Whether the device can be reached and accepts the options.
    ///
    /// # Errors
    /// Why not.
    pub async fn monitor(&self) -> Result<(), Error> {
        self.agent.succeed("monitor", &self.options, self.timeout).await.map(drop)
    }

    /// The targets the device can switch; empty if it has but one, or cannot tell.
    ///
    /// # Errors
    /// If the agent fails to list them.
    pub async fn list(&self) -> Result<Vec<Target>, Error> {
        let output = self.agent.succeed("list", &self.options, self.timeout).await?;
        let separator = self.options.get("separator").filter(|text| !text.is_empty()).unwrap_or(",");
        Ok(Target::list(&output.stdout, separator))
    }

    /// The longest that [`Device::off`] takes: what a deadline around it must leave. The engine reckons with the same sum.
    pub fn longest(&self) -> Duration {
        self.waits().off().as_duration()
    }

    fn waits(&self) -> FenceWaits {
        let span = |duration: Duration| Span::millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        FenceWaits {
            timeout: span(self.timeout),
            verify_within: span(self.verify_within),
            retries: self.retries,
            settle: span(self.settle),
            delay: span(self.delay),
        }
    }

    async fn switch(&self, host: &str, want: PowerState) -> Result<Done, NotDone> {
        // Asked once: an agent that hangs even here must not hold up each attempt by it.
        let metadata = match self.agent.metadata().await {
            Err(error) if error.is_shortage() => return Err(NotDone::Unasked(error)),
            metadata => metadata.ok(),
        };
        let options = self.options_with(metadata, host);
        match self.look(&options, self.timeout / FIRST_LOOK).await {
            Err(error) if error.is_shortage() => return Err(NotDone::Unasked(error)),
            Ok(state) if state == want && self.settles(&options, want).await.is_ok() => return Ok(Done::Already),
            _ => {}
        }
        let mut attempt = 0;
        loop {
            let order_failed = self.agent.succeed(want.action(), &options, self.timeout).await.err();
            let Err(seen) = self.await_state(&options, want, order_failed.as_ref(), has_status(metadata)).await else {
                return Ok(Done::Switched { despite: order_failed });
            };
            let not_done = match seen {
                Ok(_) => NotDone::Stayed { order: want, order_failed },
                Err(status) => NotDone::Unverified { order: want, order_failed, status },
            };
            attempt += 1;
            if attempt > self.retries || not_done.is_shortage() {
                return Err(not_done);
            }
            warn!(device = self.name, host, attempt, reason = %not_done, "fence order had no effect, giving it again");
            sleep(RETRY_PAUSE.as_duration()).await;
        }
    }

    /// Looks until the power is as wanted; else the last that was seen. An order that was refused is not waited for.
    async fn await_state(
        &self,
        options: &Options,
        want: PowerState,
        order_failed: Option<&Error>,
        has_status: bool,
    ) -> Result<(), Result<PowerState, Error>> {
        let may_follow = matches!(order_failed, None | Some(Error::Deadline { .. })) && has_status;
        let until = Instant::now() + if may_follow { self.verify_within } else { Duration::ZERO };
        loop {
            let seen = self.look(options, self.timeout).await;
            if matches!(&seen, Ok(state) if *state == want) {
                return self.settles(options, want).await;
            }
            if Instant::now() >= until {
                return Err(seen);
            }
            sleep(POLL_PAUSE.as_duration()).await;
        }
    }

    /// Off is looked at a second time, if the device is known to say so too early; else what was seen then.
    async fn settles(&self, options: &Options, seen: PowerState) -> Result<(), Result<PowerState, Error>> {
        if seen == PowerState::On || self.settle.is_zero() {
            return Ok(());
        }
        sleep(self.settle).await;
        match self.look(options, self.timeout).await {
            Ok(PowerState::Off) => Ok(()),
            second => Err(second),
        }
    }

    async fn look(&self, options: &Options, timeout: Duration) -> Result<PowerState, Error> {
        Ok(self.answer(options, timeout).await?.state)
    }

    async fn answer(&self, options: &Options, timeout: Duration) -> Result<Answer, Error> {
        status::read(&self.agent, &self.agent.run("status", options, timeout).await?)
    }

    /// With the plug, if the agent serves more than one target.
    async fn options_for(&self, host: &str) -> Options {
        self.options_with(self.agent.metadata().await.ok(), host)
    }

    fn options_with(&self, metadata: Option<&Metadata>, host: &str) -> Options {
        let parameter = metadata.map_or(Some("plug"), Metadata::plug_parameter);
        let Some(parameter) = parameter else { return self.options.clone() };
        if ["plug", "port"].iter().any(|name| self.options.get(name).is_some()) {
            return self.options.clone();
        }
        self.options.clone().with(parameter, self.plugs.get(host).map_or(host, String::as_str))
    }
}

impl PowerState {
    /// The action of the FenceAgentAPI that brings it about.
    fn action(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::On => Self::Off,
            Self::Off => Self::On,
        }
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.action())
    }
}

/// An agent that cannot describe itself just now may well have it.
fn has_status(metadata: Option<&Metadata>) -> bool {
    metadata.is_none_or(|metadata| metadata.actions.contains("status"))
}

fn outcome(order_failed: &Option<Error>) -> String {
    order_failed.as_ref().map_or("was acknowledged".to_owned(), |reason| format!("failed ({reason})"))
}
