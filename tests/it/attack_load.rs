//! What somebody who can connect may cost: bodies, headers, addresses and chunks beyond every limit are answered with an error or
//! cut off, thousands of connections that send nothing are bounded, and memory is too. Nothing of it reaches the journal.

use crate::http_limits::resident_bytes;
use crate::support::{Server, World, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What all rows together may leave behind: buffers that the allocator keeps.
const GROWN_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// The status of what comes back to these bytes; `None` where the connection is closed without an answer.
fn status_of(server: &Server, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(&server.addr).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(40))).expect("a bound");
    stream.set_write_timeout(Some(Duration::from_secs(40))).expect("a bound");
    // It may be refused before it is all sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..n]);
        if answer.windows(2).any(|two| two == b"\r\n") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok())
}

#[test]
fn what_is_beyond_a_limit_is_refused_in_bounded_memory() {
    let world = World::new();
    let server = world.server();
    let bearer = format!("Authorization: Bearer {}\r\n", server.token);
    let host = format!("Host: {}\r\n", server.addr);
    let head = |first: &str, more: &str| format!("{first} HTTP/1.1\r\n{host}{bearer}{more}\r\n").into_bytes();
    let json = "Content-Type: application/json\r\n";
    let with_body = |path: &str, more: &str, body: &[u8]| {
        let mut request =
            head(&format!("POST {path}"), &format!("{json}{more}Content-Length: {}\r\n", body.len()));
        request.extend_from_slice(body);
        request
    };
    let chunked = |body: &[u8]| {
        let mut request = head("POST /events/emit", &format!("{json}Transfer-Encoding: chunked\r\n"));
        request.extend_from_slice(body);
        request
    };
    let event = br#"{"kind":"custom","payload":{"name":"a","data":1}}"#;
    assert_eq!(
        status_of(&server, &with_body("/events/emit", "Connection: close\r\n", event)),
        Some(200),
        "the control"
    );
    let before = server.get("/events").text();
    let deep = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
    let deep_event = [
        br#"{"kind":"custom","payload":{"name":"a","data":"#.to_vec(),
        b"[".repeat(100_000),
        b"]".repeat(100_000),
        b"}}".to_vec(),
    ]
    .concat();
    let many_chunks = [b"1\r\n[\r\n".repeat(2 * 1024 * 1024), b"0\r\n\r\n".to_vec()].concat();
    let one_chunk = [
        format!("{:x}\r\n", 40 * 1024 * 1024).into_bytes(),
        vec![b' '; 40 * 1024 * 1024],
        b"\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    let headers = |count: usize| (0..count).fold(String::new(), |text, n| text + &format!("X-{n}: y\r\n"));
    let rows: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("a body over the limit", with_body("/events/emit", "", &vec![b' '; 2 * 1024 * 1024]), &[413]),
        ("a hook over the limit", with_body("/hooks/claude", "", &vec![b' '; 20 * 1024 * 1024]), &[413]),
        (
            "a length that says too much",
            head("POST /events/emit", &format!("{json}Content-Length: 99999999999\r\n")),
            &[413, 408],
        ),
        (
            "a length that is no number",
            head("POST /events/emit", &format!("{json}Content-Length: -1\r\n")),
            &[400],
        ),
        (
            "two lengths",
            head("POST /events/emit", &format!("{json}Content-Length: 1\r\nContent-Length: 2\r\n")),
            &[400],
        ),
        ("deep lists", with_body("/events/emit", "", &deep), &[400]),
        ("a deep event", with_body("/events/emit", "", &deep_event), &[400]),
        ("a deep hook", with_body("/hooks/claude", "", &deep), &[400]),
        ("many chunks", chunked(&many_chunks), &[408, 413]),
        ("a huge chunk", chunked(&one_chunk), &[413]),
        ("a chunk longer than numbers", chunked(b"fffffffffffffffffff\r\n[\r\n"), &[400]),
        ("a chunk that is none", chunked(b"zz\r\n[\r\n"), &[400]),
        ("an endless extension", chunked(&[b"1;".to_vec(), vec![b'x'; 1024 * 1024]].concat()), &[400]),
        ("gzip", with_body("/events/emit", "Content-Encoding: gzip\r\n", &vec![0; 1024]), &[415]),
        ("br, for a hook", with_body("/hooks/claude", "Content-Encoding: br\r\n", &vec![0; 1024]), &[415]),
        (
            "many encodings",
            with_body("/events/emit", "Content-Encoding: gzip, gzip, gzip\r\n", event),
            &[415],
        ),
        ("a thousand headers", head("GET /events", &headers(1_000)), &[400, 431]),
        ("a huge header", head("GET /events", &format!("X: {}\r\n", "y".repeat(1024 * 1024))), &[400, 431]),
        ("a long address", head(&format!("GET /{}", "a".repeat(1024 * 1024)), ""), &[400, 414, 431]),
        ("a long query", head(&format!("GET /events?grep={}", "a".repeat(60 * 1024)), ""), &[400, 414, 431]),
        ("another protocol", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400]),
        ("noise", vec![0xff; 1024 * 1024], &[400]),
        ("nulls", b"GET /\0events HTTP/1.1\r\n\r\n".to_vec(), &[400]),
    ];
    let resident = resident_bytes(&server);
    let (rows_count, mut answered) = (rows.len(), 0);
    for (what, request, statuses) in rows {
        match status_of(&server, &request) {
            // A reset may overtake the answer to what was still being sent.
            None => {}
            Some(status) => {
                assert!(statuses.contains(&status), "{what}: {status}");
                answered += 1;
            }
        }
        assert_eq!(server.get("/health").status, 200, "{what}: and others are served");
    }
    assert!(answered > rows_count / 2, "{answered} of {rows_count} were told why");
    let grown = resident_bytes(&server).saturating_sub(resident);
    assert!(grown < GROWN_BYTES_MAX, "{grown} bytes");
    assert_eq!(server.get("/events").text(), before, "nothing of it is on record");
    server.stop();
}

