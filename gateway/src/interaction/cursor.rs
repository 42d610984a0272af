//! Page cursors: sealed, so that a caller can neither read nor forge one, and bound to who asked.
//!
//! A cursor carries the question and the place in its answer, never permissions: every page decides anew, so a consent
//! withdrawn between two pages hides the next one.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::{Clock, Timestamp};
use crate::identity::actor::Actor;
use crate::response::refusal::{Reason, Refusal};

/// How long a cursor holds, seconds.
pub const LIFE_SECONDS: i64 = 3600;

/// Seals and opens cursors with one key, kept in the store so that every node and every restart shares it.
pub struct CursorSeal {
    key: LessSafeKey,
}

/// What a cursor carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The question, as asked first.
    pub pairs: Vec<(String, String)>,
    /// Where the store goes on.
    pub position: Vec<u8>,
    /// Until when.
    pub expires: Timestamp,
}

impl CursorSeal {
    /// A seal with a 256-bit key. `None` when the key has another length.
    pub fn new(key: &[u8]) -> Option<CursorSeal> {
        Some(CursorSeal { key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?) })
    }

    /// Cursor text for an URL.
    pub fn seal(&self, cursor: &Cursor, actor: &Actor, clock: &dyn Clock) -> Option<String> {
        let mut nonce = [0; 12];
        clock.random(&mut nonce);
        let mut text = encode(cursor);
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(binding(actor)),
                &mut text,
            )
            .ok()?;
        let mut whole = nonce.to_vec();
        whole.extend_from_slice(&text);
        Some(URL_SAFE_NO_PAD.encode(whole))
    }

    /// The cursor behind a text. Another caller's, a forged and an expired one are refused alike.
    pub fn open(&self, text: &str, actor: &Actor, now: Timestamp) -> Result<Cursor, Refusal> {
        let refused = || {
            Refusal::new(
                Reason::ParameterInvalid,
                "This page link is not valid (any more). Start the search again.",
            )
            .at("_cursor")
        };
        let mut whole = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        if whole.len() < 12 {
            return Err(refused());
        }
        let mut sealed = whole.split_off(12);
        let nonce = Nonce::try_assume_unique_for_key(&whole).map_err(|_| refused())?;
        let plain =
            self.key.open_in_place(nonce, Aad::from(binding(actor)), &mut sealed).map_err(|_| refused())?;
        decode(plain).filter(|cursor| now < cursor.expires).ok_or_else(refused)
    }
}

/// Who a cursor belongs to: client, organisation, person, purpose.
fn binding(actor: &Actor) -> Vec<u8> {
    let mut bytes = Vec::new();
    let person = actor.user.as_ref().map_or("", |u| &u.identifier);
    let role = actor.user.as_ref().map_or("", |u| &u.role_code);
    let patient = actor.patient.as_ref().map_or("", |p| p.as_str());
    for part in [&*actor.client, actor.organisation.as_str(), person, role, patient, &*actor.purpose] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn encode(cursor: &Cursor) -> Vec<u8> {
    let mut out = cursor.expires.0.to_be_bytes().to_vec();
    put(&mut out, &cursor.position);
    for (name, value) in &cursor.pairs {
        put(&mut out, name.as_bytes());
        put(&mut out, value.as_bytes());
    }
    out
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // Parameters are bounded by the URL and body limits, far below 4 GiB.
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn decode(bytes: &[u8]) -> Option<Cursor> {
    let (expires, mut rest) = bytes.split_first_chunk::<8>()?;
    let position = take(&mut rest)?.to_vec();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let name = String::from_utf8(take(&mut rest)?.to_vec()).ok()?;
        let value = String::from_utf8(take(&mut rest)?.to_vec()).ok()?;
        pairs.push((name, value));
    }
    Some(Cursor { pairs, position, expires: Timestamp(i64::from_be_bytes(*expires)) })
}

fn take<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let (head, tail) = tail.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Fixed;
    use crate::ids::Ura;

    fn actor(client: &str) -> Actor {
        Actor {
            client: client.into(),
            organisation: Ura::parse("90000001").unwrap(),
            user: None,
            patient: None,
            purpose: "TREAT".into(),
            scopes: Vec::new(),
            token_id: "t".into(),
            token_expires: Timestamp::MAX,
        }
    }

    #[test]
    fn a_cursor_opens_for_its_owner_only_and_only_unchanged_and_in_time() {
        let seal = CursorSeal::new(&[7; 32]).unwrap();
        let clock = Fixed::at(Timestamp(0));
        let cursor = Cursor {
            pairs: vec![("identifier".into(), "x|1".into())],
            position: vec![1, 2, 3],
            expires: Timestamp(10),
        };
        let text = seal.seal(&cursor, &actor("a"), &clock).unwrap();
        assert!(!text.contains("identifier"));
        assert_eq!(seal.open(&text, &actor("a"), Timestamp(9)).unwrap(), cursor);
        assert!(seal.open(&text, &actor("b"), Timestamp(9)).is_err());
        assert!(seal.open(&text, &actor("a"), Timestamp(10)).is_err());
        let mut forged = text.clone().into_bytes();
        let middle = forged.len() / 2;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        assert!(seal.open(std::str::from_utf8(&forged).unwrap(), &actor("a"), Timestamp(9)).is_err());
        assert!(seal.open("", &actor("a"), Timestamp(9)).is_err());
    }
}
