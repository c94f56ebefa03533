use proptest::prelude::*;

use super::*;

fn decode(chunks: &[&[u8]]) -> (Vec<Frame>, Decoder) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(frame) = decoder.next_frame().unwrap() {
            frames.push(frame);
        }
    }
    (frames, decoder)
}

fn frame(id: &str, event: &str, data: &str) -> Frame {
    Frame { last_event_id: id.into(), event: event.into(), data: data.into() }
}

#[test]
fn a_frame_is_id_event_data_and_an_empty_line() {
    let mut out = String::new();
    event_frame(&mut out, 7, "turn_completed", r#"{"a":1}"#);
    assert_eq!(out, "id: 7\nevent: turn_completed\ndata: {\"a\":1}\n\n");
}

#[test]
fn frames_without_a_cursor_have_no_id() {
    let mut out = String::new();
    lag_frame(&mut out, 9);
    clock_frame(&mut out, &ClockTick { elapsed_ms: 0, until_seq: 3, done: false });
    assert!(!out.contains("id:"));
    let mut out = String::new();
    checkpoint_frame(&mut out, 12);
    gap_frame(&mut out, &Gap { from_seq: 13, to_seq: 15, reason: "retention".into() });
    let (frames, _) = decode(&[out.as_bytes()]);
    assert_eq!(frames[0], frame("12", CHECKPOINT, r#"{"seq":12}"#));
    assert_eq!(frames[1], frame("15", GAP, r#"{"from_seq":13,"to_seq":15,"reason":"retention"}"#));
}

#[test]
fn retry_in_the_first_frame_delivers_one_event_and_the_delay() {
    let mut out = String::new();
    retry_line(&mut out, Duration::from_secs(1));
    event_frame(&mut out, 1, "k", "{}");
    let (frames, decoder) = decode(&[out.as_bytes()]);
    assert_eq!(frames, [frame("1", "k", "{}")]);
    assert_eq!(decoder.retry(), Some(Duration::from_secs(1)));
}

#[test]
fn signs_of_life_deliver_nothing_wherever_they_stand() {
    let (frames, _) = decode(&[b": alive\n: alive\nid: 1\n: alive\ndata: x\n: alive\n\n: alive\n"]);
    assert_eq!(frames, [frame("1", "message", "x")]);
}

#[test]
fn every_line_end_counts_wherever_the_chunk_is_cut() {
    let (frames, _) = decode(&[b"data: a\r", b"\ndata: b\r\r", b"data: c\n", b"\n"]);
    assert_eq!(frames, [frame("", "message", "a\nb"), frame("", "message", "c")]);
}

#[test]
fn one_byte_order_mark_is_dropped_even_when_cut() {
    let (frames, _) = decode(&[b"\xEF", b"\xBB", b"\xBFdata: a\n\n\xEF\xBB\xBFdata: b\n\n"]);
    assert_eq!(frames, [frame("", "message", "a")], "the second mark makes another field name");
}

#[test]
fn an_id_with_a_nul_is_ignored_and_an_empty_one_resets() {
    let (frames, _) = decode(&[b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid\ndata: c\n\n"]);
    assert_eq!(frames.iter().map(|f| f.last_event_id.as_str()).collect::<Vec<_>>(), ["1", "1", ""]);
}

#[test]
fn an_unfinished_block_is_no_event_and_moves_no_cursor() {
    let (frames, decoder) = decode(&[b"id: 1\ndata: a\n\nid: 2\ndata: b\n"]);
    assert_eq!(frames.len(), 1);
    assert_eq!(decoder.last_event_id(), "1", "else a resume would skip event 2");
}

#[test]
fn a_block_without_data_delivers_nothing_but_moves_the_cursor() {
    let (frames, decoder) = decode(&[b"id: 5\nevent: x\n\ndata: a\n\n"]);
    assert_eq!(frames, [frame("5", "message", "a")]);
    assert_eq!(decoder.last_event_id(), "5");
}

#[test]
fn a_bad_retry_keeps_the_last_good_one() {
    let (_, decoder) = decode(&[b"retry: 50\nretry: 5x\nretry:\nretry: 99999999999999999999999\n"]);
    assert_eq!(decoder.retry(), Some(Duration::from_millis(50)));
}

#[test]
fn an_endless_line_is_an_error_and_not_memory() {
    let mut decoder = Decoder::default();
    let chunk = vec![b'x'; 1024 * 1024];
    let refused = (0..64).any(|_| {
        decoder.push(&chunk);
        decoder.next_frame() == Err(FrameTooLarge)
    });
    assert!(refused);
}

/// The standard's text, followed literally on the whole input at once.
fn decode_whole(bytes: &[u8]) -> Vec<Frame> {
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes));
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut frames, mut id, mut event, mut data) = (Vec::new(), String::new(), String::new(), String::new());
    let Some((whole, _unfinished)) = text.rsplit_once('\n') else { return frames };
    for line in whole.split('\n') {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (line, name) {
            ("", _) => {
                let event = std::mem::take(&mut event);
                let mut data = std::mem::take(&mut data);
                if data.pop().is_some() && !data.is_empty() {
                    let event = if event.is_empty() { "message".into() } else { event };
                    frames.push(Frame { last_event_id: id.clone(), event, data });
                }
            }
            (_, "event") => event = value.to_owned(),
            (_, "data") => {
                data.push_str(value);
                data.push('\n');
            }
            (_, "id") if !value.contains('\0') => id = value.to_owned(),
            _ => {}
        }
    }
    frames
}

fn stream_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"data".to_vec()),
        Just(b"id: ".to_vec()),
        Just(b"event:".to_vec()),
        Just(b":".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just("\u{FEFF}".as_bytes().to_vec()),
        Just(b"\0".to_vec()),
        "[a-z0-9 ]{0,4}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cut_into_chunks_reads_like_the_whole(text in stream_text(), cuts in prop::collection::vec(0usize..64, 0..12)) {
        let mut chunks = Vec::new();
        let mut rest = &text[..];
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        prop_assert_eq!(decode(&chunks).0, decode_whole(&text));
    }

    #[test]
    fn what_is_written_is_read(seq in any::<u64>(), kind in "[a-z_]{1,20}", text in "\\PC{0,40}") {
        let json = serde_json::to_string(&text).unwrap();
        let mut out = String::new();
        event_frame(&mut out, seq, &kind, &json);
        let (frames, _) = decode(&[out.as_bytes()]);
        prop_assert_eq!(frames, [frame(&seq.to_string(), &kind, &json)]);
    }
}
