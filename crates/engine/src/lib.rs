//! How Mainstay decides: pure, no I/O, no clock.
