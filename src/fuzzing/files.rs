//! The small files of a data directory: as they come, and with the checksum put right.

use std::collections::BTreeMap;

use mnemosyne_journal::format::TailFile;
use mnemosyne_journal::{JournalId, Seq};

use super::Numbers;
use crate::agent::SAMPLE_SESSION;
use crate::config::Settings;
use crate::event::{self, Event, StoredEvent};
use crate::projection::sessions::SessionsProjection;
use crate::projection::{Fold, snapshot};
use crate::store::ids::block::{self, Partial};
use crate::store::inbox::frame;
use crate::store::lock::{Holder, Role};
use crate::store::scrub;

const JOURNAL: [u8; 16] = *b"a journal in sum";

pub(super) fn tail(bytes: &[u8]) {
    if let Ok(tail) = TailFile::decode(bytes) {
        assert_eq!(tail.encode()[..], bytes[..tail.encode().len()]);
    }
    let mut numbers = Numbers(bytes);
    let tail = TailFile {
        boot: numbers.u64(),
        journal: JournalId::from_bytes(numbers.bytes()),
        durable: Seq::new(numbers.u64()),
        segment: Seq::new(numbers.u64()),
        offset: numbers.u64(),
    };
    assert_eq!(TailFile::decode(&tail.encode()), Ok(tail));
}

pub(super) fn tail_seeds() -> Vec<Vec<u8>> {
    let tail = TailFile {
        boot: 7,
        journal: JournalId::from_bytes(JOURNAL),
        durable: Seq::new(9),
        segment: Seq::FIRST,
        offset: 4096,
    };
    vec![tail.encode().to_vec(), vec![0; 64]]
}

pub(super) fn lock(bytes: &[u8]) {
    if let Some(holder) = Holder::parse(bytes) {
        let text = serde_json::to_vec(&holder).expect("plain fields");
        assert_eq!(Holder::parse(&text), Some(holder));
    }
}

pub(super) fn lock_seeds() -> Vec<Vec<u8>> {
    let process = crate::clock::ProcessStamp { pid: 41_217, start_ticks: 99 };
    [Some(JournalId::from_bytes(JOURNAL).to_string()), None]
        .into_iter()
        .map(|journal_id| Holder { role: Role::Server, process, journal_id })
        .map(|holder| serde_json::to_vec(&holder).expect("plain fields"))
        .chain([Vec::new(), b"{}".to_vec()])
        .collect()
}

pub(super) fn inbox(bytes: &[u8]) {
    if let Ok(event) = frame::decode(bytes) {
        assert_eq!(frame::encode(event).as_deref(), Some(bytes));
    }
    if let Some(file) = frame::encode(bytes) {
        assert_eq!(frame::decode(&file), Ok(bytes));
        if let Ok(event) = Event::decode(bytes) {
            assert_eq!(Event::decode(&event.encode()).as_ref(), Ok(&event));
        }
    }
}

pub(super) fn inbox_seeds() -> Vec<Vec<u8>> {
    let event = event::doc::example(event::Kind::ToolCallStarted).event.encode();
    vec![frame::encode(&event).expect("it is small"), event, Vec::new()]
}

/// Behind a hash nothing gets that was not written; with the hash put right, a state is refused or is the state that its own
/// hash names.
pub(super) fn snapshot(bytes: &[u8]) {
    let check = |bytes: &[u8]| {
        if let Ok(fold) = snapshot::decode::<SessionsProjection>(bytes, JOURNAL, event::Seq::MAX) {
            let again = snapshot::encode(&fold, JOURNAL).expect("what was read can be written");
            let read = snapshot::decode::<SessionsProjection>(&again, JOURNAL, event::Seq::MAX);
            let read = read.expect("what was written can be read");
            assert_eq!((read.seq(), read.hash()), (fold.seq(), fold.hash()));
        }
    };
    check(bytes);
    let body = &bytes[..bytes.len().saturating_sub(blake3::OUT_LEN)];
    check(&[body, blake3::hash(body).as_bytes()].concat());
}

