//! What must hold for any bytes from outside: one property for each parser, as a function of the bytes.
//!
//! The fuzzer (`tests/fuzz/`) throws bytes at these functions for as long as it is let; the tests beside them throw the seeds and
//! some thousand mutants of them at every `cargo test`, so that a property cannot rot. A property panics when it is broken.
//!
//! "Does not panic" is the least of it. What was read can be written and reads the same; no record ever shows bytes that
//! were not written under its seq; every seq is told of once, as a record or as a gap; a secret that was planted is gone.
//! Fuzzers forge checksums of four bytes in minutes, by watching what is compared, so nothing here relies on a checksum
//! against an adversary: where a property is about damage, the damage is of a sort that a checksum finds for certain.
//! Structures behind a hash or a checksum are tried twice: as they come, and with the checksum put right.
//!
//! Seeds are made by code, from the catalog's own examples and from a small journal. Built for tests and under the
//! feature `fuzzing` only.

mod damaged;
mod events;
mod files;
mod frames;
mod secrets;
#[cfg(test)]
mod tests;
mod texts;

/// One parser and what must hold for it.
#[derive(Clone, Copy)]
pub struct Target {
    /// How the command line names it.
    pub name: &'static str,
    /// Panics if `bytes` break it.
    pub property: fn(bytes: &[u8]),
    /// Where to begin: inputs that reach deep.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "segment", property: frames::segment, seeds: frames::segment_seeds },
    Target { name: "frame_headers", property: frames::headers, seeds: frames::header_seeds },
    Target { name: "journal_files", property: frames::journal_files, seeds: frames::segment_seeds },
    Target { name: "damaged_journal", property: damaged::journal, seeds: damaged::seeds },
    Target { name: "tail_file", property: files::tail, seeds: files::tail_seeds },
    Target { name: "lock_file", property: files::lock, seeds: files::lock_seeds },
    Target { name: "inbox_file", property: files::inbox, seeds: files::inbox_seeds },
    Target { name: "snapshot", property: files::snapshot, seeds: files::snapshot_seeds },
    Target { name: "ids_file", property: files::ids, seeds: files::ids_seeds },
    Target { name: "whole_file", property: files::whole, seeds: files::whole_seeds },
    Target { name: "config_toml", property: files::config, seeds: files::config_seeds },
    Target { name: "disk_form", property: events::disk_form, seeds: events::disk_form_seeds },
    Target { name: "json_form", property: events::json_form, seeds: events::json_form_seeds },
    Target { name: "emit_body", property: events::emit_body, seeds: events::emit_body_seeds },
    Target { name: "hook_payload", property: events::hook_payload, seeds: events::hook_seeds },
    Target { name: "transcript", property: events::transcript, seeds: events::transcript_seeds },
    Target { name: "redact_text", property: secrets::text, seeds: secrets::text_seeds },
    Target { name: "redact_event", property: secrets::event, seeds: events::hook_seeds },
    Target { name: "query", property: texts::query, seeds: texts::query_seeds },
    Target { name: "times", property: texts::times, seeds: texts::time_seeds },
    Target { name: "sse_stream", property: texts::sse, seeds: texts::sse_seeds },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// Bytes as a source of numbers; zeros when they have run out.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (now, later) = self.0.split_at(N.min(self.0.len()));
        taken[..now.len()].copy_from_slice(now);
        self.0 = later;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.bytes())
    }
}
