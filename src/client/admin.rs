//! What a server does for whoever may administer it.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::http::{self, Ask};
use super::{Error, Server, runtime, target};
use crate::projection::retention::Report;
use crate::wire::{Rebuilds, path};

/// A base is a fold of all that goes, and a rebuild one of all that is there: minutes, where it is much. A server that falls silent
/// meanwhile is given up in seconds, as with every request.
const FOLD_TIMEOUT: Duration = Duration::from_mins(30);

impl Server {
    /// Applies retention now, or says what that would do. Answers when it is done.
    pub fn gc(&self, dry_run: bool) -> Result<Report, Error> {
        let target = target(path::GC, [("dry_run", if dry_run { "true" } else { "false" })]);
        self.administer(&target)
    }

    /// Folds `projection` anew while the old state is served. Answers when the new one is.
    pub fn rebuild(&self, projection: &str) -> Result<Rebuilds, Error> {
        self.administer(&target(path::REBUILD, [("projection", projection)]))
    }

    fn administer<T: DeserializeOwned>(&self, target: &str) -> Result<T, Error> {
        let (to, ask) = (&self.address, Ask::post(target, Bytes::from_static(b"{}")));
        let body = runtime()?.block_on(async {
            let response = http::exchange(to, ask, FOLD_TIMEOUT).await?;
            http::read(to, response, FOLD_TIMEOUT).await
        })?;
        serde_json::from_str(&self.text(body)?).map_err(|error| self.protocol(&error))
    }
}
