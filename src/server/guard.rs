//! Who may ask: checked on every request, before it is routed.
//!
//! The server listens on the loopback, and that protects it from nothing: any web page can make the browser send
//! requests to it, any name can be made to resolve to it, and other local users can reach it. So, in this order:
//!
//! 1. `Host` names exactly this address (127.0.0.1, localhost or `[::1]`, with our port): a page that was rebound
//!    to the loopback by DNS still says its own name here.
//! 2. `Origin` is absent or our own, and `Sec-Fetch-Site` is absent, `none` or `same-origin`: no page of another site.
//! 3. `Authorization: Bearer` carries the token, compared in constant time; `GET /health` alone needs none.
//!
//! No answer ever carries a CORS header, so a page could not read one either. `check` is a function of values.

use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method};

use super::error::Refusal;
use crate::wire::{ErrorCode, header, path};

/// The key to a server: 256 bits, shown as lower-case hex.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token of these bits.
    pub fn from_bits(bits: [u8; 32]) -> Token {
        Token(
            bits.iter()
                .flat_map(|b| [b >> 4, b & 15])
                .map(|n| char::from(b"0123456789abcdef"[usize::from(n)]))
                .collect(),
        )
    }

    /// The hex digits, for the runtime file and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is this token. Takes the same time wherever the two differ.
    fn admits(&self, offered: &[u8]) -> bool {
        let expected = self.0.as_bytes();
        let differing =
            expected.iter().zip(offered).fold(0u8, |acc, (a, b)| std::hint::black_box(acc | (a ^ b)));
        differing == 0 && expected.len() == offered.len()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a server lets in.
#[derive(Debug, Clone)]
pub struct Guard {
    token: Token,
    hosts: Option<Vec<String>>,
}

impl Guard {
    /// Lets in who knows `token` and asks for the loopback by name or number with this `port`.
    pub fn new(token: Token, port: u16) -> Guard {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let mut hosts: Vec<String> = names.iter().map(|name| format!("{name}:{port}")).collect();
        if port == 80 {
            // Browsers leave the default port out.
            hosts.extend(names.map(String::from));
        }
        Guard { token, hosts: Some(hosts) }
    }

    /// The same without the check of Host and Origin. For tests that show what the check is good for.
    #[doc(hidden)]
    #[must_use]
    pub fn without_host_check(mut self) -> Guard {
        self.hosts = None;
        self
    }

    /// Whether the request may be routed.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Refusal> {
        if let Some(hosts) = &self.hosts {
            check_host(request, hosts)?;
            check_origin(&request.headers, hosts)?;
        }
        if is_open(request) || self.has_token(&request.headers) {
            return check_body_headers(request);
        }
        Err(Refusal::new(
            ErrorCode::Unauthorized,
            "send `Authorization: Bearer TOKEN`; the token stands in server.json of the data directory",
        ))
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Ok(Some(value)) = single(headers, &AUTHORIZATION) else { return false };
        let Some((scheme, token)) = split_once_space(value) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer") && self.token.admits(token.trim_ascii())
    }
}

fn is_open(request: &Parts) -> bool {
    request.uri.path() == path::HEALTH && matches!(request.method, Method::GET | Method::HEAD)
}

fn check_host(request: &Parts, hosts: &[String]) -> Result<(), Refusal> {
    let refused = || {
        Refusal::new(ErrorCode::ForbiddenHost, format!("the Host header must be one of {}", hosts.join(", ")))
    };
    // An absolute target names a host of its own; the two must not be played against each other.
    let in_target = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let in_header = single(&request.headers, &HOST).map_err(|()| refused())?.ok_or_else(refused)?;
    let known = |name: &[u8]| hosts.iter().any(|host| host.as_bytes().eq_ignore_ascii_case(name));
    if known(in_header) && in_target.is_none_or(known) { Ok(()) } else { Err(refused()) }
}

fn check_origin(headers: &HeaderMap, hosts: &[String]) -> Result<(), Refusal> {
    let refused =
        || Refusal::new(ErrorCode::ForbiddenOrigin, "requests from pages of other sites are refused");
    if let Some(origin) = single(headers, &ORIGIN).map_err(|()| refused())? {
        let ours = origin
            .strip_prefix(b"http://")
            .is_some_and(|name| hosts.iter().any(|host| host.as_bytes().eq_ignore_ascii_case(name)));
        if !ours {
            return Err(refused());
        }
    }
    let site = single(headers, &HeaderName::from_static(header::SEC_FETCH_SITE)).map_err(|()| refused())?;
    match site {
        None | Some(b"none" | b"same-origin") => Ok(()),
        Some(_) => Err(refused()),
    }
}

/// Only plain JSON is taken: a form, or text, is what a page may send without asking; a compressed body is how a
/// small request becomes a large one.
fn check_body_headers(request: &Parts) -> Result<(), Refusal> {
    let headers = &request.headers;
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::new(ErrorCode::UnsupportedEncoding, "send the body without Content-Encoding"));
    }
    if request.method != Method::POST {
        return Ok(());
    }
    let refused =
        || Refusal::new(ErrorCode::UnsupportedMediaType, "send the body with Content-Type: application/json");
    let value = single(headers, &CONTENT_TYPE).map_err(|()| refused())?.ok_or_else(refused)?;
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") { Ok(()) } else { Err(refused()) }
}

/// The one value of a header; an error when it is sent twice.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(axum::http::HeaderValue::as_bytes)),
        (_, Some(_)) => Err(()),
    }
}

