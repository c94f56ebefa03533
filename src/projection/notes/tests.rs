use super::*;
use crate::projection::testing::Stream;

fn note(seq: u64, text: &str) -> payload::Annotated {
    payload::Annotated { seq, text: text.to_owned() }
}

#[test]
fn notes_are_found_by_the_event_that_they_are_about() {
    let mut stream = Stream::default();
    stream.push(1, note(7, "first"));
    stream.push(2, note(9, "other"));
    stream.push(3, note(7, "second"));
    let notes = stream.fold::<NotesProjection>();
    let texts: Vec<&str> = notes.state().of(Seq::new(7)).iter().map(|note| note.text.as_str()).collect();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(notes.state().of(Seq::new(8)), []);
}

#[test]
fn the_oldest_leave_and_are_counted_and_a_long_one_is_cut_between_characters() {
    let mut state = Notes::default();
    let mut stream = Stream::default();
    for seq in 0..NOTES_KEPT_MAX as u64 + 3 {
        stream.push(1, note(seq % 5, &"é".repeat(3_000)));
        NotesProjection::apply(&mut state, stream.events.last().unwrap());
    }
    assert_eq!(state.dropped, 3);
    assert_eq!(state.of(Seq::new(0))[0].text.len(), TEXT_BYTES_MAX);
    assert_eq!(state.of(Seq::new(3))[0].seq, Seq::new(4), "the three oldest were about 0, 1 and 2");
}
