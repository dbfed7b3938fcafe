//! Recovery points: lost ones, sick ones, ones that can't be deleted.

use crate::harness::{Story, domain};
use mainstay_engine::view::{OrderKind, OrderResult};
use mainstay_model::{
    Action, ActionId, Code, Command, Detail, DomainSeen, DomainState, Fact, Failure, FailureKind, HostState, OffReason,
    Outcome, PointKind, PointState, Proof, Reply, Span, Subject, Time,
    spec::{Keep, Rung},
};

fn seen(story: &mut Story, points: &[&str]) {
    let points = points.iter().map(|name| (*name).into()).collect();
    story.fact(Fact::PointsSeen { workload: "web-1".into(), asked_at: story.now, points, set_aside: [].into() });
}

#[test]
fn a_lost_point_is_an_alarm_until_the_next_good_one() {
    let mut story = Story::new();
    story.protected_once();
    story.pass(Span::secs(1));
    for _ in 0..15 {
        seen(&mut story, &[]);
        story.pass(Span::secs(1));
    }
    assert_eq!(story.alarms(), [Code::POINT_LOST]);
    story.restart();
    story.pass(Span::secs(8));
    assert_eq!(story.alarms(), [Code::POINT_LOST], "it stands over a restart of the controller");
    story.orders.clear();
    story.point("again");
    assert_eq!(story.alarms(), []);
}

/// A point whose outcome was never heard, of a workload that fell sick meanwhile.
#[test]
fn a_point_that_is_found_later_is_good_only_if_its_workload_is_well() {
    let mut story = Story::new();
    let take = Command::TakePoint { workload: "web-1".into(), name: Some("mine".into()) };
    story.command(take);
    let (id, _) = story.only_order();
    story.ends(id, Outcome::unknown("connection lost"));
    story.event("h1", DomainState::Panicked);
    story.now = story.now + Span::secs(1);
    seen(&mut story, &["mine"]);
    assert_eq!(story.controller.points(&"web-1".into())[0].state, PointState::Bad);
}

/// Points move along with their workload, and are missed where it is now.
#[test]
fn a_point_that_is_deleted_after_a_move_is_missed_too() {
    let mut story = Story::new();
    story.point("mine");
    let id = story.migration();
    story.has_not("h1");
    story.has("h2", domain(DomainState::Running));
    story.done(id);
    story.pass(Span::secs(1));
    seen(&mut story, &["mine"]);
    assert_eq!(story.controller.points(&"web-1".into()).len(), 1);
    for _ in 0..15 {
        seen(&mut story, &[]);
        story.pass(Span::secs(1));
    }
    assert_eq!(story.controller.points(&"web-1".into()).len(), 0);
}

#[test]
fn a_point_that_can_not_be_deleted_is_not_tried_without_end() {
    let mut story = Story::new();
    story.protected_once();
    story.point("one");
    story.point("two");
    story.command(Command::DeletePoint { workload: "web-1".into(), point: "one".into() });
    let mut tries = 0;
    for _ in 0..100 {
        for (id, action) in std::mem::take(&mut story.orders) {
            if matches!(action, Action::DeletePoint { .. }) {
                tries += 1;
                story.fails(id);
            }
        }
        story.pass(Span::secs(1));
    }
    assert!((1..=3).contains(&tries), "{tries} times within 100 s");
}

#[test]
fn the_point_of_a_revert_under_way_is_not_deleted() {
    let mut story = Story::new();
    story.point("one");
    story.now = story.now + Span::secs(1);
    story.point("two");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    let (_, action) = story.only_order();
    assert!(matches!(action, Action::Revert { .. }), "{action}");
    let reply = story.command(Command::DeletePoint { workload: "web-1".into(), point: "one".into() });
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    assert_eq!(story.ordered(), []);
}

/// A guest hangs, and before anybody can know, a recovery point is taken: its memory holds the hang.
#[test]
fn a_point_taken_after_the_last_sign_of_life_is_doubtful() {
    let mut story = Story::new();
    for _ in 0..5 {
        story.guest(true);
        story.pass(Span::secs(1));
    }
    story.point("well");
    story.guest(true);
    story.pass(Span::secs(1));
    story.point("hung-already");
    for _ in 0..60 {
        story.guest(false);
        story.pass(Span::secs(1));
    }
    assert!(!story.ordered().is_empty(), "it is found hung");
    let states: Vec<_> =
        story.controller.points(&"web-1".into()).iter().map(|it| (it.id.to_string(), it.state)).collect();
    assert_eq!(states, [("well".to_owned(), PointState::Good), ("hung-already".to_owned(), PointState::Bad)]);
}

