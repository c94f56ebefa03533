//! The journal and the inbox: whether what was recorded is whole, and whether what is to be recorded gets there.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Finding, Fixed, Found, Look, Sealed, Verdict, first_of};
use crate::cli::display::{age, counted, duration};
use crate::error::Error;
use crate::event::{Seq, Timestamp};
use crate::projection::health::HealthProjection;
use crate::projection::health::view::health;
use crate::projection::snapshot::Files;
use crate::projection::state_at;
use crate::store::inbox;
use crate::store::inbox::failed::{self, Failures};
use crate::store::scrub::{self, Seen};
use crate::store::{self, check};

/// A server takes events in within milliseconds: what waits longer beside one is stuck.
const STUCK_AFTER_MS: u64 = 60_000;
/// Without a server events wait for the next session or command; longer than this nobody came.
const FORGOTTEN_AFTER_MS: u64 = 24 * 3_600_000;
const DAMAGED_HINT: &str =
    "check the disk; `mnemosyne-inspect verify` says where, and a backup may still hold what is damaged";

pub(super) fn journal(look: &Look<'_>) -> Found {
    let looked = if look.full { check::whole(&look.dir)? } else { check::quick(&look.dir)? };
    let Some(checked) = looked else { return Ok(Finding::pass("nothing was recorded yet")) };
    if !checked.damage.is_empty() {
        let left = match look.context.run() {
            Some(_) => scrub::leave(&look.dir, checked.journal, &checked.lost),
            None => Ok(()),
        };
        // What is damaged counts, be there a place to note it or not.
        let untold = left.err().map_or_else(String::new, |error| format!(" (not put on record: {error})"));
        return Ok(Finding::fail(
            format!("{}{untold}", first_of(&checked.damage, "damaged place")),
            "everything else can be read; `mnemosyne-inspect verify` says more, `mnemosyne-inspect salvage` saves it",
        ));
    }
    let (durable, segments) = (checked.durable, counted(checked.segments_read, "segment"));
    let read = if checked.segments_read == checked.segments {
        format!("every byte of {segments} was read")
    } else {
        format!("the last of {} segments was read; -v reads all", checked.segments)
    };
    let torn =
        checked.notes.first().map_or_else(String::new, |note| format!("; {note}, as a crash leaves it"));
    Ok(Finding::pass(format!("whole up to seq {durable}: {read}{torn}")))
}

pub(super) fn recovery(look: &Look<'_>) -> Found {
    let view = look.view()?;
    let dir = &look.dir;
    let files = view
        .journal_id()
        .map(|journal| Files::new(dir.snapshots(), journal.to_bytes()).with_base(dir.base()));
    let (fold, _) = state_at::<HealthProjection>(&view, files.as_ref(), Seq::MAX)?;
    let told = health(&fold);
    let last = |kind: &str| told.store.iter().find(|told| told.kind == kind);
    if let Some(found) = last("corruption_detected") {
        let (ranges, ago) = (counted(found.count, "damaged range"), age(found.last.time, look.now));
        return Ok(Finding::warn(
            format!("{ranges} found so far, the last one {ago} ago (seq {})", found.last.seq),
            DAMAGED_HINT,
        ));
    }
    Ok(match last("journal_recovered") {
        Some(found) => {
            let (times, ago) = (counted(found.count, "time"), age(found.last.time, look.now));
            Finding::pass(format!("recovered {times} after a crash, last {ago} ago; nothing was damaged"))
        }
        None => Finding::pass("the journal was always closed in order"),
    })
}

pub(super) fn segments(look: &Look<'_>) -> Found {
    let Some(journal) = look.view()?.journal_id() else { return Ok(None) };
    Ok(Some(judge_segments(&scrub::sealed(&look.dir, journal)?, look.now)))
}

/// What a server saw when it last read each sealed segment; not every one was looked at.
fn judge_segments(sealed: &BTreeMap<Seq, Option<Seen>>, now: Timestamp) -> Finding {
    let listed = sealed.iter().map(|(base, seen)| Sealed {
        base: *base,
        looked: seen.as_ref().map(Seen::looked),
        last_whole: seen.as_ref().and_then(Seen::last_whole),
        problems: seen.as_ref().map(Seen::problems),
    });
    let (verdict, detail, hint) = told_of_segments(sealed, now);
    Finding { segments: Some(listed.collect()), ..Finding::new(verdict, detail, hint) }
}

