//! The tail of `--help`, and the reference page `docs/cli.md`, both from the definitions that parse.
//!
//! The page holds the help of every command word for word, so it is their golden file as well: a test compares it
//! with what the definitions say, another one with what the program prints. `MNEMOSYNE_BLESS=1 cargo test` writes it
//! anew.

use super::{definition, shown};
use crate::config::env::VARIABLES;
use std::fmt::Write as _;

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done; also when the reader of the output went away, as with `| head`"),
    ("1", "failed"),
    ("2", "the command line, or a variable, makes no sense"),
    ("3", "what was asked for does not exist: a session, seq, projection, setting, key or directory"),
    ("4", "something recorded is damaged, or gone and was needed to tell; what could be read was printed"),
    ("130", "ended by Ctrl-C or SIGTERM before it was done"),
];

/// Width of the help where no terminal says another one.
pub const COLUMNS: usize = 100;

/// What stands below the options of `mnemosyne --help`.
pub fn after_help() -> String {
    let mut text = String::from("Environment:\n");
    let width = VARIABLES.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, what) in VARIABLES {
        let _ = writeln!(text, "  {name:width$}  {what}");
    }
    text.push_str("\nExit codes:\n");
    for (code, what) in EXIT_CODES {
        let _ = writeln!(text, "  {code:>3}  {what}");
    }
    text.push_str("\nThe data directory: --data-dir, else MNEMOSYNE_DATA_DIR, else a registered .mnemosyne/ upwards from\nthe working directory, else the user's own.");
    text
}

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(PREFACE);
    page.push_str("\n## Commands\n\n| command | what it does | on record |\n|---|---|---|\n");
    for command in shown() {
        let recorded = if command.recorded { "yes" } else { "with `--record`" };
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {recorded} |", command.name, command.about);
    }
    page.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, what) in EXIT_CODES {
        let _ = writeln!(page, "| {code} | {what} |");
    }
    page.push_str("\n## Environment\n\n| variable | what it is for |\n|---|---|\n");
    for (name, what) in VARIABLES {
        let _ = writeln!(page, "| `{name}` | {what} |");
    }
    let _ = write!(page, "\n{JSON}\n## mnemosyne\n\n```text\n{}```\n", help(&[]));
    for command in shown() {
        let _ = write!(page, "\n## {0}\n\n```text\n{1}```\n", command.name, help(&[command.name]));
    }
    page
}

/// What `--help` prints, as wide as where there is no terminal.
pub fn help(path: &[&str]) -> String {
    let mut root = definition().term_width(COLUMNS);
    root.build();
    let mut command = &mut root;
    for name in path {
        match command.find_subcommand_mut(name) {
            Some(found) => command = found,
            None => return String::new(),
        }
    }
    command.render_long_help().to_string()
}

const PREFACE: &str = "\
# The command line

<!-- Generated from the definitions in src/cli; `MNEMOSYNE_BLESS=1 cargo test` writes it anew. -->

Data goes to stdout, words go to stderr. With `--json` data is one versioned object, or one object a line where it is
a stream. The global options stand before or after the command. A command that is on record leaves
`cli_command_started` and exactly one of `cli_command_completed` and `cli_command_failed`, whatever ends it; one that
only looks leaves nothing unless `--record` is given. A command that only reads never makes a data directory.

`mnemosyne hook` is for agents alone and has no help: it reads one payload on stdin, puts the event into the inbox,
prints nothing and always exits 0.

A server (`api-server`) that is asked to end by Ctrl-C or SIGTERM ends well: exit 0. A follower (`tail -f`, `demo`)
that is ended so exits 130, as every command that was not done.

No command needs a server. While one starts, and when one dies in the midst, every command does its work; `gc` alone
exits 1 then, as it needs the journal for itself. Where the data directory cannot be written, or the disk is full, what
reads goes on, and what would write exits 1 with one line; `gc` makes room on a full disk. `hook` exits 0 whatever is wrong.

## A server elsewhere

`--server URL` and `--token-file FILE` (or `MNEMOSYNE_SERVER` and `MNEMOSYNE_TOKEN_FILE`) make a command ask a server instead
of a data directory of this machine, and print the same. The file holds the server's token, or is a copy of its `server.json`;
it has to be a file of the user's that nobody else may read (0600). A server listens on the loopback of its own machine and speaks plain
HTTP, so bring it here through a tunnel that encrypts:

