//! All the sessions that the state knows, wherever they lie in it; and the state's own two forms.
//!
//! As bytes, what lies in pages is named by their hashes. As JSON the state is what a person asks for: each session under its id, whether it
//! lies in the archive or not, and the rest as counts. A state read from JSON shows the same and is not folded on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::archive::Archived;
use super::departed::Departed;
use super::state::{Messages, Session, Sessions};
use super::text::fingerprint;
use super::unfinished::Unfinished;
use crate::projection::by_id::ById;
use crate::projection::entries::{Mapped, Named, Stamp};
use crate::projection::snapshot::Part;

impl Sessions {
    /// The session of this id.
    pub fn get(&self, id: &str) -> Option<Cow<'_, Session>> {
        let recent = self.recent.get(id).map(Cow::Borrowed);
        recent.or_else(|| self.archive.get(fingerprint(id), id).map(Cow::Owned))
    }

    /// All of them, in no order that means anything.
    pub fn all(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, Session>)> {
        let recent =
            self.recent.unordered().map(|(id, session)| (Cow::Borrowed(id.as_str()), Cow::Borrowed(session)));
        recent.chain(self.archive.all().map(|(id, session)| (Cow::Owned(id), Cow::Owned(session))))
    }

    /// What the state serializes to as JSON, in parts.
    pub(super) fn mapped(&self) -> Mapped<'_> {
        let recent = self.recent.iter().map(|(id, session)| Named {
            id: Cow::Borrowed(id.as_str()),
            // Nothing changes a session but its own events.
            stamp: Stamp::Seq(session.seq_last),
            json: Box::new(|| serde_json::to_string(session)),
        });
        let others = [
            ("departed", self.departed()),
            ("messages", self.messages.remembered()),
            ("unread", self.unread),
        ];
        Mapped {
            field: "sessions",
            entries: recent.chain(self.archive.each()).collect(),
            others: others.map(|(name, count)| (name, count.into())).into(),
        }
    }

    /// Those that are not over and of whose agent there was a sign. Asked again, it costs as much as there are of these, however many
    /// others the archive holds.
    pub fn unfinished(&self) -> impl Iterator<Item = Cow<'_, Unfinished>> {
        let recent = self.recent.iter().filter_map(|(id, session)| Unfinished::of(id, session));
        recent.map(Cow::Owned).chain(self.archive.unfinished().map(Cow::Borrowed))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.recent.len() + self.archive.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more were seen long ago and are in the journal alone.
    pub fn departed(&self) -> u64 {
        self.departed.len()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.archive.parts().chain(self.departed.parts()).chain(self.messages.parts())
    }

    pub(super) fn fill_parts(&mut self, fill: &mut dyn FnMut(&mut Part) -> bool) -> bool {
        let (archive, departed) = (self.archive.parts_mut(), self.departed.parts_mut());
        archive.chain(departed).chain(self.messages.parts_mut()).all(fill)
            && self.archive.filled()
            && self.departed.filled()
            && self.messages.filled()
    }
}

/// The bytes.
#[derive(Serialize, Deserialize)]
struct Bytes<R, A, D, M> {
    recent: R,
    archive: A,
    departed: D,
    messages: M,
    unread: u64,
}

/// The JSON.
#[derive(Serialize, Deserialize)]
struct Shown<'a> {
    sessions: BTreeMap<Cow<'a, str>, Cow<'a, Session>>,
    departed: u64,
    messages: u64,
    unread: u64,
}

impl Serialize for Sessions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Sessions { recent, archive, departed, messages, unread } = self;
        if serializer.is_human_readable() {
            let (departed, messages) = (self.departed(), messages.remembered());
            return Shown { sessions: self.all().collect(), departed, messages, unread: *unread }
                .serialize(serializer);
        }
        Bytes { recent, archive, departed, messages, unread: *unread }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sessions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sessions, D::Error> {
        if deserializer.is_human_readable() {
            let Shown { sessions, unread, .. } = Shown::deserialize(deserializer)?;
            let owned =
                |(id, session): (Cow<'_, str>, Cow<'_, Session>)| (id.into_owned(), session.into_owned());
            let recent = sessions.into_iter().map(owned).collect();
            return Ok(Sessions { recent, unread, ..Sessions::default() });
        }
        let Bytes { recent, archive, departed, messages, unread } =
            Bytes::<ById<Session>, Archived, Departed, Messages>::deserialize(deserializer)?;
        Ok(Sessions { recent, archive, departed, messages, unread })
    }
}
