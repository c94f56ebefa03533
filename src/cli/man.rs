//! `man`: manual pages, from the definitions that parse.

use std::path::PathBuf;

use clap_mangen::Man;
use serde_json::json;

use super::display::{counted, visible};
use super::{Context, Outcome, definition_of, shown};
use crate::error::Error;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Write a page for each command into this directory, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A page.
struct Page {
    /// The file's name: `mnemosyne-events.1`.
    name: String,
    roff: Vec<u8>,
}

/// Prints the program's own page, or writes all of them.
///
/// # Errors
/// A directory that cannot be written.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let pages = pages()?;
    let Some(directory) = args.out else {
        let Some(first) = pages.first() else { return Ok(Outcome::DONE) };
        let text = String::from_utf8_lossy(&first.roff);
        if context.out.is_json() {
            context.out.json(&json!({"version": 1, "name": first.name, "page": text}))?;
        } else {
            context.out.line(text.trim_end())?;
        }
        return Ok(Outcome::DONE);
    };
    std::fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
    for page in &pages {
        let path = directory.join(&page.name);
        std::fs::write(&path, &page.roff).map_err(Error::io("write", &path))?;
    }
    let summary = counted(pages.len() as u64, "page");
    if context.out.is_json() {
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        context.out.json(&json!({"version": 1, "dir": directory.to_string_lossy(), "pages": names}))?;
    } else {
        context.out.line(&format!("{summary} in {}", visible(&directory.to_string_lossy())))?;
    }
    Ok(Outcome::with_summary(summary))
}

/// The program's own page first.
fn pages() -> Result<Vec<Page>, Error> {
    let mut root = definition_of(shown()).disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    add(&root, "mnemosyne", &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: &str, pages: &mut Vec<Page>) -> Result<(), Error> {
    let mut roff = Vec::new();
    let page = Man::new(command.clone()).title(name);
    page.render(&mut roff)
        .map_err(|error| Error::failed(format!("the page {name} cannot be made: {error}")))?;
    pages.push(Page { name: format!("{name}.1"), roff });
    command.get_subcommands().try_for_each(|one| add(one, &format!("{name}-{}", one.get_name()), pages))
}
