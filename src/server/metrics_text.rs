//! The numbers of [`Counters`] as `OpenMetrics` text: names, units and help of every metric stand here and nowhere else.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::wire::Counters;

/// The text.
///
/// # Errors
/// Never, as far as we know: a `String` takes everything.
pub(super) fn encode(counters: Counters) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("mnemosyne");
    registry.register_collector(Box::new(AtOneMoment(counters)));
    let mut text = String::new();
    encode_registry(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct AtOneMoment(Counters);

/// A metric's value for some labels.
type Sample<'a> = (Vec<(&'static str, &'a str)>, u64);

impl Collector for AtOneMoment {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let Counters { inbox, journal, streams, connections, .. } = &self.0;
        let build = [("version", self.0.program_version.as_str()), ("instance", self.0.instance_id.as_str())];
        out.labelled(
            MetricType::Gauge,
            "build",
            "Version and instance of the server, as labels; always 1",
            &[(build.to_vec(), 1)],
        )?;
        out.seconds("uptime", "Time since the server began to listen", self.0.uptime_ms)?;
        self.events(&mut out)?;
        out.gauge("inbox_waiting_events", "Events that lie in the inbox", inbox.waiting)?;
        out.gauge(
            "inbox_failed_events",
            "Events that could not even be put into the inbox, since the data directory was made",
            inbox.failed,
        )?;
        out.gauge("journal_opening_seq", "Last seq when the journal was opened", journal.opening_seq)?;
        out.gauge("journal_last_seq", "Last seq that was given out", journal.last_seq)?;
        out.gauge("journal_durable_seq", "Highest durable seq", journal.durable_seq)?;
        out.counter("journal_batches", "Batches written to the journal", journal.batches)?;
        out.counter("journal_records", "Records written to the journal", journal.records)?;
        out.bytes("journal_written", "Bytes of the batches written to the journal", journal.bytes)?;
        out.counter("journal_flushes", "Flushes of the journal's files", journal.flushes)?;
        out.gauge(
            "projection_lag_events",
            "Events by which the projections are behind the durable seq",
            journal.projection_lag,
        )?;
        out.counter("streams_opened", "Event streams opened", streams.opened)?;
        out.gauge("streams_open", "Event streams that are open", streams.open)?;
        out.gauge("streams_lagging", "Open event streams that fell behind the live end", streams.lagging)?;
        out.counter("stream_lags", "Times that an event stream fell behind the live end", streams.lags)?;
        out.counter("stream_deliveries", "Events handed to the sockets of streams", streams.deliveries)?;
        out.counter("stream_gaps", "Gaps told to streams", streams.gaps)?;
        self.requests(&mut out)?;
        out.counter("connections_opened", "Connections served", connections.opened)?;
        out.gauge("connections_open", "Connections that are open", connections.open)?;
        out.counter(
            "connections_turned_away",
            "Connections turned away because too many were open",
            connections.turned_away,
        )
    }
}

impl AtOneMoment {
    fn events(&self, out: &mut Out<'_>) -> fmt::Result {
        let (mut offered, mut committed, mut duplicates, mut refused, mut pending) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (way, events) in &self.0.events {
            let way = ("way", way.as_str());
            offered.push((vec![way], events.offered));
            committed.push((vec![way, ("level", "disk")], events.committed_disk));
            committed.push((vec![way, ("level", "os")], events.committed_os));
            duplicates.push((vec![way], events.duplicates));
            pending.push((vec![way], events.pending));
            for (reason, count) in &events.refused {
                refused.push((vec![way, ("reason", reason.as_str())], *count));
            }
        }
        let counter = MetricType::Counter;
        out.labelled(
            counter,
            "events_offered",
            "Events that came; committed, duplicate, refused and pending ones add up to them",
            &offered,
        )?;
        out.labelled(counter, "events_committed", "Events appended and acknowledged", &committed)?;
        out.labelled(counter, "events_duplicate", "Events that the journal held already", &duplicates)?;
        out.labelled(counter, "events_refused", "Events refused, by the code of the error", &refused)?;
        out.labelled(MetricType::Gauge, "events_pending", "Events that are on their way", &pending)
    }

    fn requests(&self, out: &mut Out<'_>) -> fmt::Result {
        let statuses: Vec<String> = self.0.requests.iter().map(|one| one.status.to_string()).collect();
        let counts: Vec<Sample<'_>> = self
            .0
            .requests
            .iter()
            .zip(&statuses)
            .map(|(one, status)| {
                (vec![("route", one.route.as_str()), ("status", status.as_str())], one.count)
            })
            .collect();
        out.labelled(MetricType::Counter, "http_requests", "Requests answered, by route and status", &counts)
    }
}

/// Writes one metric after the other.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn bytes(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn seconds(&mut self, name: &str, help: &str, milliseconds: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(milliseconds as f64 / 1e3).encode(metric)
    }

    fn labelled(&mut self, kind: MetricType, name: &str, help: &str, samples: &[Sample<'_>]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            let mut sample = metric.encode_family(labels)?;
            match kind {
                MetricType::Counter => sample.encode_counter::<NoLabelSet, u64, u64>(value, None)?,
                _ => sample.encode_gauge(value)?,
            }
        }
        Ok(())
    }
}
