//! A projection whose type is not known here: what the registry's rows are made of.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::entries::Mapped;
use super::runner::{Progress, Source, state_anew, state_at};
use super::sessions::viewer::Looking;
use super::snapshot::{self, Files, Found, Refused, Span};
use super::{Fold, Projection, StateHash, base};
use crate::error::{Error, Result};
use crate::event::{Json, Seq, StoredEvent};
use crate::store::{Item, Undecodable};

/// The version of the JSON of a state.
pub const STATE_VERSION: u32 = 1;

/// A row of the registry: a projection by name, and what can be done with it.
#[derive(Clone, Copy)]
pub struct Definition {
    /// The name in files, routes and commands.
    pub name: &'static str,
    /// The version of its state.
    pub schema: u32,
    empty: fn() -> Box<dyn AnyFold>,
    decode: fn(&[u8], [u8; 16], Seq) -> Result<Box<dyn AnyFold>, Refused>,
    state_at: fn(&dyn Source, Option<&Files>, Seq) -> Result<(Box<dyn AnyFold>, Progress)>,
    state_anew: fn(&dyn Source, Option<&Files>, Seq) -> Result<(Box<dyn AnyFold>, Progress)>,
    in_base: fn(&[u8], [u8; 16]) -> Result<Box<dyn AnyFold>, Refused>,
    newest: fn(&Files, Span) -> AnyFound,
    told: fn(&StateView) -> serde_json::Result<Box<dyn AnyFold>>,
    forget_before: fn(&Files, Seq) -> std::io::Result<()>,
}

/// As [`Found`], of a projection whose type is not known.
pub(super) struct AnyFound {
    pub(super) fold: Option<Box<dyn AnyFold>>,
    pub(super) refused: Vec<snapshot::Refusal>,
}

impl Definition {
    pub(super) const fn of<P: Projection>() -> Definition {
        Definition {
            name: P::NAME,
            schema: P::SCHEMA,
            empty: || Box::new(Fold::<P>::default()),
            decode: |bytes, journal, newest| Ok(Box::new(snapshot::decode::<P>(bytes, journal, newest)?)),
            state_at: |source, files, seq| {
                let (fold, progress) = state_at::<P>(source, files, seq)?;
                Ok((Box::new(fold), progress))
            },
            state_anew: |source, files, seq| {
                let (fold, progress) = state_anew::<P>(source, files, seq)?;
                Ok((Box::new(fold), progress))
            },
            in_base: |bytes, journal| Ok(Box::new(base::decode::<P>(bytes, journal)?)),
            newest: |files, span| {
                let Found { fold, refused } = files.newest::<P>(span);
                AnyFound { fold: fold.map(|fold| Box::new(fold) as Box<dyn AnyFold>), refused }
            },
            told: |view| {
                let state = serde_json::from_str(view.state.get())?;
                Ok(Box::new(Fold::<P>::restore(state, view.seq, view.missing)))
            },
            forget_before: |files, first| files.forget_before::<P>(first),
        }
    }

    /// The fold that another machine told of.
    ///
    /// # Errors
    /// When its state is none of this program's.
    pub fn told(&self, view: &StateView) -> Result<Box<dyn AnyFold>> {
        (self.told)(view)
            .map_err(|error| Error::failed(format!("the state of {} cannot be read: {error}", self.name)))
    }

    /// The fold before the first event.
    pub fn empty(&self) -> Box<dyn AnyFold> {
        (self.empty)()
    }

    /// The fold in the bytes of a snapshot; see [`snapshot::decode`].
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn decode(&self, bytes: &[u8], journal: [u8; 16], newest: Seq) -> Result<Box<dyn AnyFold>, Refused> {
        (self.decode)(bytes, journal, newest)
    }

    /// The fold in the bytes of a base; see [`base`].
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn decode_base(&self, bytes: &[u8], journal: [u8; 16]) -> Result<Box<dyn AnyFold>, Refused> {
        (self.in_base)(bytes, journal)
    }

    /// The fold up to `seq`; see [`state_at`].
    ///
    /// # Errors
    /// As [`state_at`].
    pub fn state_at(
        &self,
        source: &dyn Source,
        files: Option<&Files>,
        seq: Seq,
    ) -> Result<(Box<dyn AnyFold>, Progress)> {
        (self.state_at)(source, files, seq)
    }

    /// The fold up to `seq`, whatever was saved; see [`state_anew`].
    ///
    /// # Errors
    /// As [`state_anew`].
    pub fn state_anew(
        &self,
        source: &dyn Source,
        files: Option<&Files>,
        seq: Seq,
    ) -> Result<(Box<dyn AnyFold>, Progress)> {
        (self.state_anew)(source, files, seq)
    }

    pub(super) fn newest(&self, files: &Files, span: Span) -> AnyFound {
        (self.newest)(files, span)
    }

    /// Removes the snapshots that begin before `first`; see [`Files::forget_before`].
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget_before(&self, files: &Files, first: Seq) -> std::io::Result<()> {
        (self.forget_before)(files, first)
    }
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (schema {})", self.name, self.schema)
    }
}

