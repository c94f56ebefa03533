//! What a run depends on from outside: environment, data directory, configuration files.
//!
//! Each is read once into a value ([`Env`], [`DataDir`], [`Settings`]) and passed on, so that nothing below reads the
//! environment again and tests build the values by hand. Precedence everywhere: flag, environment, the data directory's
//! own `config.toml`, the user's `config.toml`, default.
//!
//! - [`mod@env`]: the snapshot of the environment and the table of the variables that count.
//! - [`dir`]: where the data directory is, and what lies in it.
//! - [`duration`]: durations as people write them.
//! - [`guard`]: the only doors through which files of a data directory are opened.
//! - [`prices`]: what the user's tokens cost.
//! - [`settings`]: the keys of `config.toml`.
//! - `fault`: what is wrong with one of their files, in one line.
//! - [`amend`]: files that belong to the user and that we only amend.
//! - [`keys`]: the keys as people name them; [`edit`]: one of them changed in its file.
//! - [`register`]: registers a data directory in the user's `config.toml`.

pub mod amend;
pub mod dir;
pub mod duration;
pub mod edit;
pub mod env;
mod fault;
pub mod guard;
pub mod keys;
pub mod known;
pub mod prices;
pub mod register;
pub mod settings;

pub use dir::DataDir;
pub use env::Env;
pub use settings::Settings;
