//! The kit must be able to fail: a harness that cannot go red proves nothing.

use crate::support::{World, wait_at_most};
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

/// A listener that answers one connection with these bytes.
fn answering(bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("one connection");
        let mut request = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut request);
        stream.write_all(&bytes).expect("the answer is taken");
    });
    addr
}

#[test]
#[should_panic(expected = "in vain for something that never comes")]
fn waiting_in_vain_fails() {
    wait_at_most(Duration::from_millis(20), "something that never comes", || None::<()>);
}

#[test]
fn a_frame_is_read_with_all_its_fields() {
    // Chunk borders fall where no block ends: in a field's name, and between two bytes of one line end.
    let pieces = [": hello\n\nid: 7\nev", "ent: custom\ndata: {\"a\":\nda", "ta: 1}\n", "\n"];
    let chunks = pieces.map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).concat();
    let addr = answering(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
    let sse = crate::support::Sse::open(&addr, "/", &[]);
    assert_eq!(sse.status, 200);
    let frame = sse.next().expect("a frame");
    assert_eq!((frame.seq(), frame.event.as_deref()), (7, Some("custom")));
    assert_eq!(frame.json(), serde_json::json!({"a": 1}));
    assert_eq!(sse.next(), None);
}

#[test]
#[should_panic(expected = "broke in the middle")]
fn a_stream_that_breaks_is_not_a_stream_that_ended() {
    let addr = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nid: 7\nevent: custom\n");
    crate::support::Sse::open(&addr, "/", &[]).next();
}

#[test]
fn a_world_shares_nothing_with_the_machine() {
    let world = World::new();
    assert!(!world.data().exists());
    assert_eq!(world.inbox_len(), 0);
    let names: Vec<_> = world.command(["events"]).get_envs().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["HOME", "MNEMOSYNE_DATA_DIR", "MNEMOSYNE_DISABLE_AUTO_START_API", "PATH", "TZ"]);
}
