//! Query parameters: each known, each given once, each with a value that it can take. A misspelt filter would
//! otherwise show everything, and a misspelt cursor begin from now.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::Query;
use axum::http::{HeaderMap, Uri};

use super::error::Refusal;
use crate::answers::when;
use crate::error::{Error, plain_usage};
pub(crate) use crate::event::Place;
use crate::event::search;
use crate::event::{FieldError, Filter, Seq, Timestamp, nearest};
use crate::store::Store;
use crate::wire::{ErrorCode, header};

/// The pairs of a query that nobody has asked for yet.
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    /// What was asked for: the parameters of the route.
    names: Vec<&'static str>,
}

impl Params {
    pub(crate) fn of(uri: &Uri) -> Result<Params, Refusal> {
        let Query(pairs) = Query::try_from_uri(uri)
            .map_err(|error| Refusal::new(ErrorCode::InvalidParameter, error.to_string()))?;
        Ok(Params { pairs, names: Vec::new() })
    }

    /// Takes the value of `name` out.
    pub(crate) fn take(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.names.push(name);
        let Some(at) = self.pairs.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.pairs.remove(at);
        if self.pairs.iter().any(|(known, _)| known == name) {
            return Err(Refusal::parameter(name, format!("`{name}` is given more than once")));
        }
        Ok(Some(value))
    }

    /// Takes the value of `name` out and reads it.
    pub(crate) fn parse<T>(&mut self, name: &'static str) -> Result<Option<T>, Refusal>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let refused = |error: T::Err| {
            let message = plain_usage(&error.to_string());
            Refusal::parameter(name, format!("`{name}`: {message}"))
        };
        text.parse().map(Some).map_err(refused)
    }

    /// Takes a cursor out.
    pub(crate) fn cursor(&mut self, name: &'static str) -> Result<Option<Seq>, Refusal> {
        self.take(name)?.map(|text| cursor(name, &text)).transpose()
    }

    /// Takes a place out that may be named by its seq or by a time, as the flags of the command line name it.
    pub(crate) fn place(&mut self, name: &'static str, now: Timestamp) -> Result<Option<Place>, Refusal> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        if Place::is_seq(&text) {
            return cursor(name, &text).map(|seq| Some(Place::Seq(seq)));
        }
        read(name, when::place(&format!("`{name}`"), &text, now)).map(Some)
    }

    /// Takes a time out, as the flags of the command line name it.
    pub(crate) fn time(&mut self, name: &'static str, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        read(name, when::parse(&format!("`{name}`"), &text, now)).map(Some)
    }

    /// Takes the parameters of a filter out.
    pub(crate) fn filter(&mut self) -> Result<Filter, Refusal> {
        let mut pairs = Vec::new();
        self.names.extend(Filter::KEYS);
        self.pairs.retain(|(name, value)| {
            let of_filter = Filter::KEYS.contains(&name.as_str());
            if of_filter {
                pairs.push((name.clone(), value.clone()));
            }
            !of_filter
        });
        Filter::from_pairs(pairs)
            .map_err(|FieldError { field, message, .. }| Refusal::parameter(&field, message))
    }

    /// Takes a search in words out.
    pub(crate) fn query(&mut self) -> Result<Option<search::Query>, Refusal> {
        let Some(text) = self.take("q")? else { return Ok(None) };
        let query = search::Query::parse("q", &text);
        query
            .map(Some)
            .map_err(|FieldError { field, message, .. }| Refusal::parameter(&field, format!("`q` {message}")))
    }

    /// Takes `journal` out: a cursor of another journal means other events.
    pub(crate) fn check_journal(&mut self, store: &Store) -> Result<(), Refusal> {
        match self.take("journal")? {
            Some(asked) if asked != store.journal_id().to_string() => {
                let message = format!("this server holds journal {}, not {asked}", store.journal_id());
                Err(Refusal::new(ErrorCode::OtherJournal, message).field("journal"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what nobody has asked for.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        match self.pairs.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let meant = nearest(&name, self.names);
                let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                let message = format!("the route has no parameter `{name}`{meant}");
                Err(Refusal::new(ErrorCode::UnknownParameter, message).field(name))
            }
        }
    }
}

/// The `Last-Event-ID` header. An empty one is what a client without a cursor sends.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<Seq>, Refusal> {
    let Some(value) = headers.get(header::LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().map_err(|_| bad_cursor("Last-Event-ID", "bytes that are no text"))?;
    if text.is_empty() { Ok(None) } else { cursor("Last-Event-ID", text).map(Some) }
}

fn cursor(name: &str, text: &str) -> Result<Seq, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(seq) if digits => Ok(Seq::new(seq)),
        _ => Err(bad_cursor(name, text)),
    }
}

