//! cli
pub mod display;
