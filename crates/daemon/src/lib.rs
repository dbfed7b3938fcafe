//! The controller process: pumps between the pure core and the adapters.
