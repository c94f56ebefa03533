//! The command line: one table of commands, one wrapper around them, one way out.
//!
//! [`COMMANDS`] has a row for every command: its name, its arguments, whether its runs are on record, and the
//! function that does the work. Help, the reference page `docs/cli.md`, "did
//! you mean" and dispatch all come from this table. A command is one file with `pub struct Args` (clap) and
//! `pub fn run(Args, &mut Context) -> Result<Outcome, Error>`; nothing in it prints but through [`out::Out`], and
//! nothing in it ends the process: it returns, so that the wrapper ([`mod@run`]) always sees the end.
//!
//! `hook` never comes here: `main` recognises it before any of this starts.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 integrity, 130 interrupted. A reader that has gone away is
//! a quiet success.

pub mod annotate;
pub mod api_server;
pub mod arena;
pub mod autostart;
pub mod backup;
pub mod bisect;
pub mod completions;
pub mod config;
pub mod context;
pub mod cursor_file;
pub mod demo;
pub mod detach;
pub mod diff;
pub mod display;
pub mod doctor;
mod elsewhere;
pub mod events;
pub mod filters;
pub mod gc;
pub mod hook;
pub mod hook_times;
pub mod import;
pub mod init;
pub mod internal;
pub mod interrupt;
pub mod lines;
pub mod man;
mod notes;
pub mod out;
pub mod reference;
mod refusal;
pub mod replay;
pub mod run;
pub mod search;
mod secret;
pub mod serve;
pub mod session;
mod session_parts;
pub mod sessions;
mod shown;
pub mod state;
pub mod stats;
pub mod status;
pub mod table;
pub mod tail;
pub mod update;
pub mod why;

use crate::config::DataDir;
use crate::error::{Error, usage_line};
use clap::{ArgMatches, Args as _, FromArgMatches as _};
pub use context::Context;
use out::Color;
use std::ffi::OsString;
use std::path::PathBuf;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// What the user types.
    pub name: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    /// Whether a run is on record without being asked to: commands that only look are not, unless `--record`.
    pub recorded: bool,
    /// Where what it works on may be.
    pub reach: Reach,
    /// Whether help and reference leave it out: for scripts, not for people.
    pub hidden: bool,
    /// Where a data directory would be that this run is to make, if another one than that of the usual rule.
    makes: fn(&ArgMatches, &Context) -> Option<DataDir>,
    /// Adds the arguments.
    arguments: fn(clap::Command) -> clap::Command,
    /// Parses them and does the work.
    run: fn(&ArgMatches, &mut Context) -> Result<Outcome, Error>,
}

/// Where that may be which a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// In a data directory, or at a server elsewhere.
    Anywhere,
    /// In a data directory of this machine; a server elsewhere is refused, however it is named.
    Directory,
    /// It is about this machine: `--server` is refused, and the environment's is none of its business.
    Machine,
}

/// A row whose arguments and function are those of a module.
macro_rules! command {
    ($name:literal, $module:ident, recorded: $recorded:literal, $reach:ident, $about:literal) => {
        command!($name, $module, recorded: $recorded, $reach, hidden: false, $about)
    };
    ($name:literal, $module:ident, recorded: $recorded:literal, $reach:ident, hidden: $hidden:literal, $about:literal) => {
        Command {
            name: $name,
            about: $about,
            recorded: $recorded,
            reach: Reach::$reach,
            hidden: $hidden,
            makes: |_, _| None,
            arguments: |command| $module::Args::augment_args(command),
            run: |matches, context| {
                let args = $module::Args::from_arg_matches(matches)
                    .map_err(|error| Error::usage(usage_line(&error.to_string())))?;
                $module::run(args, context)
            },
        }
    };
}

/// Every command that exists, in the order of the help.
pub const COMMANDS: &[Command] = &[
    Command {
        makes: init::makes,
        ..command!("init", init, recorded: true, Machine,
        "Make a data directory, and with --claude register hooks and MCP server with Claude Code")
    },
    command!("demo", demo, recorded: false, Machine,
        "Record a sample session through the real path, and watch it live and again"),
    command!("api-server", api_server, recorded: true, Machine,
        "Record and serve over HTTP"),
    command!("serve", serve, recorded: true, Directory,
        "Serve the record to an agent, over MCP on stdin and stdout"),
    command!("tail", tail, recorded: false, Anywhere,
        "Show the newest events, and with -f each new one as it comes"),
    command!("events", events, recorded: false, Anywhere,
        "Print the events that match, oldest first"),
    command!("sessions", sessions, recorded: false, Anywhere,
        "List the agent sessions on record"),
    command!("session", session, recorded: false, Anywhere,
        "Show one session: its timeline, tool calls, failures and tokens"),
    command!("replay", replay, recorded: false, Anywhere,
        "Show a session again as it happened, at its own speed or another"),
    command!("state", state, recorded: false, Anywhere,
        "Show what a projection says, now or as of any moment"),
    command!("diff", diff, recorded: false, Anywhere,
        "Compare what two sessions did: where they part, and where they meet again"),
    command!("why", why, recorded: false, Anywhere,
        "Show what led to an event, and how sure each link is"),
    command!("bisect", bisect, recorded: false, Anywhere,
        "Find the first event after which something holds of a projection's state"),
    command!("annotate", annotate, recorded: true, Anywhere,
        "Put a note on an event; it is shown beside the event from then on"),
    command!("stats", stats, recorded: false, Anywhere,
        "Show the history in figures: commands, sessions, failures, tokens"),
    command!("status", status, recorded: true, Anywhere,
        "Show how the recorder fares: server, journal, sessions, inbox, disk"),
    command!("doctor", doctor, recorded: true, Machine,
        "Check everything that recording rests on, and with --fix repair what is safe"),
    command!("config", config, recorded: true, Machine,
        "Show and change what is configured"),
    command!("import", import, recorded: true, Directory,
        "Read Claude Code transcripts into the journal"),
    command!("gc", gc, recorded: true, Directory,
        "Drop the oldest segments that the configured retention lets go"),
    command!("backup", backup, recorded: true, Directory,
        "Copy what is on record to a directory, consistent while others write"),
    command!("update", update, recorded: true, Machine,
        "Say which versions are in use here and how to install another; installs nothing"),
    command!("completions", completions, recorded: false, Machine,
        "Print completions for a shell"),
    command!("man", man, recorded: false, Machine,
        "Print the manual page, or write one for each command"),
    command!("internal", internal, recorded: true, Machine, hidden: true,
        "What hook scripts call"),
];

