//! From a CDA document: a DocumentReference with what its header says, held back until the body is mapped, with a line per field of the
//! body. Source: HL7 CDA release 2, the header (`ClinicalDocument`, `recordTarget`).

use super::{head, literal, tree};
use crate::source::Tree;

/// OID of the BSN.
const BSN: &str = "2.16.840.1.113883.2.4.6.3";
/// What the lines of the header read; the rest is listed.
const READ: [&str; 6] = ["id", "code", "title", "effectiveTime", "confidentialityCode", "languageCode"];

pub(super) fn map(id: &str, tree: &Tree) -> String {
    let mut map = head(id, "Document", &["DocumentReference"]);
    map += "group Document(source src : Document) {\n  // TODO: what the sections hold becomes resources of its own; the document itself is this one\n";
    map += "  src -> create('DocumentReference') as tgt then {\n";
    map += &format!(
        "    src.component -> refuse({}, 'finish the map') \"unfinished\";\n",
        literal("the map does not read the body of the document yet")
    );
    map += &format!(
        "    src.recordTarget.patientRole.id as id where root = '{BSN}' -> subjectBsn(id.extension) \"bsn\";\n    \
         src.recordTarget.patientRole.id as id where root != '{BSN}' -> subjectLocal(oidOrUri(id.root), id.extension) \"number\";\n    \
         src.id as id -> identity(%namespace, (src.recordTarget.patientRole.id.first().extension), (id.root & ' ' & id.extension)), \
         tgt.masterIdentifier = id(oidOrUri(id.root), (iif(id.extension.exists(), id.extension, id.root))) \"identity\";\n    \
         src -> tgt.status = 'current' \"status\"; // TODO: a relatedDocument of type RPLC supersedes an earlier one\n    \
         src.code as code -> tgt.type = cc(oidOrUri(code.codeSystem), code.code, code.displayName), use(code) \"type\"; // TODO: a code table\n    \
         src.title as title -> tgt.description = title \"title\";\n    \
         src.confidentialityCode as code -> tgt.securityLabel = cc(oidOrUri(code.codeSystem), code.code), use(code) \"confidentiality\";\n    \
         src -> tgt.content = create('BackboneElement') as content, content.attachment = create('Attachment') as file then {{\n      \
         src.effectiveTime as time -> file.creation = hl7DateTime(time.value, 'Europe/Amsterdam') \"made\";\n      \
         src.languageCode as language -> file.language = (language.code) \"language\";\n    }} \"content\";\n"
    );
    for path in tree::paths(tree, "\u{0}") {
        let first = path.split('.').next().unwrap_or_default();
        if READ.contains(&first) || path.starts_with("recordTarget.patientRole.id.") {
            continue;
        }
        map += &format!("    src.{path} as v -> use(v) \"{}\"; // TODO\n", path.replace('"', "'"));
    }
    map + "  } \"document\";\n}\n"
}
