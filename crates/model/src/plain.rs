//! Text of others on its way to a person: what could steer a terminal, hide or reorder what is read is shown by its number.
//!
//! A VM's name, an error of a hypervisor, the last line of a fence agent, what a guest says of its system: all of them may hold
//! an escape sequence that clears the screen, a carriage return that overwrites a line, or a control that turns *not* around.

use std::{borrow::Cow, fmt::Write};

/// The text with each such character as `\\u{1b}`. Line breaks and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// True for controls, also those that set the direction of writing, and for what has no width.
fn steers(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        for (text, shown) in [
            ("all is well", "all is well"),
            ("größer ✓ 漢字 e\u{301}\n\tnext", "größer ✓ 漢字 e\u{301}\n\tnext"),
            ("web\u{1b}[2J", "web\\u{1b}[2J"),
            ("done\rfailed", "done\\u{d}failed"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("is \u{202e}ton\u{202c} off", "is \\u{202e}ton\\u{202c} off"),
            ("a\u{200b}b\u{2066}c\u{feff}\u{0}\u{7f}", "a\\u{200b}b\\u{2066}c\\u{feff}\\u{0}\\u{7f}"),
        ] {
            assert_eq!(plain(text), shown, "{text:?}");
        }
    }
}