/// Its host dies while the point is being taken. The workload starts elsewhere, where nobody knows of that point.
#[test]
fn a_point_being_taken_when_its_host_died_does_not_stay_on_record() {
    let mut story = Story::new();
    story.command(Command::TakePoint { workload: "web-1".into(), name: Some("mine".into()) });
    let (take, _) = story.only_order();
    story.host_proved_off();
    story.ends(take, Outcome::unknown("connection lost"));
    story.comes_up();
    story.pass(Span::secs(3));
    seen(&mut story, &[]);
    assert_eq!(story.controller.points(&"web-1".into()).len(), 0);
}

/// The controller's machine was suspended, and the guest hung meanwhile: what was well before is no reason to take a point.
#[test]
fn no_point_is_taken_before_a_guest_is_heard_again_after_a_sleep() {
    let mut story = Story::new();
    story.guest(true);
    story.protected_once();
    story.guest(true);
    story.now = story.now + Span::minutes(11);
    story.pass(Span::secs(3));
    assert_eq!(story.ordered(), [], "it is due, but nothing was heard of the guest since");
    story.guest(true);
    story.pass(Span::secs(3));
    assert!(matches!(story.ordered()[..], [Action::TakePoint { .. }]), "now it is taken");
}

/// As many at once as the limits say: on a host, and on a datastore, whatever hosts write to it.
#[test]
fn points_are_taken_as_many_at_once_as_the_limits_say() {
    for (app_on, app_store, at_once) in [("h1", "/srv/b", 1), ("h2", "/srv/a", 1), ("h2", "/srv/b", 2)] {
        let mut story = Story::new();
        (story.spec.limits.points_per_host, story.spec.limits.points_per_datastore) = (1, 1);
        let on = |store: &str| DomainSeen { datastores: [store.to_owned()].into(), ..domain(DomainState::Running) };
        story.has("h1", on("/srv/a"));
        story.domains.get_mut(app_on).expect("set up").insert("app".into(), on(app_store));
        story.protect();
        story.pass(Span::secs(60));
        let taken = std::mem::take(&mut story.orders);
        assert_eq!(taken.len(), at_once, "{app_on} {app_store}: {taken:?}");
        taken.into_iter().for_each(|(id, _)| story.done(id));
        story.pass(Span::secs(10));
        assert_eq!(story.ordered().len(), 2 - at_once, "the other follows");
    }
}

#[test]
fn a_point_that_fails_is_tried_again_sooner_than_the_next_is_due() {
    let mut story = Story::new();
    story.protect();
    while story.orders.is_empty() {
        story.pass(Span::millis(500));
    }
    let (take, _) = story.only_order();
    story.fails(take);
    story.pass(Span::secs(15));
    assert_eq!(story.ordered(), [], "but not at once");
    story.pass(Span::secs(10));
    assert!(matches!(story.ordered()[..], [Action::TakePoint { .. }]));
}

/// The schedule's own surplus goes, and only when a newer one is there; what a person took stays.
#[test]
fn retention_deletes_what_the_schedule_took_and_nothing_else() {
    let mut story = Story::new();
    story.protected_once();
    story.spec.protection[0].policy.keep = Keep { last: 1, hourly: 0, daily: 0, weekly: 0 };
    story.reload();
    let names = |story: &Story| -> Vec<String> {
        story.controller.points(&"web-1".into()).iter().map(|point| point.id.to_string()).collect()
    };
    let first = names(&story).remove(0);
    story.pass(Span::secs(2));
    assert_eq!(story.ordered(), [], "it is all there is");
    story.point("mine");
    story.pass(Span::secs(2));
    assert_eq!(story.ordered(), [], "its host has not listed yet what it has");
    seen(&mut story, &[&first, "mine"]);
    story.pass(Span::secs(2));
    let (delete, action) = story.only_order();
    assert!(matches!(&action, Action::DeletePoint { point, .. } if point.as_str() == first), "{action}");
    story.done(delete);
    story.pass(Span::minutes(10));
    let (take, action) = story.only_order();
    assert!(matches!(action, Action::TakePoint { .. }), "{action}");
    story.done(take);
    story.pass(Span::secs(30));
    let names = names(&story);
    assert_eq!((story.ordered(), names.len()), (vec![], 2), "{names:?}");
    assert!(!names.contains(&first) && names.contains(&"mine".to_owned()), "{names:?}");
}