/// So many connections that a server takes at most.
const CONNECTIONS: usize = 4_096;
/// What each of them may cost while its header has not come.
const CONNECTION_BYTES_MAX: u64 = 32 * 1024;

#[test]
fn thousands_of_connections_that_send_next_to_nothing_cost_bounded_memory_and_pass() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("more descriptors");
    let enough = getrlimit(Resource::Nofile).current.is_none_or(|most| most > 2 * CONNECTIONS as u64 + 512);
    if !enough {
        return crate::support::skipped("too few descriptors for thousands of connections");
    }
    let world = World::new();
    let server = world.server();
    assert_eq!(server.get("/health").status, 200);
    let before = resident_bytes(&server);
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..CONNECTIONS + 64 {
        let mut stream = TcpStream::connect(&server.addr).expect("the system takes it");
        // Beyond the limit it is turned away, and closed meanwhile.
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: ");
        slow.push(stream);
    }
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(
        grown < CONNECTIONS as u64 * CONNECTION_BYTES_MAX,
        "{CONNECTIONS} connections cost {grown} bytes"
    );
    // One byte each, again and again, does not keep them: the header has ten seconds from its beginning.
    for stream in &mut slow {
        let _ = stream.write_all(b"x");
    }
    let end = |stream: &TcpStream| {
        stream.set_read_timeout(Some(crate::support::BOUND)).expect("a bound");
        let mut rest = Vec::new();
        let read = Read::read_to_end(&mut (&*stream), &mut rest);
        !read.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        })
    };
    assert!(slow.iter().all(end), "each is cut off by the server");
    drop(slow);
    wait_for("an answer once they are gone", || {
        let mut stream = TcpStream::connect(&server.addr).ok()?;
        let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.addr);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    });
    server.stop();
}
