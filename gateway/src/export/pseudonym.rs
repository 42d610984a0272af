//! Names a recipient can work with and nobody can turn back: pseudonymous ids and the patient's date shift.
//!
//! The key is one per recipient, purpose and epoch, so two recipients, or quality and research at one recipient, share
//! neither an id nor a shift. It does not decide what leaves; `profile` does.

use aws_lc_rs::hmac;

use crate::clock::Clock;
use crate::ids::PartyKey;
use crate::store::{Shelf, StoreError, Writer};

/// Turns identities into names for one recipient and purpose.
pub trait Pseudonymizer: Send + Sync {
    /// Pseudonymous id of a resource: 26 characters of `A-Z2-7` (130 bits), a valid FHIR id.
    fn id(&self, kind: &str, id: &str) -> String;

    /// Whole days, -182 to 182 and never 0, that all dates of this patient move by; constant, so intervals stay exact.
    fn shift_days(&self, patient: &str) -> i32;
}

/// Pseudonyms by HMAC-SHA256: `base32(HMAC(key, patient id))[0..26]`, other types with `Type/` before the id.
///
/// A FHIR id has neither `/` nor `:`, so the three uses of the key (patient, other resource, shift) never meet.
pub struct KeyedPseudonyms(hmac::Key);

/// Bytes of a pseudonym key.
pub const KEY_BYTES: usize = 32;

impl KeyedPseudonyms {
    /// Pseudonyms under this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> KeyedPseudonyms {
        KeyedPseudonyms(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
}

impl std::fmt::Debug for KeyedPseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedPseudonyms(redacted)")
    }
}

impl Pseudonymizer for KeyedPseudonyms {
    fn id(&self, kind: &str, id: &str) -> String {
        let tag = if kind == "Patient" {
            hmac::sign(&self.0, id.as_bytes())
        } else {
            hmac::sign(&self.0, format!("{kind}/{id}").as_bytes())
        };
        base32(tag.as_ref(), 26)
    }

    fn shift_days(&self, patient: &str) -> i32 {
        let tag = hmac::sign(&self.0, format!("shift:{patient}").as_bytes());
        let drawn = tag.as_ref().iter().take(8).fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        // 364 values around zero, zero left out: a patient whose dates do not move would stand there with real ones.
        let step = i32::try_from(drawn % 364).unwrap_or(0);
        if step < 182 { step - 182 } else { step - 181 }
    }
}

/// The key of (recipient, purpose, epoch); drawn on first use and kept ever after, for a lost key would make every
/// delivered pseudonym a stranger.
///
/// Errors: the store's, nothing written; a kept key of another length is `Database`.
pub fn key(
    writer: &mut dyn Writer,
    clock: &dyn Clock,
    recipient: PartyKey,
    purpose: &str,
    epoch: u32,
) -> Result<[u8; KEY_BYTES], StoreError> {
    let name = format!("pseudonym/{purpose}/{epoch}");
    if let Some(kept) = writer.shelf_get(Shelf::Secret, recipient, &name)? {
        return kept
            .as_ref()
            .try_into()
            .map_err(|_| StoreError::Database("a pseudonym key has another length".to_owned()));
    }
    let mut key = [0; KEY_BYTES];
    clock.random(&mut key);
    writer.shelf_put(Shelf::Secret, recipient, &name, &key)?;
    Ok(key)
}

/// First `length` characters of the base32 form (RFC 4648 section 6), of whole groups of 5 bits.
fn base32(bytes: &[u8], length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(length);
    let (mut buffer, mut bits) = (0u32, 0);
    for &byte in bytes {
        buffer = buffer << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            if out.len() == length {
                return out;
            }
            bits -= 5;
            let index = buffer >> bits & 31;
            out.extend(ALPHABET.get(index as usize).map(|&letter| char::from(letter)));
        }
        buffer &= (1 << bits) - 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ResourceId;

    #[test]
    fn base32_is_that_of_the_rfc() {
        assert_eq!(base32(b"fooba", 26), "MZXW6YTB");
        assert_eq!(base32(b"f", 1), "M");
    }

    #[test]
    fn pseudonyms_are_ids_stable_and_apart_between_keys_and_types() {
        let (quality, research) = (KeyedPseudonyms::new(&[1; 32]), KeyedPseudonyms::new(&[2; 32]));
        let pid = research.id("Patient", "p1");
        assert_eq!(pid.len(), 26);
        assert!(ResourceId::parse(&pid).is_some());
        assert_eq!(pid, research.id("Patient", "p1"));
        assert_ne!(pid, quality.id("Patient", "p1"));
        assert_ne!(pid, research.id("Observation", "p1"));
    }

    #[test]
    fn shifts_stay_in_their_range_use_it_and_are_never_zero() {
        let pseudonyms = KeyedPseudonyms::new(&[7; 32]);
        let shifts: Vec<i32> = (0..5000).map(|n| pseudonyms.shift_days(&format!("p{n}"))).collect();
        assert!(shifts.iter().all(|s| (-182..=182).contains(s) && *s != 0));
        assert_eq!((shifts.iter().min(), shifts.iter().max()), (Some(&-182), Some(&182)));
    }
}
