//! Claude Code: its hooks ([`hook`]) and its transcripts.
//!
//! The same fact reaches us twice, as a hook when it happens and as a line of the transcript later, and either may be
//! missing. What makes the two one event is the id: a fact with a key of the agent's own (a tool call, a subagent, a
//! prompt, a line) gets an id made from that key ([`ids`]), whichever way it came, and the journal keeps the first.
//!
//! How it is told to call us: [`hooks`] is the table of what is registered, [`settings`] edits the text of a settings file,
//! [`registration`] and [`scripts`] read what is registered, [`switched_off`] whether it is run at all.

pub mod hook;
pub mod hooks;
pub(crate) mod ids;
pub mod live;
pub mod plugin;
pub mod registration;
pub mod scripts;
pub mod settings;
pub mod switched_off;
pub mod transcript;
pub mod version;
