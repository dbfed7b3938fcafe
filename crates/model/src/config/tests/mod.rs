//! Tests of the whole: what a user sees.

mod broken;
mod described;
mod edited;
mod good;
mod noise;

pub use described::note_read;

use super::{Loaded, Problems, load};

/// Loads a text that must be right.
fn loaded(text: &str) -> Loaded {
    load("mainstay.toml", text).unwrap_or_else(|problems| panic!("{:#?}\n{text}", problems))
}

/// Loads a text that must be wrong.
fn refused(text: &str) -> Problems {
    load("mainstay.toml", text).expect_err("the text is wrong")
}
