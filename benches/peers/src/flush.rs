//! The flush of this process: counted, and on request replaced by a wait of fixed length.
//!
//! A disk whose flush takes 100 us in one second and 4 ms in the next compares nothing. So this program defines the C
//! library's `fsync` and `fdatasync` itself: every peer that flushes through them, in Rust or in C, comes here. In
//! [`Mode::Fixed`] the flush is a wait of [`FIXED`]; the writes stay real. Both count, so the table can say how many flushes a
//! record cost and which peer acknowledges without any.
//!
//! The journal makes its system calls without the C library; it is opened on a disk that waits and counts through
//! [`flush`] instead (`engines/journal.rs`). `sync_file_range`, which flushes no disk's cache, is
//! counted apart and never replaced.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a fixed flush takes.
pub const FIXED: Duration = Duration::from_micros(200);

static IS_FIXED: AtomicBool = AtomicBool::new(false);
static FLUSHES: AtomicU64 = AtomicU64::new(0);
static RANGES: AtomicU64 = AtomicU64::new(0);
static NANOS: AtomicU64 = AtomicU64::new(0);

/// What a flush is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The disk's own.
    Real,
    /// A wait of [`FIXED`].
    Fixed,
}

/// From here on.
pub fn set(mode: Mode) {
    IS_FIXED.store(mode == Mode::Fixed, Ordering::SeqCst);
}

/// Flushes so far, and calls of `sync_file_range`.
pub fn so_far() -> (u64, u64) {
    (FLUSHES.load(Ordering::SeqCst), RANGES.load(Ordering::SeqCst))
}

/// How long flushes took so far, all together.
pub fn spent() -> Duration {
    Duration::from_nanos(NANOS.load(Ordering::SeqCst))
}

/// Counts one, and does it: by waiting where it is fixed, else by `real`.
pub fn flush<T>(real: impl FnOnce() -> T, done: T) -> T {
    FLUSHES.fetch_add(1, Ordering::Relaxed);
    let began = Instant::now();
    let result = if IS_FIXED.load(Ordering::Relaxed) {
        fixed();
        done
    } else {
        real()
    };
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    NANOS.fetch_add(nanos, Ordering::Relaxed);
    result
}

/// Waits without sleeping: a sleep of 200 us takes 250 us and more.
fn fixed() {
    let began = Instant::now();
    while began.elapsed() < FIXED {
        std::thread::yield_now();
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: libc::c_int) -> libc::c_int {
    call(libc::SYS_fdatasync, fd)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: libc::c_int) -> libc::c_int {
    call(libc::SYS_fsync, fd)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_file_range(
    fd: libc::c_int,
    offset: i64,
    bytes: i64,
    flags: libc::c_uint,
) -> libc::c_int {
    RANGES.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the arguments are the caller's, as they came.
    let result = unsafe { libc::syscall(libc::SYS_sync_file_range, fd, offset, bytes, flags) };
    libc::c_int::from(result != 0) * -1
}

fn call(number: libc::c_long, fd: libc::c_int) -> libc::c_int {
    // SAFETY: one argument, a descriptor, which the kernel checks; `errno` is set as the caller expects.
    let real = || if unsafe { libc::syscall(number, fd) } == 0 { 0 } else { -1 };
    flush(real, 0)
}