```sh
ssh -N -L 3001:127.0.0.1:3000 HOST &
(umask 077; ssh HOST cat .local/share/mnemosyne/server.json > far.json)
mnemosyne --server http://127.0.0.1:3001 --token-file far.json tail -f
```

The copy also says by which address the server wants to be asked, which behind a tunnel is not the one in the URL. Each start of a server makes a
new token. `https://`, names and addresses that are not of the loopback are refused (exit 2). The token goes to the address in the URL and nowhere
else: no redirect is followed, no proxy is asked. A flag goes before the environment: with `--data-dir`, `MNEMOSYNE_SERVER` is not
looked at.

| commands | with a server elsewhere |
|---|---|
| `tail`, `events` (also `--search`), `sessions`, `session`, `state`, `stats`, `diff`, `why`, `annotate` | the same as there |
| `replay` | the same as there; `--step` in a terminal wants the journal at hand: exit 2 |
| `status` | what the server says of itself, of its journal and of its inbox; of its disk and its directory it tells nothing |
| `bisect` | the same as there, over events that are fetched and folded here; `--monotone` wants the journal at hand: exit 2 |
| `serve`, `import`, `gc`, `backup` | work on a data directory of this machine: exit 2 |
| all others, and `hook` | are about this machine: `--server` is refused, and the environment's is not looked at |

A server that is not there, or that stops while it is followed, is exit 1: `annotate` then leaves nothing, for the inbox of this machine belongs to
another journal. A run that is on record is on record on this machine.
";

const JSON: &str = "\
## JSON

- What a terminal would obey, reorder by or hide (control characters, also those of C1, marks of direction, characters of no
  width) is written as `\\u` escapes, into a pipe too. A parser reads the same values.
- `events --json`, `tail --json` and `replay --json` print one event a line, the same object as the `data` of `/events/stream`
  (`docs/EVENTS.md` has the fields). A range of seqs that can no longer be read stands in its place as
  `{\"gap\":{\"from_seq\":4,\"to_seq\":6,\"reason\":\"corruption\"}}`; the reason is `retention` or `corruption`.
