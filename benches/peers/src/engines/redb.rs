//! redb: a copy-on-write B-tree; the key is the number.

use std::path::Path;

use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition,
};

use crate::engine::{Engine, Result};

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

struct Redb(Database);

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Redb(Database::create(dir.join("peer.redb"))?)))
}

impl Engine for Redb {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        let mut writing = self.0.begin_write()?;
        writing.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        {
            let mut table = writing.open_table(RECORDS)?;
            let next = table.last()?.map_or(0, |(last, _)| last.value() + 1);
            for (record, number) in batch.iter().zip(next..) {
                table.insert(number, *record)?;
            }
        }
        Ok(writing.commit()?)
    }

    fn sync(&self) -> Result<()> {
        let mut writing = self.0.begin_write()?;
        writing.set_durability(Durability::Immediate)?;
        Ok(writing.commit()?)
    }

    fn scan(&self) -> Result<u64> {
        let reading = self.0.begin_read()?;
        let table = reading.open_table(RECORDS)?;
        let mut records = 0;
        for pair in table.iter()? {
            records += u64::from(!pair?.1.value().is_empty());
        }
        if records == table.len()? { Ok(records) } else { Err("some are missing".into()) }
    }

    fn get(&self, number: u64) -> Result<usize> {
        let reading = self.0.begin_read()?;
        let table = reading.open_table(RECORDS)?;
        Ok(table.get(number)?.ok_or("not there")?.value().len())
    }
}
