//! Signed heads of the log: a C2SP note (`origin`, size, hash) with an Ed25519 signature. Given to someone outside the
//! operator's control, it pins everything before it.
//!
//! Source: C2SP signed-note and tlog-checkpoint. The hash is the chain's head, not a Merkle root, and the origin says so.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::store::Checkpoint;

/// Signature type of Ed25519 in a note's key id.
const ALGORITHM_ED25519: u8 = 1;

/// The audit log's signing key and name.
pub struct CheckpointKey {
    origin: String,
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointKey").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Why a key or a note is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a PKCS#8 Ed25519 key.
    #[error("the audit key is not an Ed25519 key in PKCS#8 form")]
    Key,
    /// An origin holds no line break, no plus and no space, and is not empty (C2SP signed-note).
    #[error("the origin of the audit log has a form notes do not allow")]
    Origin,
    /// The text is not a checkpoint.
    #[error("the checkpoint is not a signed note of origin, size and hash")]
    Form,
    /// Another log's.
    #[error("the checkpoint is of another log")]
    Foreign,
    /// No signature of this key holds.
    #[error("the checkpoint's signature does not hold")]
    Signature,
}

impl CheckpointKey {
    /// The key of a PKCS#8 document and the log's name, e.g. `sluis.example/audit/chain`.
    pub fn from_pkcs8(origin: &str, pkcs8: &[u8]) -> Result<CheckpointKey, CheckpointError> {
        if origin.is_empty() || origin.contains(|c: char| c.is_whitespace() || c == '+') {
            return Err(CheckpointError::Origin);
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| CheckpointError::Key)?;
        Ok(CheckpointKey { origin: origin.to_owned(), pair })
    }

    /// A fresh key, as PKCS#8 bytes for the secret shelf.
    pub fn generate() -> Result<Vec<u8>, CheckpointError> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| CheckpointError::Key)?;
        Ok(document.as_ref().to_vec())
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Public key, 32 bytes: what a witness verifies with.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs the head: `sequence` records, chain hash `hash`.
    pub fn sign(&self, sequence: u64, hash: &[u8; 32]) -> Checkpoint {
        let text = format!("{}\n{sequence}\n{}\n", self.origin, STANDARD.encode(hash));
        let mut signature = key_id(&self.origin, self.public_key()).to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        let note = format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature));
        Checkpoint { sequence, note }
    }
}

/// Size and chain hash of a checkpoint whose signature holds.
pub fn open(note: &str, origin: &str, public_key: &[u8]) -> Result<(u64, [u8; 32]), CheckpointError> {
    let (text, signatures) = note.split_once("\n\n").ok_or(CheckpointError::Form)?;
    let text = format!("{text}\n");
    let mut lines = text.lines();
    let (named, size, hash) = (lines.next(), lines.next(), lines.next());
    if lines.next().is_some() {
        return Err(CheckpointError::Form);
    }
    if named != Some(origin) {
        return Err(CheckpointError::Foreign);
    }
    let size = size.and_then(|size| size.parse().ok()).ok_or(CheckpointError::Form)?;
    let hash = hash.and_then(|hash| STANDARD.decode(hash).ok()).ok_or(CheckpointError::Form)?;
    let hash: [u8; 32] = hash.try_into().map_err(|_| CheckpointError::Form)?;
    let id = key_id(origin, public_key);
    let key = UnparsedPublicKey::new(&ED25519, public_key);
    let holds = signatures.lines().any(|line| {
        let signature = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
        let bytes = signature.filter(|(name, _)| *name == origin).and_then(|(_, b)| STANDARD.decode(b).ok());
        bytes.is_some_and(|bytes| {
            bytes.strip_prefix(&id).is_some_and(|signature| key.verify(text.as_bytes(), signature).is_ok())
        })
    });
    if holds { Ok((size, hash)) } else { Err(CheckpointError::Signature) }
}

/// First four bytes of SHA-256(name || newline || algorithm || key).
fn key_id(origin: &str, public_key: &[u8]) -> [u8; 4] {
    let mut text = format!("{origin}\n").into_bytes();
    text.push(ALGORITHM_ED25519);
    text.extend_from_slice(public_key);
    let mut id = [0; 4];
    for (to, from) in id.iter_mut().zip(digest(&SHA256, &text).as_ref()) {
        *to = *from;
    }
    id
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    use super::*;

    #[test]
    fn a_checkpoint_opens_with_its_key_only_and_as_signed_only() {
        let key =
            CheckpointKey::from_pkcs8("sluis.test/audit/chain", &CheckpointKey::generate().unwrap()).unwrap();
        let other =
            CheckpointKey::from_pkcs8("sluis.test/audit/chain", &CheckpointKey::generate().unwrap()).unwrap();
        let note = key.sign(12, &[7; 32]).note;
        assert_eq!(open(&note, key.origin(), key.public_key()), Ok((12, [7; 32])));
        assert_eq!(open(&note, key.origin(), other.public_key()), Err(CheckpointError::Signature));
        assert_eq!(open(&note, "other", key.public_key()), Err(CheckpointError::Foreign));
        let forged = note.replacen("\n12\n", "\n11\n", 1);
        assert_eq!(open(&forged, key.origin(), key.public_key()), Err(CheckpointError::Signature));
        assert_eq!(open("", key.origin(), key.public_key()), Err(CheckpointError::Form));
        assert!(CheckpointKey::from_pkcs8("has space", &CheckpointKey::generate().unwrap()).is_err());
    }
}