/// What was lost by going back is in the incident; and a point after which it falls again is not trusted any more.
#[test]
fn a_revert_tells_what_was_lost_and_answers_for_its_point() {
    let mut story = Story::new();
    story.point("one");
    story.pass(Span::secs(60));
    story.point("two");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    let (revert, _) = story.only_order();
    story.done(revert);
    story.pass(Span::secs(2));
    let hit = story.controller.incidents().pop().expect("one").workloads.remove(0);
    assert_eq!((hit.to, hit.data_loss), (Some("h1".into()), Some(Span::secs(60))));
    story.event("h1", DomainState::Off(OffReason::Crashed));
    let states: Vec<_> =
        story.controller.points(&"web-1".into()).iter().map(|it| (it.id.to_string(), it.state)).collect();
    assert_eq!(states, [("one".to_owned(), PointState::Bad), ("two".to_owned(), PointState::Good)]);
}

/// An operator reverts once more, and the controller dies in the middle. That the guest is off is our own work: the point to
/// which it was reverted before was counted bad for it, and bad points are deleted by retention.
#[test]
fn a_revert_that_is_cut_short_blames_no_point() {
    let mut story = Story::new();
    story.point("one");
    story.pass(Span::secs(60));
    story.point("two");
    let start = story.crashed();
    story.has("h1", domain(DomainState::Running));
    story.done(start);
    story.pass(Span::secs(1));
    let revert = Command::Revert { workload: "web-1".into(), point: Some("one".into()) };
    story.command(revert.clone());
    let (first, _) = story.only_order();
    story.done(first);
    story.pass(Span::secs(2));
    story.command(revert);
    story.only_order();
    story.restart();
    story.pass(Span::secs(1));
    story.event("h1", DomainState::Off(OffReason::Signalled));
    let states: Vec<_> =
        story.controller.points(&"web-1".into()).iter().map(|it| (it.id.to_string(), it.state)).collect();
    assert_eq!(states, [("one".to_owned(), PointState::Good), ("two".to_owned(), PointState::Good)]);
}

/// The ladder reverts a guest that panics: a person has to know of it, and of where its newer data is.
fn reverted_by_the_ladder(story: &mut Story) -> ActionId {
    story.point("one");
    story.pass(Span::secs(60));
    story.ladder(&[Rung::Revert, Rung::Alarm]);
    let stop = story.panicked();
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.done(stop);
    let (revert, action) = story.only_order();
    assert!(matches!(action, Action::Revert { .. }), "{action}");
    story.has("h1", domain(DomainState::Running));
    revert
}

#[test]
fn a_revert_by_the_ladder_is_an_alarm_until_what_it_set_aside_is_deleted() {
    let mut story = Story::new();
    let revert = reverted_by_the_ladder(&mut story);
    let detail = Detail::Reverted { set_aside: Some("aside".into()), handle: String::new() };
    story.ends(revert, Outcome::Done { detail });
    story.pass(Span::secs(90));
    assert_eq!(story.alarms(), [Code::REVERTED]);
    let points = story.controller.points(&"web-1".into());
    assert!(points.iter().any(|it| it.id.as_str() == "aside" && it.state == PointState::SetAside), "{points:?}");
    story.restart();
    story.pass(Span::secs(8));
    story.command(Command::DeletePoint { workload: "web-1".into(), point: "aside".into() });
    let (delete, _) = story.only_order();
    story.done(delete);
    assert_eq!(story.alarms(), []);
}

#[test]
fn a_revert_that_set_nothing_aside_is_an_alarm_until_it_is_acknowledged() {
    for outcome in [Outcome::done(), Outcome::unknown("connection lost")] {
        let mut story = Story::new();
        let revert = reverted_by_the_ladder(&mut story);
        story.ends(revert, outcome);
        story.pass(Span::minutes(3));
        assert_eq!(story.alarms(), [Code::REVERTED]);
        let subject = Subject::Workload("web-1".into());
        story.command(Command::Acknowledge { code: Code::REVERTED, subject, by: "ann".to_owned() });
        story.pass(Span::secs(1));
        assert_eq!(story.alarms(), []);
    }
}

