//! What SQLite says, as the store's errors. Its messages name tables and columns, never values.

use rusqlite::ErrorCode;

use crate::store::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure) => {
                StoreError::DiskFull(text)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            // The store puts its limit in where the work is run.
            Some(ErrorCode::OperationInterrupted) => StoreError::Timeout(0),
            _ => StoreError::Database(text),
        }
    }
}
