//! Over the real system: a wait that is not woken ends by its time only, and that is what each of these would take.

use std::time::{Duration, Instant};

use super::{News, Notices};

/// Longer than any test waits for a notice, and short enough to see that none comes.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

fn is_woken(notices: &Notices, at_most: Duration) -> bool {
    let begun = Instant::now();
    notices.wait(at_most);
    begun.elapsed() < at_most
}

#[test]
fn a_name_is_news_and_nothing_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let notices = Notices::of(&[(dir.path(), News::Names)]).expect("descriptors");
    assert!(notices.are_complete(), "the system watches");
    let (temporary, named) = (dir.path().join("a.tmp"), dir.path().join("a"));
    std::fs::write(&temporary, b"text").expect("a file");
    #[cfg(target_os = "linux")]
    assert!(!is_woken(&notices, SHORT), "a file without its name");
    std::fs::rename(&temporary, &named).expect("a name");
    assert!(is_woken(&notices, LONG));
    std::fs::read(&named).expect("its text");
    std::fs::remove_file(&named).expect("it is ours");
    #[cfg(target_os = "linux")]
    assert!(!is_woken(&notices, SHORT), "who looks does not wake itself");
}

#[test]
fn writes_are_news_where_they_are_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("segment");
    std::fs::write(&path, b"").expect("a file");
    let notices = Notices::of(&[(dir.path(), News::Writes)]).expect("descriptors");
    std::fs::write(&path, b"text").expect("it is ours");
    assert!(is_woken(&notices, LONG));
    std::fs::read(&path).expect("its text");
    assert!(!is_woken(&notices, SHORT), "who looks does not wake itself");
}

#[test]
fn a_nudge_ends_one_wait_from_any_thread() {
    let dir = tempfile::tempdir().expect("a directory");
    let notices = Notices::of(&[(dir.path(), News::Names)]).expect("descriptors");
    let nudge = notices.nudge();
    nudge.nudge();
    nudge.nudge();
    assert!(is_woken(&notices, LONG), "it came before the wait");
    assert!(!is_woken(&notices, SHORT), "two that came before are one");
    let other = std::thread::spawn(move || nudge.nudge());
    assert!(is_woken(&notices, LONG));
    other.join().expect("a thread");
}

#[test]
fn more_notices_than_one_reading_takes_are_one_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let notices = Notices::of(&[(dir.path(), News::Names)]).expect("descriptors");
    for number in 0..1_000 {
        let temporary = dir.path().join("next.tmp");
        std::fs::write(&temporary, b"").expect("a file");
        std::fs::rename(&temporary, dir.path().join(format!("{number:0100}"))).expect("a name");
    }
    assert!(is_woken(&notices, LONG));
    #[cfg(target_os = "linux")]
    assert!(!is_woken(&notices, SHORT));
}

#[test]
fn a_directory_that_is_not_there_is_told_and_no_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let absent = dir.path().join("absent");
    let notices = Notices::of(&[(&absent, News::Names), (dir.path(), News::Names)]).expect("descriptors");
    assert!(!notices.are_complete());
    let temporary = dir.path().join("a.tmp");
    std::fs::write(&temporary, b"text").expect("a file");
    std::fs::rename(&temporary, dir.path().join("a")).expect("a name");
    assert!(is_woken(&notices, LONG), "the other one is watched all the same");
}