/// The disks are switched, and then the guest can't be started: its newer data is set aside all the same.
#[test]
fn a_revert_whose_start_fails_says_what_it_set_aside() {
    let reverted = Detail::Reverted { set_aside: Some("aside".into()), handle: String::new() };
    let kept_only = Detail::SetAside { name: "aside".into(), handle: String::new() };
    for (did, verb) in [(reverted, "was reverted"), (kept_only, "may have been reverted")] {
        let mut story = Story::new();
        let revert = reverted_by_the_ladder(&mut story);
        story.has("h1", domain(DomainState::Off(OffReason::Destroyed)));
        let failed = Outcome::failed_with(FailureKind::Other, "no such network", Proof::Off);
        story.ends(revert, failed.having(did));
        story.pass(Span::secs(30));
        let alarms = story.controller.view(story.now).alarms.clone();
        let alarm = alarms.iter().find(|alarm| alarm.code == Code::REVERTED).map(|alarm| alarm.text.clone());
        let text = alarm.unwrap_or_default();
        assert!(text.contains(verb) && text.contains("set aside as aside"), "{text}");
        let points = story.controller.points(&"web-1".into());
        assert!(points.iter().any(|it| it.id.as_str() == "aside" && it.state == PointState::SetAside), "{points:?}");
    }
}

/// What came of the revert was never heard, but its host lists what it set aside.
#[test]
fn what_a_revert_of_unknown_outcome_set_aside_is_found() {
    let mut story = Story::new();
    let revert = reverted_by_the_ladder(&mut story);
    story.ends(revert, Outcome::unknown("connection lost"));
    story.pass(Span::secs(10));
    for (id, _) in std::mem::take(&mut story.orders) {
        story.done(id); // a start that finds it running
    }
    story.pass(Span::secs(2));
    let names: std::collections::BTreeSet<_> = ["one", "broken-7"].map(Into::into).into();
    let set_aside: std::collections::BTreeSet<_> = ["broken-7".into()].into();
    story.fact(Fact::PointsSeen { workload: "web-1".into(), asked_at: story.now, points: names, set_aside });
    story.pass(Span::secs(2));
    let alarms = story.controller.view(story.now).alarms.clone();
    let alarm = alarms.iter().find(|alarm| alarm.code == Code::REVERTED).map(|alarm| alarm.text.clone());
    assert!(alarm.as_ref().is_some_and(|text| text.contains("set aside as broken-7")), "{alarm:?}");
}

/// Retention keeps what a revert set aside, however much there is: only a person drops it.
#[test]
fn retention_never_deletes_what_is_set_aside() {
    let mut story = Story::new();
    story.protect();
    story.spec.protection[0].policy.keep = Keep { last: 1, hourly: 0, daily: 0, weekly: 0 };
    story.spec.protection[0].policy.every = Span::minutes(1);
    story.reload();
    for name in ["broken-1", "broken-2", "broken-3"] {
        let set_aside: std::collections::BTreeSet<_> = [name.into()].into();
        let known = story.controller.points(&"web-1".into()).to_vec();
        let points = known.into_iter().map(|point| point.id).chain(set_aside.iter().cloned()).collect();
        story.fact(Fact::PointsSeen { workload: "web-1".into(), asked_at: story.now, points, set_aside });
    }
    for _ in 0..40 {
        story.pass(Span::secs(30));
        for (id, action) in std::mem::take(&mut story.orders) {
            if let Action::DeletePoint { point, .. } = &action {
                assert!(!point.as_str().starts_with("broken-"), "{action}");
            }
            story.done(id);
        }
    }
    let points = story.controller.points(&"web-1".into());
    let kept = points.iter().filter(|point| point.state == PointState::SetAside).count();
    assert_eq!(kept, 3, "{points:?}");
}

/// A point of a guest that a person stopped is taken of its disks at rest. Nothing starts it meanwhile.
#[test]
fn a_point_of_a_stopped_guest_is_taken() {
    let mut story = Story::new();
    let take = |name: &str| Command::TakePoint { workload: "web-1".into(), name: Some(name.into()) };
    let refused = |reply: Reply| matches!(reply, Reply::Refused { .. });
    // What crashed is to be started, and not to be kept as it is.
    story.event("h1", DomainState::Off(OffReason::Crashed));
    story.orders.clear();
    assert!(refused(story.command(take("sick"))));
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.has("h1", domain(DomainState::Off(OffReason::Shutdown)));
    story.pass(Span::secs(10));
    assert!(story.orders.is_empty(), "{:?}", story.orders);
    story.command(take("before-upgrade"));
    let (id, action) = story.only_order();
    assert!(matches!(&action, Action::TakePoint { host, .. } if *host == "h1".into()), "{action}");
    let start = Command::StartWorkload { workload: "web-1".into(), host: Some("h2".into()), leave_state: false };
    assert!(refused(story.command(start.clone())), "its images are in use");
    let detail = Detail::Point { kind: PointKind::Disk, frozen: false, handle: String::new(), bytes: None };
    story.ends(id, Outcome::Done { detail });
    let point = story.controller.points(&"web-1".into())[0].clone();
    assert_eq!((point.state, point.kind), (PointState::Good, PointKind::Disk));
    story.pass(Span::secs(60));
    assert!(story.ordered().is_empty(), "it stays off");
    assert!(matches!(story.command(start), Reply::Accepted { .. }));
}

