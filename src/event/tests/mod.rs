//! Tests over all of this layer.

mod codec;
mod emit;
mod filter;
mod redact;
mod summary;
