//! Every way in which a command can end, and what is on record afterwards.

#![expect(clippy::unnecessary_wraps, reason = "the shape of every command")]

use super::*;
use crate::cli::out::tests::{Captured, captured};
use crate::clock::FixedClock;
use crate::event::{Kind, Timestamp};

fn ok(_: &ArgMatches, _: &mut Context) -> Result<Outcome, Error> {
    Ok(Outcome::DONE)
}

fn summed_up(_: &ArgMatches, context: &mut Context) -> Result<Outcome, Error> {
    let payload = payload::Annotated { seq: 1, text: "odd".into() };
    context.run().expect("a recorded run").emit(payload);
    Ok(Outcome::with_summary("two of them"))
}

fn returns_early(_: &ArgMatches, _: &mut Context) -> Result<Outcome, Error> {
    Err(Error::failed("the disk said no"))
}

fn finds_nothing(_: &ArgMatches, context: &mut Context) -> Result<Outcome, Error> {
    context.open_data_dir()?;
    Ok(Outcome::DONE)
}

fn makes_a_directory(_: &ArgMatches, context: &mut Context) -> Result<Outcome, Error> {
    context.create_data_dir()?;
    Ok(Outcome::DONE)
}

fn panics(_: &ArgMatches, _: &mut Context) -> Result<Outcome, Error> {
    panic!("a planted panic")
}

fn finds_damage(_: &ArgMatches, _: &mut Context) -> Result<Outcome, Error> {
    Ok(Outcome::damaged("seq 4 to 6 cannot be read"))
}

fn loses_its_reader(_: &ArgMatches, _: &mut Context) -> Result<Outcome, Error> {
    Err(Error::OutputClosed)
}

type Body = fn(&ArgMatches, &mut Context) -> Result<Outcome, Error>;

struct Stage {
    _home: tempfile::TempDir,
    dir: DataDir,
    env: Env,
}

impl Stage {
    fn new() -> Stage {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::at(home.path().join("data"));
        let env = Env::with_home(home.path()).with("MNEMOSYNE_DATA_DIR", dir.path());
        Stage { _home: home, dir, env }
    }

    fn with_directory() -> Stage {
        let stage = Stage::new();
        stage.dir.create().unwrap();
        stage
    }

    fn context(&self) -> (Context, Captured) {
        let (out, _, stderr) = captured(Manner::default());
        let context = Context {
            env: self.env.clone(),
            cwd: "/".into(),
            clock: Arc::new(FixedClock::at(Timestamp::from_micros(1_700_000_000_000_000))),
            out,
            interrupt: crate::cli::interrupt::Interrupt::default(),
            data_dir_flag: None,
            server_flag: None,
            token_file_flag: None,
            run: None,
        };
        (context, stderr)
    }

    fn run(&self, recorded: bool, record: bool, body: Body) -> (Exit, String) {
        let (mut context, stderr) = self.context();
        let command = Command {
            name: "trial",
            about: "",
            recorded,
            reach: crate::cli::Reach::Machine,
            hidden: false,
            makes: |_, _| None,
            arguments: |c| c,
            run: body,
        };
        let matches = clap::Command::new("trial").get_matches_from(["trial"]);
        let exit = wrapped(&command, record, &matches, vec!["--deep".into()], &mut context, false);
        (exit, stderr.text())
    }

    /// What lies in the inbox, in the order of its names.
    fn recorded(&self) -> Vec<Event> {
        let Ok(listing) = std::fs::read_dir(self.dir.inbox()) else { return Vec::new() };
        let mut files: Vec<_> = listing.map(|f| f.unwrap().path()).collect();
        files.retain(|f| f.file_name().unwrap().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()));
        files.sort();
        let decode = |bytes: Vec<u8>| Event::decode(inbox::frame::decode(&bytes).unwrap()).unwrap();
        files.iter().map(|f| decode(std::fs::read(f).unwrap())).collect()
    }
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.name()).collect()
}

