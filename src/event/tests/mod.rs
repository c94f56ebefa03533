//! Tests over all of this layer.

mod codec;
mod emit;
mod filter;
mod golden;
mod redact;
mod redact_plain;
mod summary;

pub(super) use codec::any_event;
