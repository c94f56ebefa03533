//! `serve`, asked by a client that we did not write: the one of the protocol's own project, from PyPI.
//!
//! As in `http_foreign.rs`: installed at a pinned version, once, and a loud `SKIPPED` where the registry is not to be had.

use crate::cli_basics::prompt;
use crate::http_foreign::{or_skip, python_with, script};
use crate::support::{Running, World};
use serde_json::json;
use std::process::{Command, Stdio};

const PACKAGE: &str = "mcp==1.27.0";

#[test]
fn the_protocols_own_client_lists_the_tools_and_asks_one() {
    let Some(python) = or_skip(PACKAGE, python_with("python-mcp", &[PACKAGE])) else { return };
    let world = World::new();
    world.hook(&prompt("one", "find the needle"));
    let ran = Running::start(
        Command::new(python)
            .arg(script("mcp_ask.py"))
            .args([env!("CARGO_BIN_EXE_mnemosyne"), "search", r#"{"words": "needle"}"#])
            .env("MNEMOSYNE_DATA_DIR", world.data())
            .env("HOME", world.home())
            .current_dir(world.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )
    .wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    let seen = ran.json();
    assert_eq!(
        (&seen["server"], &seen["is_error"], &seen["refused"]),
        (&json!("mnemosyne"), &json!(false), &json!(true))
    );
    assert_eq!(seen["tools"].as_array().map(Vec::len), Some(9));
    assert_eq!(seen["answer"]["hits"][0]["event"]["payload"]["prompt"], "find the needle");
    assert_eq!(seen["answer"], seen["text"]);
}
