//! Amounts as people read them: two digits that matter rather than six that do not.

use mainstay_model::Span;

/// How long ago, in one unit: `now`, `12s`, `3m`, `5h`, `3d`.
pub fn ago(age: Span) -> String {
    match age.0 / 1_000 {
        0 => "now".to_owned(),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// [`ago`] in a sentence: `just now`, `12s ago`.
pub fn ago_in_words(age: Span) -> String {
    if age < Span::secs(1) { "just now".to_owned() } else { format!("{} ago", ago(age)) }
}

/// How many: `1 VM`, `3 VMs`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A length of time to be judged: `340ms`, `4.1s`, `2m 5s`, `1h 3m`.
pub fn span(length: Span) -> String {
    match length.0 {
        milliseconds @ 0..1_000 => format!("{milliseconds}ms"),
        milliseconds @ 1_000..60_000 => format!("{:.1}s", milliseconds as f64 / 1_000.0),
        milliseconds @ 60_000..3_600_000 => format!("{}m {}s", milliseconds / 60_000, milliseconds / 1_000 % 60),
        milliseconds => format!("{}h {}m", milliseconds / 3_600_000, milliseconds / 60_000 % 60),
    }
}

/// Bytes: `512 B`, `1.5 KiB`, `20 MiB`.
pub fn bytes(amount: f64) -> String {
    let mut amount = amount;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1_024.0 {
            return if amount < 10.0 && unit != "B" {
                format!("{amount:.1} {unit}")
            } else {
                format!("{amount:.0} {unit}")
            };
        }
        amount /= 1_024.0;
    }
    format!("{amount:.1} TiB")
}

/// Bytes a second; nothing for nothing.
pub fn rate(per_second: f64) -> String {
    if per_second < 1.0 { "0".to_owned() } else { format!("{}/s", bytes(per_second)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_say_them() {
        assert_eq!(
            [0, 12_900, 3_600_000, 90_000_000, 864_000_000].map(|ms| ago(Span(ms))),
            ["now", "12s", "1h", "25h", "10d"]
        );
        assert_eq!([340, 4_120, 125_000, 3_780_000].map(|ms| span(Span(ms))), ["340ms", "4.1s", "2m 5s", "1h 3m"]);
        assert_eq!([0.0, 1_536.0, 20_971_520.0, 3e12].map(bytes), ["0 B", "1.5 KiB", "20 MiB", "2.7 TiB"]);
    }
}
