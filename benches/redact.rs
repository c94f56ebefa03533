//! Taking secrets out of a hook's event and cutting it, in bytes of payload a second, beside the limit of the same machine in
//! the same run: one look of `memchr` over the same bytes. The parse of the payload's text is part of it.
//!
//! Three sizes: a usual tool call, an output of 256 KiB, and one that nearly fills the 16 MiB that a hook takes. The big
//! ones come as one string, and as many lines, which no trim before the scan makes cheaper.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mnemosyne::event::{Event, PayloadText, Redactor, Source, Timestamp, ids, payload};
use serde_json::{Value, json};

/// What tools print: a build, a source file, JSON, prose; no secret, since that is what nearly every output has.
const OUTPUT: &str = concat!(
    "   Compiling parcels v0.3.1 (/code/parcels)\nwarning: unused variable: `token`\n  --> src/lexer.rs:41:9\n",
    "    let token = self.lexer.next_token(&mut cursor)?; // the key of the map is its kind\n",
    "    pub fn insert(&mut self, key: K, value: V) -> Option<V> {\n        self.map.insert(key, value)\n    }\n",
    "{\"id\": 17, \"name\": \"parcel-17\", \"path\": \"/srv/parcels/17.json\", \"size\": 48213, \"ok\": true}\n",
    "GET https://parcels.example.com/api/v1/parcels?page=2&sort=asc 200 in 31.4 ms\n",
    "When the parcel has not been seen for an hour, the tracker asks the carrier again; see the manual.\n",
    "commit 606a162f0c8d7f3e5b1a9c2d4e6f8a0b1c2d3e4f\nAuthor: A. Person <a.person@example.com>\n",
);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn redact(c: &mut Criterion) {
    let mut group = c.benchmark_group("redact and cut (payload bytes/s)");
    let one = |bytes| Value::String(OUTPUT.repeat(bytes / OUTPUT.len() + 1));
    let lines = |bytes| {
        let lines = OUTPUT.lines().cycle().take(bytes * OUTPUT.lines().count() / OUTPUT.len());
        lines.map(Value::from).collect::<Value>()
    };
    for (name, output) in [
        ("3 KB", one(3_000)),
        ("256 KiB", one(256 * KIB)),
        ("256 KiB in lines", lines(256 * KIB)),
        ("15 MiB", one(15 * MIB)),
        ("15 MiB in lines", lines(15 * MIB)),
    ] {
        let event = event(&output);
        let bytes = event.payload.as_str().as_bytes();
        group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(10);
        group.bench_function(BenchmarkId::new("event", name), |b| {
            b.iter_batched_ref(
                || event.clone(),
                |event| event.redact(&Redactor::new()),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("limit: memchr over the same bytes", name), |b| {
            b.iter(|| memchr::memchr(0, black_box(bytes)));
        });
    }
    group.finish();
}

fn event(output: &Value) -> Event {
    let payload = payload::ToolCallCompleted {
        tool: "Bash".into(),
        tool_use_id: "toolu_bench".into(),
        output: json!({"stdout": output, "stderr": "", "interrupted": false}),
        duration_ms: Some(12),
    };
    let mut event =
        Event::new(ids::v7(Timestamp::EPOCH, [0; 10]), Timestamp::EPOCH, "bench", Source::default(), payload);
    // As a hook has it: text.
    event.payload = PayloadText::parse(event.payload.as_str()).expect("an object");
    event
}

criterion_group!(benches, redact);
criterion_main!(benches);
