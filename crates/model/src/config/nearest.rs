//! The name that was probably meant.

/// Nobody mistypes longer ones: a distance takes time and memory by the product of both lengths.
const LONGEST: usize = 100;

/// The candidate nearest to `word`, if any is near enough that it was probably meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |text: &str| text.to_lowercase().replace('-', "_");
    let (word, length) = (folded(word), word.chars().count());
    let short = |text: &str| text.len() <= LONGEST;
    candidates
        .into_iter()
        .filter(|candidate| short(&word) && short(candidate))
        .map(|candidate| match folded(candidate) {
            longer if length > 2 && longer.starts_with(&word) => (1, candidate),
            other => (strsim::damerau_levenshtein(&word, &other), candidate),
        })
        .filter(|(distance, candidate)| {
            let longest = length.max(candidate.chars().count());
            *distance <= 1.max(longest / 3) && distance * 2 < longest
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A sentence that names the nearest candidate, or else all of them (`none` if there are none).
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    const SHOWN: usize = 20; // more would bury the sentence
    let all: Vec<&str> = candidates.into_iter().collect();
    match nearest(word, all.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if all.is_empty() => none.to_owned(),
        None => {
            let shown: Vec<String> = all.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
            let more = if all.len() > SHOWN { ", …" } else { "" };
            format!("known here: {}{more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let keys = ["priority", "memory", "on_person_stop"];
        assert_eq!(nearest("priorty", keys), Some("priority"));
        assert_eq!(nearest("on-person-stop", keys), Some("on_person_stop"));
        assert_eq!(nearest("prio", keys), Some("priority"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("h2", ["h1"]), None, "one letter of two is no slip");
        assert_eq!(suggest("colour", ["memory"], ""), "known here: `memory`");
    }

    #[test]
    fn a_whole_file_taken_for_a_word_is_compared_with_nothing() {
        let (file, other) = ("x".repeat(10_000_000), "x".repeat(9_999_999));
        assert_eq!(nearest(&file, [other.as_str(), "xx"]), None);
    }
}
