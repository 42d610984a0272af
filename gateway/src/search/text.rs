//! One form of text for the string index and for the values searched in it.
//!
//! FHIR R4 search.html#string: a string search is insensitive to case and accents. Both sides pass through
//! [`normalise`]; what the index keeps for `:exact` does not.

/// Lower case, without accents, white space collapsed to single spaces and trimmed.
///
/// Covers the Latin scripts of Europe, which Dutch and foreign names here are written in; other scripts are lower-cased
/// as they are. Not a full Unicode decomposition.
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    for character in text.chars() {
        if character.is_whitespace() {
            space = !out.is_empty();
            continue;
        }
        // Combining marks: an accent written apart from its letter.
        if ('\u{300}'..='\u{36f}').contains(&character) {
            continue;
        }
        if space {
            out.push(' ');
            space = false;
        }
        for lower in character.to_lowercase().filter(|c| !('\u{300}'..='\u{36f}').contains(c)) {
            match plain(lower) {
                Some(letters) => out.push_str(letters),
                None => out.push(lower),
            }
        }
    }
    out
}

/// First text after every text that starts with `prefix`; `None` when there is none (only the last code points).
///
/// UTF-8 orders as its code points do, so `prefix <= t < after(prefix)` holds exactly for the texts that start with it.
pub fn after_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            char::MAX => None,
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// Unaccented letters of a lower-case Latin letter (Latin-1 Supplement, Latin Extended-A, Romanian and Vietnamese).
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ạ'..='ặ' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẹ'..='ệ' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' | 'ǧ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ỉ'..='ị' => "i",
        'ĳ' => "ij",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' | 'ŉ' | 'ŋ' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ọ'..='ợ' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ß' => "ss",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'þ' => "th",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' | 'ụ'..='ự' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' | 'ỳ'..='ỹ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_spacing_fall_away() {
        assert_eq!(normalise("  Van  der\tWeijdén "), "van der weijden");
        assert_eq!(normalise("Ĳsbrand Müller-Łukasz"), "ijsbrand muller-lukasz");
        assert_eq!(normalise("e\u{301}"), "e", "an accent apart is an accent all the same");
        assert_eq!(normalise("İ"), "i");
        assert_eq!(normalise("%_\0"), "%_\0", "wildcards and NUL are letters like others");
    }

    #[test]
    fn prefix_range_is_exact() {
        assert_eq!(after_prefix("jan").as_deref(), Some("jao"));
        assert_eq!(after_prefix("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
    }
}
