//! Who may import whom.

use crate::Breaches;
use crate::source::{Source, has_word};

/// One layer: where it lives, which modules of the crate it may name, and what it may not touch besides.
struct Layer {
    /// Prefix of its paths.
    at: &'static str,
    /// Top modules of the crate, or `*` for all.
    may: &'static [&'static str],
    /// Paths and crates that must not occur in its code.
    never: &'static [&'static str],
}

/// Needed by all and needing nothing.
const BASE: &[&str] = &["error"];

const NO_IO: &[&str] = &[
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::process",
    "tokio::fs",
    "tokio::net",
    "SystemTime",
    "Utc::now",
    "getrandom",
    "rand",
];

const LAYERS: &[Layer] = &[
    Layer {
        at: "src/event/",
        may: &["event"],
        never: &["tokio", "axum", "hyper", "clap", "mnemosyne_journal", "rustix"],
    },
    Layer {
        at: "src/wire/",
        may: &["event", "wire"],
        never: &["tokio", "axum", "hyper", "clap", "mnemosyne_journal", "rustix"],
    },
    Layer { at: "src/error.rs", may: &["event"], never: &["axum", "clap"] },
    Layer { at: "src/clock.rs", may: &["event"], never: &["axum", "clap", "mnemosyne_journal"] },
    Layer { at: "src/config/", may: &["config"], never: &["axum", "clap", "tokio", "mnemosyne_journal"] },
    Layer {
        at: "src/store/",
        may: &["store", "event", "config", "clock"],
        never: &["axum", "hyper", "clap"],
    },
    Layer {
        at: "src/projection/",
        may: &["projection", "event", "store", "config", "clock"],
        never: &["mnemosyne_journal", "axum", "hyper", "clap"],
    },
    Layer {
        at: "src/agent/",
        may: &["agent", "event", "store", "projection", "wire", "config", "clock"],
        never: &["mnemosyne_journal", "axum", "clap"],
    },
    Layer {
        at: "src/answers/",
        may: &["answers", "event", "store", "projection", "wire", "config", "clock"],
        never: &["mnemosyne_journal", "axum", "hyper", "clap", "tokio"],
    },
    Layer {
        at: "src/mcp/",
        may: &["mcp", "answers", "client", "event", "store", "projection", "wire", "config", "clock"],
        never: &["mnemosyne_journal", "axum", "hyper", "clap"],
    },
    Layer {
        at: "src/server/",
        may: &["server", "agent", "answers", "event", "store", "projection", "wire", "config", "clock"],
        never: &["mnemosyne_journal", "clap"],
    },
    Layer {
        at: "src/client/",
        may: &["client", "event", "store", "projection", "wire", "config", "clock"],
        never: &["mnemosyne_journal", "axum", "clap"],
    },
    Layer { at: "src/cli/", may: &["*"], never: &["mnemosyne_journal", "axum"] },
    // Properties of every parser, at whatever level it stands; not in a build for users.
    Layer { at: "src/fuzzing/", may: &["*"], never: &[] },
    Layer { at: "src/main.rs", may: &["*"], never: &["mnemosyne_journal", "axum"] },
    Layer { at: "src/lib.rs", may: &["*"], never: &["axum"] },
    Layer {
        at: "journal/src/",
        may: &["*"],
        never: &[
            "tokio",
            "axum",
            "serde",
            "serde_json",
            "clap",
            "tracing",
            "uuid",
            "chrono",
            "getrandom",
            "rand",
            "SystemTime",
            "mnemosyne",
            "println",
            "eprintln",
            "stdout",
            "stderr",
        ],
    },
    Layer {
        at: "tools/src/",
        may: &["*"],
        never: &[
            "tokio",
            "axum",
            "mnemosyne::agent",
            "mnemosyne::cli",
            "mnemosyne::client",
            "mnemosyne::clock",
            "mnemosyne::config",
            "mnemosyne::server",
            "mnemosyne::store",
            "mnemosyne::wire",
            // It reads; only `salvage` writes, through the journal, into a directory that it has made.
            "File::create",
            "OpenOptions",
            "fs::remove_dir_all",
            "fs::remove_file",
            "fs::rename",
            "fs::set_permissions",
            "fs::write",
        ],
    },
];

