//! The known name nearest to a mistyped one.

/// The name of `known` with the fewest edits to `written`, if few enough to be a slip of the hand: a third of its
/// letters, at least two. Ties go to the first in order.
pub(super) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Names of parameters are short; a longer text is no slip, and would cost its length squared.
    if written.len() > 64 {
        return None;
    }
    let allowed = (written.chars().count() / 3).max(2);
    known
        .map(|name| (edits(written, name), name))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Levenshtein distance, without regard to case.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(before);
        for (above, other) in row.iter().skip(1).zip(&right) {
            let cost = (diagonal + usize::from(letter != *other)).min(above + 1).min(before + 1);
            diagonal = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = ["birthdate", "name", "gender"];
        assert_eq!(nearest("birthDat", known.into_iter()), Some("birthdate"));
        assert_eq!(nearest("nmae", known.into_iter()), Some("name"));
        assert_eq!(nearest("zzzzzzzzz", known.into_iter()), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
