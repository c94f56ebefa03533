//! Tests over all of this layer.

mod codec;