fn told_of_segments(
    sealed: &BTreeMap<Seq, Option<Seen>>,
    now: Timestamp,
) -> (Verdict, String, Option<String>) {
    let seen = || sealed.iter().filter_map(|(base, seen)| Some((base, seen.as_ref()?)));
    let (all, looked) = (sealed.len(), seen().count());
    let unseen = match all - looked {
        0 => String::new(),
        unseen => format!("; {unseen} not looked at yet"),
    };
    let damaged: Vec<String> = seen()
        .filter(|(_, seen)| !seen.is_whole())
        .map(|(base, seen)| match seen.last_whole() {
            Some(whole) => format!("the one from seq {base}, last whole {} ago", age(whole, now)),
            None => format!("the one from seq {base}, never seen whole"),
        })
        .collect();
    if !damaged.is_empty() {
        let detail = format!("{}{unseen}", first_of(&damaged, "damaged segment"));
        return (Verdict::Fail, detail, Some(DAMAGED_HINT.to_owned()));
    }
    let segments = counted(all as u64, "sealed segment");
    let detail = match seen().map(|(_, seen)| seen.looked()).min() {
        None if all == 0 => "no segment is sealed yet".to_owned(),
        None => format!("{segments}, none of them looked at yet"),
        Some(oldest) => {
            format!("{looked} of {segments} seen whole, none longer than {} ago{unseen}", age(oldest, now))
        }
    };
    (Verdict::Pass, detail, None)
}

