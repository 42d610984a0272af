//! THE table of limits: everything that can grow has a line here, and a test that goes past it.
//!
//! Read from settings once; the stages take the value they need. Not here: what a search may cost (its planner has that)
//! and what JSON may cost beyond depth and nodes.

use serde::{Deserialize, Serialize};

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Name of the setting under `[limits]`; the unit stands last.
    pub name: &'static str,
    /// Value without a setting.
    pub default: u64,
    /// Smallest value a setting may have.
    pub min: u64,
    /// Largest value a setting may have.
    pub max: u64,
    /// What happens when it is passed.
    pub passed: &'static str,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $default:expr, $min:expr => $max:expr, $passed:literal;)*) => {
        /// The limits in force. Every field is a whole number in the unit its name ends with.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits { $($(#[$doc])* pub $name: u64,)* }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Every limit, in the order a request meets them: for the documentation and for the check of settings.
            pub const TABLE: &[Row] = &[$(Row {
                name: stringify!($name), default: $default, min: $min, max: $max, passed: $passed,
            },)*];

            fn values(&self) -> impl Iterator<Item = (&'static Row, u64)> {
                Limits::TABLE.iter().zip([$(self.$name,)*])
            }
        }
    };
}

limits! {
    /// Connections served at one time.
    connections_max = 4096, 1 => 1_000_000, "further connections wait in the kernel's queue";
    /// Time for the TLS handshake.
    handshake_ms = 5_000, 100 => 60_000, "the connection is closed";
    /// Time for a request's header section to arrive; on HTTP/1 counted from the answer before it, so it is also how long
    /// such a connection is kept open between two requests.
    header_read_ms = 15_000, 100 => 60_000, "the connection is closed";
    /// Time a connection may stay without a request in work, or without taking anything of its answer.
    idle_ms = 60_000, 1_000 => 3_600_000, "the connection is closed (HTTP/2: GOAWAY)";
    /// HTTP/2 streams open at one time on a connection.
    h2_streams_max = 100, 1 => 10_000, "the stream is refused (REFUSED_STREAM)";
    /// HTTP/2 streams the client opened and reset that the gateway still accounts for (rapid reset, CVE-2023-44487).
    h2_resets_max = 20, 1 => 1_000, "the connection is closed (ENHANCE_YOUR_CALM)";
    /// Header fields of one request.
    headers_max = 100, 8 => 1_000, "431 too-long";
    /// Bytes of one header section, names and values (hyper's smallest buffer is 8 KiB).
    header_bytes_max = 64 * 1024, 8 * 1024 => 1024 * 1024, "431 too-long";
    /// Bytes of path and query.
    uri_bytes_max = 8 * 1024, 256 => 60 * 1024, "414 too-long";
    /// Bytes of a bearer token or client assertion.
    token_bytes_max = 16 * 1024, 512 => 64 * 1024, "431 too-long; in a form 400 invalid_request";
    /// Bytes of a request body.
    body_bytes_max = 64 * 1024 * 1024, 1024 => 1024 * 1024 * 1024, "413 too-long";
    /// Bytes of a form body (`_search`, token endpoint).
    form_bytes_max = 256 * 1024, 1024 => 4 * 1024 * 1024, "413 too-long";
    /// Time for a whole request body to arrive.
    body_read_ms = 60_000, 100 => 3_600_000, "408 timeout";
    /// Name and value pairs of a form that is no search.
    form_pairs_max = 32, 8 => 1_000, "413 too-costly";
    /// Scopes in one token request.
    scopes_max = 100, 1 => 1_000, "400 invalid_scope";
    /// Name and value pairs of a search or operation, URL and form together.
    search_parameters_max = 100, 1 => 1_000, "413 too-costly";
    /// Resources on one page; a larger `_count` is taken as this.
    count_max = 1_000, 1 => 10_000, "the page is smaller than asked (FHIR R4 search.html#count)";
    /// Observations `$lastn` looks at for one answer.
    lastn_max = 5_000, 1 => 1_000_000, "413 too-costly";
    /// Depth of a JSON or XML body.
    json_depth_max = 64, 8 => 1_000, "413 too-costly";
    /// Values and names in a JSON body, 16 bytes of memory each; elements and attributes in an XML body.
    json_nodes_max = 4_000_000, 1_000 => 50_000_000, "413 too-costly";
    /// Entries of a batch or transaction.
    bundle_entries_max = 5_000, 1 => 100_000, "413 too-costly";
    /// Operations of one patch.
    patch_operations_max = 1_000, 1 => 100_000, "413 too-costly";
    /// Values a patched resource may hold, 8 bytes each at least.
    patch_nodes_max = 200_000, 1_000 => 10_000_000, "413 too-costly";
    /// Steps that finding the places of a FHIRPath Patch may take, all operations together; a step is about 50 ns.
    patch_steps_max = 10_000_000, 10_000 => 1_000_000_000, "413 too-costly";
    /// Time the key of a write and its answer are kept (`Idempotency-Key`).
    idempotency_ms = 86_400_000, 60_000 => 2_592_000_000, "the key is forgotten: the same request is done anew";
    /// Bytes of an answer that are kept under its key.
    idempotency_body_bytes_max = 1024 * 1024, 0 => 64 * 1024 * 1024, "the answer is given again without its body";
    /// Time a job (an export, a request answered later) may stand still before another gateway on the database takes it for
    /// left behind.
    takeover_ms = 30_000, 1_000 => 600_000, "another gateway carries the job on, from its last committed step";
    /// Time for an answer to begin, once the body is there.
    handler_ms = 30_000, 100 => 3_600_000, "503 timeout";
    /// MLLP connections of one listener served at one time.
    mllp_connections_max = 256, 1 => 100_000, "further connections wait in the kernel's queue";
    /// Bytes of one MLLP frame.
    mllp_frame_bytes_max = 16 * 1024 * 1024, 1024 => 1024 * 1024 * 1024, "AR, and the connection is closed";
    /// Time for an MLLP frame to arrive whole once begun, and for its answer to be taken.
    mllp_frame_ms = 30_000, 100 => 600_000, "AR where that can be said, and the connection is closed";
    /// Time an MLLP connection may stay without a message.
    mllp_idle_ms = 3_600_000, 1_000 => 86_400_000, "the connection is closed";
    /// Time that requests in work have to finish when the gateway stops.
    drain_ms = 20_000, 0 => 600_000, "what is not finished is cut off";
}

