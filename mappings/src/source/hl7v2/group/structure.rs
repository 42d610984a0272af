//! The message structures whose groups are rebuilt, as the standard writes them.
//!
//! Names and order are those of HL7 v2.5.1 to v2.8, which take the earlier versions' messages in: `NAME(...)` is a group; after a
//! segment or group stands `?` (may be absent), `*` (any number), `+` (one or more) or nothing (exactly one). Where the
//! standard lets go of something a receiver cannot do without, the table is stricter and says so.

use std::sync::LazyLock;

/// One message structure.
#[derive(Debug)]
pub(super) struct Structure {
    /// HL7 table 0354, e.g. `ORU_R01`.
    pub(super) name: &'static str,
    /// Where the standard has it.
    pub(super) section: &'static str,
    /// The whole message as a group.
    pub(super) root: Group,
}

/// A group: its elements in the order of the standard.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) elements: Vec<Element>,
    /// Segments that may open it.
    pub(super) first: Vec<&'static str>,
    /// Segments anywhere inside it.
    pub(super) inside: Vec<&'static str>,
}

/// A segment or a group at one place of a group.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) part: Part,
    pub(super) required: bool,
    pub(super) repeats: bool,
}

#[derive(Debug)]
pub(super) enum Part {
    Segment(&'static str),
    Group(Group),
}

impl Element {
    /// Whether a segment of this name may stand here first.
    pub(super) fn opens_with(&self, name: &str) -> bool {
        match &self.part {
            Part::Segment(segment) => *segment == name,
            Part::Group(group) => group.first.contains(&name),
        }
    }

    /// Whether a segment of this name belongs here, leading ones missing or not.
    pub(super) fn holds(&self, name: &str) -> bool {
        match &self.part {
            Part::Segment(segment) => *segment == name,
            Part::Group(group) => group.inside.contains(&name),
        }
    }
}

/// The structure of a message: by its trigger event, else by MSH-9.3, else by its code. Senders get MSH-9.3 wrong more often
/// than the event they act on; 2.2 messages have none.
pub(super) fn structure(code: &str, event: Option<&str>, said: Option<&str>) -> Option<&'static Structure> {
    let by_event = event.and_then(|event| {
        EVENTS.iter().find(|(c, events, _)| *c == code && events.contains(&event)).map(|(_, _, name)| *name)
    });
    let by_name = said.filter(|said| TABLE.iter().any(|(name, ..)| name == said));
    let by_code = || CODES.iter().find(|(c, _)| *c == code).map(|(_, name)| *name);
    let name = by_event.or(by_name).or_else(by_code)?;
    STRUCTURES.iter().find(|structure| structure.name == name)
}

/// Every structure of the table.
pub(super) fn structures() -> &'static [Structure] {
    &STRUCTURES
}

/// Trigger events and their structures (HL7 table 0354), where the structure is not named after the event itself alone.
const EVENTS: &[(&str, &[&str], &str)] = &[
    ("ADT", &["A01", "A04", "A08", "A13"], "ADT_A01"),
    ("ADT", &["A02"], "ADT_A02"),
    ("ADT", &["A03"], "ADT_A03"),
    ("ADT", &["A05", "A14", "A28", "A31"], "ADT_A05"),
    ("ADT", &["A06", "A07"], "ADT_A06"),
    ("ADT", &["A09", "A10", "A11"], "ADT_A09"),
    ("ADT", &["A12"], "ADT_A12"),
    ("ADT", &["A15"], "ADT_A15"),
    ("ADT", &["A16"], "ADT_A16"),
    ("ADT", &["A17"], "ADT_A17"),
    ("ADT", &["A18"], "ADT_A18"),
    ("ADT", &["A20"], "ADT_A20"),
    ("ADT", &["A21", "A22", "A23", "A25", "A26", "A27", "A29", "A32", "A33"], "ADT_A21"),
    ("ADT", &["A24"], "ADT_A24"),
    ("ADT", &["A30", "A34", "A35", "A36", "A46", "A47", "A48", "A49"], "ADT_A30"),
    ("ADT", &["A37"], "ADT_A37"),
    ("ADT", &["A38"], "ADT_A38"),
    ("ADT", &["A39", "A40", "A41", "A42"], "ADT_A39"),
    ("ADT", &["A43", "A44"], "ADT_A43"),
    ("ADT", &["A45"], "ADT_A45"),
    ("ADT", &["A50", "A51"], "ADT_A50"),
    ("ADT", &["A52", "A53"], "ADT_A52"),
    ("ADT", &["A54", "A55"], "ADT_A54"),
    ("ADT", &["A60"], "ADT_A60"),
    ("ADT", &["A61", "A62"], "ADT_A61"),
    ("ORU", &["R01"], "ORU_R01"),
    ("ORM", &["O01"], "ORM_O01"),
    ("OML", &["O21"], "OML_O21"),
    ("PPR", &["PC1", "PC2", "PC3"], "PPR_PC1"),
    ("PGL", &["PC6", "PC7", "PC8"], "PGL_PC6"),
    ("MDM", &["T01", "T03", "T05", "T07", "T09", "T11"], "MDM_T01"),
    ("MDM", &["T02", "T04", "T06", "T08", "T10"], "MDM_T02"),
];

