//! Strangers at the door: pages of other sites, rebound names, other users, odd bodies. Each is refused over a real
//! socket, by its own code, and no answer ever carries a header that would let a page read it.

use crate::support::{Response, Server, World};
use std::os::unix::fs::PermissionsExt;

#[track_caller]
fn expect(answer: &Response, status: u16, code: &str) {
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{}", answer.text());
    no_cors(answer);
}

fn no_cors(answer: &Response) {
    assert!(
        answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")),
        "{:?}",
        answer.headers
    );
}

fn bearer(server: &Server) -> String {
    format!("Bearer {}", server.token)
}

#[test]
fn every_route_but_health_needs_the_token() {
    let world = World::new();
    let server = world.server();
    let health = server.bare_request("GET", "/health", &[], b"");
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("ok")));
    assert_eq!(health.json()["instance_id"].as_str().map(str::len), Some(36));
    let json = ("Content-Type", "application/json");
    for (method, path) in [
        ("GET", "/events"),
        ("GET", "/events/1"),
        ("GET", "/events/stream"),
        ("GET", "/events/replay?session=s"),
        ("GET", "/sessions"),
        ("GET", "/nowhere"),
        ("POST", "/events/emit"),
        ("POST", "/hooks/claude"),
        ("POST", "/admin/shutdown"),
        ("POST", "/admin/backup"),
        ("POST", "/admin/rebuild"),
        ("POST", "/health"),
    ] {
        expect(&server.bare_request(method, path, &[json], b""), 401, "unauthorized");
        let wrong = "Bearer ".to_owned() + &"0".repeat(64);
        expect(
            &server.bare_request(method, path, &[json, ("Authorization", &wrong)], b""),
            401,
            "unauthorized",
        );
    }
    assert_eq!(server.get("/events").status, 200, "and with the token it is open");
}

#[test]
fn a_rebound_name_and_other_sites_are_refused_before_the_token_counts() {
    let world = World::new();
    let server = world.server();
    let token = bearer(&server);
    let port = server.addr.rsplit(':').next().expect("a port").to_owned();
    let with = |name: &str, value: &str| {
        server.bare_request("GET", "/events", &[("Authorization", &token), (name, value)], b"")
    };
    for host in [
        format!("evil.example:{port}"),
        "127.0.0.1".into(),
        format!("0.0.0.0:{port}"),
        format!("127.1:{port}"),
    ] {
        expect(&with("Host", &host), 403, "forbidden_host");
    }
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(with("Host", &host).status, 200, "{host}");
    }
    for origin in ["null", "http://evil.example", "http://localhost"] {
        expect(&with("Origin", origin), 403, "forbidden_origin");
    }
    assert_eq!(with("Origin", &format!("http://localhost:{port}")).status, 200);
    for site in ["cross-site", "same-site"] {
        expect(&with("Sec-Fetch-Site", site), 403, "forbidden_origin");
    }
    assert_eq!(with("Sec-Fetch-Site", "same-origin").status, 200);
    let preflight = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    expect(&server.bare_request("OPTIONS", "/events/emit", &preflight, b""), 403, "forbidden_origin");
}

#[test]
fn only_plain_json_is_taken() {
    let world = World::new();
    let server = world.server();
    let body = br#"{"kind":"custom","payload":{"name":"a","data":1}}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        expect(
            &server.request("POST", "/events/emit", &[("Content-Type", kind)], body),
            415,
            "unsupported_media_type",
        );
    }
    expect(&server.request("POST", "/events/emit", &[], body), 415, "unsupported_media_type");
    let gzip = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    expect(&server.request("POST", "/events/emit", &gzip, body), 415, "unsupported_encoding");
    assert_eq!(
        server.post("/events/emit", "{\"kind\":\"custom\",\"payload\":{\"name\":\"a\",\"data\":1}}").status,
        200
    );
}

#[test]
fn a_large_body_of_a_stranger_is_refused_and_the_refusal_can_be_read() {
    let world = World::new();
    let server = world.server();
    let body = vec![b'x'; 4 * 1024 * 1024];
    expect(
        &server.bare_request("POST", "/events/emit", &[("Content-Type", "application/json")], &body),
        401,
        "unauthorized",
    );
}

#[test]
fn the_runtime_file_is_for_its_owner_alone_and_gone_after_a_stop() {
    let world = World::new();
    let server = world.server();
    let path = world.data().join("server.json");
    let mode = std::fs::metadata(&path).expect("server.json").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("server.json")).expect("JSON");
    for field in ["addr", "pid", "start_ticks", "token", "instance_id", "journal_id", "version", "started_at"]
    {
        assert!(!file[field].is_null(), "{field} in {file}");
    }
    assert_eq!(server.token.len(), 64);
    let token = server.token.clone();
    let ran = server.stop();
    assert!(!path.exists());
    let log = std::fs::read_to_string(world.data().join("log/server.log")).expect("a log");
    assert!(!log.contains(&token) && !ran.stdout.contains(&token) && !ran.stderr.contains(&token));
}

#[test]
fn a_server_that_is_not_asked_to_leave_the_loopback_does_not() {
    let world = World::new();
    let ran = world.run(["api-server", "--addr", "0.0.0.0:0"]);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("loopback"), "{ran}");
}
