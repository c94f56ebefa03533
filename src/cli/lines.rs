//! Events, and what stands in their place, as lines of `events` and `tail`.
//!
//! A seq that cannot be shown has a line of its own where the event would stand: nothing is skipped in silence.

use super::display::{self, Role};
use super::out::Out;
use crate::error::Error;
use crate::event::{Seq, StoredEvent};
use crate::store::{Gap, GapReason, Item, Undecodable};
use crate::wire::sse;
use serde_json::json;

/// Prints, and keeps count of what was printed and of what was damaged.
#[derive(Debug, Default)]
pub struct Lines {
    /// Events printed.
    pub events: u64,
    /// Ranges that were damaged, in the order met.
    pub damaged: Vec<(Seq, Seq)>,
    /// Whether a line stands for events that cannot be shown.
    pub has_gaps: bool,
}

impl Lines {
    /// Whatever a replay meets.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn item(&mut self, out: &mut Out, item: &Item) -> Result<(), Error> {
        match item {
            Item::Event(event) => self.event(out, event),
            Item::Gap(gap) => self.gap(out, gap),
            Item::Undecodable(record) => self.undecodable(out, record),
        }
    }

    /// An event.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn event(&mut self, out: &mut Out, event: &StoredEvent) -> Result<(), Error> {
        self.events += 1;
        if out.is_json() {
            out.json_text(&event.to_json())
        } else {
            out.line(&display::event_line(event, out.style()))
        }
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.events == 0 && !self.has_gaps
    }

    /// Seqs that cannot be read any more.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn gap(&mut self, out: &mut Out, gap: &Gap) -> Result<(), Error> {
        self.has_gaps = true;
        if gap.reason != GapReason::Retention {
            self.damaged.push((gap.from, gap.to));
        }
        gap_line(out, gap.from, gap.to, gap.reason.as_str())
    }

    /// The same, as a server told it.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn gap_frame(&mut self, out: &mut Out, gap: &sse::Gap) -> Result<(), Error> {
        self.has_gaps = true;
        let (from, to) = (Seq::new(gap.from_seq), Seq::new(gap.to_seq));
        if gap.reason != "retention" {
            self.damaged.push((from, to));
        }
        gap_line(out, from, to, &gap.reason)
    }

    /// A record whose bytes are whole and are no event that this program can read.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn undecodable(&mut self, out: &mut Out, record: &Undecodable) -> Result<(), Error> {
        self.has_gaps = true;
        self.damaged.push((record.seq, record.seq));
        if out.is_json() {
            let Undecodable { seq, recorded, reason, .. } = record;
            return out.json(&json!({"undecodable": {"seq": seq, "recorded": recorded, "reason": reason}}));
        }
        let words = format!("{:>7}  holds no event: {}", record.seq.get(), display::visible(&record.reason));
        out.line(&out.style().paint(Role::Bad, &words))
    }

    /// What was damaged, in words; `None` where nothing was.
    pub fn damage(&self) -> Option<String> {
        let (from, to) = self.damaged.first()?;
        let more = self.damaged.len() - 1;
        let first = format!("{} cannot be read", range(*from, *to));
        Some(if more == 0 {
            first
        } else {
            format!("{first}, and {} more", display::counted(more as u64, "range"))
        })
    }
}

fn gap_line(out: &mut Out, from: Seq, to: Seq, reason: &str) -> Result<(), Error> {
    if out.is_json() {
        return out.json(&json!({"gap": {"from_seq": from, "to_seq": to, "reason": reason}}));
    }
    let role = if reason == "retention" { Role::Dim } else { Role::Bad };
    let words = match reason {
        "retention" => "no longer kept (retention)".to_owned(),
        reason => format!("cannot be read ({})", display::visible(reason)),
    };
    out.line(&out.style().paint(role, &format!("{:>7}  {} {words}", from.get(), range(from, to))))
}

fn range(from: Seq, to: Seq) -> String {
    if from == to { format!("seq {from}") } else { format!("seq {from} to {to}") }
}

#[cfg(test)]
mod tests {
    use super::super::out::Manner;
    use super::super::out::tests::captured;
    use super::*;

    fn gap(reason: GapReason) -> Gap {
        Gap { from: Seq::new(4), to: Seq::new(6), reason }
    }

    #[test]
    fn a_gap_stands_in_its_place_and_only_damage_counts_as_damage() {
        let (mut out, stdout, _) = captured(Manner::default());
        let mut lines = Lines::default();
        lines.gap(&mut out, &gap(GapReason::Retention)).unwrap();
        assert_eq!(lines.damage(), None);
        lines.gap(&mut out, &gap(GapReason::Corruption)).unwrap();
        out.flush().unwrap();
        assert_eq!(lines.damage().unwrap(), "seq 4 to 6 cannot be read");
        let expected = "      4  seq 4 to 6 no longer kept (retention)\n      4  seq 4 to 6 cannot be read (corruption)\n";
        assert_eq!(stdout.text(), expected);
    }

    #[test]
    fn a_gap_is_the_same_object_from_the_files_and_from_a_server() {
        let json = Manner { json: true, ..Manner::default() };
        let (mut out, stdout, _) = captured(json);
        let mut lines = Lines::default();
        lines.gap(&mut out, &gap(GapReason::Corruption)).unwrap();
        let frame = sse::Gap { from_seq: 4, to_seq: 6, reason: "corruption".into() };
        lines.gap_frame(&mut out, &frame).unwrap();
        out.flush().unwrap();
        let line = r#"{"gap":{"from_seq":4,"to_seq":6,"reason":"corruption"}}"#;
        assert_eq!(stdout.text(), format!("{line}\n{line}\n"));
        assert_eq!(lines.damage().unwrap(), "seq 4 to 6 cannot be read, and 1 range more");
    }
}
