//! The programs that Claude Code calls: for hooks, from the settings, from the plugin and from a project's scripts, and as an MCP server.
//! Whether each is there, can be run, and is of our version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::claude::{PLUGIN_AGAIN, REGISTER, plugin, project_scripts, registrations};
use super::{Finding, Found, Look, Verdict, first_of};
use crate::agent::claude::registration::{self, Registration, Serving, is_inside};
use crate::agent::claude::scripts::{Plugin, Script};
use crate::agent::claude::version;
use crate::cli::display::counted;

const VERSION: &str = version::OWN;
const UPDATE: &str = "`mnemosyne update` says how to install; both read and write the same journal";
const INSTALL: &str = "install the program on the search path: `cargo install --path . --locked`";

pub(super) fn hooks(look: &Look<'_>) -> Found {
    let registered = of_settings(look);
    let plugin = plugin(look).and_then(|plugin| of_plugin(look, &plugin));
    let is_alone = registered.is_none() && plugin.is_none();
    let scripts = project_scripts(look).into_iter().filter_map(|script| of_script(look, &script, is_alone));
    let scripts: Vec<Finding> = scripts.collect();
    Ok(worst_of(registered.into_iter().chain(plugin).chain(scripts)))
}

/// One finding of several: the worst, in the words of each that is as bad.
fn worst_of(found: impl IntoIterator<Item = Finding>) -> Option<Finding> {
    let mut found: Vec<Finding> = found.into_iter().collect();
    let worst = found.iter().map(|one| one.verdict).max()?;
    found.retain(|one| one.verdict == worst);
    let mut details: Vec<String> = Vec::new();
    for one in &found {
        // Two scripts that find the same program say the same.
        if !details.contains(&one.detail) {
            details.push(one.detail.clone());
        }
    }
    let hint = found.into_iter().find_map(|one| one.hint);
    Some(Finding::new(worst, details.join("; "), hint))
}

fn of_settings(look: &Look<'_>) -> Option<Finding> {
    let mut programs: BTreeMap<PathBuf, Registration> = BTreeMap::new();
    for found in registrations(look) {
        programs.entry(found.program.clone()).or_insert(found);
    }
    let shown = |program: &Path| program.display().to_string();
    let planted: Vec<String> =
        programs.values().filter(|it| it.inside).map(|it| shown(&it.program)).collect();
    if !planted.is_empty() {
        return Finding::warn(
            format!(
                "{} registered that lies in the project, and was not run: anybody's commit could put it there",
                first_of(&planted, "program")
            ),
            REGISTER,
        );
    }
    let absent: Vec<String> =
        programs.values().filter(|it| !it.exists).map(|it| shown(&it.program)).collect();
    if !absent.is_empty() {
        return Finding::fail(
            format!("{} registered and not there: nothing is recorded", first_of(&absent, "program")),
            format!("install it there, or: {REGISTER}"),
        );
    }
    let mute: Vec<String> =
        programs.values().filter(|it| it.version.is_none()).map(|it| shown(&it.program)).collect();
    if !mute.is_empty() {
        return Finding::fail(
            format!("{} registered that cannot be run", first_of(&mute, "program")),
            format!("install it anew, or: {REGISTER}"),
        );
    }
    let others: Vec<String> = programs
        .values()
        .filter_map(|it| Some((it, it.version.as_deref().filter(|version| *version != VERSION)?)))
        .map(|(it, version)| format!("{} is {version}", shown(&it.program)))
        .collect();
    match programs.len() {
        0 => None,
        _ if others.is_empty() => Finding::pass(format!(
            "{} registered, version {VERSION}",
            counted(programs.len() as u64, "program")
        )),
        _ => Finding::warn(format!("{} and this is {VERSION}", first_of(&others, "program")), UPDATE),
    }
}

