//! Where the payload of a record lies, by stepping over its envelope: for who looks for something in millions of payloads and asks
//! nothing of the envelopes. It reads the lengths alone, so bytes whose envelope no reader would take may have a payload here; a
//! reader decides once something was found in it.

/// The payload of an event in its disk form ([`super::EventRef`]), not checked. None of bytes that have no envelope of this version.
pub fn payload_of(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = Rest(bytes);
    if rest.byte()? != super::ENVELOPE_VERSION {
        return None;
    }
    // Head: kind, id, time.
    rest.text()?;
    rest.skip(ID_BYTES)?;
    rest.number()?;
    // Body.
    rest.number()?;
    if !(1..=10).contains(&rest.byte()?) {
        return None;
    }
    rest.who()?;
    rest.option(Rest::text)?;
    match rest.number()? {
        0 => {}
        1 | 2 => rest.skip(ID_BYTES)?,
        3 => rest.skip(2 * ID_BYTES)?,
        _ => return None,
    }
    match rest.number()? {
        0 => rest.text()?,
        1..=6 => {}
        _ => return None,
    }
    rest.text()?;
    rest.number()?;
    for _ in 0..rest.number()? {
        rest.text()?;
        rest.number()?;
    }
    for _ in 0..rest.number()? {
        rest.number()?;
        rest.text()?;
    }
    Some(rest.0)
}

const ID_BYTES: usize = 16;

/// What has not been stepped over.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    /// An integer of seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Text or bytes, after their length.
    fn text(&mut self) -> Option<()> {
        let length = usize::try_from(self.number()?).ok()?;
        self.skip(length)
    }

    fn option(&mut self, some: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        match self.byte()? {
            0 => Some(()),
            1 => some(self),
            _ => None,
        }
    }

    /// An id: 16 bytes, or text.
    fn id(&mut self) -> Option<()> {
        match self.number()? {
            0 => self.skip(ID_BYTES),
            1 => self.text(),
            _ => None,
        }
    }

    /// Instance, session and agent.
    fn who(&mut self) -> Option<()> {
        match self.number()? {
            0 | 2 => self.skip(ID_BYTES),
            1 => {
                self.skip(ID_BYTES)?;
                self.id()
            }
            3 => {
                self.option(Rest::id)?;
                self.option(Rest::id)?;
                self.option(Rest::id)
            }
            _ => None,
        }
    }
}
