//! The page `docs/EVENTS.md`, and the reference in `docs/AGENT_GUIDE.md`, made from the catalog. A test compares them with the
//! files and says how to write them anew.

use super::catalog::{Field, FieldType, Kind};
use super::{Category, Event, PayloadText, Seq, Source, StoredEvent, Timestamp, emit, ids};
use std::fmt::Write;

/// The page's text. `recorded` has events that the program has recorded, one a line: `tests/it/event_examples.rs` records them again and
/// compares.
pub fn events_md(recorded: &str) -> String {
    let mut page = String::from(INTRODUCTION);
    overview(&mut page);
    for &category in Category::ALL {
        let _ = write!(page, "\n## {}\n", heading(category));
        for &kind in Kind::ALL.iter().filter(|kind| kind.category() == category) {
            section(&mut page, kind, recorded);
        }
    }
    page.push_str(USES);
    page
}

/// What stands behind the kinds: life cycles, the stream, how to use it.
const USES: &str = include_str!("doc/uses.md");

/// Between these two lines of the agent's guide stands [`reference_md`].
pub const REFERENCE_BEGINS: &str = "<!-- generated from the catalog: begin -->\n";
/// The second of them.
pub const REFERENCE_ENDS: &str = "<!-- generated from the catalog: end -->\n";

/// A table of all kinds, for a guide: how much each matters, and who emits it.
pub fn reference_md() -> String {
    let mut table = String::from("| kind | importance | emitted by | state |\n|---|---|---|---|\n");
    for &kind in Kind::ALL {
        let (name, importance, producer) = (kind.name(), kind.importance(), kind.producer());
        let _ =
            writeln!(table, "| [`{name}`](EVENTS.md#{name}) | {importance} | {producer} | {} |", state(kind));
    }
    table
}

/// An event of a kind as a reader gets it, the same on every run.
pub(crate) fn example(kind: Kind) -> StoredEvent {
    const SESSION: &str = "258c7280-ae70-4798-800f-63464d01a85d";
    const SERVER: &str = "0190a5c2-7d1e-7000-8000-0000000000aa";
    let time = Timestamp::from_micros(1_767_323_045_000_006);
    let id = ids::natural(SESSION, kind.name(), "example");
    let payload = PayloadText::from_json(&kind.example()).unwrap_or_else(|_| PayloadText::empty());
    let in_session = matches!(kind.category(), Category::Agent | Category::Session);
    let source = Source { program: "mnemosyne".into(), host: "devbox".into(), pid: 41_217 };
    let instance = if in_session { SESSION } else { SERVER };
    let mut event = Event::from_parts(id, time, instance.into(), source, kind, payload);
    if in_session {
        event = event.with_session(SESSION).with_project("project:parser");
    }
    StoredEvent { seq: Seq::new(120), recorded: time.saturating_add_micros(1_894), event }
}

const INTRODUCTION: &str = "\
# Events

This page is generated from the catalog in `src/event/catalog/`; a test keeps it fresh. To write it anew:
`MNEMOSYNE_BLESS=1 cargo test -p mnemosyne --lib event::`.

An event is one JSON object on one line. Its payload stands under `payload`; readers ignore fields that they do not know and keep kinds that
they do not know. Times are UTC with six digits. Fields that are absent are left out.

| field | type | meaning |
|---|---|---|
| `seq` | whole number | place in the journal, dense from 1; the `id:` of a server-sent event |
| `id` | UUID | given by the emitter; appending the same id twice is appending one event |
| `kind` | string | one of the names below |
| `version` | whole number | schema version of the payload |
| `time` | time | when it happened, by the emitter's clock |
| `recorded` | time | when the journal took it; never runs backwards; behind a damaged batch header a lower bound |
| `category` | string | derived from the kind; `custom` for an unknown one |
| `importance` | 1 to 10 | that of the kind unless the emitter said otherwise |
| `instance` | string | the agent's session id, else the instance id of the server or command |
| `session` | string, optional | the agent session that it belongs to |
| `agent` | string, optional | the agent or subagent inside the session |
| `project` | string, optional | the project |
| `correlation` | UUID | shared by all events of one command run, one tool call, one work item |
| `causation` | UUID, optional | the event that caused this one |
| `source` | object | `program`, `host`, `pid` of the emitter |
| `payload` | object | the fields of the kind; others are kept |
| `cut` | list, optional | strings that were cut to make the payload fit 64 KiB: `pointer` (a JSON pointer into the payload) and `bytes` (its former length) |
| `opaque` | object, optional | set where a later version wrote the event: only `kind`, `id` and `time` can be read |
| `summary` | string | derived; one line of at most 120 columns |

