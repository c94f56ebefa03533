//! A server that the user names by its URL, with the token that a file of the user's holds.
//!
//! The token is all that keeps others out, and there is no TLS here: it goes over the loopback only, to the very address that the
//! URL names, and whoever wants to reach another machine brings that to the loopback with a tunnel that encrypts (`ssh -L`). No name
//! is looked up, no redirect followed, no proxy asked: the answer of none of them could be trusted with it.
//!
//! The file holds the token alone, or is a copy of the server's `server.json`. The copy is the better one: it also says at which
//! address the server knows itself, which is what it wants to read in `Host`; behind a tunnel that is not the address that is connected to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde::Deserialize;

use super::http::Address;
use super::{RUNTIME_BYTES_MAX, Server};
use crate::config::guard;
use crate::error::Error;

/// The digits of a token: 256 bits in hexadecimal.
const TOKEN_DIGITS: usize = 64;
const TUNNEL: &str =
    "reach it through a tunnel, as in `ssh -N -L 3001:127.0.0.1:3000 HOST`, and name http://127.0.0.1:3001";

/// As much of `server.json` as counts here.
#[derive(Deserialize)]
struct Copied {
    addr: SocketAddr,
    token: String,
}

impl Server {
    /// The server at `url`, let in by the token in `token_file`. Asks nothing yet.
    ///
    /// # Errors
    /// [`Error::Usage`] for a URL that is not plain HTTP to a port of the loopback, [`Error::UnsafePath`] for a file that others may
    /// read or that holds no token, and what the system says of it.
    pub fn elsewhere(url: &str, token_file: &Path) -> Result<Server, Error> {
        let (addr, named) = address_of(url)?;
        let bytes = guard::read_secret(token_file, RUNTIME_BYTES_MAX)?;
        let no_token = || Error::UnsafePath {
            path: token_file.into(),
            reason: "it holds no token: put the server's token into it, or a copy of its server.json".into(),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| no_token())?.trim();
        let (token, host) = match serde_json::from_str::<Copied>(text) {
            Ok(copied) => (copied.token, copied.addr.to_string()),
            Err(_) => (text.to_owned(), named),
        };
        // Whatever else the file is, none of it leaves this process.
        if token.len() != TOKEN_DIGITS || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(no_token());
        }
        Ok(Server { address: Address { addr, host, token }, dir: None })
    }
}

/// Where a URL points to, and how it says that.
fn address_of(url: &str) -> Result<(SocketAddr, String), Error> {
    let scheme = |name: &str| url.get(..name.len()).is_some_and(|given| given.eq_ignore_ascii_case(name));
    if scheme("https://") {
        return Err(Error::usage(format!("a server speaks plain HTTP on the loopback: {TUNNEL}")));
    }
    let rest = if scheme("http://") { &url["http://".len()..] } else { "" };
    let place = rest.strip_suffix('/').unwrap_or(rest);
    let (name, port) = place.rsplit_once(':').unwrap_or_default();
    // What was typed is not repeated: a URL is a place where people put passwords.
    let malformed =
        || Error::usage("the URL of a server is http://ADDRESS:PORT, as in http://127.0.0.1:3000");
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    if !plain || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    if name.eq_ignore_ascii_case("localhost") {
        let port = port.parse().map_err(|_| malformed())?;
        return Ok((SocketAddr::from((Ipv4Addr::LOCALHOST, port)), place.to_ascii_lowercase()));
    }
    match place.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_loopback() => Ok((addr, addr.to_string())),
        Err(_)
            if place.starts_with('[') || name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') =>
        {
            Err(malformed())
        }
        _ => Err(Error::usage(format!(
            "the token is not sent to another machine in the clear, and {name} is not this one: {TUNNEL}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_url_names_a_port_of_the_loopback_and_nothing_else() {
        for (url, addr, host) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://127.0.0.2:3001/", "127.0.0.2:3001", "127.0.0.2:3001"),
            ("HTTP://LOCALHOST:80", "127.0.0.1:80", "localhost:80"),
            ("http://[::1]:9", "[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(address_of(url).unwrap(), (addr.parse().unwrap(), host.to_owned()), "{url}");
        }
        for (url, said) in [
            ("https://127.0.0.1:3000", "tunnel"),
            ("http://10.0.0.1:3000", "in the clear"),
            ("http://0.0.0.0:3000", "in the clear"),
            ("http://[::ffff:127.0.0.1]:3000", "in the clear"),
            ("http://example.org:3000", "in the clear"),
            ("http://localhost.example.org:3000", "in the clear"),
            ("http://127.0.0.1", "http://ADDRESS:PORT"),
            ("http://127.1:3000", "http://ADDRESS:PORT"),
            ("http://2130706433:3000", "http://ADDRESS:PORT"),
            ("http://localhost:99999", "http://ADDRESS:PORT"),
            ("http://localhost:", "http://ADDRESS:PORT"),
            ("http://:3000", "http://ADDRESS:PORT"),
            ("http://127.0.0.1:3000/events", "http://ADDRESS:PORT"),
            ("http://127.0.0.1:3000?x", "http://ADDRESS:PORT"),
            ("127.0.0.1:3000", "http://ADDRESS:PORT"),
            ("ftp://127.0.0.1:3000", "http://ADDRESS:PORT"),
            ("http://127.0.0.1:3000\r\nx: y", "http://ADDRESS:PORT"),
            ("\u{e9}", "http://ADDRESS:PORT"),
            ("", "http://ADDRESS:PORT"),
        ] {
            let error = address_of(url).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{url}");
            assert!(error.to_string().contains(said), "{url}: {error}");
        }
        let error = address_of("http://me:hunter2@127.0.0.1:3000").unwrap_err().to_string();
        assert!(error.contains("http://ADDRESS:PORT") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_token_comes_from_a_private_file_and_is_shown_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("token");
        let token = "0123456789abcdef".repeat(4);
        let write = |text: &str, mode: u32| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let open = || Server::elsewhere("http://127.0.0.1:3001", &file);
        write(&format!("{token}\n"), 0o600);
        let server = open().unwrap();
        assert_eq!(
            (server.address.token.as_str(), server.address.host.as_str()),
            (&*token, "127.0.0.1:3001")
        );
        assert!(!format!("{server:?}").contains(&token));
        write(&format!(r#"{{"addr":"127.0.0.1:3000","pid":1,"token":"{token}"}}"#), 0o400);
        let server = open().unwrap();
        assert_eq!(
            (server.address.token.as_str(), server.address.host.as_str()),
            (&*token, "127.0.0.1:3000")
        );
        assert_eq!(server.addr().port(), 3001, "it is connected to where the URL says");
        for mode in [0o640, 0o604, 0o660, 0o620] {
            write(&token, mode);
            let error = open().unwrap_err();
            assert_eq!(error.code(), "unsafe_path", "{mode:o}");
            assert!(!error.to_string().contains(&token));
        }
        for text in [
            "",
            "root:x:0:0",
            &token[1..],
            &format!("{token}\nX: y"),
            r#"{"token":"x","addr":"127.0.0.1:1"}"#,
        ] {
            write(text, 0o600);
            assert_eq!(open().unwrap_err().code(), "unsafe_path", "{text}");
        }
    }
}
