//! `info`: the journal at a glance. Headers and footers of all segments are read, and the whole of the last one.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use mnemosyne::event::text::visible;
use mnemosyne_journal::format::TailFile;
use mnemosyne_journal::inspect::{Glance, Look, Survey};
use mnemosyne_journal::verify::Problem;
use mnemosyne_journal::{Lock, Seq};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::text;

/// A runtime file larger than this is none.
const RUNTIME_BYTES_MAX: u64 = 64 << 10;
/// Digits of the time that the name of a waiting event begins with.
const INBOX_TIME_DIGITS: usize = 20;

/// Show id, segments, tail, chain head, and what waits beside the journal
///
/// Reads the first and last bytes of each segment and the whole of the last one, and tells which seqs no segment holds; `verify`
/// reads everything. Who holds the lock and which server runs is told as it is recorded in the files: nobody is asked
/// whether it lives.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
}

pub(crate) fn run(args: &InfoArgs, out: &mut Out) -> Result<(), Failure> {
    let place = Place::find(&args.dir)?;
    let survey = place.open()?;
    let glances =
        (0..survey.bases().len()).map(|index| survey.glance(index)).collect::<Result<Vec<_>, _>>()?;
    let last = survey.bases()[survey.bases().len() - 1];
    let Some(look) = survey.looks(last).next()? else {
        return Err(Failure::NotFound("the last segment was removed meanwhile; try again".to_owned()));
    };
    let beside = Beside::of(&place, &survey)?;
    let problems = problems(&glances, &look);
    if !problems.is_empty() || glances.iter().any(|glance| glance.header.is_err()) {
        out.damage();
    }
    if out.is_json() {
        out.json(&as_json(&glances, &look, &problems, &beside))
    } else {
        print(&glances, &look, &problems, &beside, out)
    }
}

/// What is missing between the segments, and what is wrong in the last.
fn problems(glances: &[Glance], look: &Look) -> Vec<Problem> {
    let pairs = glances.iter().zip(glances.iter().skip(1));
    let missing = pairs.filter_map(|(glance, next)| glance.missing_before(next.base));
    missing.chain(look.checked.problems.iter().cloned()).collect()
}

/// What lies beside the segments, as it is recorded.
struct Beside {
    tail: Option<Result<TailFile, String>>,
    quarantine: Vec<(String, u64)>,
    /// Only of a data directory.
    inbox: Option<u64>,
    holder: Option<Value>,
    server: Option<Value>,
}

impl Beside {
    fn of(place: &Place, survey: &Survey) -> Result<Beside, Failure> {
        let tail = survey.tail_file().map(|tail| tail.map_err(|fault| fault.to_string()));
        let mut beside =
            Beside { tail, quarantine: survey.quarantine()?, inbox: None, holder: None, server: None };
        if let Some(data) = &place.data {
            beside.inbox = Some(waiting(&data.join("inbox"))?);
            let holder = Lock::read_holder(&data.join("lock"));
            beside.holder =
                holder.and_then(|text| named(&text, &["role", "pid", "start_ticks", "journal_id"]));
            let server = read_runtime(&data.join("server.json"));
            beside.server = server.and_then(|text| named(&text, &["addr", "pid", "version", "started_at"]));
        }
        Ok(beside)
    }
}

/// These fields of a JSON object and no others: the runtime file holds a token too.
fn named(text: &[u8], fields: &[&str]) -> Option<Value> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(text).ok()?;
    let kept = fields.iter().filter_map(|name| Some(((*name).to_owned(), object.get(*name)?.clone())));
    Some(Value::Object(kept.collect()))
}

fn read_runtime(path: &Path) -> Option<Vec<u8>> {
    let is_file = fs::symlink_metadata(path).ok()?.is_file();
    let mut text = Vec::new();
    is_file.then(|| fs::File::open(path).ok())??.take(RUNTIME_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}

/// How many events wait in the inbox: files with the name of one.
fn waiting(inbox: &Path) -> Result<u64, Failure> {
    let failed = |source| Failure::Io { action: "list", path: inbox.to_owned(), source };
    let names = match fs::read_dir(inbox) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    let mut count = 0;
    for name in names {
        let name = name.map_err(failed)?.file_name();
        let time = name.to_str().and_then(|name| name.split_at_checked(INBOX_TIME_DIGITS));
        let is_event = time.is_some_and(|(time, rest)| {
            time.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with('-') && !rest.contains('.')
        });
        count += u64::from(is_event);
    }
    Ok(count)
}

/// The last seq of a segment: its footer says it, or the next segment's name; of the last one, the check.
fn last_of(glances: &[Glance], index: usize, look: &Look) -> Seq {
    match (&glances[index].footer, glances.get(index + 1)) {
        (_, None) => look.checked.last,
        (Some(footer), _) => footer.last,
        (None, Some(next)) => next.base.prev(),
    }
}

fn state(glances: &[Glance], index: usize) -> &'static str {
    match (&glances[index].footer, index + 1 == glances.len()) {
        (Some(_), _) => "sealed",
        (None, true) => "active",
        (None, false) => "unsealed",
    }
}