- The other commands print one object with `version` (now 1) and their own fields; fields may be added without a new
  version, and readers ignore those that they do not know.
  - `init`: `{\"version\":1,\"dry_run\":false,\"data_dir\":\"...\",\"made\":true,\"registered\":true,\"program\":\"...\",
    \"files\":[{\"path\",\"changed\"}],\"backups\":[\"...\"]}`; `program` is null without `--claude`; `hooks_off` is null, or
    `{\"path\",\"key\"}` of what keeps Claude Code from running hooks; `mcp_command` is null, or with `--claude --user` the line for a
    shell that has Claude Code register the MCP server for all projects.
    `--undo`: `{\"version\":1,\"dry_run\":false,\"files\":[{\"path\",\"changed\",\"exact\"}]}`.
  - `api-server`: `{\"version\":1,\"addr\":\"127.0.0.1:3000\",\"pid\":4711,\"data_dir\":\"...\"}` when it listens;
    `--stop`: `{\"version\":1,\"stopped\":4711}`.
  - `import`: `{\"version\":1,\"files\":2,\"unchanged\":0,\"bytes\":81920,\"lines\":412,\"added\":310,\"known\":12,
    \"broken\":0,\"broken_lines\":[{\"path\",\"line\",\"reason\"}],\"unreadable\":[{\"path\",\"reason\"}],\"passed_over\":[{\"path\",\"reason\"}],\"unfinished\":[],\"way\":\"server\"}`;
    `way` is how the events got in: `server`, `journal`, or `inbox` where another process held the journal; `passed_over` is what
    has a transcript's name in an imported directory and is no regular file.
  - `sessions` and `session`: the answers of `GET /sessions` and `GET /sessions/{id}` (`docs/http.md`), the second without `calls` and with
    `items`, `omitted`, `turns`, `files` and `context` of its timeline, and with `--files --diff` its `patches`.
  - `diff`: `{\"version\":1,\"seq\":412,\"same\":false,\"a\":{..},\"b\":{..},\"delta\":{..},\"aligned\":12,\"first_divergence\":{\"how\",\"a\",\"b\"},
    \"resync\":{\"a\",\"b\"},\"changed\":[{\"a\",\"b\",\"input\":[],\"outcome\"}],\"only_a\":[],\"only_b\":[],\"omitted\":0}`; `how` is `input`, `outcome`, `only_a` or
    `only_b`; `same` is null where events that would tell are missing; `omitted` counts what `--limit` left out of the three lists.
    `a` and `b` in them are calls: `seq`, `time`, `agent`, `tool`, `tool_use_id`, `text`, `outcome`, `error`, `duration_ms`.
  - `serve` speaks MCP on stdout, with `--json` or without (`docs/mcp.md`).
  - `why`: the answer of `GET /events/{seq}?why=1` (`docs/http.md`).
  - `bisect`: `{\"version\":1,\"projection\":\"sessions\",\"expression\":\"...\",\"mode\":\"scan\",\"from_seq\":1,\"until_seq\":412,\"seq\":18,\"event\":{..},
    \"held_before\":false,\"folds\":1,\"events\":18,\"asked\":9,\"stumbled\":null,\"unknown_fields\":[]}`; `docs/bisect.md` explains them.
  - `annotate`: `{\"version\":1,\"seq\":413,\"about\":18,\"id\":\"...\",\"way\":\"server\"}`; `way` as for `import`, `seq` null where it is `inbox`.
  - `status`: `server` (null where none runs; `trouble` where it does not answer or takes no events), `starts_unasked`, `journal`, `sessions`
    (`working`, `waiting`, `idle`), `inbox`, `disk` (`days_left` null while too little is on record to tell), `events`
    (null where no server runs; what became of every event that came to the server: `offered` = `committed` + `duplicates` + `refused` + `pending`),
    `record` (of all time, with a server or without: `known` = `committed` + `waiting` + `not_kept` + `quarantined`; `not_known` says in words what no
    file says: an event of which a hook could keep a part, for one, is on record and counts as not kept),
    `recovered` and `corruption` (`count`, `last`, `seq`, or null). Of a server elsewhere `data_dir`, `starts_unasked`, `disk` and all that only files
    say is null.
  - `doctor`: `passed`, `warned`, `failed`, `duration_ms`, `fixed` (a sentence for each repair) and `checks`, of `name`, `status` (pass,
    warn or fail), `detail`, `hint` (null where there is none) and `fixable`. Exit code 1 where a check fails; `-v` reads every byte
    of the journal and folds all of it anew. A check that does not apply is left out. What a hook call costs is measured then and there;
    what a running server serves is compared with a fold of the journal. The check `segments` also has `segments`, each sealed segment: `base` (its
    first seq), `looked` and `last_whole` (when a server last looked at it, and last saw it whole; null if never) and `problems` (found
    by the last look; null without one). `-v` prints them as lines.
  - `update`: `this`, `in_use` (of `what`, `place`, `version`), `newest`, `same`, `install`. `completions`: `shell`, `script`. `man`: `name` and
    `page`, with `--out` `dir` and `pages`.
  - `config get`: `{\"version\":1,\"key\":\"server.linger\",\"value\":60,\"source\":\"default\"}`; `source` is project, user or default.
    `set` and `unset`: `key`, `old`, `new`, `path`. `list`: `settings`, of `key`, `value`, `source`, `about`. `path`: `files`, of
    `source`, `path`, `exists`.
  - `gc`: the answer of `POST /admin/gc` (`docs/http.md`).
  - `backup`: `{\"version\":1,\"dir\":\"...\",\"journal\":\"...\",\"first_seq\":1,\"last_seq\":412,\"segments\":1,\"bytes\":81920,
    \"head\":\"64 hex digits\",\"inbox_waiting\":0,\"damage\":[]}`; `damage` names, in a sentence each, what of journal and bases is damaged in the original too (exit 4).
  - `demo`: `{\"version\":1,\"data_dir\":\"...\",\"addr\":\"...\",\"session\":\"...\",\"hooks\":24,\"seen\":24,\"replayed\":24}`
    when the replay has ended.
- An error with `--json` is one object on stderr: `{\"error\":{\"code\":\"no_data_dir\",\"message\":\"...\"}}`. Codes are stable.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
        let fresh = page();
        if std::env::var_os("MNEMOSYNE_BLESS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == fresh, "docs/cli.md is stale: run MNEMOSYNE_BLESS=1 cargo test --lib reference");
    }

    #[test]
    fn every_command_of_the_table_has_its_help_on_the_page() {
        for command in shown() {
            let help = help(&[command.name]);
            assert!(help.contains(&format!("mnemosyne {}", command.name)), "{help}");
            assert!(page().contains(&help));
        }
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }
}
