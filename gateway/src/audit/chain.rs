//! The hash that ties each audit record to all before it (access.md 7.2: after RFC 6962, which tells leaves apart from
//! what is made of them by a first byte).

use aws_lc_rs::digest::{Context, SHA256};

/// Hash of the chain up to and including record `sequence`:
/// `SHA-256(previous || be64(sequence) || SHA-256(0x00 || body))`. Record 1 has 32 zero bytes before it.
pub fn link(previous: &[u8; 32], sequence: u64, body: &[u8]) -> [u8; 32] {
    let leaf = sha256(&[&[0], body]);
    sha256(&[previous, &sequence.to_be_bytes(), &leaf])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    // SHA-256 gives 32 bytes, so both sides have the same length.
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let first = link(&[0; 32], 1, b"a");
        assert_eq!(first, link(&[0; 32], 1, b"a"));
        assert_ne!(first, link(&[0; 32], 2, b"a"));
        assert_ne!(first, link(&[0; 32], 1, b"b"));
        assert_ne!(first, link(&[1; 32], 1, b"a"));
    }

    #[test]
    fn agrees_with_a_value_computed_elsewhere() {
        // printf '\0a' | sha256sum, then the 32 zeroes, 0000000000000001 and that digest through sha256sum.
        let hex: String = link(&[0; 32], 1, b"a").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f9e1baf7728ef4fad77d9270bdff3952900648d28d0fa4fc65a0b7f862baf7c9");
    }
}