fn bad_cursor(name: &str, text: &str) -> Refusal {
    let message = format!("{name} must be a seq, a whole number of at most 20 digits, not `{text}`");
    Refusal::new(ErrorCode::InvalidCursor, message).field(name)
}

/// Sees that a range does not end before it begins.
pub(crate) fn ordered(from: Option<Place>, until: Option<Place>) -> Result<(), Refusal> {
    read("until", when::ordered(from, until))
}

/// What the command line would say of it is told of the parameter.
fn read<T>(name: &str, outcome: Result<T, Error>) -> Result<T, Refusal> {
    outcome.map_err(|error| Refusal::parameter(name, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn a_parameter_is_taken_once_decoded() {
        let mut params = params("a=b%20c+d&e=");
        assert_eq!(params.take("a").unwrap().as_deref(), Some("b c d"));
        assert_eq!(params.take("a").unwrap(), None);
        assert_eq!(params.take("e").unwrap().as_deref(), Some(""));
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn a_parameter_given_twice_or_unknown_is_named() {
        let refusal = params("a=1&b=2&a=3").take("a").unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidParameter);
        let mut misspelt = params("frm=1&x=2");
        misspelt.cursor("from").unwrap();
        misspelt.filter().unwrap();
        let meant = "the route has no parameter `frm`; did you mean `from`?";
        assert_eq!(
            misspelt.finish().unwrap_err(),
            Refusal::new(ErrorCode::UnknownParameter, meant).field("frm")
        );
        let refusal = params("form=1").finish().unwrap_err();
        assert_eq!(
            refusal,
            Refusal::new(ErrorCode::UnknownParameter, "the route has no parameter `form`").field("form")
        );
    }

    #[test]
    fn what_is_no_value_is_told_without_the_words_of_a_parser() {
        for (query, words) in [
            ("limit=x", "`limit`: a whole number is wanted"),
            ("limit=-1", "`limit`: a whole number is wanted"),
        ] {
            let refusal = params(query).parse::<u64>("limit").unwrap_err();
            assert_eq!(refusal, Refusal::parameter("limit", words), "{query}");
        }
        let refusal = params("patches=yes").parse::<bool>("patches").unwrap_err();
        assert_eq!(refusal, Refusal::parameter("patches", "`patches`: true or false is wanted"));
    }

    #[test]
    fn moments_are_those_of_the_command_line() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        for text in ["2026-11-22T10:00:00Z", "2026-11-22T11:00:00%2B01:00", "2026-11-22", "2h", "1h30m", "3d"]
        {
            let query = format!("since={text}");
            let typed = text.replace("%2B", "+");
            let told = params(&query).time("since", now).unwrap();
            assert_eq!(told, Some(when::parse("--since", &typed, now).unwrap()), "{text}");
            let place = params(&query).place("since", now).unwrap();
            assert_eq!(place, Some(when::place("--since", &typed, now).unwrap()), "{text}");
        }
        assert_eq!(params("at=7").place("at", now).unwrap(), Some(Place::Seq(Seq::new(7))));
        for text in ["", "soon", "-2h", "2026-13-01", "-1"] {
            let refusal = params(&format!("at={text}")).place("at", now).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidParameter, "{text}");
        }
        assert_eq!(params("since=7").time("since", now).unwrap_err().code, ErrorCode::InvalidParameter);
    }

    #[test]
    fn cursors_are_whole_numbers() {
        assert_eq!(params("from=42").cursor("from").unwrap(), Some(Seq::new(42)));
        assert_eq!(params("from=18446744073709551615").cursor("from").unwrap(), Some(Seq::new(u64::MAX)));
        for bad in ["", "-1", "%2B1", "1.0", "x", "18446744073709551616", "0x10", "1%20"] {
            let refusal = params(&format!("from={bad}")).cursor("from").unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidCursor, "{bad}");
        }
    }
}