impl Limits {
    /// Checks every value against its range.
    ///
    /// Errors: the first line that is out of range, as a sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        for (row, value) in self.values() {
            if !(row.min..=row.max).contains(&value) {
                return Err(format!("limits.{} = {value}: {} to {} is allowed", row.name, row.min, row.max));
            }
        }
        Ok(())
    }

    /// The bounds a JSON body is parsed within.
    pub fn json(&self) -> sluis_conformance::json::JsonLimits {
        sluis_conformance::json::JsonLimits {
            depth_max: u32::try_from(self.json_depth_max).unwrap_or(u32::MAX),
            nodes_max: u32::try_from(self.json_nodes_max).unwrap_or(u32::MAX),
        }
    }
}

/// Milliseconds as the standard library counts them.
pub(crate) fn duration(ms: u64) -> std::time::Duration {
    std::time::Duration::from_millis(ms)
}

/// A limit where a count is needed; on a machine whose counts are smaller, the largest there is.
pub(crate) fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    #[test]
    fn defaults_stand_inside_their_ranges() {
        assert_eq!(Limits::default().check(), Ok(()));
        assert_eq!(Limits::TABLE.len(), Limits::default().values().count());
    }

    #[test]
    fn setting_replaces_one_line_and_leaves_the_others() {
        let limits: Limits = toml::from_str("count_max = 50").unwrap();
        assert_eq!(limits, Limits { count_max: 50, ..Limits::default() });
    }

    #[test]
    fn misspelt_setting_is_refused() {
        assert!(toml::from_str::<Limits>("count_maximum = 50").is_err());
    }

    #[test]
    fn value_out_of_range_is_named() {
        let limits = Limits { body_read_ms: 0, ..Limits::default() };
        assert_eq!(limits.check().unwrap_err(), "limits.body_read_ms = 0: 100 to 3600000 is allowed");
    }

    #[test]
    fn every_name_ends_with_its_unit() {
        for row in Limits::TABLE {
            assert!(row.name.ends_with("_max") || row.name.ends_with("_ms"), "{}", row.name);
        }
    }
}
