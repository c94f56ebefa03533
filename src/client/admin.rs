//! What a server does for whoever may administer it.

use std::time::Duration;

use bytes::Bytes;

use super::http::{self, Ask};
use super::{Error, Server, runtime, target};
use crate::projection::retention::Report;
use crate::wire::path;

/// A base is a fold of all that goes: minutes, where it is much.
const GC_TIMEOUT: Duration = Duration::from_mins(30);

impl Server {
    /// Applies retention now, or says what that would do. Answers when it is done.
    pub fn gc(&self, dry_run: bool) -> Result<Report, Error> {
        let target = target(path::GC, [("dry_run", if dry_run { "true" } else { "false" })]);
        let (addr, ask) = (self.addr(), Ask::post(&target, Bytes::from_static(b"{}")));
        let body = runtime()?.block_on(async {
            let response = http::exchange(addr, self.token(), ask, GC_TIMEOUT).await?;
            http::read(addr, response, GC_TIMEOUT).await
        })?;
        serde_json::from_str(&self.text(body)?).map_err(|error| self.protocol(&error))
    }
}
