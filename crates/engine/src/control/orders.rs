//! Orders on record as they are shown: for a person who waits for one, the reason why it failed.

use crate::{
    belief::OrderRecord,
    engine::Engine,
    view::{OrderKind, OrderResult, OrderView},
};
use mainstay_model::{Action, Outcome, Subject, Time};
use std::collections::BTreeMap;

/// Older ones are not shown.
const SHOWN: usize = 200;

/// The newest orders about a subject (all: `None`) that left at `since` or later, oldest first.
pub(super) fn orders(engine: &Engine, subject: Option<&Subject>, since: Time) -> Vec<OrderView> {
    let known = engine.belief.orders.values().chain(&engine.ended).filter(|record| record.ordered_at >= since);
    let about = known.map(view).filter(|order| subject.is_none_or(|subject| *subject == order.subject));
    // Those that ended may be in the journal as well.
    let shown: BTreeMap<_, _> = about.map(|order| (order.id, order)).collect();
    let mut shown: Vec<OrderView> = shown.into_values().collect();
    shown.split_off(shown.len().saturating_sub(SHOWN))
}

fn view(record: &OrderRecord) -> OrderView {
    let action = &record.order.action;
    let (result, reason) = match &record.ended {
        None => (OrderResult::UnderWay, None),
        Some((_, Outcome::Done { .. })) => (OrderResult::Done, None),
        Some((_, Outcome::Failed { error })) => (OrderResult::Failed, Some(error.message.clone())),
        Some((_, Outcome::Unknown { reason, .. })) => (OrderResult::Unknown, Some(reason.clone())),
    };
    OrderView {
        id: record.order.id,
        subject: match action.workload() {
            Some(workload) => Subject::Workload(workload.clone()),
            None => Subject::Host(action.host().clone()),
        },
        kind: kind(action),
        text: action.to_string(),
        point: match action {
            Action::TakePoint { point, .. } | Action::DeletePoint { point, .. } | Action::Revert { point, .. } => {
                Some(point.clone())
            }
            _ => None,
        },
        ordered_at: record.ordered_at,
        ended_at: record.ended.as_ref().map(|(at, _)| *at),
        result,
        reason,
    }
}

fn kind(action: &Action) -> OrderKind {
    match action {
        Action::CheckPower { .. } => OrderKind::CheckPower,
        Action::Fence { .. } => OrderKind::Fence,
        Action::PowerOn { .. } => OrderKind::PowerOn,
        Action::Start { .. } => OrderKind::Start,
        Action::Stop { .. } => OrderKind::Stop,
        Action::Resume { .. } => OrderKind::Resume,
        Action::Migrate { .. } => OrderKind::Migrate,
        Action::TakePoint { .. } => OrderKind::TakePoint,
        Action::DeletePoint { .. } => OrderKind::DeletePoint,
        Action::Revert { .. } => OrderKind::Revert,
        Action::Undefine { .. } | Action::DisableAutostart { .. } | Action::Screenshot { .. } => {
            OrderKind::Housekeeping
        }
    }
}
