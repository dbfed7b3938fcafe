//! mainstay: the one binary.
fn main() {}
