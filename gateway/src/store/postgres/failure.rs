//! What PostgreSQL says, as the store's errors. A message of the server may quote a value, so only its code is told,
//! except where the fault is in a statement of this program or in the server's own state.

use tokio_postgres::Error;

use crate::store::StoreError;

pub(super) fn store_error(error: &Error) -> StoreError {
    let Some(told) = error.as_db_error() else {
        // Lost connections and values that do not fit; neither text holds a value.
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return StoreError::Database(format!("the connection: {error}{cause}"));
    };
    let code = told.code().code();
    let text = match code.get(..2) {
        Some("08" | "25" | "28" | "3D" | "42" | "53" | "57" | "58") => format!("{code}: {}", told.message()),
        _ => format!("SQLSTATE {code}"),
    };
    match code {
        // query_canceled: the limit of the statement, put in where the work is run.
        "57014" => StoreError::Timeout(0),
        // disk_full, read_only_sql_transaction
        "53100" | "25006" => StoreError::DiskFull(text),
        // lock_not_available, serialization_failure, deadlock_detected, too_many_connections
        "55P03" | "40001" | "40P01" | "53300" => StoreError::Busy,
        _ => StoreError::Database(text),
    }
}
