//! The stream against a server that breaks, refuses and ends as told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;
use crate::client::Address;
use crate::config::DataDir;
use crate::wire::sse::SIGN_OF_LIFE;

const BOUND: Duration = Duration::from_secs(20);
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Answers one connection after the other; gives back the `Last-Event-ID` that each came with.
fn answering(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<Option<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        answers.iter().map(|answer| answer_one(listener.accept().unwrap().0, answer)).collect()
    });
    (addr, serving)
}

fn answer_one(mut socket: TcpStream, answer: &str) -> Option<String> {
    let mut cursor = None;
    for line in BufReader::new(socket.try_clone().unwrap()).lines() {
        let line = line.unwrap().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        cursor = cursor.or(line.strip_prefix("last-event-id: ").map(str::to_owned));
    }
    socket.write_all(answer.as_bytes()).unwrap();
    cursor
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn open(addr: SocketAddr) -> Stream {
    // Nobody holds it, so the server is looked for where it was.
    let dir = Some(DataDir::at("/nonexistent"));
    let address = Address { addr, host: addr.to_string(), token: "t".into() };
    Stream::open(Server { address, dir }, "/events/stream".into(), Some(3)).unwrap()
}

/// The ids up to the end.
fn ids(stream: &mut Stream) -> Vec<String> {
    let began = Instant::now();
    let mut ids = Vec::new();
    loop {
        match stream.next(Duration::from_millis(50)).unwrap() {
            Next::Frame(frame) => ids.push(frame.last_event_id),
            Next::Quiet => assert!(began.elapsed() < BOUND, "no end after {ids:?}"),
            Next::End => return ids,
        }
    }
}

#[test]
fn a_stream_that_breaks_goes_on_after_the_last_whole_frame() {
    let first = chunk("retry: 5\nid: 4\ndata: {}\n\n") + &chunk("id: 5\ndata: {}\n\nid: 6\nda");
    let second = chunk("id: 6\ndata: {}\n\n");
    let third = chunk("id: 7\ndata: {}\n\n") + "0\r\n\r\n";
    let (addr, serving) =
        answering(vec![HEAD.to_owned() + &first, HEAD.to_owned() + &second, HEAD.to_owned() + &third]);
    let mut stream = open(addr);
    assert_eq!(ids(&mut stream), ["4", "5", "6", "7"]);
    assert_eq!(stream.last_event_id(), "7");
    let cursors = serving.join().unwrap();
    assert_eq!(cursors, [Some("3".into()), Some("5".into()), Some("6".into())]);
}

#[test]
fn a_stream_on_which_nothing_comes_any_more_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        // Held open, and silent.
        let hangs = listener.accept().unwrap().0;
        let first = HEAD.to_owned() + &chunk("retry: 5\nid: 4\ndata: {}\n\n");
        let mut cursors = vec![answer_one(hangs.try_clone().unwrap(), &first)];
        let second = HEAD.to_owned() + &chunk("id: 5\ndata: {}\n\n") + "0\r\n\r\n";
        cursors.push(answer_one(listener.accept().unwrap().0, &second));
        drop(hangs);
        cursors
    });
    let mut stream = open(addr);
    stream.silence_max = Duration::from_millis(200);
    assert_eq!(ids(&mut stream), ["4", "5"]);
    assert_eq!(serving.join().unwrap(), [Some("3".into()), Some("4".into())]);
}

#[test]
fn signs_of_life_are_no_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let serving = std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        answer_one(socket.try_clone().unwrap(), HEAD);
        while stopped.recv_timeout(Duration::from_millis(20)).is_err() {
            socket.write_all(chunk(SIGN_OF_LIFE).as_bytes()).unwrap();
        }
        socket.write_all(b"0\r\n\r\n").unwrap();
        // A second connection would wait here for ever.
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "it was opened again");
    });
    let mut stream = open(addr);
    stream.silence_max = BOUND / 20;
    let began = Instant::now();
    while began.elapsed() < 2 * stream.silence_max {
        assert_eq!(stream.next(Duration::from_millis(50)).unwrap(), Next::Quiet);
    }
    stop.send(()).unwrap();
    assert_eq!(ids(&mut stream), Vec::<String>::new());
    serving.join().unwrap();
}

#[test]
fn a_cursor_that_is_refused_after_a_reconnect_is_an_error_and_not_the_end() {
    let first = HEAD.to_owned() + &chunk("retry: 5\nid: 4\ndata: {}\n\n");
    let body = r#"{"error":{"code":"cursor_ahead","message":"m","actual":2}}"#;
    let second = format!("HTTP/1.1 409 Conflict\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (addr, serving) = answering(vec![first, second]);
    let mut stream = open(addr);
    let began = Instant::now();
    let error = loop {
        match stream.next(Duration::from_millis(50)) {
            Ok(Next::End) => panic!("it ended"),
            Ok(_) => assert!(began.elapsed() < BOUND),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, Error::Refused { status: 409, code, .. } if code == "cursor_ahead"),
        "{error:?}"
    );
    serving.join().unwrap();
}

#[test]
fn a_server_that_stays_away_is_given_up_after_ten_attempts() {
    let first = HEAD.to_owned() + &chunk("retry: 1\nid: 4\ndata: {}\n\n");
    let (addr, serving) = answering(vec![first]);
    let mut stream = open(addr);
    serving.join().unwrap();
    let mut outcomes = (0..1000).map(|_| stream.next(Duration::from_millis(50)));
    let error = outcomes.find_map(Result::err).expect("it gives up");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}
