//! The pages of docs/errors, built in: `mainstay explain MS1104` needs neither controller nor network.

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page of a code, however it is written (`ms1104`).
pub fn page(code: &str) -> Option<&'static str> {
    let code = code.to_uppercase();
    PAGES.iter().find(|(name, _)| *name == code).map(|(_, page)| *page)
}

/// Every code with a page, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(code, _)| *code)
}

/// What a code's page is called.
pub fn title(code: &str) -> &'static str {
    let heading = page(code).and_then(|page| page.lines().next()).unwrap_or_default();
    heading.split_once(": ").map_or(heading, |(_, title)| title)
}

/// True if this was meant as a code, though there may be none such.
pub fn looks_like_a_code(text: &str) -> bool {
    let digits = text.strip_prefix("MS").or_else(|| text.strip_prefix("ms"));
    digits.is_some_and(|digits| digits.len() == 4 && digits.chars().all(|digit| digit.is_ascii_digit()))
}
