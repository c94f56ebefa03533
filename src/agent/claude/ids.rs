//! The ids of facts that Claude Code itself can name.
//!
//! | fact | id | correlation | causation |
//! |---|---|---|---|
//! | start of a tool call | of `tool_use_id` | of `tool_use_id` | - |
//! | end of a tool call, good or bad | of `tool_use_id` | of `tool_use_id` | its start |
//! | a permission refused | of `tool_use_id` | of `tool_use_id` | the call's start |
//! | start of a subagent | of `agent_id` | the start | the call that made it, where a transcript says so |
//! | end of a subagent | of `agent_id` | the start | the start |
//! | a prompt | of `prompt_id` | its own | - |
//! | a text of the model | of the line's uuid and the block's place | its own | - |
//!
//! All are of the session too, but the last: a line keeps its uuid when a resumed or forked session copies it into its own
//! transcript, and it must stay one event.

use uuid::Uuid;

use crate::event::{Event, Kind, ids};

/// The id of the start of a tool call.
pub(crate) fn call_started(session: &str, tool_use_id: &str) -> Uuid {
    ids::natural(session, Kind::ToolCallStarted.name(), tool_use_id)
}

/// The id of the start of a subagent.
pub(crate) fn subagent_started(session: &str, agent_id: &str) -> Uuid {
    ids::natural(session, Kind::SubagentStarted.name(), agent_id)
}

/// The id of a fact of this kind with this key.
pub(crate) fn of(session: &str, kind: Kind, key: &str) -> Uuid {
    ids::natural(session, kind.name(), key)
}

/// The id of what a transcript line says in its own right, in whatever session's file the line stands.
pub(crate) fn of_line(kind: Kind, uuid: &str, block: usize) -> Uuid {
    ids::natural("", kind.name(), &format!("{uuid}#{block}"))
}

/// The id of the tokens that a model response had cost by this line, where no text carries them.
pub(crate) fn of_tokens(uuid: &str, output_tokens: u64) -> Uuid {
    ids::natural("", Kind::AgentMessage.name(), &format!("{uuid}#tokens to {output_tokens}"))
}

/// Joins an event to the tool call that it belongs to.
pub(crate) fn join_call(event: Event, session: &str, tool_use_id: &str) -> Event {
    let start = call_started(session, tool_use_id);
    let joined = event.with_correlation(ids::correlation_of_tool(session, tool_use_id));
    if joined.id == start { joined } else { joined.with_causation(start) }
}

/// Joins an event to the subagent whose start or end it is.
pub(crate) fn join_subagent(event: Event, session: &str, agent_id: &str) -> Event {
    let start = subagent_started(session, agent_id);
    if event.id == start { event } else { event.with_correlation(start).with_causation(start) }
}
