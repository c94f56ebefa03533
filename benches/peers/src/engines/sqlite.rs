//! SQLite: a table of events, WAL mode, synchronous FULL, one connection behind a lock.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::batching::Batching;
use crate::engine::{Engine, Result};

struct Sqlite(Mutex<Inside>);

struct Inside {
    connection: Connection,
    durable: bool,
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let connection = Connection::open(dir.join("peer.sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
    Ok(Box::new(Sqlite(Mutex::new(Inside { connection, durable: true }))))
}

pub(super) fn open_batching(dir: &Path) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Batching::over(open(dir)?)))
}

impl Engine for Sqlite {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        let inside = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.durable != durable {
            let level = if durable { "FULL" } else { "OFF" };
            inside.connection.pragma_update(None, "synchronous", level)?;
            inside.durable = durable;
        }
        let writing = inside.connection.transaction()?;
        {
            let mut insert = writing.prepare_cached("INSERT INTO events (body) VALUES (?1)")?;
            for record in batch {
                insert.execute([record])?;
            }
        }
        Ok(writing.commit()?)
    }

    fn sync(&self) -> Result<()> {
        let inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(inside.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn scan(&self) -> Result<u64> {
        let inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = inside.connection.prepare_cached("SELECT body FROM events ORDER BY seq")?;
        let mut rows = select.query([])?;
        let mut records = 0;
        while let Some(row) = rows.next()? {
            records += u64::from(!row.get_ref(0)?.as_blob()?.is_empty());
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        let inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = inside.connection.prepare_cached("SELECT body FROM events WHERE seq = ?1")?;
        let number = i64::try_from(number)? + 1;
        Ok(select.query_row([number], |row| Ok(row.get_ref(0)?.as_blob().map(<[u8]>::len)))??)
    }
}