fn print(
    glances: &[Glance],
    look: &Look,
    problems: &[Problem],
    beside: &Beside,
    out: &mut Out,
) -> Result<(), Failure> {
    let checked = &look.checked;
    let id = glances.iter().find_map(|glance| glance.header.as_ref().ok()).map(|header| header.journal);
    let id = id.or(checked.journal).map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let first = glances[0].base;
    let bytes: u64 = glances.iter().map(|glance| glance.file_bytes).sum();
    let records = if checked.last < first { "none".to_owned() } else { text::seqs(first, checked.last) };
    let head = match (checked.link, look.bytes.is_empty()) {
        (Some(head), _) => format!("{head} after seq {}", checked.last),
        (None, _) => "unknown: damage hides it".to_owned(),
    };
    out.line(&format!("journal     {id}"))?;
    out.line(&format!("records     {records}"))?;
    out.line(&format!("proven      up to seq {}", checked.proven))?;
    out.line(&format!("head        {head}"))?;
    out.line(&format!("segments    {}, {bytes} bytes", glances.len()))?;
    let heads = ["base", "last", "bytes", "state", "created"].map(str::to_owned).to_vec();
    let rows = (0..glances.len()).map(|index| {
        let glance = &glances[index];
        let created = match &glance.header {
            Ok(header) => text::time(header.created),
            Err(fault) => format!("header does not hold: {fault}"),
        };
        let last = last_of(glances, index, look);
        let last = if last < glance.base { "-".to_owned() } else { last.to_string() };
        vec![
            glance.base.to_string(),
            last,
            glance.file_bytes.to_string(),
            state(glances, index).to_owned(),
            created,
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    for row in text::table(&rows) {
        out.line(&format!("  {row}"))?;
    }
    print_beside(beside, out)?;
    for note in &checked.notes {
        out.line(&format!("note        {}", text::problem(note)))?;
    }
    for problem in problems {
        out.line(&format!("damage      {}", text::problem(problem)))?;
    }
    Ok(())
}

fn print_beside(beside: &Beside, out: &mut Out) -> Result<(), Failure> {
    let tail = match &beside.tail {
        None => "none".to_owned(),
        Some(Err(fault)) => format!("does not hold: {fault}"),
        Some(Ok(tail)) => {
            format!(
                "durable up to seq {}, in segment {} up to byte {}",
                tail.durable, tail.segment, tail.offset
            )
        }
    };
    out.line(&format!("tail file   {tail}"))?;
    let shown = |value: &Option<Value>| match value {
        Some(value) => visible(&value.to_string()).into_owned(),
        None => "none is recorded".to_owned(),
    };
    if let Some(waiting) = beside.inbox {
        out.line(&format!("lock        {}", shown(&beside.holder)))?;
        out.line(&format!("server      {}", shown(&beside.server)))?;
        out.line(&format!("inbox       {} waiting", text::counted(waiting, "event")))?;
    }
    let aside: u64 = beside.quarantine.iter().map(|(_, bytes)| bytes).sum();
    let files = text::counted(beside.quarantine.len() as u64, "file");
    out.line(&format!("quarantine  {files}, {}", text::counted(aside, "byte")))?;
    for (name, bytes) in &beside.quarantine {
        out.line(&format!("  {}  {}", visible(name), text::counted(*bytes, "byte")))?;
    }
    Ok(())
}

fn as_json(glances: &[Glance], look: &Look, problems: &[Problem], beside: &Beside) -> Value {
    let checked = &look.checked;
    let id = glances.iter().find_map(|glance| glance.header.as_ref().ok()).map(|header| header.journal);
    let segments = glances.iter().enumerate().map(|(index, glance)| {
        let header = glance.header.as_ref();
        json!({
            "file": glance.name,
            "base": glance.base.get(),
            "last": last_of(glances, index, look).get(),
            "bytes": glance.file_bytes,
            "state": state(glances, index),
            "created": header.ok().map(|header| text::time(header.created)),
            "problem": header.err().map(ToString::to_string),
        })
    });
    let quarantine = beside.quarantine.iter().map(|(name, bytes)| json!({ "file": name, "bytes": bytes }));
    let tail = beside.tail.as_ref().map(|tail| match tail {
        Ok(tail) => json!({
            "durable": tail.durable.get(), "segment": tail.segment.get(), "offset": tail.offset,
        }),
        Err(fault) => json!({ "problem": fault }),
    });
    json!({
        "version": 1,
        "journal": id.or(checked.journal).map(|id| id.to_string()),
        "first_seq": glances[0].base.get(),
        "last_seq": checked.last.get(),
        "proven_seq": checked.proven.get(),
        "head": checked.link.map(|head| head.to_string()),
        "segments": segments.collect::<Vec<_>>(),
        "tail_file": tail,
        "lock": beside.holder,
        "server": beside.server,
        "inbox": beside.inbox,
        "quarantine": quarantine.collect::<Vec<_>>(),
        "notes": checked.notes.iter().map(text::problem_json).collect::<Vec<_>>(),
        "problems": problems.iter().map(text::problem_json).collect::<Vec<_>>(),
    })
}
