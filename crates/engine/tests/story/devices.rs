//! Fence devices that are asked before they are needed, and people who test them.

use crate::harness::Story;
use mainstay_engine::Input;
use mainstay_model::{
    Action, ActionId, Actor, Code, Command, CommandId, Detail, EventKind, Fact, Outcome, PowerState, Reply, Severity,
    Span, StopHow,
};

fn probed(story: &mut Story, state: Option<PowerState>) {
    let error = if state.is_none() { "Connection timed out" } else { "" };
    story.fact(Fact::FenceProbe { host: "h1".into(), device: "bmc".into(), state, error: error.to_owned() });
}

trait NextFence {
    fn next_fence(&mut self) -> ActionId;
}

impl NextFence for Story {
    /// The next attempt to fence h1.
    fn next_fence(&mut self) -> ActionId {
        for _ in 0..120 {
            if let Some(at) = self.orders.iter().position(|(_, action)| matches!(action, Action::Fence { .. })) {
                return self.orders.remove(at).0;
            }
            self.pass(Span::secs(1));
        }
        panic!("it is not tried again")
    }
}

fn alarm(story: &Story, code: Code) -> Option<(Severity, String)> {
    let view = story.controller.view(story.now);
    view.alarms.into_iter().find(|alarm| alarm.code == code).map(|alarm| (alarm.severity, alarm.text))
}

#[test]
fn a_device_that_fails_twice_is_an_alarm_until_it_answers() {
    let mut story = Story::new();
    probed(&mut story, None);
    assert_eq!(alarm(&story, Code::FENCE_UNREACHABLE), None, "one question may be lost");
    probed(&mut story, None);
    let (severity, text) = alarm(&story, Code::FENCE_UNREACHABLE).expect("raised");
    assert_eq!(severity, Severity::Red, "h1 has no other level");
    assert!(text.contains("bmc: Connection timed out"), "{text}");
    probed(&mut story, Some(PowerState::On));
    assert_eq!(alarm(&story, Code::FENCE_UNREACHABLE), None);
    let view = story.controller.view(story.now);
    let device = &view.hosts[0].fence[0];
    assert_eq!((device.device.as_str(), device.level, device.answered), ("bmc", 1, Some(story.now)));
}

/// A device of another machine said `off` of a host that ran; later, when the host was cut off, that would have been the proof.
#[test]
fn what_a_device_says_against_a_host_that_answers_is_no_proof() {
    let mut story = Story::new();
    probed(&mut story, Some(PowerState::Off));
    assert_eq!(alarm(&story, Code::FENCE_CONTRADICTED), None, "the host may have lost its power just now");
    story.pass(Span::secs(5));
    assert!(alarm(&story, Code::FENCE_CONTRADICTED).is_some());
    let fence = story.host_lost();
    let detail = Detail::Fenced { already_off: true, by: "bmc: already off".to_owned() };
    story.ends(fence, Outcome::Done { detail });
    story.pass(Span::secs(2));
    assert!(!story.ordered().iter().any(|action| matches!(action, Action::Start { .. })), "it may still run on h1");
    let (_, text) = alarm(&story, Code::FENCE_FAILED).expect("no level is left");
    assert!(text.contains("level 1: outcome unknown: its device said `off` while the host answered"), "{text}");
    probed(&mut story, Some(PowerState::Off));
    let fence = story.next_fence();
    story.fenced(fence);
    story.pass(Span::secs(2));
    assert!(!story.ordered().iter().any(|action| matches!(action, Action::Start { .. })), "it says the same as before");
    story.reload();
    let fence = story.next_fence();
    story.fenced(fence);
    story.pass(Span::secs(2));
    let started = story.ordered().iter().any(|action| matches!(action, Action::Start { .. }));
    assert!(started, "the configuration was corrected: the device may be another one now");
}

#[test]
fn a_host_that_lost_its_power_is_not_contradicted_by_its_own_return() {
    let mut story = Story::new();
    story.host_proved_off();
    probed(&mut story, Some(PowerState::Off));
    story.silent.clear();
    story.pass(Span::secs(30));
    assert_eq!(alarm(&story, Code::FENCE_CONTRADICTED), None);
}

#[test]
fn why_each_fence_level_failed_is_in_the_alarm_and_in_the_explanation() {
    let mut story = Story::new();
    let fence = story.host_lost();
    story.fails(fence);
    let (_, text) = alarm(&story, Code::FENCE_FAILED).expect("no level is left");
    assert!(text.contains("(level 1: failed: "), "{text}");
    let explained = story.controller.explain("h1", story.now).expect("it is there");
    assert!(explained.contains("fencing failed: level 1: failed: "), "{explained}");
}

#[test]
fn a_live_test_needs_an_empty_host_and_gives_the_power_back() {
    let mut story = Story::new();
    let Reply::Refused { text } = story.command(Command::CycleHost { host: "h1".into(), busy: false }) else {
        panic!("web-1 runs there");
    };
    assert!(text.contains("mainstay host maintenance h1 on"), "{text}");
    assert_eq!(story.ordered(), []);
    assert!(matches!(story.command(Command::CycleHost { host: "h1".into(), busy: true }), Reply::Accepted { .. }));
    story.silent.push("h1".into());
    let (fence, _) = story.orders.drain(..).find(|(_, action)| matches!(action, Action::Fence { .. })).expect("fenced");
    story.fenced(fence);
    story.pass(Span::secs(10));
    assert!(story.ordered().iter().any(|action| matches!(action, Action::PowerOn { .. })), "{:?}", story.ordered());
}

#[test]
fn who_asked_is_on_record() {
    let mut story = Story::new();
    let command = Command::StopWorkload { workload: "web-1".into(), how: StopHow::Graceful, within: None };
    let by = Some(Actor::new("ada"));
    let step = story.controller.step(story.now, vec![Input::Command { id: CommandId(1), command, by: by.clone() }]);
    let asked: Vec<_> = step.events.iter().filter(|event| event.kind == EventKind::Command).collect();
    assert!(!asked.is_empty() && asked.iter().all(|event| event.by == by), "{asked:?}");
    let step = story.controller.step(story.now + Span::secs(1), vec![Input::Tick]);
    assert!(step.events.iter().all(|event| event.by.is_none()), "what follows is the engine's own");
}
