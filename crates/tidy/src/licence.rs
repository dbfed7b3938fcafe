//! Reads a licence expression ("(MIT OR Apache-2.0) AND Unicode-3.0") and says whether the licences we accept satisfy it.

/// True if taking only accepted licences fulfils the expression. A licence with an exception counts as the licence.
pub(crate) fn satisfied(expression: &str, accepted: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = either(&mut words, accepted);
    verdict && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words, accepted: &[&str]) -> bool {
    let mut verdict = both(words, accepted);
    while words.next_if_eq(&"OR").is_some() {
        verdict |= both(words, accepted);
    }
    verdict
}

fn both(words: &mut Words, accepted: &[&str]) -> bool {
    let mut verdict = one(words, accepted);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, accepted);
    }
    verdict
}

fn one(words: &mut Words, accepted: &[&str]) -> bool {
    match words.next() {
        Some("(") => {
            let verdict = either(words, accepted);
            verdict && words.next() == Some(")")
        }
        Some(licence) => {
            if words.next_if_eq(&"WITH").is_some() {
                words.next();
            }
            accepted.contains(&licence)
        }
        None => false,
    }
}

#[test]
fn expressions_are_read_as_lawyers_read_them() {
    let accepted = ["MIT", "Apache-2.0", "Unicode-3.0"];
    for fine in
        ["MIT", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND Unicode-3.0", "MIT/BSD", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(satisfied(fine, &accepted), "{fine}");
    }
    for not in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR LGPL-2.1) AND MIT", "", "(MIT"] {
        assert!(!satisfied(not, &accepted), "{not}");
    }
}
