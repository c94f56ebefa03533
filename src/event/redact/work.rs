//! A count of the bytes that the scanners look at, in tests only: that work is linear in the text is shown by counting it,
//! which gives the same answer on a busy machine as on an idle one.

#[cfg(test)]
thread_local! {
    static LOOKED_AT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Notes that so many bytes were looked at, wherever that number is not bounded by a constant.
#[cfg_attr(not(test), expect(clippy::missing_const_for_fn, reason = "it counts in tests"))]
#[inline]
pub(super) fn looked_at(bytes: usize) {
    #[cfg(test)]
    LOOKED_AT.with(|count| count.set(count.get() + bytes as u64 + 1));
    #[cfg(not(test))]
    let _ = bytes;
}

/// Bytes looked at while something is done, on this thread.
#[cfg(test)]
pub(in crate::event) fn of(something: impl FnOnce()) -> u64 {
    let before = LOOKED_AT.with(std::cell::Cell::get);
    something();
    LOOKED_AT.with(std::cell::Cell::get) - before
}
