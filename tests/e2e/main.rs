//! End to end: the program as an agent and its user meet it, from the first hook of a session to the server that leaves after
//! the last. Real processes, the hook scripts of this repository, and the event stream as the witness.
//!
//! - `autonomous_session`: a session that nobody starts anything for, the events of every command, the end, and many at once.
//! - [`degradation`]: every command where the server, or the disk, is not as it should be; [`degradation_of_servers`]: those that stay.
//!
//! Both take the commands from one table ([`commands`]), which must have a row for each that the program has: to add a command is
//! to add its row there. What a machine cannot do is said on stderr as `SKIPPED: ...`.

mod autonomous_session {
    //! A session with no step by hand.

    /// What every command leaves, seen arriving on the stream.
    mod cli_events;
    /// Bursts, many sessions at once, slow readers, a server that dies in the midst.
    mod high_volume;
    /// The end: on record, seen, and nothing left behind.
    mod session_end;
    /// The start: on record, a server up, seen.
    mod session_start;
}
mod commands;
mod degradation;
mod degradation_of_servers;
#[path = "../it/life.rs"]
#[allow(dead_code, reason = "the kit of the black-box tests; not all of it is needed here")]
mod life;
mod scripts;
#[path = "../it/support.rs"]
#[allow(dead_code, unused_imports, reason = "the kit of the black-box tests; not all of it is needed here")]
mod support;
