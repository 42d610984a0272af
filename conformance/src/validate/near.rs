//! The known name a wrong one was probably meant to be.

/// `did you mean X?` when a known name is close, else `otherwise`.
pub(crate) fn remedy<'n>(name: &str, known: impl Iterator<Item = &'n str>, otherwise: &str) -> String {
    // A third of the letters may be wrong; past 64 bytes nobody meant one of our names.
    let allowed = (name.len() / 3).clamp(1, 3);
    let near = known
        .filter(|known| name.len() <= 64 && known.len().abs_diff(name.len()) <= allowed)
        .map(|known| (distance(name.as_bytes(), known.as_bytes()), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    near.map_or_else(|| otherwise.to_owned(), |(_, known)| format!("did you mean '{known}'?"))
}

/// Letters to insert, drop or change to turn one name into the other; case counts.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let changed = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let known = ["birthDate", "gender", "active"];
        assert_eq!(remedy("birthdate", known.into_iter(), "-"), "did you mean 'birthDate'?");
        assert_eq!(remedy("gendre", known.into_iter(), "-"), "did you mean 'gender'?");
        assert_eq!(remedy("weight", known.into_iter(), "-"), "-");
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"ab"), 2);
    }
}
