//! Short texts from people and programs: queries, times, durations, event streams.

use axum::http::Uri;

use super::Numbers;
use crate::answers::when;
use crate::event::{EventRef, Filter, Kind, Timestamp, doc};
use crate::projection::pacing;
use crate::server::params::Params;
use crate::wire::sse::{self, Decoder, Frame};

const NOW: Timestamp = Timestamp::from_micros(1_770_000_000_000_000);

/// A filter says of itself what makes the same filter, and asks an event and its envelope alike.
pub(super) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    if let Ok(filter) = Filter::from_pairs(pairs) {
        let again = Filter::from_pairs(filter.to_pairs()).expect("what a filter says of itself");
        assert_eq!(again, filter);
        asks_alike(&filter);
    }
    if let Ok(uri) = format!("/events?{text}").parse::<Uri>()
        && let Ok(mut params) = Params::of(&uri)
    {
        let (from, at, since) = (params.cursor("from"), params.place("at", NOW), params.time("since", NOW));
        let _any = (from.is_ok(), at.is_ok(), since.is_ok());
        if let Ok(filter) = params.filter() {
            asks_alike(&filter);
        }
        let _any = params.finish();
    }
}

fn asks_alike(filter: &Filter) {
    for kind in [Kind::ToolCallStarted, Kind::PromptSubmitted, Kind::ServerStarted] {
        let event = doc::example(kind).event;
        let bytes = event.encode();
        let envelope = EventRef::decode(&bytes).expect("an event of ours");
        // The envelope alone may take more (the text is in the payload), never less.
        assert!(filter.matches_envelope(&envelope) || !filter.matches_event(&event));
    }
}

pub(super) fn query_seeds() -> Vec<Vec<u8>> {
    [
        "session=258c7280-ae70-4798-800f-63464d01a85d&kind=tool_*,prompt_submitted&min_importance=3",
        "category=agent,session&project=project:parser&grep=Needle&agent=a1",
        "from=18446744073709551615&at=2026-01-02T03:04:05Z&since=2026-01-02",
        "kind=%2A&kind=a??&session=%00",
        "",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// A time that was read is written so that it reads the same; a length of time names a moment or none.
pub(super) fn times(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(time) = Timestamp::parse(text) {
            assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }
        if let Ok(length) = pacing::parse_duration(text)
            && text != "0"
            && let Ok(then) = when::parse("--since", text, NOW)
        {
            assert_eq!(u128::from(NOW.as_micros().abs_diff(then.as_micros())), length.as_micros());
        }
        let _any = text.parse::<pacing::Speed>();
    }
    let time = Timestamp::from_micros(Numbers(bytes).i64());
    assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
}

pub(super) fn time_seeds() -> Vec<Vec<u8>> {
    [
        "2026-01-02T03:04:05.000006Z",
        "+294247-01-10T04:00:54.775807Z",
        "2026-11-22",
        "1h30m",
        "90s",
        "0",
        "2x",
        "max",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// A stream gives the same frames however its bytes are cut, and what the server writes is read as it was meant.
pub(super) fn sse(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let piece = usize::from(numbers.byte() % 7) + 1;
    let stream = numbers.0;
    let (whole, pieces) = (decoded(stream.chunks(stream.len().max(1))), decoded(stream.chunks(piece)));
    assert_eq!(whole, pieces);
    let json: String =
        String::from_utf8_lossy(stream).chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let mut frame = String::new();
    sse::event_frame(&mut frame, 7, "custom", &json);
    let (mut read, _) = decoded(std::iter::once(frame.as_bytes()));
    let data = read
        .pop()
        .map(|frame| (frame.last_event_id, frame.event, frame.data))
        .filter(|(.., data)| !data.is_empty());
    assert_eq!(data, (!json.is_empty()).then(|| ("7".to_owned(), "custom".to_owned(), json)));
}

fn decoded<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, String) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(frame) = decoder.next_frame().expect("the input is far below the limit") {
            frames.push(frame);
        }
    }
    (frames, decoder.last_event_id().to_owned())
}

pub(super) fn sse_seeds() -> Vec<Vec<u8>> {
    [
        "\u{1}retry: 1000\nid: 7\nevent: turn_completed\ndata: {\"a\":1}\n\n: alive\nid: 8\ndata: x\ndata: y\r\n\r\n",
        "\u{3}\u{feff}event: gap\rdata: {\"from_seq\":1,\"to_seq\":2,\"reason\":\"corruption\"}\r\r",
        "\0id: a\0b\ndata\n\ndata:\n\n",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