/// Modules that work on slices: no file, no stream.
const ON_SLICES: &[&str] = &["format", "index", "recovery"];

/// Test code may reach for what the code beside it may not: a temporary directory, a thread, the kit of a neighbour.
const OUTSIDE: &[&str] = &[
    "tests/",
    "journal/tests/",
    "tools/tests/",
    "benches/",
    "journal/benches/",
    "journal/examples/",
    "examples/",
];

pub(crate) fn breaches(source: &Source) -> Breaches {
    let path = source.path.as_str();
    if OUTSIDE.iter().any(|outside| path.starts_with(outside)) {
        return Vec::new();
    }
    let Some(layer) = LAYERS.iter().find(|layer| path.starts_with(layer.at)) else {
        return vec![format!("{path}: no layer has a row for it in tests/tidy/layers.rs")];
    };
    let code = source.shipped();
    let mut breaches = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let at = format!("{path}:{}", number + 1);
        for never in forbidden(layer, path) {
            if has_path(line, never) {
                breaches.push(format!("{at}: `{never}` has no place in {}", layer.at));
            }
        }
        if path.starts_with("journal/src/") && names_the_layer_above(line) {
            breaches.push(format!("{at}: the journal knows records, and nothing of what they hold"));
        }
    }
    if !path.starts_with("journal/") && !path.starts_with("tools/") {
        for module in crate_modules(&code, depth(path)) {
            let allowed = layer.may.contains(&"*")
                || layer.may.contains(&module.as_str())
                || BASE.contains(&module.as_str());
            if !allowed {
                breaches.push(format!("{path}: `crate::{module}` lies above {}", layer.at));
            }
        }
    }
    breaches
}

fn forbidden<'a>(layer: &'a Layer, path: &str) -> Vec<&'a str> {
    let mut never = layer.never.to_vec();
    if path.starts_with("src/event/") || path.starts_with("src/wire/") {
        never.extend(NO_IO);
    }
    let part = path.strip_prefix("journal/src/").unwrap_or_default();
    let first = part.split(['/', '.']).next().unwrap_or_default();
    if ON_SLICES.contains(&first) {
        never.extend(["std::fs", "std::io"]);
    }
    never
}

/// How many `super::` lead from a file to the root of its crate.
fn depth(path: &str) -> usize {
    let parts = path.trim_start_matches("src/").split('/').count();
    if path.ends_with("/mod.rs") { parts - 1 } else { parts }
}

fn names_the_layer_above(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let lower = word.to_ascii_lowercase();
        lower == "event" || lower == "events" || word.starts_with("Event")
    })
}

/// Whether a path or crate name occurs, and not as a part of another name.
fn has_path(line: &str, path: &str) -> bool {
    has_word(line, path)
}

/// The top modules that `crate::…`, `crate::{…}` and long chains of `super::` name.
fn crate_modules(code: &str, depth: usize) -> Vec<String> {
    let chain = "super::".repeat(depth);
    let mut modules = Vec::new();
    for root in ["crate::", chain.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
                continue;
            }
            modules.extend(heads(&code[at + root.len()..]));
        }
    }
    modules.sort();
    modules.dedup();
    modules
}

/// The first names of what follows `crate::`: one, or those of a group.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        let head = name(rest);
        // `super::super::super` one step beyond the root does not compile, so a further `super` is a chain's middle.
        return if head.is_empty() || head == "super" { Vec::new() } else { vec![head] };
    };
    let mut nesting = 0_usize;
    let mut heads = vec![name(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => nesting += 1,
            '}' if nesting == 0 => break,
            '}' => nesting -= 1,
            ',' if nesting == 0 => heads.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}
