//! A state that is asked after every event, kept in pieces: of a map of many entries only those that have changed are written as JSON and read
//! by jq again. The values are the same as those of the whole.

use std::collections::BTreeMap;

use jaq_json::{Map, Val, read};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::event::Json;
use crate::projection::entries::{Mapped, Named, Stamp};

/// The pieces of the state that was looked at last.
#[derive(Default)]
pub(super) struct Pieces {
    field: &'static str,
    entries: BTreeMap<String, Held>,
    /// Everything but the entries.
    others: Vec<(&'static str, Json)>,
    /// How many states were looked at.
    looks: u64,
}

struct Held {
    stamp: Kept,
    /// Its JSON.
    text: String,
    value: Val,
    /// The look at which it was there.
    look: u64,
}

/// A [`Stamp`] that is kept.
enum Kept {
    Seq(u64),
    Bytes(Vec<u8>),
}

impl Kept {
    fn of(stamp: Stamp<'_>) -> Kept {
        match stamp {
            Stamp::Seq(seq) => Kept::Seq(seq),
            Stamp::Bytes(bytes) => Kept::Bytes(bytes.to_vec()),
        }
    }

    fn is(&self, stamp: Stamp<'_>) -> bool {
        match (self, stamp) {
            (Kept::Seq(kept), Stamp::Seq(seq)) => *kept == seq,
            (Kept::Bytes(kept), Stamp::Bytes(bytes)) => kept == bytes,
            _ => false,
        }
    }
}

impl Pieces {
    /// Becomes this state; says whether it is another than before.
    ///
    /// # Errors
    /// When an entry has no JSON form: a fault of the projection.
    pub(super) fn become_it(&mut self, state: Mapped<'_>) -> Result<bool> {
        self.looks += 1;
        let mut is_new = self.looks == 1 || self.others != state.others;
        (self.field, self.others) = (state.field, state.others);
        for Named { id, stamp, json } in state.entries {
            if let Some(held) = self.entries.get_mut(&*id) {
                held.look = self.looks;
                if held.stamp.is(stamp) {
                    continue;
                }
            }
            let no_form = |what: String| Error::failed(format!("a state has no JSON form: {what}"));
            let text = json().map_err(|error| no_form(error.to_string()))?;
            let value = read::parse_single(text.as_bytes()).map_err(|error| no_form(error.to_string()))?;
            let held = Held { stamp: Kept::of(stamp), text, value, look: self.looks };
            self.entries.insert(id.into_owned(), held);
            is_new = true;
        }
        let (before, looks) = (self.entries.len(), self.looks);
        self.entries.retain(|_, held| held.look == looks);
        Ok(is_new || self.entries.len() < before)
    }

    /// The state as jq sees it.
    pub(super) fn value(&self) -> Result<Val, String> {
        let entries: Map =
            self.entries.iter().map(|(id, held)| (Val::from(id.clone()), held.value.clone())).collect();
        let mut state = Map::default();
        state.insert(Val::from(self.field.to_owned()), Val::obj(entries));
        for (name, value) in &self.others {
            let value =
                read::parse_single(value.to_string().as_bytes()).map_err(|error| error.to_string())?;
            state.insert(Val::from((*name).to_owned()), value);
        }
        Ok(Val::obj(state))
    }

    /// The JSON of the whole state.
    pub(super) fn text(&self) -> Result<Box<RawValue>> {
        let entries =
            self.entries.iter().map(|(id, held)| format!("{}:{}", Json::from(id.as_str()), held.text));
        let entries = entries.collect::<Vec<_>>().join(",");
        let others = self.others.iter().map(|(name, value)| format!(",{}:{value}", Json::from(*name)));
        let text = format!("{{{}:{{{entries}}}{}}}", Json::from(self.field), others.collect::<String>());
        RawValue::from_string(text)
            .map_err(|error| Error::failed(format!("a state has no JSON form: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::payload;
    use crate::projection::AnyFold as _;
    use crate::projection::Fold;
    use crate::projection::sessions::SessionsProjection;
    use crate::projection::testing::Stream;

    /// Sessions that come, lie in the archive, come back and end: after each event the pieces are the state, and are new if it is.
    #[test]
    fn pieces_put_together_are_the_whole_state() {
        let mut stream = Stream::default();
        for n in 0..1_200_i64 {
            let session = format!("session-{}", n * n * 7 % 211);
            let call = format!("call-{n}");
            let payload: crate::event::Payload = match n % 5 {
                0 => payload::PromptSubmitted { prompt: "say \"why\"".into(), prompt_id: None }.into(),
                1 | 2 => payload::ToolCallStarted {
                    tool: "Bash".into(),
                    tool_use_id: call,
                    input: serde_json::json!({}),
                }
                .into(),
                3 => payload::CliCommandStarted { command: "diff".into(), args: vec![] }.into(),
                _ => payload::SessionEnded { reason: "other".into(), inferred: false }.into(),
            };
            match n % 10 {
                // Of no session: the state stays as it is.
                3 => _ = stream.push(n, payload),
                _ => _ = stream.of(n, &session, None, payload),
            }
        }
        let (mut fold, mut pieces) = (Fold::<SessionsProjection>::default(), Pieces::default());
        let (mut last, mut same) = (String::new(), 0);
        for event in &stream.events {
            fold.apply(event);
            let whole = fold.state_json().unwrap();
            let is_new = pieces.become_it(fold.mapped().unwrap()).unwrap();
            assert_eq!(is_new, last != whole.get(), "seq {}", event.seq);
            same += u32::from(!is_new);
            if event.seq.get() % 37 == 0 || event.seq.get() > 1_190 {
                assert_eq!(pieces.text().unwrap().get(), whole.get());
                let read = read::parse_single(whole.get().as_bytes()).unwrap();
                assert_eq!(pieces.value().unwrap().to_string(), read.to_string(), "seq {}", event.seq);
            }
            last = whole.get().to_owned();
        }
        assert_eq!(same, 120);
        assert!(fold.state().len() > 100 && fold.state().recent.len() == 64);
    }
}
