//! Results of cases as JUnit XML, which every build server reads: a suite per folder, a case per case.

use super::prove::Proof;

/// A `<testsuites>` document. `suites` holds, per folder, its id and the proofs of its cases.
pub fn junit(suites: &[(String, Vec<Proof>)]) -> String {
    let count = |proofs: &[Proof]| proofs.iter().filter(|proof| !proof.passed()).count();
    let (all, failed) =
        suites.iter().fold((0, 0), |(all, failed), (_, proofs)| (all + proofs.len(), failed + count(proofs)));
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{all}\" failures=\"{failed}\">\n"
    );
    for (id, proofs) in suites {
        xml += &format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">\n",
            escape(id),
            proofs.len(),
            count(proofs)
        );
        for proof in proofs {
            let name = escape(&proof.name);
            let file = escape(&proof.input_file);
            xml += &format!("    <testcase classname=\"{}\" name=\"{name}\" file=\"{file}\"", escape(id));
            if proof.passed() {
                xml += "/>\n";
                continue;
            }
            let said: Vec<String> = proof.differences.iter().map(ToString::to_string).collect();
            let first = proof.differences.first().map(|d| d.difference.to_string()).unwrap_or_default();
            xml += &format!(
                ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                escape(&first),
                escape(&said.join("\n"))
            );
        }
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

/// Text for XML 1.0: markup escaped, characters XML has no place for left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Difference, Explained};

    #[test]
    fn failures_are_counted_and_their_text_is_escaped() {
        let difference = Difference {
            file: "out.json",
            path: "units[0]".into(),
            expected: Some("\"<a>\"".into()),
            found: None,
        };
        let proof = |name: &str, differences: Vec<Explained>| Proof {
            name: name.to_owned(),
            input_file: format!("cases/{name}/in.csv"),
            differences,
            out: String::new(),
            findings: String::new(),
        };
        let failing = vec![Explained { difference, rule: Some("map.fml:1:2".into()), source: None }];
        let xml = junit(&[("a&b".into(), vec![proof("good", vec![]), proof("bad", failing)])]);
        assert!(xml.contains("<testsuites tests=\"2\" failures=\"1\">"), "{xml}");
        assert!(xml.contains("name=\"a&amp;b\"") && xml.contains("&quot;&lt;a&gt;&quot;"), "{xml}");
        assert!(xml.contains("rule   map.fml:1:2"), "{xml}");
    }
}