/// A state and the seq that it has reached, of any projection.
pub trait AnyFold: Send + Sync {
    /// The projection's name.
    fn name(&self) -> &'static str;
    /// The last seq that was folded; zero before the first.
    fn seq(&self) -> Seq;
    /// Takes in the next event. One that was taken in already changes nothing.
    fn apply(&mut self, event: &StoredEvent);
    /// Passes over records that cannot be read any more, up to and including `to`.
    fn skip(&mut self, to: Seq);
    /// Takes in what a replay met.
    fn take(&mut self, item: &Item) {
        match item {
            Item::Event(event) => self.apply(event),
            Item::Gap(gap) => self.skip(gap.to),
            Item::Undecodable(record) => self.lacks(record),
        }
    }
    /// Passes over a record that is no event. It is missing, unless it names a kind that could not have changed the state.
    fn lacks(&mut self, record: &Undecodable);
    /// Seqs that could not be read; see [`Fold::missing`].
    fn missing(&self) -> u64;
    /// See [`Projection::concerns`].
    fn concerned_by(&self, event: &StoredEvent) -> bool;
    /// The hash of the state. It costs an encoding of all of it.
    ///
    /// # Errors
    /// When the state has no bytes: a fault of the projection.
    fn hash(&self) -> Result<StateHash>;
    /// The bytes of a snapshot; see [`snapshot::encode`].
    ///
    /// # Errors
    /// When the state has no bytes.
    fn encode(&self, journal: [u8; 16]) -> Result<Vec<u8>>;
    /// The state as JSON.
    ///
    /// # Errors
    /// When it has none: a fault of the projection.
    fn state_json(&self) -> Result<Box<RawValue>>;
    /// The same in parts; see [`Projection::mapped`].
    fn mapped(&self) -> Option<Mapped<'_>>;
    /// What people are shown of it; see [`Projection::shown`].
    ///
    /// # Errors
    /// As [`AnyFold::state_json`].
    fn shown(&self, looking: &Looking<'_>) -> Result<Option<Json>>;
    /// What of the state concerns one session; see [`Projection::session_json`].
    ///
    /// # Errors
    /// As [`AnyFold::state_json`].
    fn session_json(&self, session: &str) -> Result<Json>;
}

impl<P: Projection> AnyFold for Fold<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }
    fn seq(&self) -> Seq {
        Fold::seq(self)
    }
    fn apply(&mut self, event: &StoredEvent) {
        Fold::apply(self, event);
    }
    fn skip(&mut self, to: Seq) {
        Fold::skip(self, to);
    }
    fn missing(&self) -> u64 {
        Fold::missing(self)
    }
    fn lacks(&mut self, record: &Undecodable) {
        match record.kind() {
            Some(kind) if !P::wants(kind) => self.pass(record.seq),
            _ => self.skip(record.seq),
        }
    }
    fn concerned_by(&self, event: &StoredEvent) -> bool {
        P::concerns(event)
    }
    fn hash(&self) -> Result<StateHash> {
        Fold::hash(self).map_err(|error| no_form::<P>("bytes", &error))
    }
    fn encode(&self, journal: [u8; 16]) -> Result<Vec<u8>> {
        snapshot::encode(self, journal).map_err(|error| no_form::<P>("bytes", &error))
    }
    fn state_json(&self) -> Result<Box<RawValue>> {
        serde_json::value::to_raw_value(self.state()).map_err(|error| no_form::<P>("JSON form", &error))
    }
    fn mapped(&self) -> Option<Mapped<'_>> {
        P::mapped(self.state())
    }
    fn shown(&self, looking: &Looking<'_>) -> Result<Option<Json>> {
        P::shown(self, looking).transpose().map_err(|error| no_form::<P>("form for people", &error))
    }
    fn session_json(&self, session: &str) -> Result<Json> {
        P::session_json(self.state(), session).map_err(|error| no_form::<P>("JSON form", &error))
    }
}

fn no_form<P: Projection>(form: &str, error: &dyn std::fmt::Display) -> Error {
    Error::failed(format!("the state of the projection {} has no {form}: {error}", P::NAME))
}

/// What `state` prints and `GET /state/{projection}` answers with.
#[derive(Debug, Serialize, Deserialize)]
pub struct StateView {
    /// [`STATE_VERSION`].
    pub version: u32,
    /// The projection.
    pub projection: Cow<'static, str>,
    /// The last event folded; 0 before the first.
    pub seq: Seq,
    /// How many events up to there are not in the state, because they could not be read; see [`Fold::missing`].
    pub missing: u64,
    /// The hash of the state.
    pub hash: String,
    /// The state.
    pub state: Box<RawValue>,
}

impl StateView {
    /// Of a fold.
    ///
    /// # Errors
    /// When its state has no JSON form.
    pub fn of(fold: &dyn AnyFold) -> Result<StateView> {
        Ok(StateView {
            version: STATE_VERSION,
            projection: fold.name().into(),
            seq: fold.seq(),
            missing: fold.missing(),
            hash: fold.hash()?.to_string(),
            state: fold.state_json()?,
        })
    }
}