/// What a code alone means: MSH-9 of one component, or an event that is not in the table.
const CODES: &[(&str, &str)] = &[
    ("ADT", "ADT_A01"),
    ("ORU", "ORU_R01"),
    ("ORM", "ORM_O01"),
    ("PPR", "PPR_PC1"),
    ("PGL", "PGL_PC6"),
    ("MDM", "MDM_T02"),
];

const TABLE: &[(&str, &str, &str)] = &[
    (
        "ADT_A01",
        "3.3.1",
        "MSH SFT* UAC? EVN PID PD1? ARV* ROL* NK1* PV1 PV2? ARV* ROL* DB1* OBX* AL1* DG1* DRG? \
         PROCEDURE*(PR1 ROL*) GT1* INSURANCE*(IN1 IN2? IN3* ROL* AUT* RF1*) ACC? UB1? UB2? PDA?",
    ),
    ("ADT_A02", "3.3.2", "MSH SFT* UAC? EVN PID PD1? ARV* ROL* PV1 PV2? ARV* ROL* DB1* OBX* PDA?"),
    (
        "ADT_A03",
        "3.3.3",
        "MSH SFT* UAC? EVN PID PD1? ARV* ROL* NK1* PV1 PV2? ARV* ROL* DB1* AL1* DG1* DRG? PROCEDURE*(PR1 ROL*) OBX* \
         GT1* INSURANCE*(IN1 IN2? IN3* ROL* AUT* RF1*) ACC? PDA?",
    ),
    (
        "ADT_A05",
        "3.3.5",
        "MSH SFT* UAC? EVN PID PD1? ARV* ROL* NK1* PV1 PV2? ARV* ROL* DB1* OBX* AL1* DG1* DRG? \
         PROCEDURE*(PR1 ROL*) GT1* INSURANCE*(IN1 IN2? IN3* ROL* AUT* RF1*) ACC? UB1? UB2?",
    ),
    (
        "ADT_A06",
        "3.3.6",
        "MSH SFT* UAC? EVN PID PD1? ARV* ROL* MRG? NK1* PV1 PV2? ARV* ROL* DB1* OBX* AL1* DG1* DRG? \
         PROCEDURE*(PR1 ROL*) GT1* INSURANCE*(IN1 IN2? IN3* ROL* AUT* RF1*) ACC? UB1? UB2?",
    ),
    ("ADT_A09", "3.3.9", "MSH SFT* UAC? EVN PID PD1? PV1 PV2? DB1* OBX* DG1*"),
    ("ADT_A12", "3.3.12", "MSH SFT* UAC? EVN PID PD1? PV1 PV2? DB1* OBX* DG1?"),
    ("ADT_A15", "3.3.15", "MSH SFT* UAC? EVN PID PD1? ARV* ROL* PV1 PV2? ARV* ROL* DB1* OBX* DG1*"),
    (
        "ADT_A16",
        "3.3.16",
        "MSH SFT* UAC? EVN PID PD1? ARV* ROL* NK1* PV1 PV2? ARV* ROL* DB1* OBX* AL1* DG1* DRG? \
         PROCEDURE*(PR1 ROL*) GT1* INSURANCE*(IN1 IN2? IN3* ROL* AUT* RF1*) ACC?",
    ),
    ("ADT_A17", "3.3.17", "MSH SFT* UAC? EVN PID PD1? PV1 PV2? DB1* OBX* PID PD1? PV1 PV2? DB1* OBX*"),
    ("ADT_A18", "3.3.18", "MSH SFT* UAC? EVN PID PD1? MRG PV1"),
    ("ADT_A20", "3.3.20", "MSH SFT* UAC? EVN NPU"),
    ("ADT_A21", "3.3.21", "MSH SFT* UAC? EVN PID PD1? PV1 PV2? DB1* OBX*"),
    ("ADT_A24", "3.3.24", "MSH SFT* UAC? EVN PID PD1? PV1? DB1* PID PD1? PV1? DB1*"),
    ("ADT_A30", "3.3.30", "MSH SFT* UAC? EVN PID PD1? MRG"),
    ("ADT_A37", "3.3.37", "MSH SFT* UAC? EVN PID PD1? PV1? DB1* PID PD1? PV1? DB1*"),
    ("ADT_A38", "3.3.38", "MSH SFT* UAC? EVN PID PD1? PV1 PV2? DB1* OBX* DG1* DRG?"),
    ("ADT_A39", "3.3.39", "MSH SFT* UAC? EVN PATIENT+(PID PD1? MRG PV1?)"),
    ("ADT_A43", "3.3.43", "MSH SFT* UAC? EVN PATIENT+(PID PD1? MRG)"),
    ("ADT_A45", "3.3.45", "MSH SFT* UAC? EVN PID PD1? MERGE_INFO+(MRG PV1)"),
    ("ADT_A50", "3.3.50", "MSH SFT* UAC? EVN PID PD1? MRG PV1"),
    ("ADT_A52", "3.3.52", "MSH SFT* UAC? EVN PID PD1? PV1 PV2?"),
    ("ADT_A54", "3.3.54", "MSH SFT* UAC? EVN PID PD1? ARV* ROL* PV1 PV2? ARV* ROL*"),
    (
        "ADT_A60",
        "3.3.60",
        "MSH SFT* UAC? EVN PID ARV* VISIT_GROUP?(PV1 PV2? ARV*) ADVERSE_REACTION_GROUP*(IAM NTE* IAR*)",
    ),
    ("ADT_A61", "3.3.61", "MSH SFT* UAC? EVN PID PD1? ARV* ROL* PV1 ARV* ROL* PV2?"),
    // PATIENT may be absent by the standard; whose results they are must be said.
    (
        "ORU_R01",
        "7.3.1",
        "MSH SFT* UAC? PATIENT_RESULT+(PATIENT(PID PD1? PRT* NK1* NTE* ARV* VISIT?(PV1 PV2? PRT*)) \
         ORDER_OBSERVATION+(ORC? OBR NTE* PRT* TIMING_QTY*(TQ1 TQ2*) CTD? OBSERVATION*(OBX PRT* NTE*) FT1* CTI* \
         SPECIMEN*(SPM NTE* OBX*))) DSC?",
    ),
    (
        "ORM_O01",
        "4.4.1",
        "MSH NTE* PATIENT?(PID PD1? NTE* PATIENT_VISIT?(PV1 PV2?) INSURANCE*(IN1 IN2? IN3?) GT1? AL1*) \
         ORDER+(ORC ORDER_DETAIL?(OBR? RQD? RQ1? RXO? ODS? ODT? NTE* CTD? DG1* OBSERVATION*(OBX NTE*)) FT1* CTI* BLG?)",
    ),
    // A prior result begins with its PID: without one it could not be told from the next order.
    (
        "OML_O21",
        "4.4.6",
        "MSH SFT* UAC? NTE* PATIENT?(PID PD1? PRT* NTE* NK1* ARV* PATIENT_VISIT?(PV1 PV2? PRT*) \
         INSURANCE*(IN1 IN2? IN3?) GT1? AL1*) ORDER+(ORC PRT* TIMING*(TQ1 TQ2*) OBSERVATION_REQUEST?(OBR TCD? NTE* PRT* \
         CTD? DG1* OBSERVATION*(OBX PRT* TCD? NTE*) SPECIMEN*(SPM NTE* OBX* CONTAINER*(SAC OBX*)) \
         PRIOR_RESULT*(PATIENT_PRIOR(PID PD1?) PATIENT_VISIT_PRIOR?(PV1 PV2?) AL1* ORDER_PRIOR+(ORC? OBR NTE* \
         TIMING_PRIOR*(TQ1 TQ2*) OBSERVATION_PRIOR*(OBX NTE*)))) FT1* CTI* BLG?)",
    ),
    (
        "PPR_PC1",
        "12.3.1",
        "MSH SFT* UAC? PID PATIENT_VISIT?(PV1 PV2?) PROBLEM+(PRB NTE* VAR* PROBLEM_ROLE*(ROL VAR*) PATHWAY*(PTH VAR*) \
         PROBLEM_OBSERVATION*(OBX NTE*) GOAL*(GOL NTE* VAR* GOAL_ROLE*(ROL VAR*) GOAL_OBSERVATION*(OBX NTE*)) \
         ORDER*(ORC? ORDER_DETAIL?(OBR NTE* VAR* ORDER_OBSERVATION*(OBX NTE* VAR*))))",
    ),
    (
        "PGL_PC6",
        "12.3.2",
        "MSH SFT* UAC? PID PATIENT_VISIT?(PV1 PV2?) GOAL+(GOL NTE* VAR* GOAL_ROLE*(ROL VAR*) PATHWAY*(PTH VAR*) \
         OBSERVATION*(OBX NTE*) PROBLEM*(PRB NTE* VAR* PROBLEM_ROLE*(ROL VAR*) PROBLEM_OBSERVATION*(OBX NTE*)) \
         ORDER*(ORC? ORDER_DETAIL?(OBR NTE* VAR* ORDER_OBSERVATION*(OBX NTE* VAR*))))",
    ),
    ("MDM_T01", "9.6.1", "MSH SFT* UAC? EVN PID PV1 COMMON_ORDER*(ORC TIMING*(TQ1 TQ2*) OBR NTE*) TXA"),
    (
        "MDM_T02",
        "9.6.2",
        "MSH SFT* UAC? EVN PID PV1 COMMON_ORDER*(ORC TIMING*(TQ1 TQ2*) OBR NTE*) TXA CON* OBSERVATION+(OBX NTE*)",
    ),
];

