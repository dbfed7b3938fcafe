pub(crate) mod setup;