fn split_once_space(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|byte| *byte == b' ')?;
    Some((&value[..at], &value[at + 1..]))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const TOKEN: &str = "Bearer 0707070707070707070707070707070707070707070707070707070707070707";

    fn guard() -> Guard {
        Guard::new(Token::from_bits([7; 32]), 3000)
    }

    fn verdict(guard: &Guard, target: &str, headers: &[(&str, &str)]) -> Option<ErrorCode> {
        let method = if headers.iter().any(|(name, _)| *name == "content-type") { "POST" } else { "GET" };
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        guard.check(&parts).err().map(|refusal| refusal.code)
    }

    #[test]
    fn own_hosts_with_the_port_pass_and_nothing_else_does() {
        for host in ["127.0.0.1:3000", "localhost:3000", "LOCALHOST:3000", "[::1]:3000"] {
            assert_eq!(verdict(&guard(), "/x", &[("host", host), ("authorization", TOKEN)]), None, "{host}");
        }
        for host in [
            "",
            "127.0.0.1",
            "127.0.0.1:3001",
            "0.0.0.0:3000",
            "127.1:3000",
            "2130706433:3000",
            "0x7f000001:3000",
            "localhost.:3000",
            "localhost:03000",
            "evil.example:3000",
            "127.0.0.1:3000@evil.example",
            "127.0.0.1:3000.evil.example",
            "[::ffff:127.0.0.1]:3000",
            "[0:0:0:0:0:0:0:1]:3000",
            "localhost:3000 ",
        ] {
            let found = verdict(&guard(), "/x", &[("host", host), ("authorization", TOKEN)]);
            assert_eq!(found, Some(ErrorCode::ForbiddenHost), "{host}");
        }
        assert_eq!(verdict(&guard(), "/x", &[("authorization", TOKEN)]), Some(ErrorCode::ForbiddenHost));
    }

    #[test]
    fn two_hosts_or_another_one_in_the_target_are_refused() {
        let own = ("host", "127.0.0.1:3000");
        assert_eq!(
            verdict(&guard(), "/health", &[own, ("host", "evil.example")]),
            Some(ErrorCode::ForbiddenHost)
        );
        assert_eq!(verdict(&guard(), "http://evil.example/health", &[own]), Some(ErrorCode::ForbiddenHost));
        assert_eq!(verdict(&guard(), "http://127.0.0.1:3000/health", &[own]), None);
    }

    #[test]
    fn a_rebound_name_passes_once_the_check_is_off() {
        let rebound = [("host", "evil.example:3000"), ("authorization", TOKEN)];
        assert_eq!(verdict(&guard(), "/events", &rebound), Some(ErrorCode::ForbiddenHost));
        assert_eq!(verdict(&guard().without_host_check(), "/events", &rebound), None);
    }

    #[test]
    fn health_needs_no_token_but_a_true_host() {
        assert_eq!(verdict(&guard(), "/health", &[("host", "localhost:3000")]), None);
        assert_eq!(verdict(&guard(), "/health", &[("host", "evil:3000")]), Some(ErrorCode::ForbiddenHost));
        assert_eq!(
            verdict(&guard(), "/health/", &[("host", "localhost:3000")]),
            Some(ErrorCode::Unauthorized)
        );
    }

    #[test]
    fn only_the_whole_token_is_a_token() {
        let with = |token: &str| {
            verdict(&guard(), "/events", &[("host", "localhost:3000"), ("authorization", token)])
        };
        assert_eq!(with(TOKEN), None);
        assert_eq!(with(&TOKEN.replace("Bearer", "bearer")), None);
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            &TOKEN[..TOKEN.len() - 1],
            &format!("{TOKEN}0"),
            &TOKEN[7..],
            &TOKEN.replace("Bearer", "Basic"),
            &TOKEN.replace('7', "8"),
        ] {
            assert_eq!(with(bad), Some(ErrorCode::Unauthorized), "{bad}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let with = |name, value| {
            verdict(
                &guard(),
                "/events",
                &[("host", "localhost:3000"), ("authorization", TOKEN), (name, value)],
            )
        };
        assert_eq!(with("origin", "http://localhost:3000"), None);
        assert_eq!(with("origin", "http://127.0.0.1:3000"), None);
        for origin in [
            "null",
            "https://evil.example",
            "http://localhost:3001",
            "http://localhost",
            "https://localhost:3000",
        ] {
            assert_eq!(with("origin", origin), Some(ErrorCode::ForbiddenOrigin), "{origin}");
        }
        assert_eq!(with("sec-fetch-site", "same-origin"), None);
        assert_eq!(with("sec-fetch-site", "none"), None);
        for site in ["cross-site", "same-site", ""] {
            assert_eq!(with("sec-fetch-site", site), Some(ErrorCode::ForbiddenOrigin), "{site}");
        }
    }

    #[test]
    fn bodies_are_plain_json() {
        let with = |content_type, more: Option<(&'static str, &'static str)>| {
            let mut headers =
                vec![("host", "localhost:3000"), ("authorization", TOKEN), ("content-type", content_type)];
            headers.extend(more);
            verdict(&guard(), "/events/emit", &headers)
        };
        assert_eq!(with("application/json", None), None);
        assert_eq!(with("Application/JSON; charset=utf-8", None), None);
        for bad in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
            assert_eq!(with(bad, None), Some(ErrorCode::UnsupportedMediaType), "{bad}");
        }
        let gzip = Some(("content-encoding", "gzip"));
        assert_eq!(with("application/json", gzip), Some(ErrorCode::UnsupportedEncoding));
    }

    #[test]
    fn the_token_is_64_hex_digits_and_never_shown_by_debug() {
        let token = Token::from_bits([0xAB; 32]);
        assert_eq!(token.reveal(), "ab".repeat(32));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