static STRUCTURES: LazyLock<Vec<Structure>> = LazyLock::new(|| {
    TABLE
        .iter()
        .map(|&(name, section, text)| {
            let mut rest = text;
            Structure { name, section, root: group("message", &mut rest) }
        })
        .collect()
});

/// Reads elements up to the closing bracket or the end. The table is this file's own; a test reads all of it.
fn group(name: &'static str, rest: &mut &'static str) -> Group {
    let mut elements = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        if let Some(after) = rest.strip_prefix(')') {
            *rest = after;
            break;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end.max(1));
        *rest = after;
        let mark = rest.chars().next().filter(|c| matches!(c, '?' | '*' | '+'));
        if mark.is_some() {
            *rest = rest.get(1..).unwrap_or_default();
        }
        let part = match rest.strip_prefix('(') {
            Some(after) => {
                *rest = after;
                Part::Group(group(word, rest))
            }
            None => Part::Segment(word),
        };
        let (required, repeats) = (matches!(mark, None | Some('+')), matches!(mark, Some('*' | '+')));
        elements.push(Element { part, required, repeats });
    }
    let mut first = Vec::new();
    for element in &elements {
        match &element.part {
            Part::Segment(segment) => first.push(*segment),
            Part::Group(group) => first.extend(&group.first),
        }
        if element.required {
            break;
        }
    }
    let inside = elements
        .iter()
        .flat_map(|element| match &element.part {
            Part::Segment(segment) => vec![*segment],
            Part::Group(group) => group.inside.clone(),
        })
        .collect();
    Group { name, elements, first, inside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_structure_of_the_table_is_read_whole() {
        assert_eq!(STRUCTURES.len(), TABLE.len());
        for (structure, (name, _, text)) in STRUCTURES.iter().zip(TABLE) {
            let segments = text
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(|word| word.len() == 3)
                .count();
            assert_eq!(structure.root.inside.len(), segments, "{name}");
            assert_eq!(text.matches('(').count(), text.matches(')').count(), "{name}");
        }
    }

    #[test]
    fn every_event_leads_to_a_structure_of_the_table() {
        for (code, events, name) in EVENTS {
            for event in *events {
                assert_eq!(structure(code, Some(event), None).map(|s| s.name), Some(*name));
            }
        }
        assert_eq!(structure("ADT", Some("A08"), Some("ADT_A08")).map(|s| s.name), Some("ADT_A01"));
        assert_eq!(structure("ADT", None, None).map(|s| s.name), Some("ADT_A01"));
        assert!(structure("VXU", Some("V04"), Some("VXU_V04")).is_none());
    }
}
