//! Of a session that is not over, what tells whether its agent is still there.

use super::state::{Phase, Process, Session};
use crate::projection::{Latest, Mark};

/// What matters of it to whoever waits for its end. About 150 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its id.
    pub id: Box<str>,
    /// The latest sign of its agent.
    pub sign: Mark,
    /// The process of the agent, where its latest start told one.
    pub process: Option<Latest<Process>>,
    /// An end of it that was inferred and did not hold.
    pub inferred_end: Option<Mark>,
}

impl Unfinished {
    /// Of a session; none of one that is over, or of whose agent there is no sign.
    pub fn of(id: &str, session: &Session) -> Option<Unfinished> {
        let sign = session.sign.filter(|_| session.phase() != Phase::Ended)?;
        let named = session.process.as_ref();
        let process = named.and_then(|named| Some(Latest { mark: named.mark, value: named.value.clone()? }));
        let end = session.end.as_ref().filter(|end| end.value.inferred);
        Some(Unfinished { id: id.into(), sign, process, inferred_end: end.map(|end| end.mark) })
    }
}