/// The commands that people are told of.
pub fn shown() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| !command.hidden)
}

/// The flags that every command has, before or after its name.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// The data directory
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pub data_dir: Option<PathBuf>,
    /// Ask this server, at a port of the loopback, instead of a data directory: `http://127.0.0.1:3001`
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL)]
    pub server: Option<String>,
    /// File with the token of that server, or a copy of its server.json; nobody else may read it
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub token_file: Option<PathBuf>,
    /// Print JSON: one object, or for streams one object a line
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// When to colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = GLOBAL)]
    pub color: Color,
    /// Say nothing on stderr but warnings and errors
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Say more on stderr about what is done and where
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub verbose: u8,
    /// Put this run on record even though the command only looks
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub record: bool,
}

const GLOBAL: &str = "Global options";

/// How a run that did not fail ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the process's exit code says.
    pub exit: Exit,
    /// One line for the record of the run: what came out, in the command's own words.
    pub summary: Option<String>,
}

impl Outcome {
    /// It is done, and there is no more to say about it.
    pub const DONE: Outcome = Outcome { exit: Exit::Done, summary: None };

    /// It is done, and this came out.
    pub fn with_summary(summary: impl Into<String>) -> Outcome {
        Outcome { exit: Exit::Done, summary: Some(summary.into()) }
    }

    /// Everything readable was printed, and some of what was recorded is damaged.
    pub fn damaged(summary: impl Into<String>) -> Outcome {
        Outcome { exit: Exit::Damaged, summary: Some(summary.into()) }
    }
}

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    #[default]
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// Something recorded is damaged.
    Damaged = 4,
    /// Ended by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The exit that belongs to an error.
    pub fn of(error: &Error) -> Exit {
        match error.exit_code() {
            2 => Exit::Usage,
            3 => Exit::NotFound,
            4 => Exit::Damaged,
            130 => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }

    /// Why, where the command says no more.
    pub const fn words(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "wrong usage",
            Exit::NotFound => "not found",
            Exit::Damaged => "something recorded is damaged",
            Exit::Interrupted => "interrupted",
        }
    }
}

/// Runs the command line of this process; what it returns is the process's exit code.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> u8 {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let matches = match definition().color(color_of_help(&argv)).try_get_matches_from(&argv) {
        Ok(matches) => matches,
        Err(error) => return refusal::help_or_usage(error, &argv),
    };
    let Some((name, of_command)) = matches.subcommand() else { return Exit::Usage as u8 };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Exit::Usage as u8;
    };
    if config::on_the_command_line(name, of_command) {
        refusal::tell(
            "a key on the command line can be seen by others and stays in the shell's history: it was not taken. \
             Change it where it is from, and type the new one at the prompt, or pipe it in.",
            &argv,
        );
        return Exit::Usage as u8;
    }
    run::process(command, of_command, &argv)
}

/// The definition from which parsing, help and the reference page come.
pub fn definition() -> clap::Command {
    definition_of(COMMANDS.iter())
}

/// The definition of a program that has these commands only.
fn definition_of(commands: impl Iterator<Item = &'static Command>) -> clap::Command {
    let root = Global::augment_args(clap::Command::new("mnemosyne"))
        .version(crate::agent::claude::version::OWN)
        .about("A flight recorder for coding agents: records, shows live, replays")
        .long_about(None)
        .after_help(reference::after_help())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(reference::COLUMNS);
    commands.fold(root, |root, command| {
        // The table says what a command does; what stands on its struct is for who reads the code.
        let with_arguments = (command.arguments)(clap::Command::new(command.name));
        root.subcommand(with_arguments.about(command.about).long_about(None).hide(command.hidden))
    })
}

/// `--color` has to be known before the arguments are parsed, because parsing is what prints the help.
fn color_of_help(argv: &[OsString]) -> clap::ColorChoice {
    let is = |when: &str| {
        let joined = format!("--color={when}");
        argv.iter().any(|arg| *arg == *joined)
            || argv.windows(2).any(|two| two[0] == "--color" && two[1] == *when)
    };
    if is("always") {
        clap::ColorChoice::Always
    } else if is("never") {
        clap::ColorChoice::Never
    } else {
        clap::ColorChoice::Auto
    }
}
