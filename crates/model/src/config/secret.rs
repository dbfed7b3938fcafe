//! Hides passwords written into the file itself from the lines that messages quote.

use crate::is_secret;

/// The text with each byte of a secret replaced by one `*`, so that places stay the same.
pub fn hidden(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        let key = before.trim_end().rsplit(['\n', ' ', '\t', '{', ',', '.', '#']).next().unwrap_or_default();
        shown.push_str(before);
        shown.push('=');
        rest = after;
        if is_secret(key.trim_matches(['"', '\''])) {
            let (value, after) = after.split_at(value_length(after));
            shown.extend(value.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { byte as char } else { '*' }));
            rest = after;
        }
    }
    shown + rest
}

/// How far the value after `=` reaches: to its closing quote, or else to the end of the line.
fn value_length(after: &str) -> usize {
    let start = after.len() - after.trim_start_matches([' ', '\t']).len();
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let Some(quote) = quotes.into_iter().find(|quote| after[start..].starts_with(quote)) else {
        return after.find(['\r', '\n']).unwrap_or(after.len());
    };
    let mut escaped = false;
    for (at, c) in after.char_indices().filter(|(at, _)| *at >= start + quote.len()) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote.starts_with('"') => escaped = true,
            _ if after[at..].starts_with(quote) => return at + quote.len(),
            '\n' if quote.len() == 1 => return at,
            _ => {}
        }
    }
    after.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (text, shown) in [
            ("passwd = \"x1\" # why\n", "passwd =***** # why\n"),
            (
                "o = { ip = \"a\", password= \"p=,\\\"}\", x = true }",
                "o = { ip = \"a\", password=*********, x = true }",
            ),
            ("password_file = \"/a\"\r\n", "password_file = \"/a\"\r\n"),
            ("community = 'public\nx = 1\n", "community =********\nx = 1\n"),
            ("secret=5é\r\n", "secret=***\r\n"),
            ("token='''a'\nb''' # c", "token=*****\n**** # c"),
            ("name = \"a\"\n\n", "name = \"a\"\n\n"),
        ] {
            assert_eq!(hidden(text), shown);
            assert_eq!(hidden(text).len(), text.len());
        }
    }
}
