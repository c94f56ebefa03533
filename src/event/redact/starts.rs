//! Where one of a set of beginnings stands in a text, told by three bytes.
//!
//! Nearly every place of a text begins nothing that is looked for. Three table look-ups and two ANDs tell that, for all
//! beginnings at once, at a byte or so a cycle; what is left is compared in full by the caller. The tables are made at compile
//! time.

use super::work;

/// Each byte as the sets (one bit a group of beginnings) in which it may be the first, second and third.
pub(super) struct Starts {
    at: [[u32; 256]; 3],
    groups: u32,
}

impl Starts {
    pub(super) const fn new() -> Starts {
        Starts { at: [[0; 256]; 3], groups: 0 }
    }

    /// With a beginning, whose bytes after the third say nothing here. One of two bytes may go on with any third.
    pub(super) const fn with(mut self, beginning: &[u8], any_case: bool) -> Starts {
        let first = beginning[0] as usize;
        // Those that share a first byte share a group: there are not more first bytes than bits.
        let group = if self.at[0][first] == 0 {
            self.groups += 1;
            1 << (self.groups - 1)
        } else {
            self.at[0][first]
        };
        let mut place = 0;
        while place < 3 {
            let mut byte = u8::MIN;
            loop {
                let taken = match beginning.len() > place {
                    true if any_case => beginning[place].eq_ignore_ascii_case(&byte),
                    true => beginning[place] == byte,
                    false => true,
                };
                if taken {
                    self.at[place][byte as usize] |= group;
                }
                if byte == u8::MAX {
                    break;
                }
                byte += 1;
            }
            place += 1;
        }
        self
    }

    /// The next place, from `from` on, where a beginning may stand.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let [first, second, third] = &self.at;
        let sets = |table: &[u32; 256], byte: u8| table[usize::from(byte)];
        let found = bytes
            .get(from..)?
            .windows(3)
            .position(|three| sets(first, three[0]) & sets(second, three[1]) & sets(third, three[2]) != 0);
        work::looked_at(found.unwrap_or(bytes.len() - from));
        found.map(|found| from + found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_is_found_and_little_else() {
        const ANY_CASE: Starts = Starts::new().with(b"key", true);
        const STARTS: Starts = Starts::new().with(b"ghp_", false).with(b"gsk_", false).with(b"SK", false);
        for (text, found) in [
            ("ghp_", Some(0)),
            ("a gsk_", Some(2)),
            ("xxSK1", Some(2)),
            ("SK", None),
            ("GHP_", None),
            ("g", None),
            ("", None),
            ("gap hsp", None),
        ] {
            assert_eq!(STARTS.next(text.as_bytes(), 0), found, "{text}");
        }
        assert_eq!(STARTS.next(b"ghp_ghp_", 1), Some(4));
        assert_eq!(STARTS.next(b"ghp_", 9), None);
        assert_eq!(ANY_CASE.next(b"my_KeY", 0), Some(3));
    }
}
