//! `POST /admin/backup`: what the command `backup` does, by the server. The copy is made from the files, as the command makes it, so
//! emits and streams go on meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::error::Refusal;
use super::params::Params;
use super::{App, json_response};
use crate::config::DataDir;
use crate::error::Error;
use crate::projection::base;
use crate::store::Store;
use crate::store::backup::Copied;
use crate::wire::ErrorCode;

/// Copies what is durable now to `dir`, and answers when the copy was read back and verified.
pub(super) async fn backup(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    let dir = params.take("dir")?;
    params.finish()?;
    // Of a relative one only the server would know where it leads.
    let dir = dir.map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir =
        dir.ok_or_else(|| Refusal::parameter("dir", "name a new or an empty directory, from `/` on"))?;
    let copied = tokio::task::spawn_blocking(move || copy(&app.store, &dir)).await;
    let copied = match copied {
        Ok(Err(Error::UnsafePath { reason, .. })) => return Err(Refusal::parameter("dir", reason)),
        Ok(copied) => copied?,
        Err(_panic) => return Err(Refusal::new(ErrorCode::Internal, "the backup was not finished")),
    };
    let answer = serde_json::json!({
        "version": 1,
        "journal": copied.journal_id.to_string(),
        "first_seq": copied.first.get(),
        "last_seq": copied.last.get(),
        "segments": copied.segments,
        "bytes": copied.bytes,
        "head": copied.head,
        "damage": copied.damage,
    });
    Ok(json_response(StatusCode::OK, &answer))
}

/// The copy, and what is damaged of its bases too.
fn copy(store: &Store, dir: &Path) -> Result<Copied, Error> {
    let mut copied = store.back_up(dir)?;
    copied.damage.extend(base::damaged(&DataDir::at(dir).base(), copied.journal_id.to_bytes())?);
    Ok(copied)
}
