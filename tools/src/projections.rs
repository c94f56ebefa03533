//! The saved states of projections, compared with the fold of the journal.

use mnemosyne::event::Seq;
use mnemosyne::event::text::visible;
use mnemosyne::projection::compare::{Checked, Comparison, Verdict};
use mnemosyne::projection::snapshot::Refused;
use mnemosyne_journal::inspect::Survey;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Content, Flow, Item, Span};
use crate::verify::Report;

/// Folds the journal and compares every saved state of the data directory with it.
pub(crate) fn check(
    place: &Place,
    survey: &Survey,
    report: &Report,
    out: &mut Out,
) -> Result<Vec<Checked>, Failure> {
    let data = place.data.as_ref().ok_or_else(|| {
        Failure::Usage("--projections needs a data directory: saved states lie beside the journal".to_owned())
    })?;
    let Some(journal) = report.journal else {
        return Err(Failure::Damaged("no header says which journal this is".to_owned()));
    };
    let (first, last) = report.seqs();
    let outward = |seq: mnemosyne_journal::Seq| Seq::new(seq.get());
    let (snapshots, bases) = (data.join("snapshots"), data.join("base"));
    let comparison = Comparison::begin(&snapshots, &bases, journal.to_bytes(), outward(first), outward(last));
    let mut comparison = comparison.map_err(failed)?;
    records::each(survey, Span::ALL, out, |item, _| {
        match item {
            Item::Gap(gap) => comparison.skip(outward(gap.to)),
            Item::Record(record) => match record.content() {
                Content::Event(event) => comparison.event(&event),
                Content::Opaque(_) => comparison.skip(outward(record.seq)),
            },
        }
        .map_err(failed)?;
        Ok(Flow::On)
    })?;
    comparison.end().map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: mnemosyne::error::Error) -> Failure {
    Failure::Failed(error.to_string())
}

/// What the saved states amount to: a verdict of their own, since what is derived loses nothing that was recorded.
pub(crate) struct Tally {
    as_folded: u64,
    wrong: u64,
    damaged: u64,
    ahead: u64,
    not_used: u64,
}

impl Tally {
    pub(crate) fn of(states: &[Checked]) -> Tally {
        let mut tally = Tally { as_folded: 0, wrong: 0, damaged: 0, ahead: 0, not_used: 0 };
        for state in states {
            let counter = match state.verdict {
                _ if state.is_wrong() => &mut tally.wrong,
                _ if state.is_damaged() => &mut tally.damaged,
                _ if state.is_ahead() => &mut tally.ahead,
                Verdict::Same(_) | Verdict::Start(_) => &mut tally.as_folded,
                Verdict::Different { .. } | Verdict::Refused(_) | Verdict::Useless => &mut tally.not_used,
            };
            *counter += 1;
        }
        tally
    }

    /// Whether each is what was saved, be it of use or not.
    pub(crate) fn is_whole(&self) -> bool {
        self.wrong == 0 && self.damaged == 0
    }

    pub(crate) fn words(&self) -> String {
        let counts = [
            (self.wrong, "wrong or lost"),
            (self.damaged, "damaged, to be folded anew"),
            (self.ahead, "ahead of the journal"),
            (self.not_used, "of no use"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0);
        let told = told.map(|(count, what)| format!("; {count} {what}")).collect::<String>();
        format!("{} as the journal says{told}", self.as_folded)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "as_folded": self.as_folded, "wrong": self.wrong, "damaged": self.damaged, "ahead": self.ahead,
            "not_used": self.not_used, "whole": self.is_whole(),
        })
    }
}

/// One saved state, for people.
pub(crate) fn words(checked: &Checked) -> String {
    let file = checked.path.file_name().unwrap_or_default().to_string_lossy();
    let seq = checked.seq.map_or_else(String::new, |seq| format!(" at seq {seq}"));
    let what = format!("{} {}{seq}", visible(&file), visible(&checked.projection));
    match &checked.verdict {
        Verdict::Same(hash) => format!("{what}: {hash}"),
        Verdict::Different { saved, folded } => {
            format!("{what}: WRONG, holds {saved}, the journal says {folded}")
        }
        Verdict::Refused(why) if checked.primary => format!("{what}: LOST, {why}"),
        Verdict::Refused(Refused::Damaged) => format!("{what}: DAMAGED, folded anew without it"),
        Verdict::Refused(why) => format!("{what}: not used, {why}"),
        Verdict::Start(hash) => format!("{what}: {hash}, what the others are folded over"),
        Verdict::Useless => format!("{what}: of no use any more, it lies before what is retained"),
    }
}

/// One saved state, for programs.
pub(crate) fn json(checked: &Checked) -> Value {
    let (verdict, saved, folded, why) = match &checked.verdict {
        Verdict::Same(hash) => ("same", Some(hash), Some(hash), None),
        Verdict::Different { saved, folded } => ("different", Some(saved), Some(folded), None),
        Verdict::Refused(why) => ("refused", None, None, Some(why.to_string())),
        Verdict::Start(hash) => ("start", Some(hash), None, None),
        Verdict::Useless => ("useless", None, None, None),
    };
    json!({
        "file": checked.path.file_name().unwrap_or_default().to_string_lossy(),
        "projection": checked.projection,
        "seq": checked.seq.map(Seq::get),
        "base": checked.primary,
        "verdict": verdict,
        "saved": saved.map(ToString::to_string),
        "folded": folded.map(ToString::to_string),
        "why": why,
        "wrong": checked.is_wrong(),
    })
}