fn failed(events: &[Event]) -> (String, i32) {
    let last = events.last().unwrap().payload_as::<payload::CliCommandFailed>().unwrap().unwrap();
    (last.error, last.exit_code.unwrap())
}

#[test]
fn a_command_that_ends_well_leaves_its_start_and_its_end() {
    let stage = Stage::with_directory();
    assert_eq!(stage.run(true, false, ok), (Exit::Done, String::new()));
    let events = stage.recorded();
    assert_eq!(kinds(&events), ["cli_command_started", "cli_command_completed"]);
    let started = events[0].payload_as::<payload::CliCommandStarted>().unwrap().unwrap();
    assert_eq!((started.command.as_str(), started.args), ("trial", vec!["--deep".to_owned()]));
    assert_eq!(events[1].correlation, events[0].correlation);
    assert_eq!(events[1].causation, Some(events[0].id));
}

#[test]
fn an_event_of_its_own_shares_the_correlation_and_is_caused_by_the_start() {
    let stage = Stage::with_directory();
    stage.run(true, false, summed_up);
    let events = stage.recorded();
    assert_eq!(kinds(&events), ["cli_command_started", "annotated", "cli_command_completed"]);
    assert_eq!((events[1].correlation, events[1].causation), (events[0].correlation, Some(events[0].id)));
    let completed = events[2].payload_as::<payload::CliCommandCompleted>().unwrap().unwrap();
    assert_eq!(completed.result_summary, "two of them");
}

#[test]
fn an_early_return_is_a_failed_run_with_its_exit_code() {
    let stage = Stage::with_directory();
    let (exit, stderr) = stage.run(true, false, returns_early);
    assert_eq!((exit, stderr.as_str()), (Exit::Failed, "error: the disk said no\n"));
    assert_eq!(kinds(&stage.recorded()), ["cli_command_started", "cli_command_failed"]);
    assert_eq!(failed(&stage.recorded()), ("the disk said no".to_owned(), 1));
}

#[test]
fn a_panic_is_a_failed_run_too() {
    let stage = Stage::with_directory();
    let (exit, _) = stage.run(true, false, panics);
    assert_eq!(exit, Exit::Failed);
    assert_eq!(kinds(&stage.recorded()), ["cli_command_started", "cli_command_failed"]);
    assert_eq!(failed(&stage.recorded()).1, 1);
}

#[test]
fn damage_is_an_exit_code_of_its_own() {
    let stage = Stage::with_directory();
    assert_eq!(stage.run(true, false, finds_damage).0, Exit::Damaged);
    assert_eq!(failed(&stage.recorded()), ("seq 4 to 6 cannot be read".to_owned(), 4));
}

#[test]
fn a_reader_that_went_away_is_a_quiet_success() {
    let stage = Stage::with_directory();
    assert_eq!(stage.run(true, false, loses_its_reader), (Exit::Done, String::new()));
    assert_eq!(kinds(&stage.recorded()), ["cli_command_started", "cli_command_completed"]);
}

#[test]
fn the_end_is_written_once_whoever_comes_first() {
    let stage = Stage::with_directory();
    let clock = Arc::new(FixedClock::at(Timestamp::EPOCH));
    let setting = Setting { env: stage.env.clone(), clock, dir: Some(stage.dir.clone()) };
    let run = Run::begin("trial", Vec::new(), setting);
    run.clone().end(&Err(Error::Interrupted));
    run.end(&Ok(Outcome::DONE));
    assert_eq!(kinds(&stage.recorded()), ["cli_command_started", "cli_command_failed"]);
    assert_eq!(failed(&stage.recorded()).1, 130);
}

