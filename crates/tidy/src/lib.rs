//! Tests of the house itself, not of what it does: which crate may use which, that the engine stays pure, that files stay
//! readable, that dependencies are ones we may ship, that documents name only what exists.
//!
//! There is nothing here but tests. Each reads the sources as text or what `cargo metadata` says, and lists all that it
//! finds at once, with the place and what to do about it.

#![forbid(unsafe_code)]

#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod licence;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod shape;
#[cfg(test)]
mod tree;
