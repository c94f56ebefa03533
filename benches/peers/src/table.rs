//! The result, as a Markdown table.

use std::io::Write as _;

use crate::engine::Result;
use crate::engines::SEALED;
use crate::work::{Row, Work};

/// Prints one table; each row's ratio is that of the first row's figure to its own, so more than 1 is in the first row's favour.
pub fn print(work: &Work, rows: &[Row]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let unit = work.unit();
    writeln!(out, "### {}\n", work.name)?;
    writeln!(
        out,
        "| | {unit}, median (least to most) | the first row is better by | flushes a record | us in flushes a record | p99, us | |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for row in rows {
        let flushes = row.flushes.map(|flushes| format!("{flushes:.4}")).unwrap_or_default();
        let flushing = row.flushing.map(|micros| format!("{micros:.1}")).unwrap_or_default();
        let p99 = middle(&row.p99).map(|p99| format!("{p99:.0}")).unwrap_or_default();
        let note = if row.honest { row.note.to_owned() } else { format!("not honest: {}", row.note) };
        writeln!(
            out,
            "| {} | {} | {} | {flushes} | {flushing} | {p99} | {note} |",
            row.name,
            figures(row),
            ratios(work, rows, row)
        )?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

fn middle(figures: &[f64]) -> Option<f64> {
    let mut all = figures.to_vec();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

fn figures(row: &Row) -> String {
    if let Some(fault) = row.figures.iter().find_map(|figure| figure.as_ref().err()) {
        return format!("failed: {fault}");
    }
    let mut all: Vec<f64> = row.figures.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    match (all.first(), all.get(all.len() / 2), all.last()) {
        (Some(least), Some(middle), Some(most)) => {
            format!("{} ({} to {})", short(*middle), short(*least), short(*most))
        }
        _ => "nothing measured".to_owned(),
    }
}

/// Beside the first row's, in brackets, that of the sealed journal where there is one.
fn ratios(work: &Work, rows: &[Row], row: &Row) -> String {
    let first = ratio(work, &rows[0], row);
    match rows.iter().find(|row| row.name == SEALED) {
        Some(sealed) => format!("{first} (sealed {})", ratio(work, sealed, row)),
        None => first,
    }
}

fn ratio(work: &Work, ours: &Row, row: &Row) -> String {
    let pairs = ours.figures.iter().zip(&row.figures);
    let mut ratios: Vec<f64> = pairs
        .filter_map(|pair| match pair {
            (Ok(ours), Ok(theirs)) if work.less_is_better() => Some(theirs / ours),
            (Ok(ours), Ok(theirs)) => Some(ours / theirs),
            _ => None,
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let Some(middle) = ratios.get(ratios.len() / 2) else { return String::new() };
    let sign = if row.is_limit { " of the limit" } else { " x" };
    format!("{middle:.2}{sign}")
}

fn short(figure: f64) -> String {
    if figure >= 1e6 {
        format!("{:.2} M", figure / 1e6)
    } else if figure >= 1e4 {
        format!("{:.0} k", figure / 1e3)
    } else if figure >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.2}")
    }
}
