//! `stat`: counts and bytes, by kind and by session, and what the format costs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mnemosyne::event::text::visible;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Flow, Item, Span};
use crate::text;

/// Count records and bytes by kind and by session
///
/// Bytes are those of the records as the program gave them; overhead is what the files hold beside them: headers,
/// checksums, links, padding, footers.
#[derive(Debug, clap::Args)]
pub(crate) struct StatArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    records: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }
}

#[derive(Default)]
struct Stat {
    all: Sum,
    kinds: BTreeMap<String, Sum>,
    sessions: BTreeMap<String, Sum>,
    payloads: u64,
    opaque: Sum,
    lost: u64,
    file_bytes: u64,
}

pub(crate) fn run(args: &StatArgs, out: &mut Out) -> Result<(), Failure> {
    let survey = Place::survey(&args.dir)?;
    let mut stat = Stat::default();
    for index in 0..survey.bases().len() {
        stat.file_bytes += survey.glance(index)?.file_bytes;
    }
    records::each(&survey, Span::ALL, out, |item, _| {
        match item {
            Item::Gap(gap) => stat.lost = stat.lost.saturating_add(gap.to.since(gap.from)).saturating_add(1),
            Item::Record(record) => {
                let bytes = record.payload.len();
                stat.all.add(bytes);
                match record.envelope() {
                    Some(envelope) => {
                        stat.payloads += envelope.payload.len() as u64;
                        stat.kinds.entry(envelope.kind.to_owned()).or_default().add(bytes);
                        let session = envelope.session.map_or_else(|| "-".to_owned(), |id| id.to_string());
                        stat.sessions.entry(session).or_default().add(bytes);
                    }
                    None => stat.opaque.add(bytes),
                }
            }
        }
        Ok(Flow::On)
    })?;
    if out.is_json() { out.json(&stat.as_json()) } else { stat.print(out) }
}

impl Stat {
    fn overhead(&self) -> u64 {
        self.file_bytes.saturating_sub(self.all.bytes)
    }

    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        out.line(&format!("records   {}, {} bytes", self.all.records, self.all.bytes))?;
        out.line(&format!("payloads  {} bytes of JSON inside them", self.payloads))?;
        out.line(&format!("files     {} bytes, {} of them overhead", self.file_bytes, self.overhead()))?;
        if self.opaque.records > 0 {
            out.line(&format!("opaque    {}, {} bytes", self.opaque.records, self.opaque.bytes))?;
        }
        if self.lost > 0 {
            out.line(&format!("lost      {}", text::counted(self.lost, "record")))?;
        }
        for (title, sums) in [("kind", &self.kinds), ("session", &self.sessions)] {
            let heads = ["records", "bytes", title].map(str::to_owned).to_vec();
            let rows = ranked(sums).into_iter().map(|(name, sum)| {
                vec![sum.records.to_string(), sum.bytes.to_string(), visible(name).into_owned()]
            });
            let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
            for row in text::table(&rows) {
                out.line(row.trim_end())?;
            }
        }
        Ok(())
    }

    fn as_json(&self) -> Value {
        json!({
            "version": 1,
            "records": self.all.records,
            "bytes": self.all.bytes,
            "payload_bytes": self.payloads,
            "file_bytes": self.file_bytes,
            "overhead_bytes": self.overhead(),
            "opaque": sum_json(self.opaque),
            "lost": self.lost,
            "kinds": sums_json(&self.kinds),
            "sessions": sums_json(&self.sessions),
        })
    }
}

/// The largest first, equal ones by name.
fn ranked(sums: &BTreeMap<String, Sum>) -> Vec<(&String, &Sum)> {
    let mut rows: Vec<_> = sums.iter().collect();
    rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.bytes));
    rows
}

fn sum_json(sum: Sum) -> Value {
    json!({ "records": sum.records, "bytes": sum.bytes })
}

fn sums_json(sums: &BTreeMap<String, Sum>) -> Value {
    Value::Object(ranked(sums).into_iter().map(|(name, sum)| (name.clone(), sum_json(*sum))).collect())
}
