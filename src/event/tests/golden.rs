//! Golden files: the disk form and the JSON form of every kind in every version, written once and never edited. What an earlier
//! version wrote must read as the same event for ever, and while a version is the present one it must be written the same.
//!
//! `tests/golden/event/<kind>.v<version>.txt` holds the JSON line and, below it, the disk form in hexadecimal. A missing file is written when
//! `MNEMOSYNE_BLESS=1` is set; one that is there is never written again. An optional field that a kind gets later changes no version, for
//! old payloads still parse: the kind then gets a further file, `.v<version>.b.txt` and so on, which begins empty and is written when blessed.

use crate::event::doc::{
    REFERENCE_BEGINS, REFERENCE_ENDS, events_md, example, example_is_valid, reference_md,
};
use crate::event::*;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn bless() -> bool {
    std::env::var_os("MNEMOSYNE_BLESS").is_some_and(|value| value == "1")
}

fn recorded() -> String {
    std::fs::read_to_string(root().join("src/event/doc/recorded.jsonl")).unwrap()
}

fn file_of(kind: Kind) -> PathBuf {
    let first = format!("tests/golden/event/{}.v{}", kind.name(), kind.version());
    let mut further = ('b'..='z').map(|letter| root().join(format!("{first}.{letter}.txt")));
    further.rfind(|path| path.exists()).unwrap_or_else(|| root().join(format!("{first}.txt")))
}

fn golden(stored: &StoredEvent) -> String {
    let mut text = stored.to_json() + "\n";
    for line in stored.event.encode().chunks(32) {
        for byte in line {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}

fn read(text: &str) -> (StoredEvent, Vec<u8>) {
    let (json, hex) = text.split_once('\n').unwrap();
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let bytes = digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect();
    (StoredEvent::from_json(json).unwrap(), bytes)
}

#[test]
fn the_present_version_of_every_kind_is_written_as_ever() {
    for &kind in Kind::ALL {
        let path = file_of(kind);
        let now = golden(&example(kind));
        if bless() && std::fs::metadata(&path).map_or(true, |file| file.len() == 0) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &now).unwrap();
        }
        let then = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; write it with MNEMOSYNE_BLESS=1", path.display()));
        assert_eq!(now, then, "{kind}: the form changed; a changed form needs a new version and a new file");
    }
}

#[test]
fn every_golden_file_reads_back_as_the_event_that_it_shows() {
    let mut files = 0;
    for entry in std::fs::read_dir(root().join("tests/golden/event")).unwrap() {
        let path = entry.unwrap().path();
        let (stored, bytes) = read(&std::fs::read_to_string(&path).unwrap());
        let event = Event::decode(&bytes).unwrap();
        assert_eq!(event, stored.event, "{}", path.display());
        assert_eq!(event.encode(), bytes, "{}", path.display());
        assert!(event.payload().is_ok(), "{}: {:?}", path.display(), event.payload());
        files += 1;
    }
    assert!(files >= Kind::ALL.len(), "{files} files for {} kinds", Kind::ALL.len());
}

#[test]
fn the_page_about_events_is_fresh() {
    let path = root().join("docs/EVENTS.md");
    let page = events_md(&recorded());
    if bless() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    // Not assert_eq: two pages side by side tell nothing.
    assert!(
        found == page,
        "docs/EVENTS.md is stale; write it anew: MNEMOSYNE_BLESS=1 cargo test -p mnemosyne --lib event::"
    );
    for &kind in Kind::ALL {
        assert!(page.contains(&format!("### {}\n", kind.name())) && example_is_valid(kind), "{kind}");
    }
}

#[test]
fn what_was_recorded_as_an_example_reads_back_as_it_stands_there() {
    let mut kinds = Vec::new();
    for line in recorded().lines() {
        let stored = StoredEvent::from_json(line).unwrap();
        assert_eq!(stored.to_json(), line);
        let kind = stored.event.kind.known().unwrap();
        assert_eq!(kind.validate(&stored.event.payload.to_json()), Ok(()), "{line}");
        kinds.push(kind);
    }
    let by_hand = [Kind::WebhookDelivered, Kind::WebhookFailed];
    let can_be: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| !by_hand.contains(kind)).collect();
    assert_eq!(kinds, can_be, "one of each kind, in their order");
}

#[test]
fn the_reference_in_the_agents_guide_is_fresh() {
    let path = root().join("docs/AGENT_GUIDE.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(REFERENCE_BEGINS).unwrap();
    let (_, after) = rest.split_once(REFERENCE_ENDS).unwrap();
    let fresh = format!("{before}{REFERENCE_BEGINS}{}{REFERENCE_ENDS}{after}", reference_md());
    if bless() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == fresh,
        "docs/AGENT_GUIDE.md is stale; write it anew: MNEMOSYNE_BLESS=1 cargo test -p mnemosyne --lib event::"
    );
    for &kind in Kind::ALL {
        assert!(found.contains(&format!("(EVENTS.md#{})", kind.name())), "{kind}");
    }
}
