//! Stories told to the engine alone, step by step, without a simulated world: what it orders, and what it must not.

mod configuration;
mod data;
mod devices;
mod endings;
mod figures;
mod goodbye;
mod harness;
mod hosts;
mod moves;
mod namesakes;
mod people;
mod points;
mod proof;
mod ready;
mod recovery;
mod restored;
mod sight;
mod terms;
mod verdict;
mod whose;
