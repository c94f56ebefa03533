//! A request against servers that are silent, from the beginning or from some moment on, and against one that is slow.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

fn server_at(addr: SocketAddr) -> Server {
    Server { address: Address { addr, host: addr.to_string(), token: "t0k3n".into() }, dir: None }
}

/// The path of a request, and whether a token came with it.
fn head(socket: &TcpStream) -> (String, bool) {
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let token =
        lines.take_while(|line| !line.is_empty()).any(|line| line.to_lowercase().contains("authorization"));
    (path, token)
}

/// Says so many times that it is there, and is silent then, for ever; with the last sign it answers what it was asked, if it does so at all.
fn saying_that_it_is_there(signs: u64, answers: bool) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let given = Arc::new(AtomicU64::new(0));
    let counted = given.clone();
    std::thread::spawn(move || {
        let mut waiting = Vec::new();
        for mut socket in listener.incoming().map_while(Result::ok) {
            let (path, token) = head(&socket);
            if path != path::HEALTH {
                waiting.push(socket);
                continue;
            }
            assert!(!token, "the token stays away from whoever may listen by now");
            if counted.load(Ordering::Relaxed) == signs {
                waiting.push(socket);
                continue;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            socket.write_all(ANSWER).unwrap();
            if answers && counted.load(Ordering::Relaxed) == signs {
                waiting.drain(..).for_each(|mut socket| socket.write_all(ANSWER).unwrap());
            }
        }
    });
    (addr, given)
}

/// What a call comes to that would else be waited for half an hour.
fn soon<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, waited) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(call()));
    waited.recv_timeout(Duration::from_mins(1)).expect("it does not return")
}

fn is_silent<T: std::fmt::Debug>(outcome: &Result<T, Error>) {
    assert!(matches!(outcome, Err(Error::TimedOut { limit: SIGN_TIMEOUT, .. })), "{outcome:?}");
}

#[test]
fn a_listener_that_never_answers_costs_every_request_the_same_three_seconds() {
    // The system accepts for it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server_at(listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| is_silent(&server.get_json("/sessions")));
        scope.spawn(|| is_silent(&server.emit("[]", Durability::Disk, None)));
        scope.spawn(|| is_silent(&server.stream("/events/stream", None).map(drop)));
        scope.spawn(|| is_silent(&server.journal_id()));
        let cutting = server.clone();
        scope.spawn(|| is_silent(&soon(move || cutting.gc(true))));
        scope.spawn(|| is_silent(&server.shutdown()));
    });
}

#[test]
fn a_server_that_is_slow_and_says_that_it_is_there_is_waited_for() {
    let (addr, given) = saying_that_it_is_there(2, true);
    assert_eq!(server_at(addr).get_json("/diff").unwrap(), "{}");
    assert_eq!(given.load(Ordering::Relaxed), 2, "the second sign comes after more than three seconds");
}

#[test]
fn a_server_that_falls_silent_while_it_cuts_is_given_up() {
    let (addr, given) = saying_that_it_is_there(1, false);
    is_silent(&soon(move || server_at(addr).gc(false)));
    assert_eq!(given.load(Ordering::Relaxed), 1, "it had begun");
}

#[test]
fn a_server_that_falls_silent_in_the_midst_of_its_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut socket in listener.incoming().map_while(Result::ok) {
            if head(&socket).0 != path::HEALTH {
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").unwrap();
            }
            held.push(socket);
        }
    });
    is_silent(&server_at(addr).get_json("/sessions"));
}
