//! Small settings that the program keeps over restarts: a name and a text each.

use rusqlite::{OptionalExtension, params};

use super::error::StoreError;
use super::handle::Store;

impl Store {
    /// Returns a setting of the installation, none where it was never set.
    pub fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT value FROM settings WHERE name = ?1",
                    params![name],
                    |row| row.get(0),
                )
                .optional()
                .map_err(|error| StoreError::sqlite("read a setting", error))
        })
    }

    /// Keeps a setting of the installation.
    pub fn set_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write("keep a setting", |sql| {
            sql.execute(
                "INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)",
                params![name, value],
            )
            .map_err(|error| StoreError::sqlite("keep a setting", error))?;
            Ok(())
        })
    }
}