/// What waits in the inbox and is not of this very process: how much, and since when the oldest.
fn waiting(look: &Look<'_>) -> Result<(u64, Option<Timestamp>), Error> {
    let own = std::process::id().to_string();
    let (mut count, mut oldest) = (0, None);
    for name in names_in(&look.dir.inbox())? {
        let mut parts = name.split('-');
        let (Some(nanos), Some(pid), Some(_)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some(time) =
            nanos.parse::<u64>().ok().filter(|_| Path::new(&name).extension().is_none_or(|end| end != "tmp"))
        else {
            continue;
        };
        if pid == own {
            continue;
        }
        count += 1;
        let time = Timestamp::from_micros(i64::try_from(time / 1_000).unwrap_or(i64::MAX));
        oldest = Some(oldest.map_or(time, |oldest: Timestamp| oldest.min(time)));
    }
    Ok((count, oldest))
}

pub(super) fn inbox(look: &Look<'_>) -> Found {
    let (count, oldest) = waiting(look)?;
    let Some(oldest) = oldest else { return Ok(Finding::pass("nothing waits")) };
    let waited = crate::cli::display::millis_between(oldest, look.now);
    let detail = format!("{} waiting, the oldest for {}", counted(count, "event"), duration(waited));
    Ok(if look.holder.is_some() && waited > STUCK_AFTER_MS {
        Finding::fail(
            format!(
                "{detail}, though {} holds the journal",
                look.holder.as_ref().map_or("somebody", |it| it.role.name())
            ),
            "look into log/server.log; stop the server with `mnemosyne api-server --stop`",
        )
    } else if waited > FORGOTTEN_AFTER_MS {
        Finding::warn(detail, "the next server or reading command takes them in")
    } else {
        Finding::pass(detail)
    })
}

pub(super) fn drain(look: &Look<'_>) -> Fixed {
    let (before, _) = waiting(look)?;
    store::read(&look.dir, look.env)?;
    let (after, _) = waiting(look)?;
    if after > 0 {
        return Err(Error::failed(format!("{} could not be taken in", counted(after, "event"))));
    }
    let mut done =
        vec![format!("had the inbox taken into the journal ({} of others waited)", counted(before, "event"))];
    if inbox::is_full(&look.dir.inbox()) {
        // Who drains takes the mark away with the last file, and where there was none nobody comes to that.
        inbox::clear_full(&look.dir.inbox())?;
        done.push("took away the mark of a full inbox: nothing waits in it".to_owned());
    }
    Ok(done)
}

pub(super) fn inbox_room(look: &Look<'_>) -> Found {
    Ok(if inbox::is_full(&look.dir.inbox()) {
        Finding::fail(
            "the inbox is at its cap: hooks cannot put anything there",
            "have it taken in: start a server, or run any command that reads",
        )
    } else {
        Finding::pass("the inbox takes more")
    })
}

pub(super) fn inbox_failures(look: &Look<'_>) -> Found {
    let failures = failed::read(&look.dir.inbox())?;
    if failures.open() == 0 {
        return Ok(Finding::pass(match failures.count {
            0 => "every event that came was kept".to_owned(),
            count => format!(
                "every event that came was kept since {} were noted that were not",
                counted(count, "event")
            ),
        }));
    }
    Ok(Finding::warn(
        not_kept(&failures, look.now),
        "the reason says what to look for; --fix notes that you know, and only what fails after that is told again",
    ))
}

/// How many could not be kept, and why the last one could not.
fn not_kept(failures: &Failures, now: Timestamp) -> String {
    let ago = failures.last.map_or_else(String::new, |last| format!(" {} ago", age(last, now)));
    format!(
        "{} could not be kept whole, the last one{ago}: {}",
        counted(failures.open(), "event"),
        failures.words()
    )
}

pub(super) fn note_failures(look: &Look<'_>) -> Fixed {
    let open = failed::note(&look.dir.inbox())?;
    Ok(vec![format!("noted that you know: {}", not_kept(&open, look.now))])
}

pub(super) fn inbox_quarantine(look: &Look<'_>) -> Found {
    let kept = names_in(&look.dir.quarantine())?;
    Ok(if kept.is_empty() {
        Finding::pass("every file of the inbox could be read")
    } else {
        Finding::warn(
            format!("{} of the inbox could not be read", first_of(&kept, "file")),
            "they are kept in quarantine/; look at them, and remove them when they are of no use",
        )
    })
}

/// The names in a directory, sorted; none where it is not there.
fn names_in(directory: &Path) -> Result<Vec<String>, Error> {
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(Error::io("list", directory))?,
    };
    let mut names = Vec::new();
    for item in listing {
        let item = item.map_err(Error::io("list", directory))?;
        names.push(item.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One segment for each pair of the second at which it was looked at and the problems found, or none.
    fn sealed(looks: &[Option<(i64, u64)>]) -> BTreeMap<Seq, Option<Seen>> {
        let seen = |(second, problems): (i64, u64)| {
            let looked = second * 1_000_000;
            let seen = serde_json::json!({"looked": looked, "whole": 1, "lost": [], "hurt": [], "problems": problems});
            serde_json::from_value(seen).unwrap()
        };
        (1..).map(Seq::new).zip(looks.iter().map(|look| look.map(seen))).collect()
    }

    #[test]
    fn it_is_told_how_many_segments_were_seen_and_how_many_not() {
        let now = Timestamp::from_micros(100_000_000);
        let rows: [(&[Option<(i64, u64)>], &str); 4] = [
            (&[], "no segment is sealed yet"),
            (&[None, None], "2 sealed segments, none of them looked at yet"),
            (&[Some((90, 0))], "1 of 1 sealed segment seen whole, none longer than 10 s ago"),
            (
                &[Some((90, 0)), Some((40, 0)), None],
                "2 of 3 sealed segments seen whole, none longer than 1 m ago; 1 not looked at yet",
            ),
        ];
        for (looks, detail) in rows {
            let finding = judge_segments(&sealed(looks), now);
            assert_eq!((finding.verdict, finding.detail.as_str()), (Verdict::Pass, detail));
            let listed = finding.segments.expect("each is listed");
            let expected: Vec<Option<Timestamp>> =
                looks.iter().map(|look| look.map(|(s, _)| Timestamp::from_micros(s * 1_000_000))).collect();
            assert_eq!(listed.iter().map(|one| one.looked).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_segment_that_was_damaged_at_its_last_look_fails() {
        let now = Timestamp::from_micros(100_000_000);
        let finding = judge_segments(&sealed(&[Some((90, 0)), Some((95, 1)), None]), now);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.detail.contains("1 damaged segment: the one from seq 2"), "{}", finding.detail);
        assert!(finding.detail.ends_with("; 1 not looked at yet"), "{}", finding.detail);
        assert!(finding.hint.is_some());
        let lines: Vec<String> = finding.segments.unwrap().iter().map(Sealed::line).collect();
        assert!(lines[0].contains("from seq 1: last seen whole "), "{lines:?}");
        assert!(lines[1].contains("from seq 2: 1 problem at the last look "), "{lines:?}");
        assert!(lines[2].ends_with("from seq 3: not looked at yet"), "{lines:?}");
    }
}
