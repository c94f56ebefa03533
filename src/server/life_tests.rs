use super::*;
use crate::event::{Payload, Source, StoredEvent};
use crate::projection::Fold;
use crate::projection::sessions::SessionsProjection;

const HOST: &str = "here";
const SECOND: i64 = 1_000_000;

/// One session and the processes that live.
#[derive(Default)]
struct Stage {
    fold: Fold<SessionsProjection>,
    seq: u64,
    living: Vec<ProcessStamp>,
}

impl Stage {
    fn tell(&mut self, seconds: i64, host: &str, payload: impl Into<Payload>) {
        self.seq += 1;
        let source = Source { program: "mnemosyne".into(), host: host.into(), pid: 1 };
        let id = ids::natural("test", "event", &self.seq.to_string());
        let time = Timestamp::from_micros(seconds * SECOND);
        let mut event = Event::new(id, time, "s", source, payload);
        event.session = Some("s".into());
        self.fold.apply(&StoredEvent { seq: Seq::new(self.seq), recorded: time, event });
    }

    fn start(&mut self, seconds: i64, host: &str, process: Option<ProcessStamp>) {
        let started = payload::SessionStarted {
            source: "startup".into(),
            cwd: "/code".into(),
            transcript_path: None,
            model: None,
            agent_pid: process.map(|process| process.pid),
            agent_start_ticks: process.map(|process| process.start_ticks),
        };
        self.tell(seconds, host, started);
    }

    fn prompt(&mut self, seconds: i64) {
        self.tell(seconds, HOST, payload::PromptSubmitted { prompt: "why?".into(), prompt_id: None });
    }

    fn end(&mut self, seconds: i64, inferred: bool) {
        let reason = if inferred { PROCESS_GONE } else { "logout" };
        self.tell(seconds, HOST, payload::SessionEnded { reason: reason.into(), inferred });
    }

    fn look(&self, seconds: i64) -> Open {
        let now = Timestamp::from_micros(seconds * SECOND);
        let mut open = Open::default();
        for unfinished in self.fold.state().unfinished() {
            open.take(&unfinished, HOST, now, |process| self.living.contains(&process));
        }
        open
    }
}

fn process(start_ticks: u64) -> ProcessStamp {
    ProcessStamp { pid: 7, start_ticks }
}

#[test]
fn a_session_is_over_when_its_process_is_gone_and_not_before() {
    let mut stage = Stage { living: vec![process(1)], ..Stage::default() };
    stage.start(0, HOST, Some(process(1)));
    stage.prompt(1);
    let open = stage.look(2);
    assert!(open.keeps_server() && open.gone.is_empty() && open.running.contains(&process(1)));
    // Another process has the pid now.
    stage.living = vec![process(2)];
    let open = stage.look(3);
    assert_eq!(open.gone.len(), 1);
    assert!(!open.keeps_server());
    assert_eq!((open.gone[0].session.as_str(), open.gone[0].sign), ("s", Seq::new(2)));
    stage.end(4, true);
    assert!(stage.look(4).gone.is_empty());
}

#[test]
fn a_session_that_was_resumed_has_the_process_that_resumed_it() {
    let mut stage = Stage { living: vec![process(2)], ..Stage::default() };
    stage.start(0, HOST, Some(process(1)));
    stage.end(1, true);
    stage.start(2, HOST, Some(process(2)));
    let open = stage.look(3);
    assert!(open.gone.is_empty() && open.keeps_server());
    stage.living.clear();
    assert_eq!(stage.look(5).gone.len(), 1, "the end of the new process counts at once");
    // Taken up by one that did not name itself: nothing can be told of that.
    stage.start(6, HOST, None);
    assert!(stage.look(7).gone.is_empty());
}

#[test]
fn a_session_that_came_back_after_its_inferred_end_is_given_a_minute_of_silence() {
    let mut stage = Stage::default();
    stage.start(0, HOST, Some(process(1)));
    stage.end(10, true);
    stage.prompt(11);
    let open = stage.look(12);
    assert!(open.gone.is_empty() && open.look_again.is_some() && !open.keeps_server());
    let open = stage.look(11 + 60);
    assert_eq!(open.gone.len(), 1);
    // Control: what came back after an end that was reported is judged by its process alone.
    let mut stage = Stage::default();
    stage.start(0, HOST, Some(process(1)));
    stage.end(10, false);
    stage.prompt(11);
    assert_eq!(stage.look(12).gone.len(), 1);
}

#[test]
fn of_a_process_on_another_machine_or_an_unknown_one_nothing_is_concluded_and_it_holds_the_server_an_hour() {
    for (host, process) in [("elsewhere", Some(process(1))), (HOST, None)] {
        let mut stage = Stage::default();
        stage.start(0, host, process);
        let open = stage.look(3_599);
        assert!(open.gone.is_empty() && open.keeps_server() && open.look_again.is_some(), "{host}");
        let open = stage.look(3_600);
        assert!(open.gone.is_empty() && !open.keeps_server(), "{host}");
    }
}

#[tokio::test]
async fn the_end_of_a_process_is_told_even_if_nobody_has_waited_for_it() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let process = ProcessStamp::of(child.id()).unwrap();
    let told = tokio::spawn(end_of(process));
    assert!(handle_of(process).is_some());
    assert!(handle_of(ProcessStamp { start_ticks: 1, ..process }).is_none(), "a stranger with its pid");
    child.kill().unwrap();
    tokio::time::timeout(Duration::from_secs(30), told).await.unwrap().unwrap();
    child.wait().unwrap();
    end_of(process).await;
}
