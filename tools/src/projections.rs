//! The saved states of projections, compared with the fold of the journal.

use mnemosyne::event::Seq;
use mnemosyne::event::text::visible;
use mnemosyne::projection::compare::{Checked, Comparison, Verdict};
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
