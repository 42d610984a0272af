//! The second line: whatever the table lets through, nothing that is the patient's own name or number may be in it.

use sluis_conformance::json::{Kind, Node};

use super::form::has_bsn;

/// What identifies one patient, taken from her Patient resource: words (names, places) and longer pieces (numbers,
/// addresses, her id). Never printed.
#[derive(Default)]
pub struct Identity {
    words: Vec<String>,
    pieces: Vec<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

/// A shorter piece would be found in pseudonyms and codes by chance.
const PIECE_CHARS_MIN: usize = 6;

impl Identity {
    /// Of a Patient with this id; `patient` is the resource, when it could be read.
    pub fn of(id: &str, patient: Option<Node<'_>>) -> Identity {
        let mut identity = Identity::default();
        identity.add_piece(id);
        let Some(patient) = patient else { return identity };
        for name in ["name", "contact", "address", "telecom", "identifier"] {
            if let Some(node) = patient.get(name) {
                identity.collect(node);
            }
        }
        identity
    }

    /// Whether a single code is, or has in it, a word of hers.
    pub(super) fn knows_word(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        text.split(|c: char| !c.is_alphanumeric()).any(|part| self.words.iter().any(|word| word == part))
    }

    /// Whether a whole line has one of her numbers in it, or any number that passes for a BSN.
    pub(super) fn is_in_number(&self, lexeme: &str) -> bool {
        has_bsn(lexeme) || self.is_in(lexeme)
    }

    /// Whether a text has one of her longer pieces in it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.pieces.iter().any(|piece| text.contains(piece.as_str()))
    }

    /// All strings below a node, codes and systems of the standard left out.
    fn collect(&mut self, node: Node<'_>) {
        match node.kind() {
            Kind::String => {
                let Some(text) = node.as_str() else { return };
                self.add_piece(&text);
                for word in
                    text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 3)
                {
                    if word.chars().any(char::is_alphabetic) {
                        self.words.push(word.to_lowercase());
                    }
                }
            }
            Kind::Array => node.items().for_each(|item| self.collect(item)),
            Kind::Object => {
                for (name, value) in node.members() {
                    let coded = matches!(
                        name.as_ref(),
                        "system"
                            | "use"
                            | "type"
                            | "url"
                            | "relationship"
                            | "gender"
                            | "country"
                            | "period"
                            | "rank"
                    );
                    if !coded && !name.starts_with('_') {
                        self.collect(value);
                    }
                }
            }
            Kind::Null | Kind::Bool | Kind::Number => {}
        }
    }

    fn add_piece(&mut self, text: &str) {
        let text = text.trim().to_lowercase();
        if text.chars().count() >= PIECE_CHARS_MIN {
            self.pieces.push(text);
        }
    }
}
