//! Reading the envelope without a detour: every event of a fold comes by here.
//!
//! The layout is postcard's, and postcard writes it. Its reader goes through a visitor for each byte of an id, which took a third of the time of
//! decoding an event. This one takes the same bytes and finds the same faults: the tests hold it to that.

use super::{Body, DecodeError, Head, IdText, Links, Program, Who};
use crate::event::Kind;

type Read<T> = Result<T, &'static str>;

const ENDS_EARLY: &str = "it ends early";
const NOT_UTF8: &str = "a text is not UTF-8";
const NUMBER_TOO_LONG: &str = "a number is too long";
const NO_SUCH_OPTION: &str = "a variant does not exist";
const NO_SUCH_VARIANT: &str = "its bytes break the layout";

/// The head, its kind where the catalog has it, and the bytes behind it.
#[inline]
pub(super) fn head(bytes: &[u8]) -> Result<(Head<'_>, Option<Kind>, &[u8]), DecodeError> {
    let mut rest = Rest(bytes);
    let (head, known) = rest.head().map_err(DecodeError::Envelope)?;
    Ok((head, known, rest.0))
}

/// The body, and the bytes behind it.
#[inline]
pub(super) fn body(bytes: &[u8]) -> Result<(Body<'_>, &[u8]), DecodeError> {
    let mut rest = Rest(bytes);
    let body = rest.body().map_err(DecodeError::Envelope)?;
    Ok((body, rest.0))
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline]
    fn head(&mut self) -> Read<(Head<'a>, Option<Kind>)> {
        let kind = self.slice()?;
        let known = Kind::from_bytes(kind);
        // The name of the catalog, so that its bytes need not be judged.
        let kind =
            known.map_or_else(|| str::from_utf8(kind).map_err(|_| NOT_UTF8), |known| Ok(known.name()))?;
        Ok((Head { kind, id: self.id()?, time: self.signed()? }, known))
    }

    #[inline]
    fn body(&mut self) -> Read<Body<'a>> {
        Ok(Body {
            version: self.u16()?,
            importance: self.byte()?,
            who: self.who()?,
            project: self.option(Rest::text)?,
            links: self.links()?,
            program: self.program()?,
            host: self.text()?,
            pid: self.u32()?,
            cut: self.list(|rest| Ok((rest.text()?, rest.u64()?)))?,
            ext: self.list(|rest| Ok((rest.u16()?, rest.slice()?)))?,
        })
    }

    #[inline]
    fn who(&mut self) -> Read<Who<'a>> {
        Ok(match self.u32()? {
            0 => Who::Session(self.id()?),
            1 => Who::Agent(self.id()?, self.id_text()?),
            2 => Who::Instance(self.id()?),
            3 => Who::Other {
                instance: self.option(Rest::id_text)?,
                session: self.option(Rest::id_text)?,
                agent: self.option(Rest::id_text)?,
            },
            _ => return Err(NO_SUCH_VARIANT),
        })
    }

    #[inline]
    fn links(&mut self) -> Read<Links> {
        Ok(match self.u32()? {
            0 => Links::None,
            1 => Links::Correlation(self.id()?),
            2 => Links::Causation(self.id()?),
            3 => Links::Both(self.id()?, self.id()?),
            _ => return Err(NO_SUCH_VARIANT),
        })
    }

    #[inline]
    fn program(&mut self) -> Read<Program<'a>> {
        Ok(match self.u32()? {
            0 => Program::Named(self.text()?),
            1 => Program::Mnemosyne,
            2 => Program::ClaudeCode,
            3 => Program::Codex,
            4 => Program::Gemini,
            5 => Program::Cursor,
            6 => Program::OpenCode,
            _ => return Err(NO_SUCH_VARIANT),
        })
    }

    #[inline]
    fn id_text(&mut self) -> Read<IdText<'a>> {
        Ok(match self.u32()? {
            0 => IdText::Uuid(self.id()?),
            1 => IdText::Text(self.text()?),
            _ => return Err(NO_SUCH_VARIANT),
        })
    }

    #[inline]
    fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.0.split_first().ok_or(ENDS_EARLY)?;
        self.0 = rest;
        Ok(*byte)
    }

    #[inline]
    fn id(&mut self) -> Read<[u8; 16]> {
        let (id, rest) = self.0.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.0 = rest;
        Ok(*id)
    }

    /// Seven bits a byte, the low ones first; a set high bit says that another byte follows. The last one that there can be is at most `last_max`.
    #[inline]
    fn number(&mut self, bytes_max: u32, last_max: u8) -> Read<u64> {
        let mut number = 0;
        for nth in 1..=bytes_max {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << (7 * (nth - 1));
            if byte & 0x80 == 0 {
                let is_too_long = nth == bytes_max && byte > last_max;
                return if is_too_long { Err(NUMBER_TOO_LONG) } else { Ok(number) };
            }
        }
        Err(NUMBER_TOO_LONG)
    }

    #[inline]
    fn u16(&mut self) -> Read<u16> {
        u16::try_from(self.number(3, 0b11)?).map_err(|_| NUMBER_TOO_LONG)
    }

    #[inline]
    fn u32(&mut self) -> Read<u32> {
        u32::try_from(self.number(5, 0b1111)?).map_err(|_| NUMBER_TOO_LONG)
    }

    #[inline]
    fn u64(&mut self) -> Read<u64> {
        self.number(10, 1)
    }

    /// Zigzag: the sign is the lowest bit.
    #[inline]
    fn signed(&mut self) -> Read<i64> {
        let number = self.u64()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    #[inline]
    fn slice(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.u64()?).map_err(|_| ENDS_EARLY)?;
        let (slice, rest) = self.0.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.0 = rest;
        Ok(slice)
    }

    #[inline]
    fn text(&mut self) -> Read<&'a str> {
        str::from_utf8(self.slice()?).map_err(|_| NOT_UTF8)
    }

    #[inline]
    fn option<T>(&mut self, read: impl FnOnce(&mut Rest<'a>) -> Read<T>) -> Read<Option<T>> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(NO_SUCH_OPTION),
        }
    }

    /// A list, without believing its length: it grows with what is really there.
    #[inline]
    fn list<T>(&mut self, read: impl Fn(&mut Rest<'a>) -> Read<T>) -> Read<Vec<T>> {
        // Nearly every list is empty.
        if let Some((0, rest)) = self.0.split_first() {
            self.0 = rest;
            return Ok(Vec::new());
        }
        let length = self.u64()?;
        let mut list = Vec::new();
        for _ in 0..length {
            list.push(read(self)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    //! What postcard's own reader takes and refuses is taken and refused here, and for the same reason.

    use super::*;
    use crate::event::tests::any_event;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::fmt::Debug;

    type Id = [u8; 16];

    #[derive(Debug, PartialEq, Deserialize)]
    enum AnyId<'a> {
        Uuid(Id),
        Text(&'a str),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum AnyWho<'a> {
        Session(Id),
        Agent(Id, #[serde(borrow)] AnyId<'a>),
        Instance(Id),
        Other {
            #[serde(borrow)]
            instance: Option<AnyId<'a>>,
            #[serde(borrow)]
            session: Option<AnyId<'a>>,
            #[serde(borrow)]
            agent: Option<AnyId<'a>>,
        },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum AnyLinks {
        None,
        Correlation(Id),
        Causation(Id),
        Both(Id, Id),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum AnyProgram<'a> {
        Named(&'a str),
        Mnemosyne,
        ClaudeCode,
        Codex,
        Gemini,
        Cursor,
        OpenCode,
    }

    type AnyHead<'a> = (&'a str, Id, i64);

    #[derive(Debug, PartialEq, Deserialize)]
    struct AnyBody<'a> {
        version: u16,
        importance: u8,
        #[serde(borrow)]
        who: AnyWho<'a>,
        project: Option<&'a str>,
        links: AnyLinks,
        #[serde(borrow)]
        program: AnyProgram<'a>,
        host: &'a str,
        pid: u32,
        #[serde(borrow)]
        cut: Vec<(&'a str, u64)>,
        #[serde(borrow)]
        ext: Vec<(u16, &'a [u8])>,
    }

    fn reason(error: &postcard::Error) -> DecodeError {
        DecodeError::Envelope(match error {
            postcard::Error::DeserializeUnexpectedEnd => ENDS_EARLY,
            postcard::Error::DeserializeBadUtf8 => NOT_UTF8,
            postcard::Error::DeserializeBadVarint => NUMBER_TOO_LONG,
            postcard::Error::DeserializeBadOption => NO_SUCH_OPTION,
            _ => NO_SUCH_VARIANT,
        })
    }

    fn by_postcard<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), DecodeError> {
        postcard::take_from_bytes(bytes).map_err(|error| reason(&error))
    }

    /// Both ways of reading, as text that can be compared.
    fn agree<A: Debug, B: Debug>(
        ours: Result<(A, &[u8]), DecodeError>,
        theirs: Result<(B, &[u8]), DecodeError>,
    ) {
        let text = |shown: String| shown.replace("Any", "");
        let ours = ours.map(|(read, rest)| (text(format!("{read:?}")), rest));
        let theirs = theirs.map(|(read, rest)| (text(format!("{read:?}")), rest));
        assert_eq!(ours, theirs);
    }

    fn read_both_ways(bytes: &[u8]) {
        let shown = |(head, known, rest): (Head<'_>, Option<Kind>, _)| {
            assert_eq!(known, Kind::from_name(head.kind));
            ((head.kind.to_owned(), head.id, head.time), rest)
        };
        agree(head(bytes).map(shown), by_postcard::<AnyHead<'_>>(bytes));
        agree(body(bytes), by_postcard::<AnyBody<'_>>(bytes));
        if let Ok((_, _, rest)) = head(bytes) {
            agree(body(rest), by_postcard::<AnyBody<'_>>(rest));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whole_envelopes_are_read_as_postcard_reads_them(event in any_event()) {
            read_both_ways(&event.encode()[1..]);
        }

        #[test]
        fn damaged_envelopes_are_refused_as_postcard_refuses_them(
            event in any_event(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut: prop::sample::Index,
        ) {
            let mut bytes = event.encode()[1..].to_vec();
            for (at, byte) in hits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            read_both_ways(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            read_both_ways(&bytes);
        }

        #[test]
        fn random_bytes_are_read_as_postcard_reads_them(bytes: Vec<u8>) {
            read_both_ways(&bytes);
        }
    }

    #[test]
    fn a_list_that_claims_more_than_there_is_takes_no_memory_for_it() {
        let mut bytes = vec![0xFF; 9];
        bytes.push(1);
        assert_eq!(Rest(&bytes).list(Rest::u64).unwrap_err(), ENDS_EARLY);
    }

    #[test]
    fn numbers_end_where_their_type_does() {
        let number = |bytes: &[u8]| Rest(bytes).u16();
        assert_eq!(number(&[0xFF, 0xFF, 0x03]), Ok(u16::MAX));
        assert_eq!(number(&[0xFF, 0xFF, 0x04]), Err(NUMBER_TOO_LONG));
        assert_eq!(number(&[0xFF, 0xFF, 0x83, 0]), Err(NUMBER_TOO_LONG));
        assert_eq!(Rest(&[0xFF; 9]).u64(), Err(ENDS_EARLY));
    }
}