Secrets are replaced by `***REDACTED***` before an event reaches any disk. Numbers keep their digits; an exponent is written with its sign.

A kind is *produced* when this version emits it, *reserved* when its form is fixed but nothing emits it yet. Clients may emit every kind
but those marked *own*, which report what mnemosyne itself did.

Each kind has an example. One that is *recorded* came out of the running program, which a test makes record it again and compares by
fields and types; of the machine that it ran on, name and home directory are replaced. Of reserved kinds a client emitted it. One that is *made by hand* is of a kind
that nothing can emit yet. A payload may hold more than the table has: what else an agent's hook said stays beside the fields of the kind.

## All kinds
";

fn overview(page: &mut String) {
    page.push_str("\n| kind | category | importance | version | state |\n|---|---|---|---|---|\n");
    for &kind in Kind::ALL {
        let (name, category, importance, version) =
            (kind.name(), kind.category(), kind.importance(), kind.version());
        let _ = writeln!(
            page,
            "| [`{name}`](#{name}) | {category} | {importance} | {version} | {} |",
            state(kind)
        );
    }
}

fn state(kind: Kind) -> &'static str {
    match (kind.reserved(), emit::is_own(kind)) {
        (false, false) => "produced",
        (false, true) => "produced, own",
        (true, false) => "reserved",
        (true, true) => "reserved, own",
    }
}

fn heading(category: Category) -> String {
    let words = category.name().replace('_', " ");
    words[..1].to_uppercase() + &words[1..]
}

fn section(page: &mut String, kind: Kind, recorded: &str) {
    let producer = kind.producer();
    let when = if kind.reserved() { "Reserved; to be emitted by" } else { "Emitted by" };
    let _ = write!(
        page,
        "\n### {}\n\n{when}: {producer}. Importance {}, version {}.\n",
        kind.name(),
        kind.importance(),
        kind.version()
    );
    if kind.fields().is_empty() {
        page.push_str("\nIts payload is empty.\n");
    } else {
        page.push_str("\n| field | type | required | meaning |\n|---|---|---|---|\n");
        rows(page, "", kind.fields());
    }
    let (origin, shown) = match (of_kind(recorded, kind), kind.reserved()) {
        (Some(line), false) => ("Recorded", line.to_owned()),
        (Some(line), true) => ("Recorded when a client emitted it", line.to_owned()),
        (None, _) => ("Made by hand", example(kind).to_json()),
    };
    let _ = write!(page, "\n{origin}:\n\n```json\n{shown}\n```\n");
}

/// The event of this kind, if one was recorded.
fn of_kind(recorded: &str, kind: Kind) -> Option<&str> {
    let name = format!("\"kind\":\"{}\"", kind.name());
    recorded.lines().find(|line| line.contains(&name))
}

fn rows(page: &mut String, prefix: &str, fields: &[Field]) {
    for field in fields {
        let required = if field.required { "yes" } else { "no" };
        let unit = field.unit().map(|unit| format!(", {unit}")).unwrap_or_default();
        let _ = writeln!(
            page,
            "| `{prefix}{}` | {}{unit} | {required} | {} |",
            field.name,
            type_name(field.ty),
            field.doc
        );
        match field.ty {
            FieldType::Object(parts) => rows(page, &format!("{prefix}{}.", field.name), parts),
            FieldType::List(FieldType::Object(parts)) => {
                rows(page, &format!("{prefix}{}[].", field.name), parts);
            }
            _ => {}
        }
    }
}

fn type_name(ty: FieldType) -> String {
    match ty {
        FieldType::Text => "string".to_owned(),
        FieldType::Unsigned(max) if max == u64::MAX => "u64".to_owned(),
        FieldType::Unsigned(_) => "u32".to_owned(),
        FieldType::Signed => "i32".to_owned(),
        FieldType::Fraction | FieldType::Importance => "number".to_owned(),
        FieldType::Flag => "true or false".to_owned(),
        FieldType::Id => "UUID".to_owned(),
        FieldType::Time => "time".to_owned(),
        FieldType::Any => "any JSON".to_owned(),
        FieldType::List(item) => format!("list of {}", type_name(*item)),
        FieldType::Object(_) => "object".to_owned(),
    }
}

/// Checks that a payload has the shape that the page shows, so that no example can be wrong.
#[cfg(test)]
pub(super) fn example_is_valid(kind: Kind) -> bool {
    kind.validate(&kind.example()).is_ok()
}