#[test]
fn a_command_that_only_looks_is_recorded_when_it_is_asked_to_be() {
    let stage = Stage::with_directory();
    stage.run(false, false, ok);
    assert_eq!(kinds(&stage.recorded()), Vec::<&str>::new());
    stage.run(false, true, ok);
    assert_eq!(kinds(&stage.recorded()), ["cli_command_started", "cli_command_completed"]);
}

#[test]
fn events_can_be_switched_off_and_a_word_that_is_no_switch_is_refused() {
    let mut stage = Stage::with_directory();
    let env = stage.env.clone();
    stage.env = env.clone().with("MNEMOSYNE_DISABLE_EVENTS", "1");
    assert_eq!(stage.run(true, false, ok).0, Exit::Done);
    assert_eq!(kinds(&stage.recorded()), Vec::<&str>::new());
    stage.env = env.clone().with("MNEMOSYNE_DISABLE_EVENTS", "maybe");
    assert_eq!(stage.run(true, false, ok).0, Exit::Usage);
    stage.env = env.with("MNEMOSYNE_DISABLE_EVENTS", "false");
    stage.run(true, false, ok);
    assert_eq!(stage.recorded().len(), 2);
}

#[test]
fn a_recorded_command_without_a_directory_makes_none() {
    let stage = Stage::new();
    let (exit, stderr) = stage.run(true, false, finds_nothing);
    assert_eq!(exit, Exit::NotFound);
    assert!(stderr.contains("there is no data directory"), "{stderr}");
    assert!(!stage.dir.path().exists());
}

#[test]
fn a_start_held_back_is_written_when_the_command_makes_the_directory() {
    let stage = Stage::new();
    stage.run(true, false, makes_a_directory);
    assert_eq!(kinds(&stage.recorded()), ["cli_command_started", "cli_command_completed"]);
}

#[test]
fn an_inbox_that_cannot_be_written_fails_no_command_and_is_counted() {
    let stage = Stage::with_directory();
    // A mark of a full inbox stops every deposit, whatever the user running this may write.
    std::fs::write(stage.dir.inbox().join("full"), "").unwrap();
    assert_eq!(stage.run(true, false, ok), (Exit::Done, String::new()));
    assert_eq!(stage.recorded().len(), 0);
    assert_eq!(inbox::failed::read(&stage.dir.inbox()).unwrap().count, 2);
}

#[test]
fn the_run_belongs_to_the_agent_session_that_runs_it() {
    let mut stage = Stage::with_directory();
    stage.env = stage.env.clone().with("CLAUDE_CODE_SESSION_ID", "s-1");
    stage.run(true, false, ok);
    let event = &stage.recorded()[0];
    assert_eq!((event.session.as_deref(), event.instance.as_str()), (Some("s-1"), "s-1"));
}

#[test]
fn values_of_options_that_name_a_secret_are_not_recorded() {
    let argv =
        ["mnemosyne", "--json", "trial", "--token", "abc", "--api-key=def", "--token-file", "f", "plain"];
    let argv: Vec<OsString> = argv.into_iter().map(OsString::from).collect();
    let expected = ["--json", "--token", REDACTED, "--api-key=***REDACTED***", "--token-file", "f", "plain"];
    assert_eq!(recorded_arguments("trial", &argv), expected);
}

#[test]
fn secrets_that_show_by_their_form_are_not_recorded_either() {
    let stage = Stage::with_directory();
    let key = format!("sk-ant-api03-{}", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ".repeat(3));
    let setting = Setting {
        env: stage.env.clone(),
        clock: Arc::new(FixedClock::at(Timestamp::EPOCH)),
        dir: Some(stage.dir.clone()),
    };
    Run::begin("trial", vec!["--grep".into(), key.clone()], setting);
    let args = stage.recorded()[0].payload_as::<payload::CliCommandStarted>().unwrap().unwrap().args;
    assert!(args[1].contains(REDACTED) && !args[1].contains("aB3dE5"), "{args:?}");
    assert_eq!(stage.recorded()[0].kind, Kind::CliCommandStarted);
}