/// What the plugin's scripts would call, and whether the plugin is of our version.
fn of_plugin(look: &Look<'_>, plugin: &Plugin) -> Option<Finding> {
    let place = plugin.place.as_ref()?.display();
    let Some(version) = &plugin.version else {
        return Finding::fail(
            format!("the plugin that is enabled is not at {place}: it records nothing"),
            PLUGIN_AGAIN,
        );
    };
    let missing: Vec<String> =
        plugin.unreadable.iter().chain(&plugin.absent).map(|file| file.display().to_string()).collect();
    if !missing.is_empty() {
        return Finding::fail(
            format!("{} of the plugin cannot be read: hooks of it do nothing", first_of(&missing, "file")),
            PLUGIN_AGAIN,
        );
    }
    let of_program = plugin.scripts.first().and_then(|script| called(look, "the plugin calls", script, true));
    let of_plugin = (version != VERSION).then(|| {
        let words = format!("the plugin at {place} is {version} and this is {VERSION}");
        Finding::new(Verdict::Warn, words, Some(PLUGIN_AGAIN.to_owned()))
    });
    worst_of(of_program.into_iter().chain(of_plugin))
}

fn of_script(look: &Look<'_>, script: &Script, is_alone: bool) -> Option<Finding> {
    called(look, &format!("scripts that {} registers call", script.file.display()), script, is_alone)
}

/// The program that a script would call. It looks on the search path that the agent has, and here it is looked for on that of this
/// process.
fn called(look: &Look<'_>, who: &str, script: &Script, is_alone: bool) -> Option<Finding> {
    let Some(program) = script.program(look.env.search_path()) else {
        let words = format!("{who} `mnemosyne`, which is not on the search path here: ");
        return if is_alone {
            Finding::fail(words + "nothing is recorded", INSTALL)
        } else {
            Finding::warn(words + "so nothing comes of them", INSTALL)
        };
    };
    // A build of a project may be anybody's, so it is read and not run.
    let foreign = look.context.foreign_project().filter(|project| is_inside(&program, project));
    let version = match foreign {
        Some(_) => version::written_in(&program),
        None => version::of(&program),
    };
    let program = program.display();
    match version.as_deref() {
        Some(VERSION) => Finding::pass(format!("{who} {program}, version {VERSION}")),
        Some(other) => {
            Finding::warn(format!("{who} {program}, which is {other}, and this is {VERSION}"), UPDATE)
        }
        None if foreign.is_some() => Finding::warn(
            format!("{who} {program}, which lies in the project, was not run, and does not tell its version"),
            "build it anew, or install the program on the search path, where they look first",
        ),
        None => Finding::fail(format!("{who} {program}, which cannot be run"), INSTALL),
    }
}

/// The MCP servers of the project and of the user, where one is registered: whether it can be started.
pub(super) fn servers(look: &Look<'_>) -> Found {
    let file = look.context.mcp_servers();
    let again = "`mnemosyne init --claude` registers this one, after showing the change";
    let of_project = registration::server(&file).and_then(|found| server(&found, &file, again));
    let of_user = look.context.claude_state().and_then(|file| {
        let found = registration::users_server(&file)?;
        server(&found, &file, "`mnemosyne init --claude --user --dry-run` says the command of Claude Code's that registers this one, after `claude mcp remove --scope user mnemosyne`")
    });
    Ok(worst_of(of_project.into_iter().chain(of_user)))
}

fn server(found: &Serving, file: &Path, again: &str) -> Option<Finding> {
    let (program, file) = (found.program.display(), file.display());
    match found.version.as_deref() {
        _ if found.inside => Finding::fail(
            format!(
                "{program}, which {file} registers, lies in the project and was not run: anybody's commit could put it there"
            ),
            again,
        ),
        _ if !found.exists => Finding::fail(
            format!("{program}, which {file} registers, is not there: the agent cannot ask its record"),
            format!("install it there, or: {again}"),
        ),
        None => Finding::fail(
            format!("{program}, which {file} registers, cannot be run"),
            format!("install it anew, or: {again}"),
        ),
        Some(VERSION) => Finding::pass(format!("{program} is registered in {file}, version {VERSION}")),
        Some(other) => Finding::warn(
            format!("{program}, which {file} registers, is {other} and this is {VERSION}"),
            UPDATE,
        ),
    }
}
