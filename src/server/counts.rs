//! What the server counts beside the store's books: requests, connections, streams.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::wire::counters::{ConnectionCounts, RequestCount, StreamCounts};
use crate::wire::path;

/// Stands for a path that is no route, so that strangers cannot make the table grow.
const NO_ROUTE: &str = "other";

/// See the module.
#[derive(Default)]
pub(super) struct Counts {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    connections_opened: AtomicU64,
    connections_open: Arc<AtomicU64>,
    connections_turned_away: AtomicU64,
    streams_opened: AtomicU64,
    streams_open: Arc<AtomicU64>,
    streams_lagging: Arc<AtomicU64>,
    lags: AtomicU64,
    deliveries: AtomicU64,
    gaps: AtomicU64,
}

/// One of something that is there until this is dropped.
pub(super) struct OneOf(Arc<AtomicU64>);

impl OneOf {
    fn of(number: &Arc<AtomicU64>) -> OneOf {
        number.fetch_add(1, Ordering::Relaxed);
        OneOf(number.clone())
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    /// A request to `path` was answered with `status`.
    pub(super) fn answered(&self, path: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route_of(path), status)).or_default() += 1;
    }

    pub(super) fn connection(&self) -> OneOf {
        add(&self.connections_opened, 1);
        OneOf::of(&self.connections_open)
    }

    pub(super) fn turned_away(&self) {
        add(&self.connections_turned_away, 1);
    }

    pub(super) fn stream(&self) -> OneOf {
        add(&self.streams_opened, 1);
        OneOf::of(&self.streams_open)
    }

    /// A stream that had been at the live end is behind, until this is dropped.
    pub(super) fn lagging(&self) -> OneOf {
        add(&self.lags, 1);
        OneOf::of(&self.streams_lagging)
    }

    pub(super) fn delivered(&self, events: u64, gaps: u64) {
        add(&self.deliveries, events);
        if gaps > 0 {
            add(&self.gaps, gaps);
        }
    }

    pub(super) fn requests(&self) -> Vec<RequestCount> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |(&(route, status), &count): (&(&str, u16), &u64)| RequestCount {
            route: route.to_owned(),
            status,
            count,
        };
        requests.iter().map(count).collect()
    }

    pub(super) fn connections(&self) -> ConnectionCounts {
        ConnectionCounts {
            opened: read(&self.connections_opened),
            open: read(&self.connections_open),
            turned_away: read(&self.connections_turned_away),
        }
    }

    pub(super) fn streams(&self) -> StreamCounts {
        StreamCounts {
            opened: read(&self.streams_opened),
            open: read(&self.streams_open),
            lagging: read(&self.streams_lagging),
            lags: read(&self.lags),
            deliveries: read(&self.deliveries),
            gaps: read(&self.gaps),
        }
    }
}

fn add(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}

fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

/// The template that a path falls under: one without a parameter goes before one with.
fn route_of(path: &str) -> &'static str {
    let templates = path::ALL.iter().map(|(template, _)| *template);
    let exact = templates.clone().find(|template| *template == path);
    exact.or_else(|| templates.clone().find(|template| is_under(template, path))).unwrap_or(NO_ROUTE)
}

fn is_under(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part == given || (part.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_under_its_route_and_no_stranger_makes_a_new_one() {
        assert_eq!(route_of("/events/stream"), "/events/stream");
        assert_eq!(route_of("/events/17"), "/events/{seq}");
        assert_eq!(route_of("/sessions/a/timeline"), "/sessions/{id}/timeline");
        for stranger in ["/nowhere", "/events/", "/sessions/a/b/c", "", "/events/1/2"] {
            assert_eq!(route_of(stranger), NO_ROUTE, "{stranger}");
        }
    }

    #[test]
    fn what_is_there_is_counted_until_it_goes() {
        let counts = Counts::default();
        let (first, _second) = (counts.stream(), counts.stream());
        let lagging = counts.lagging();
        assert_eq!((counts.streams().open, counts.streams().lagging), (2, 1));
        drop((first, lagging));
        assert_eq!(
            counts.streams(),
            StreamCounts { opened: 2, open: 1, lagging: 0, lags: 1, deliveries: 0, gaps: 0 }
        );
    }
}
