//! Where a list goes on: sealed like every page link, bound to who asked and to what was asked.

use crate::clock::{Clock, Timestamp};
use crate::identity::actor::Actor;
use crate::interaction::cursor::{Cursor, CursorSeal, LIFE_SECONDS};
use crate::response::refusal::{Reason, Refusal};

/// What page links are made with.
#[derive(Clone, Copy)]
pub struct Pages<'p> {
    /// Seals them.
    pub seal: &'p CursorSeal,
    /// Who asks.
    pub actor: Option<&'p Actor>,
    /// For what is drawn in sealing.
    pub clock: &'p dyn Clock,
    /// The moment of the request.
    pub now: Timestamp,
}

/// The last row of a page, by the two columns its list is in order of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(pub(super) i64, pub(super) String);

impl Pages<'_> {
    /// The link behind a row of what was asked; `None` only without an actor.
    pub(super) fn after(&self, asked: &[(&str, &str)], place: &Place) -> Option<String> {
        let mut position = place.0.to_be_bytes().to_vec();
        position.extend_from_slice(place.1.as_bytes());
        let cursor = Cursor { pairs: owned(asked), position, expires: self.now.plus_seconds(LIFE_SECONDS) };
        self.seal.seal(&cursor, self.actor?, self.clock)
    }

    /// The row behind which a link goes on.
    ///
    /// Errors: `ParameterInvalid` for a link that is forged, expired, another caller's, or of another question.
    pub(super) fn open(&self, text: &str, asked: &[(&str, &str)]) -> Result<Place, Refusal> {
        let refused = || {
            let text = "after is what an earlier answer to the same question gave as next, within the hour.";
            Refusal::new(Reason::ParameterInvalid, text).at("after")
        };
        let actor = self.actor.ok_or_else(refused)?;
        let cursor = self.seal.open(text, actor, self.now).map_err(|_| refused())?;
        let (number, rest) = cursor.position.split_first_chunk::<8>().ok_or_else(refused)?;
        let text = String::from_utf8(rest.to_vec()).map_err(|_| refused())?;
        if cursor.pairs != owned(asked) {
            return Err(refused());
        }
        Ok(Place(i64::from_be_bytes(*number), text))
    }
}

/// `_count`, 1 to `most`; `what` it counts is told.
///
/// Errors: `ParameterInvalid`.
pub(super) fn count(value: &str, most: u32, what: &str) -> Result<u32, Refusal> {
    let count = value.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| {
        let text = format!("_count is the number of {what}, 1 to {most}.");
        Refusal::new(Reason::ParameterInvalid, text).at("_count")
    })
}

fn owned(asked: &[(&str, &str)]) -> Vec<(String, String)> {
    asked.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
