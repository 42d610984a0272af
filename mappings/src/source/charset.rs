//! The character sets EPDs really send, and whether bytes contradict the one declared.
//!
//! Nothing is guessed: a document whose bytes cannot be what it says is refused, because a name read in the wrong set
//! is a wrong name.

use std::borrow::Cow;

/// A supported character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Charset {
    /// 7-bit.
    Ascii,
    /// ISO-8859-1. Bytes 80..9F are control characters nobody sends: they show windows-1252 or UTF-8 was meant.
    Latin1,
    /// ISO-8859-15: as -1, with the euro sign.
    Latin9,
    /// What Dutch spreadsheets write.
    Windows1252,
    /// UTF-8.
    Utf8,
}

/// Where and how bytes contradict a character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contradiction {
    /// Offset of the first offending byte.
    pub at: usize,
    /// Why it cannot be, for a person.
    pub why: &'static str,
}

impl Charset {
    /// From HL7v2 MSH-18 (HL7 table 0211). The spellings without `UNICODE` or with `ISO` are what vendors write too.
    pub fn from_hl7(text: &str) -> Option<Charset> {
        match text.trim().to_ascii_uppercase().as_str() {
            "ASCII" | "ISO IR6" => Some(Charset::Ascii),
            "8859/1" | "ISO-8859-1" | "ISO 8859-1" | "ISO8859-1" | "8859-1" => Some(Charset::Latin1),
            "8859/15" | "ISO-8859-15" | "ISO 8859-15" | "ISO8859-15" | "8859-15" => Some(Charset::Latin9),
            "UNICODE UTF-8" | "UTF-8" | "UTF8" => Some(Charset::Utf8),
            _ => None,
        }
    }

    /// From `mapping.toml` (IANA names).
    pub fn from_label(text: &str) -> Option<Charset> {
        match text.to_ascii_lowercase().as_str() {
            "us-ascii" | "ascii" => Some(Charset::Ascii),
            "iso-8859-1" => Some(Charset::Latin1),
            "iso-8859-15" => Some(Charset::Latin9),
            "windows-1252" => Some(Charset::Windows1252),
            "utf-8" => Some(Charset::Utf8),
            _ => None,
        }
    }

    /// IANA name.
    pub fn label(self) -> &'static str {
        match self {
            Charset::Ascii => "us-ascii",
            Charset::Latin1 => "iso-8859-1",
            Charset::Latin9 => "iso-8859-15",
            Charset::Windows1252 => "windows-1252",
            Charset::Utf8 => "utf-8",
        }
    }

    /// Whether `bytes` can be text in this set.
    ///
    /// For the 8859 sets a document whose every non-ASCII byte belongs to a well-formed UTF-8 sequence contradicts too:
    /// by chance that happens in practice only to `Ã«`-like pairs, which are what misread UTF-8 looks like.
    pub fn check(self, bytes: &[u8]) -> Result<(), Contradiction> {
        if bytes.is_ascii() {
            return Ok(());
        }
        let first = bytes.iter().position(|b| !b.is_ascii()).unwrap_or_default();
        match self {
            Charset::Ascii => Err(Contradiction { at: first, why: "a byte above 7F is no ASCII" }),
            Charset::Utf8 => match std::str::from_utf8(bytes) {
                Ok(_) => Ok(()),
                Err(e) => {
                    Err(Contradiction { at: e.valid_up_to(), why: "the bytes are no well-formed UTF-8" })
                }
            },
            Charset::Latin1 | Charset::Latin9 => {
                if std::str::from_utf8(bytes).is_ok() {
                    return Err(Contradiction { at: first, why: "the bytes are UTF-8" });
                }
                match bytes.iter().position(|b| (0x80..0xA0).contains(b)) {
                    Some(at) => {
                        Err(Contradiction { at, why: "bytes 80 to 9F are control characters in this set" })
                    }
                    None => Ok(()),
                }
            }
            Charset::Windows1252 => {
                if std::str::from_utf8(bytes).is_ok() {
                    return Err(Contradiction { at: first, why: "the bytes are UTF-8" });
                }
                match bytes.iter().position(|b| matches!(b, 0x81 | 0x8D | 0x8F | 0x90 | 0x9D)) {
                    Some(at) => {
                        Err(Contradiction { at, why: "the byte stands for no character in windows-1252" })
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Text of bytes; lossless where [`Charset::check`] passed, else with U+FFFD in place of what cannot be read.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        if let (true, Ok(text)) = (bytes.is_ascii(), std::str::from_utf8(bytes)) {
            return text.into();
        }
        match self {
            Charset::Ascii | Charset::Utf8 => String::from_utf8_lossy(bytes),
            // encoding_rs reads the label iso-8859-1 as windows-1252 (WHATWG): here a byte is its code point.
            Charset::Latin1 => bytes.iter().map(|&b| char::from(b)).collect::<String>().into(),
            Charset::Latin9 => encoding_rs::ISO_8859_15.decode_without_bom_handling(bytes).0,
            Charset::Windows1252 => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_reads_its_own_letters() {
        assert_eq!(Charset::Latin1.decode(b"Zo\xEB"), "Zo\u{EB}");
        assert_eq!(Charset::Latin9.decode(b"\xA4 10"), "\u{20AC} 10");
        assert_eq!(Charset::Windows1252.decode(b"\x80 10"), "\u{20AC} 10");
        assert_eq!(Charset::Utf8.decode("Zoë".as_bytes()), "Zoë");
    }

    #[test]
    fn bytes_that_cannot_be_the_declared_set_are_positioned() {
        assert_eq!(Charset::Ascii.check(b"Zo\xEB").map_err(|c| c.at), Err(2));
        assert_eq!(Charset::Latin1.check("Zoë".as_bytes()).map_err(|c| c.at), Err(2));
        assert_eq!(Charset::Latin1.check(b"Zo\xEB \x80").map_err(|c| c.at), Err(4));
        assert_eq!(Charset::Utf8.check(b"Zo\xEB").map_err(|c| c.at), Err(2));
        assert_eq!(Charset::Windows1252.check(b"\xEB\x81").map_err(|c| c.at), Err(1));
    }

    #[test]
    fn true_text_passes() {
        assert!(Charset::Latin1.check(b"Zo\xEB en Ren\xE9").is_ok());
        assert!(Charset::Latin9.check(b"\xA4 10").is_ok());
        assert!(Charset::Utf8.check("Zoë".as_bytes()).is_ok());
        assert!(Charset::Ascii.check(b"Zoe").is_ok());
    }
}
