//! Ranking against a naive scorer over the same events, and the bounds of a search.

use proptest::prelude::*;

use super::*;
use crate::store::log::Level;
use crate::store::testing::{event, event_saying, memory_store, uuid};

/// A store of events that say these.
fn saying(texts: &[String]) -> Store {
    let (store, _log) = memory_store();
    for (text, n) in texts.iter().zip(1_u128..) {
        let mut event = event_saying(text);
        event.id = uuid(n);
        event.session = Some(if n % 2 == 0 { "even".into() } else { "odd".into() });
        store.emit(vec![event], Level::Os, None).unwrap().wait().unwrap();
    }
    store
}

fn asking(query: &str) -> Search {
    Search {
        query: Query::parse("q", query).unwrap(),
        filter: Filter::all(),
        from: Seq::FIRST,
        through: Seq::MAX,
        since: None,
        until: Timestamp::MAX,
        limit: 20,
    }
}

fn seqs(found: &Found) -> Vec<u64> {
    found.hits.iter().map(|hit| hit.event.seq.get()).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn rare_words_repetition_and_short_texts_rank_higher_and_ties_go_by_seq() {
    let filler = "filler ".repeat(40);
    let store = saying(&owned(&[
        "apple common",
        &format!("apple common {filler}"),
        "apple apple common",
        "common only here",
        "apple common",
    ]));
    let found = store.search(&asking("apple")).unwrap();
    assert_eq!(seqs(&found), [3, 1, 5, 2]);
    assert_eq!((found.matched, found.searched), (4, 5));
    assert_eq!(found.hits[1].score_micros, found.hits[2].score_micros, "alike");
    assert_eq!(seqs(&store.search(&Search { limit: 2, ..asking("apple") }).unwrap()), [3, 1]);
    assert_eq!(seqs(&store.search(&asking("common -apple")).unwrap()), [4]);
    assert_eq!(seqs(&store.search(&asking("!?")).unwrap()), [0; 0]);
}

#[test]
fn range_and_filter_come_before_the_statistics() {
    let store = saying(&owned(&["apple", "apple", "pear", "apple", "pear", "apple"]));
    let filter = Filter::from_pairs([("session", "even")]).unwrap();
    let even = store.search(&Search { filter, ..asking("apple") }).unwrap();
    assert_eq!((seqs(&even), even.searched), (vec![2, 4, 6], 3));
    let part = store.search(&Search { from: Seq::new(2), through: Seq::new(4), ..asking("apple") }).unwrap();
    assert_eq!((seqs(&part), part.searched), (vec![2, 4], 3));
    let alone = saying(&owned(&["apple", "pear", "apple"]));
    assert_eq!(
        part.hits[0].score_micros,
        alone.search(&asking("apple")).unwrap().hits[0].score_micros,
        "what lies outside does not count"
    );
}

#[test]
fn hits_far_apart_are_found_and_scored() {
    let (store, _log) = memory_store();
    let texts: Vec<_> = (1..=500_u128)
        .map(|n| {
            let mut event = if n % 150 == 0 { event_saying("the needle") } else { event(n) };
            event.id = uuid(n);
            event
        })
        .collect();
    store.emit(texts, Level::Os, None).unwrap().wait().unwrap();
    let found = store.search(&asking("needle")).unwrap();
    assert_eq!((seqs(&found), found.searched), (vec![150, 300, 450], 500));
}

/// BM25 as the books have it, over texts cut into words by blanks.
fn naive(texts: &[String], wanted: &[&str], bytes: &[usize]) -> Vec<(u64, u64)> {
    let count = |text: &str, word: &str| text.split(' ').filter(|w| *w == word).count() as f64;
    let n = texts.len() as f64;
    let mean = bytes.iter().sum::<usize>() as f64 / n;
    let mut scores: Vec<(u64, u64)> = Vec::new();
    for ((text, bytes), seq) in texts.iter().zip(bytes).zip(1..) {
        if wanted.iter().any(|word| count(text, word) == 0.0) {
            continue;
        }
        let mut score = 0.0;
        for word in wanted {
            let df = texts.iter().filter(|text| count(text, word) > 0.0).count() as f64;
            let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
            let tf = count(text, word);
            score += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * *bytes as f64 / mean));
        }
        scores.push((format!("{:.0}", score * 1e6).parse().unwrap(), seq));
    }
    scores.sort_by_key(|(score, seq)| (Reverse(*score), *seq));
    scores
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_order_is_that_of_a_naive_scorer(
        texts in proptest::collection::vec(proptest::collection::vec("[abcd]", 1..12).prop_map(|words| words.join(" ")), 1..20),
        wanted in proptest::sample::subsequence(vec!["a", "b", "c", "d"], 1..4),
    ) {
        let store = saying(&texts);
        let found = store.search(&Search { limit: 1_000, ..asking(&wanted.join(" ")) }).unwrap();
        let mut bytes = Vec::new();
        let mut replay = store.replay(Seq::FIRST);
        while let Some(Item::Event(event)) = replay.next().unwrap() {
            bytes.push(event.event.payload.as_str().len());
        }
        let expected = naive(&texts, &wanted, &bytes);
        prop_assert_eq!(seqs(&found), expected.iter().map(|(_, seq)| *seq).collect::<Vec<_>>());
        for (hit, (score, _)) in found.hits.iter().zip(&expected) {
            prop_assert!(hit.score_micros.abs_diff(*score) <= 1);
        }
    }
}
