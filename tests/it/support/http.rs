//! A client that shares no code with the server: bytes on a socket.

use super::BOUND;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {} {}", self.status, self.text()))
    }

    /// The stable code of an error answer.
    #[track_caller]
    pub(crate) fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("an error answer has a code").to_owned()
    }
}

/// Sends one request and reads the answer to its end. `Host` is the address unless `headers` has one.
#[track_caller]
pub(crate) fn request(
    addr: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut stream = connect(addr);
    let mut head = head(addr, method, path, headers);
    if method != "GET" || !body.is_empty() {
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    head += "Connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the request head is taken");
    // A server may answer and close before it has read a body that it refuses.
    let _ = stream.write_all(body);
    let mut reader = BufReader::new(stream);
    let (status, headers) = read_head(&mut reader);
    let mut response = Response { status, headers, body: Vec::new() };
    let mut body = Vec::new();
    match response.header("content-length").map(|n| n.parse::<u64>().expect("a length")) {
        Some(n) => _ = reader.take(n).read_to_end(&mut body).expect("a body as long as it says"),
        None if response.header("transfer-encoding") == Some("chunked") => {
            Chunked::new(reader).read_to_end(&mut body).expect("a whole chunked body");
        }
        None => _ = reader.read_to_end(&mut body).expect("a body up to the end of the connection"),
    }
    response.body = body;
    response
}

#[track_caller]
pub(crate) fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap_or_else(|e| panic!("no connection to {addr}: {e}"));
    stream.set_read_timeout(Some(BOUND)).expect("a bound for reads");
    stream.set_write_timeout(Some(BOUND)).expect("a bound for writes");
    stream
}

/// Request line and headers, without the empty line at the end.
pub(crate) fn head(addr: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.extend(["Host: ", addr, "\r\n"]);
    }
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head
}

/// Status and headers of an answer.
#[track_caller]
pub(crate) fn read_head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line within the bound");
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("headers within the bound");
        let Some((name, value)) = line.trim_end().split_once(':') else { return (status, headers) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// The body of a chunked answer. The end of the connection before the last chunk is an error, as it should be.
pub(crate) struct Chunked<R> {
    inner: R,
    left: u64,
    done: bool,
}

impl<R: BufRead> Chunked<R> {
    pub(crate) fn new(inner: R) -> Chunked<R> {
        Chunked { inner, left: 0, done: false }
    }
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.done {
            return Ok(0);
        }
        if self.left == 0 {
            let mut size = String::new();
            if self.inner.read_line(&mut size)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let hex = size.trim_end().split(';').next().unwrap_or_default();
            self.left = u64::from_str_radix(hex, 16)
                .map_err(|_| std::io::Error::other(format!("not a chunk size: {size:?}")))?;
            if self.left == 0 {
                self.done = true;
                return Ok(0);
            }
        }
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.inner.read(&mut buf[..want])?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        if self.left == 0 {
            let mut end = String::new();
            self.inner.read_line(&mut end)?;
        }
        Ok(n)
    }
}