pub(super) fn snapshot_seeds() -> Vec<Vec<u8>> {
    let mut fold = Fold::<SessionsProjection>::default();
    let mut seeds = vec![snapshot::encode(&fold, JOURNAL).expect("a state can be written")];
    for (at, line) in SAMPLE_SESSION.lines().enumerate() {
        let event = super::events::hook(line.as_bytes()).expect("a hook of the sample");
        let seq = event::Seq::new(at as u64 + 1);
        fold.apply(&StoredEvent { seq, recorded: event.time, event });
        if at % 8 == 3 {
            seeds.push(snapshot::encode(&fold, JOURNAL).expect("a state can be written"));
        }
    }
    seeds
}

/// The index of ids: what is read lies in its block; with the checksums put right, too.
pub(super) fn ids(bytes: &[u8]) {
    let journal = JournalId::from_bytes(JOURNAL);
    let mut numbers = Numbers(bytes);
    let (first, count) = (u64::from(numbers.u32()).max(1), numbers.u16());
    let last = first.wrapping_add(u64::from(numbers.u16())).wrapping_sub(1);
    let repaired = block::file_bytes(journal, first, last, usize::from(count), numbers.0);
    for (file, first) in [(bytes, 1), (&repaired[..], first)] {
        if let Some((count, body)) = block::whole_block(file, journal, first) {
            assert!(count * 6 < body.len());
        }
        if let Some(partial) = Partial::decode(file, journal, first) {
            assert!(partial.last.wrapping_add(1) >= first);
            assert!(
                partial.seqs.values().all(|seq| (first..=partial.last).contains(seq)),
                "a seq of another block"
            );
            assert!(partial.seqs.len() * 18 <= file.len());
        }
    }
}

pub(super) fn ids_seeds() -> Vec<Vec<u8>> {
    let journal = JournalId::from_bytes(JOURNAL);
    let part = |offset: u8| [&[offset, 0][..], &[offset; 16]].concat();
    let body = [part(0), part(1), part(2)].concat();
    vec![
        block::file_bytes(journal, 1, 3, 3, &body),
        [&[1, 0, 0, 0, 3, 0, 3, 0][..], &body].concat(),
        Vec::new(),
    ]
}

/// What was seen of segments: what is read can be written and reads the same; with the checksum put right, too.
pub(super) fn whole(bytes: &[u8]) {
    let journal = JournalId::from_bytes(JOURNAL);
    let empty = scrub::encode(&BTreeMap::new(), journal);
    let mut repaired = [&empty[..empty.len() - 1], bytes].concat();
    let crc = crc32fast::hash(&repaired[12..]).to_le_bytes();
    repaired[8..12].copy_from_slice(&crc);
    for file in [bytes, &repaired] {
        if let Some(looks) = scrub::decode(file, journal) {
            assert_eq!(scrub::decode(&scrub::encode(&looks, journal), journal), Some(looks));
        }
    }
}

pub(super) fn whole_seeds() -> Vec<Vec<u8>> {
    vec![
        scrub::encode(&BTreeMap::new(), JournalId::from_bytes(JOURNAL)),
        vec![1, 7, 2, 1, 4, 0, 0],
        Vec::new(),
    ]
}

/// What is taken keeps to the bounds, and the same text says the same.
pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for users in [true, false] {
        let mut settings = Settings::default();
        if settings.apply_text(text, users).is_ok() {
            assert!(((64 << 10)..=(1 << 30)).contains(&settings.segment_bytes));
            assert!(users || settings.registered.is_empty(), "only the user registers directories");
            let mut again = Settings::default();
            again.apply_text(text, users).expect("as before");
            assert_eq!(again, settings);
        }
    }
}

pub(super) fn config_seeds() -> Vec<Vec<u8>> {
    [
        "",
        "[server]\naddr = \"127.0.0.1:3000\"\n[emit]\ndurability = \"disk\"\n",
        "[journal]\nsegment_bytes = 1048576\nchain = false\n[data]\nregistered = [\"/a/.mnemosyne\"]\n",
        "journal.segment_bytes = 9223372036854775807\n",
        "[sever]\n",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
