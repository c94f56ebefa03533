//! The black-box tests: one binary that starts the real `mnemosyne` and looks at it from outside, through its
//! arguments, its exit code, its two output streams, its files and its sockets. Nothing here reaches into the
//! library for a shortcut to an answer.
//!
//! One module a subject, each with a sentence of its own below.

/// Starting, stopping and asking the real program.
#[allow(dead_code, unused_imports, reason = "the kit is larger than any one stage of its users")]
mod support;

/// The positive controls of the test kit itself.
mod kit;
mod known_keys;

/// `api-server`: the address, the background, the safe stop.
mod cli_api_server;
/// The command line itself: help, usage, global flags, exit codes.
mod cli_basics;
/// `demo`: a first look, and that nothing is left of it.
mod cli_demo;
/// `--server`: the same from a server elsewhere, and nothing of this machine.
mod cli_elsewhere;
/// `events`: filters, ranges, damage.
mod cli_events;
/// `import` as a command: arguments, ways in, output.
mod cli_import;
/// The wrapper: what a run leaves on record.
mod cli_record;
/// `tail`: the newest, and each new one, over every change of who writes.
mod cli_tail;
/// `completions`, `man`, `update`: what shells and `man` make of it, and the versions in use.
mod completions_and_man;
/// `config`: settings, where they come from, and changing them.
mod config_command;
/// `doctor`: a world broken in every way that it knows of.
mod doctor_checks;
/// `doctor`: the programs that Claude Code would call.
mod doctor_programs;
/// The examples of docs/EVENTS.md, recorded by the program.
mod event_examples;
/// What ends each command with which exit code.
mod exit_codes;
/// Every filter through flags and URL, against a naive one.
mod filters_same;
/// The `hook` command: silent, successful, and counting what it could not keep.
mod hooks_command;
/// Real hook payloads through the `hook` command to the stream.
mod hooks_stream;
/// Real and broken transcripts through `import`.
mod import_transcripts;
/// `init`: somebody else's settings, changed and given back.
mod init;
/// `internal`: a start that is told twice is one event.
mod internal;
/// `serve`: the MCP server, asked by a client of our own; each answer is that of the command.
mod mcp;
/// `serve`, asked by the protocol's own client.
mod mcp_foreign;
/// Claude Code itself, where it is at hand.
mod real_claude;
/// Real input, and what it must become.
mod real_hooks;
/// A server that hangs: who looks is told soon.
mod server_hangs;

/// `diff` on real sessions.
mod diff_real;
/// `GET /state/{projection}`: the bytes of the command, at any moment, and what cannot be shown.
mod http_state;
/// `diff`, `why`, `bisect` and `annotate` on a pair of sessions with a planted fault.
mod planted_fault;
/// A session that others have followed: its detail is read back from the journal.
mod session_long_ago;
/// `sessions` and `session`, counted a second time from the payloads; the same through a server.
mod sessions_traffic;
/// `state`: any projection, now and as of a seq.
mod state;

/// Pages in a real browser.
mod attack_browser;
/// Who else might get the token of a server elsewhere.
mod attack_elsewhere;
/// Hostile files.
mod attack_files;
/// What somebody who can connect may cost.
mod attack_load;
/// Things planted in the data directory.
mod attack_plants;
/// A thousand secrets.
mod attack_secrets;
/// A stranger who listens where the server did.
mod attack_stranger;
/// What events say to a terminal.
mod attack_terminal;
/// Another user of the machine.
mod attack_user;
/// Servers that start unasked, and those that leave.
mod life;
/// What comes while a server leaves, and while another version takes its place.
mod life_changes;
/// The ends of sessions and of servers.
mod life_ends;
/// The start of a server by a hook.
mod life_start;
/// The scripts of this repository and of its plugin.
mod own_hooks;
/// What is kept from others: modes, planted links, secrets, and that derived files are derived.
mod private;

/// The README's commands, run as they stand there.
mod readme;
/// What the README shows of a terminal.
mod readme_shown;
/// `backup`: a copy while others write.
mod retention_backup;
/// `gc` and the server's own retention: what goes, what stays, kill -9.
mod retention_gc;

/// The client library's batching emitter.
mod http_batch;
/// The dashboard of docs/EVENTS.md.
mod http_dashboard;
/// Emitting and reading over HTTP.
mod http_emit;
/// A thousand subscribers, some of which never read.
mod http_fanout;
/// Foreign SSE clients.
mod http_foreign;
/// Strangers at the door.
mod http_guard;
/// Kill -9 amid concurrent emitters.
mod http_kill;
/// What a client may cost.
mod http_limits;
/// What became of every event that came: books that balance.
mod http_metrics;
/// docs/http.md, request by request.
mod http_page;
/// The limit on what one source may emit.
mod http_rate;
/// Projections folded anew by a running server.
mod http_rebuild;
/// A session replayed at a speed.
mod http_replay;
/// Reconnecting at every seq while writing.
mod http_resume;
/// Rot in an old segment of a running server.
mod http_scrub;
/// The live stream.
mod http_stream;
/// `replay --step` under keys, `replay --state`.
mod replay_keys;
/// `replay`: order, range and pauses.
mod replay_session;
/// `events --search` and `GET /events?q=`.
mod search;
/// `stats` and `GET /stats`, counted a second time from the events.
mod stats_figures;
/// `status`: one screen that agrees with the events.
mod status_screen;
