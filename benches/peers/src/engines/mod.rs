//! The engines, one file each.

mod batching;
mod commitlog;
mod fjall;
mod journal;
mod lmdb;
mod nano_wal;
mod okaywal;
mod raft_engine;
mod redb;
mod sled;
mod sqlite;

use crate::engine::Kind;

const PLAIN: Kind = Kind {
    name: "",
    open: |_| Err("nothing".into()),
    unflushed: true,
    reads: true,
    reads_only: false,
    honest: true,
    note: "",
};

/// The journal where all but its last segment are sealed, and so are read through maps.
pub const SEALED: &str = "mnemosyne, sealed";

/// All of them; the journal first, whose figures the others' are divided by.
pub const ALL: &[Kind] = &[
    Kind { name: "mnemosyne", open: journal::open_with_chain, ..PLAIN },
    Kind { name: "mnemosyne, no chain", open: journal::open_without_chain, ..PLAIN },
    Kind {
        name: SEALED,
        open: journal::open_with_small_segments,
        unflushed: false,
        reads_only: true,
        note: "segments of 4 MiB, so that all but the last are closed; the rows above read one that is still written to",
        ..PLAIN
    },
    Kind { name: "raft-engine", open: raft_engine::open, ..PLAIN },
    Kind {
        name: "okaywal",
        open: okaywal::open,
        unflushed: false,
        note: "every commit is flushed; reads are by recovery and by position",
        ..PLAIN
    },
    Kind {
        name: "nano-wal",
        open: nano_wal::open,
        note: "no checksums; positions are kept by the caller",
        ..PLAIN
    },
    Kind {
        name: "commitlog",
        open: commitlog::open,
        honest: false,
        note: "its flush does not flush the disk; checksums are not verified by its reads",
        ..PLAIN
    },
    Kind { name: "fjall", open: fjall::open, ..PLAIN },
    Kind { name: "redb", open: redb::open, ..PLAIN },
    Kind {
        name: "sled",
        open: sled::open,
        honest: false,
        note: "sync_file_range in place of a flush",
        ..PLAIN
    },
    Kind {
        name: "LMDB",
        open: lmdb::open,
        note: "no checksums; its meta page is written with O_DSYNC",
        ..PLAIN
    },
    Kind {
        name: "LMDB, one batching thread",
        open: lmdb::open_batching,
        unflushed: false,
        reads: false,
        ..PLAIN
    },
    Kind { name: "SQLite", open: sqlite::open, note: "WAL, synchronous FULL; no checksums", ..PLAIN },
    Kind {
        name: "SQLite, one batching thread",
        open: sqlite::open_batching,
        unflushed: false,
        reads: false,
        ..PLAIN
    },
];