/// A revert that would ruin another point is refused, and would be again. The guest runs on, and is started if it crashes.
#[test]
fn a_revert_that_is_refused_is_given_up_and_keeps_no_guest_down() {
    let mut story = Story::new();
    story.point("one");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    let (revert, _) = story.only_order();
    story.ends(revert, Outcome::failed(FailureKind::Refused, "going back to one would write over d1"));
    assert!(story.said.iter().any(|said| said.contains("given up: going back to one")), "{:?}", story.said);
    story.pass(Span::secs(20));
    assert_eq!(story.ordered(), [], "it runs as before");
    story.event("h1", DomainState::Off(OffReason::Crashed));
    let (_, action) = story.only_order();
    assert!(matches!(action, Action::Start { .. }), "{action}");
}

/// Half of a saved guest's state is in its memory.
#[test]
fn no_point_is_taken_of_a_saved_guest() {
    let mut story = Story::new();
    let saved = DomainState::Off(OffReason::Saved);
    story.event("h1", saved);
    story.has("h1", DomainSeen { only_here: [HostState::SavedMemory].into(), ..domain(saved) });
    story.pass(Span::secs(2));
    let reply = story.command(Command::TakePoint { workload: "web-1".into(), name: None });
    assert!(matches!(&reply, Reply::Refused { text } if text.contains("memory of web-1 is saved")), "{reply:?}");
}

/// Its memory is saved, so its host refuses the revert. To start it as it is was not what the operator asked for.
#[test]
fn what_a_person_stopped_stays_off_if_its_revert_is_refused() {
    let mut story = Story::new();
    story.point("one");
    story.event("h1", DomainState::Off(OffReason::Saved));
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    let (revert, _) = story.only_order();
    let error = Failure {
        kind: FailureKind::Refused,
        did: Detail::None,
        proves: Proof::Off,
        message: "its memory is saved".to_owned(),
    };
    story.ends(revert, Outcome::Failed { error });
    story.pass(Span::minutes(3));
    assert_eq!(story.ordered(), []);
    assert_eq!((story.health().as_str(), story.open_incidents()), ("stopped", 0));
}

#[test]
fn a_revert_that_an_operator_asked_for_is_no_alarm() {
    let mut story = Story::new();
    story.point("one");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    let (revert, _) = story.only_order();
    let detail = Detail::Reverted { set_aside: Some("aside".into()), handle: String::new() };
    story.ends(revert, Outcome::Done { detail });
    story.pass(Span::secs(5));
    assert_eq!(story.alarms(), []);
    assert_eq!(story.controller.points(&"web-1".into()).len(), 2, "but it is listed");
}

/// A person waits for a recovery point: what came of its order is shown, though the journal has no use for it any more.
#[test]
fn what_came_of_an_order_is_shown_after_it_ended() {
    let mut story = Story::new();
    story.protect();
    story.point("good");
    story.command(Command::TakePoint { workload: "web-1".into(), name: Some("full".into()) });
    let (take, _) = story.only_order();
    story.fails(take);
    story.pass(Span::secs(30));
    let orders = story.controller.orders(Some(&Subject::Workload("web-1".into())), Time(0));
    let point = |name: &str| {
        let order = orders.iter().find(|order| order.point == Some(name.into())).expect("it is shown");
        (order.kind, order.result, order.reason.as_deref())
    };
    assert_eq!(point("good"), (OrderKind::TakePoint, OrderResult::Done, None));
    assert_eq!(point("full"), (OrderKind::TakePoint, OrderResult::Failed, Some("it did not work")));
    assert_eq!(story.controller.orders(Some(&Subject::Workload("web-1".into())), story.now + Span(1)), []);
}
