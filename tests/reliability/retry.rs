//! Answers that never arrive: the connection is cut after the request, the same event is sent again, and the answer is the seq
//! that it got the first time; also from the next server, after a stop or a kill.

use crate::support::{Server, World};
use crate::world::{Acknowledged, id, request, rounds, tell};
use std::io::Write as _;
use std::net::TcpStream;

#[test]
fn an_event_sent_again_after_a_lost_answer_keeps_its_seq() {
    let world = World::new();
    let retries = rounds(500, 100_000) as u64;
    let (mut acknowledged, mut again, mut restarts) = (Acknowledged::default(), 0, 0);
    let mut server = world.server();
    for n in 0..retries {
        let before = tail(&server);
        let stream = send(&server, n);
        // One in four is cut at once, when nobody knows what became of it; the others after the commit.
        let committed = !n.is_multiple_of(4);
        while committed && tail(&server) == before {
            std::thread::yield_now();
        }
        drop(stream);
        if n % 50 == 49 {
            restarts += 1;
            if restarts % 2 == 0 {
                server.kill();
            } else {
                server.stop();
            }
            server = world.server();
        }
        let answer = acknowledged.emit(&server, n, 20);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let duplicate = answer.json()["duplicates"] == serde_json::json!([0]);
        assert!(duplicate || !committed, "{} was committed before: {}", id(n), answer.text());
        again += usize::from(duplicate);
    }
    // The control: what was never sent before is no duplicate.
    let answer = acknowledged.emit(&server, retries, 20);
    assert_eq!(answer.json()["duplicates"], serde_json::json!([]));
    server.stop();
    assert_eq!(acknowledged.check(&world.events([])), 0);
    assert_eq!(acknowledged.0.len() as u64, retries + 1);
    tell(&format!("{retries} retries, {again} answered with the first seq, {restarts} restarts between"));
}

fn tail(server: &Server) -> u64 {
    server.bare_request("GET", "/health", &[], b"").json()["tail"].as_u64().expect("a tail")
}

/// Sends event `n` and reads nothing.
fn send(server: &Server, n: u64) -> TcpStream {
    let body = request(n, 20).to_string();
    let mut stream = TcpStream::connect(&server.addr).expect("a connection");
    let head = format!(
        "POST /events/emit HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        server.addr,
        server.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the request is taken");
    stream
}
