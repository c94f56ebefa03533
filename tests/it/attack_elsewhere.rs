//! The token of a server elsewhere: it goes to the address that was named and to nobody else, and no command shows it.

use crate::attack_stranger::Stranger;
use crate::cli_elsewhere::{Far, private};
use crate::support::{Ran, Running, World};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const TOKEN: &str = "5ec4e7000000000000000000000000000000000000000000000000000005ec4e";

const READING: &[&[&str]] = &[
    &["events"],
    &["events", "--search", "x"],
    &["tail", "-n", "3"],
    &["sessions"],
    &["session", "s"],
    &["replay", "s", "--speed", "max"],
    &["state", "sessions"],
    &["stats"],
    &["why", "1"],
    &["annotate", "1", "a note"],
];

fn ask(near: &World, url: &str, file: &Path, args: &[&str], more: &[(&str, &str)]) -> Ran {
    let file = file.to_str().expect("UTF-8");
    let line = args.iter().copied().chain(["-vv", "--server", url, "--token-file", file]);
    let mut command = near.bare_command(line);
    command.envs(more.iter().copied());
    Running::start(&mut command).wait()
}

#[test]
fn a_server_that_redirects_takes_the_token_nowhere_and_no_proxy_is_asked() {
    let near = World::new();
    let file = private(&near, "token", TOKEN);
    let other = Stranger::on("127.0.0.1:0");
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nLocation: http://{}/health\r\nContent-Length: 0\r\n\r\n",
            other.addr
        );
        let named = Stranger::answering("127.0.0.1:0", answer);
        for args in READING {
            let ran = ask(&near, &format!("http://{}", named.addr), &file, args, &[]);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{args:?} {ran}");
            assert!(ran.stderr.contains("not understood"), "{args:?} {ran}");
        }
        // The control: this is how the other would have heard it.
        assert!(named.heard().contains(TOKEN), "the named one is asked with the token");
    }
    let proxy = format!("http://{}", other.addr);
    let names = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"];
    let proxies: Vec<_> = names.iter().map(|name| (*name, proxy.as_str())).collect();
    let far = Far::new();
    let ran = ask(&near, &far.url(), &far.token_in(&near), &["events"], &proxies);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(other.heard(), "");
}

#[test]
fn a_file_that_others_may_read_or_that_is_no_token_is_not_sent() {
    let near = World::new();
    let named = Stranger::on("127.0.0.1:0");
    let url = format!("http://{}", named.addr);
    let file = private(&near, "token", TOKEN);
    let refused = |file: &Path, why: &str| {
        let ran = ask(&near, &url, file, &["events"], &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{why}: {ran}");
        assert!(ran.stderr.contains("not safe to use"), "{why}: {ran}");
        assert!(!ran.stderr.contains(TOKEN), "{why}: {ran}");
    };
    for mode in [0o644, 0o640, 0o606, 0o620] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("its mode");
        refused(&file, "others may read or change it");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let link = near.home().join("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    refused(&link, "a link");
    refused(near.home(), "a directory");
    refused(&private(&near, "key", "-----BEGIN OPENSSH PRIVATE KEY-----\n"), "another secret");
    refused(&private(&near, "lines", &format!("{TOKEN}\r\nX-Header: y")), "a header of its own");
    if rustix::process::geteuid().is_root() {
        let theirs = private(&near, "theirs", TOKEN);
        std::os::unix::fs::chown(&theirs, Some(65534), None).expect("another owner");
        refused(&theirs, "another owner");
    } else {
        crate::support::skipped("not root: no file of another user's");
    }
    assert_eq!(named.heard(), "", "nothing was asked at all");
    ask(&near, &url, &file, &["events"], &[]);
    assert!(named.heard().contains(TOKEN), "the control: a proper file is sent");
}

#[test]
fn the_token_is_in_no_output_and_no_record() {
    let (far, near) = (Far::new(), World::new());
    near.hook(&crate::cli_basics::prompt("near", "so that runs are on record"));
    let token = far.server.token.clone();
    for args in READING.iter().chain(&[&["events", "--record", "--json"][..], &["gc"], &["doctor"]]) {
        for file in [far.token_in(&near), private(&near, "wrong", &"0".repeat(64))] {
            let ran = ask(
                &near,
                &far.url(),
                &file,
                args,
                &[("MNEMOSYNE_DATA_DIR", near.data().to_str().expect("UTF-8"))],
            );
            assert!(!ran.stdout.contains(&token) && !ran.stderr.contains(&token), "{args:?} {ran}");
        }
    }
    // What was typed where a URL is wanted may be anything.
    let typed = "http://me:hunter2-and-more@127.0.0.1:3000";
    for args in [&["events", "--record"][..], &["annotate", "1", "x"], &["gc"]] {
        let ran = ask(
            &near,
            typed,
            &far.token_in(&near),
            args,
            &[("MNEMOSYNE_DATA_DIR", near.data().to_str().expect("UTF-8"))],
        );
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(!ran.stderr.contains("hunter2"), "{ran}");
    }
    let recorded = near.ok(["events", "--json"]).stdout;
    assert!(recorded.contains("\"annotate\"") && recorded.contains("--server"), "{recorded}");
    assert!(!recorded.contains("hunter2") && !recorded.contains(&token), "{recorded}");
}
