//! Recovery points of one VM.

use super::{Cell, Look, Table, Tone, ago, ago_in_words, bytes};
use mainstay_model::{PointBy, PointKind, PointState, RecoveryPoint};

/// The list, newest last.
pub fn points(points: &[RecoveryPoint], look: &Look) -> String {
    let mut table = Table::new(["POINT", "TAKEN", "AGE", "KIND", "STATE", "BY", "SIZE", "PROVED"]);
    for point in points {
        table.row([
            Cell::from(point.id.as_str()),
            look.date(point.taken_at).into(),
            ago(look.now.since(point.taken_at)).into(),
            kind(point).into(),
            state(point.state),
            match point.by {
                PointBy::Schedule => "schedule",
                PointBy::Person => "a person",
                PointBy::Revert => "a revert",
            }
            .into(),
            point.bytes.map_or(String::new(), |size| bytes(size as f64)).into(),
            point.proved_at.map_or(String::new(), |at| ago_in_words(look.now.since(at))).into(),
        ]);
    }
    table.render(look)
}

fn kind(point: &RecoveryPoint) -> String {
    let kind = match point.kind {
        PointKind::Memory => "memory and disk",
        PointKind::Disk => "disk",
        PointKind::Auto => "",
    };
    if point.frozen { format!("{kind}, frozen") } else { kind.to_owned() }
}

fn state(state: PointState) -> Cell {
    match state {
        PointState::Taking => Cell::toned(Tone::Dim, "being taken"),
        PointState::Good => Cell::toned(Tone::Good, "good"),
        PointState::Bad => Cell::toned(Tone::Warn, "doubtful"),
        PointState::Deleting => Cell::toned(Tone::Dim, "being deleted"),
        PointState::SetAside => Cell::toned(Tone::Warn, "set aside"),
    }
}
