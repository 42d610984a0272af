//! No real person in a case file.

use crate::{bsn::Bsn, folder::Diagnostic};

use super::Case;

/// Numbers published for testing, which pass the eleven-test; a case may hold these and no others.
/// Source: Nictiz nl-core, Zorgviewer and ZorgDomein test patients, published HL7v2 and EDIFACT examples.
pub const TEST_NUMBERS: [&str; 6] =
    ["999911120", "999911132", "111222333", "123456782", "900073962", "999990019"];

/// Nine-digit numbers in the files of a case that pass the eleven-test and are no published test number. The number is
/// not repeated.
pub fn personal_data(case: &Case) -> Vec<Diagnostic> {
    let folder = format!("cases/{}", case.name);
    let (out, findings) =
        (case.out.as_deref().unwrap_or_default(), case.findings.as_deref().unwrap_or_default());
    [
        (case.input_file.clone(), case.input.as_slice()),
        (format!("{folder}/out.json"), out.as_bytes()),
        (format!("{folder}/findings.json"), findings.as_bytes()),
    ]
    .into_iter()
    .flat_map(|(file, bytes)| {
        suspicious_lines(bytes).into_iter().map(move |line| {
            Diagnostic::new(
                file.clone(),
                line,
                "a number passes the eleven-test and is no published test number",
                "use a test number, or another number that fails the test",
            )
        })
    })
    .collect()
}

pub(super) fn suspicious_lines(bytes: &[u8]) -> Vec<u32> {
    bytes
        .split(|b| matches!(b, b'\r' | b'\n'))
        .zip(1..)
        .filter(|(line, _)| {
            line.split(|b| !b.is_ascii_alphanumeric())
                .filter(|word| word.len() == 9)
                .filter_map(|word| std::str::from_utf8(word).ok())
                .any(|word| Bsn::parse(word).is_ok() && !TEST_NUMBERS.contains(&word))
        })
        .map(|(_, line)| line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_could_be_somebodys_are_found_by_line() {
        // 123456782 is published; 111111110 passes the test and is not.
        let text = b"PID|1||123456782^^^NLMINBIZA\rPID|1||111111110^^^X\rOBX|111111111\r20260310093000";
        assert_eq!(suspicious_lines(text), [2]);
    }
}
