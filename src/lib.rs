//! mnemosyne: a flight recorder for coding agents.
pub mod agent;
pub mod answers;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod error;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod mcp;
pub mod projection;
pub mod server;
pub mod store;
pub mod wire;
