//! From an HL7v2, JSON or XML sample: a resource with a line per field. Results (OBX) of another message than ORU^R01 become Observations;
//! a FHIR resource becomes the R4 resource of its name, as far as R4 has its elements.

use super::{Files, head, literal, manifest, read, step};
use crate::plan::shape::shapes;
use crate::source::{Format, Limits, NodeId, Tree, hl7v2, json, xml};

/// Fields a map is begun with at most.
const FIELDS_MAX: usize = 400;

pub(super) fn folder(id: &str, sender: &str, sample: &[u8], format: Format) -> Result<Files, String> {
    let (parsed, charset) = read(|agreed| match format {
        Format::Hl7v2 => hl7v2::parse(sample, agreed, Limits::default()),
        Format::Xml => xml::parse(sample, Limits::default()),
        _ => json::parse(sample, Limits::default()),
    })?;
    let kind = parsed.facts.message_type.clone();
    let (rule, map, extension) = match format {
        Format::Hl7v2 => {
            let kind = kind.ok_or("the message names no type (MSH-9): put it in")?;
            if kind == "ORU^R01" {
                let mut files = super::result::folder(id, sender, charset, &parsed.tree)?;
                files.insert("cases/first/in.hl7".to_owned(), sample.to_vec());
                return Ok(files);
            }
            (format!("message_types = [\"{kind}\"]\n"), message(id, &parsed.tree), "hl7")
        }
        _ => {
            let extension = if format == Format::Xml { "xml" } else { "json" };
            let fhir = parsed.tree.named(parsed.tree.root(), "resourceType").next().is_some();
            let known = |kind: &String| shapes().type_id(kind).is_some_and(|id| shapes().is_resource(id));
            match kind.filter(|kind| fhir && known(kind)) {
                Some(kind) => {
                    // FHIR is one model in two notations: its XML is read by the folder for its JSON.
                    let rule = format!("resource_types = [\"{kind}\"]\n");
                    let toml = manifest(id, sender, "json", "", &rule);
                    let map = resource(id, &parsed.tree, &kind);
                    return Ok(Files::from([
                        ("mapping.toml".to_owned(), toml.into_bytes()),
                        ("map.fml".to_owned(), map.into_bytes()),
                        (format!("cases/first/in.{extension}"), sample.to_vec()),
                    ]));
                }
                // CDA (HL7 CDA release 2): the root says so.
                None if parsed.tree.name(parsed.tree.root()) == "ClinicalDocument" => {
                    let rule = "resource_types = [\"ClinicalDocument\"]\n".to_owned();
                    (rule, super::cda::map(id, &parsed.tree), extension)
                }
                None => (String::new(), document(id, &parsed.tree), extension),
            }
        }
    };
    let files = [
        ("mapping.toml".to_owned(), manifest(id, sender, format.as_str(), charset, &rule)),
        ("map.fml".to_owned(), map),
        (format!("cases/first/in.{extension}"), String::new()),
    ];
    let mut files: Files = files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    files.insert(format!("cases/first/in.{extension}"), sample.to_vec());
    Ok(files)
}

/// Paths of the leaves from the root, each once, in document order, without those below a node of `stop`.
pub(super) fn paths(tree: &Tree, stop: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for leaf in tree.leaves() {
        let mut steps = Vec::new();
        let mut at = Some(leaf);
        while let Some(node) = at.filter(|node| *node != tree.root()) {
            steps.push(tree.name(node));
            at = tree.node(node).parent;
        }
        steps.reverse();
        if steps.contains(&stop) {
            continue;
        }
        let path = steps.iter().map(|name| step(name)).collect::<Vec<_>>().join(".");
        if !found.contains(&path) && found.len() < FIELDS_MAX {
            found.push(path);
        }
    }
    found
}

/// Where the first segment of that name stands, as a path from the root.
fn place(tree: &Tree, name: &str) -> Option<Vec<String>> {
    let mut queue: Vec<(NodeId, Vec<String>)> = vec![(tree.root(), Vec::new())];
    while let Some((node, path)) = queue.pop() {
        for child in tree.children(node) {
            let mut below = path.clone();
            below.push(tree.name(child).to_owned());
            if tree.name(child) == name {
                return Some(below);
            }
            // Groups have longer names than segments; fields and components hold no segment.
            if tree.name(child).len() > 3 && !tree.name(child).contains(|c: char| c.is_ascii_digit()) {
                queue.push((child, below));
            }
        }
    }
    None
}

fn message(id: &str, tree: &Tree) -> String {
    let pid = place(tree, "PID").map(|path| path.join("."));
    let whose = match &pid {
        Some(path) => format!(
            "  msg.{path}.PID_3 as cx where C5 = 'NNNLD' -> subjectBsn(cx.C1), use(cx.C4) \"bsn\";\n  \
             msg.{path}.PID_3 as cx where C5 != 'NNNLD' or C5.empty() -> subjectLocal(%patient, cx.C1), use(cx.C4, cx.C5) \"local\";\n"
        ),
        None => "  msg -> refuse('the map does not say whose this is', 'TODO: name the field') \"whose\";\n"
            .to_owned(),
    };
    let patient =
        pid.as_ref().map_or("msg.MSH.MSH_10".to_owned(), |path| format!("msg.{path}.PID_3.first().C1"));
    let results = place(tree, "OBX");
    let target = if results.is_some() { "Observation" } else { "Basic" };
    let mut map = head(id, "Message", &[target]);
    map += "group Message(source msg : Message) {\n";
    match &results {
        Some(path) => {
            let (mut indent, mut from) = ("  ".to_owned(), "msg".to_owned());
            let mut close = String::new();
            for (at, name) in path.iter().enumerate() {
                let last = at + 1 == path.len();
                let variable = if last { "obx".to_owned() } else { format!("g{at}") };
                map += &format!(
                    "{indent}{from}.{name} as {variable} then {}\n",
                    if last { "Result(msg, obx);" } else { "{" }
                );
                if !last {
                    close = format!("{indent}}};\n{close}");
                }
                indent += "  ";
                from = variable;
            }
            map += &close;
        }
        None => {
            map += "  // TODO: Basic stands in for the resource this message is about\n  msg -> create('Basic') as b then {\n    msg then Whose(msg);\n    msg -> identity(%namespace, PATIENT, msg.MSH.MSH_10) \"identity\";\n    msg -> b.code = cc('TODO') \"code\";\n  };\n"
        }
    }
    map = map.replace("PATIENT, msg.MSH", &format!("({patient}), msg.MSH"));
    map += "  msg then Fields(msg) \"fields\";\n}\n\n";
    map += &format!("group Whose(source msg : Message) {{\n{whose}}}\n\n");
    if results.is_some() {
        map += "group Result(source msg : Message, source obx : Segment) {\n  obx -> create('Observation') as o then {\n    msg then Whose(msg) \"whose\";\n";
        map += &format!(
            "    // TODO: the filler's own number of the result (OBX-21, or OBR-3) tells a correction from a second result\n    \
             obx -> (stable(%namespace, ({patient}), obx.OBX_3.C1, obx.OBX_14, obx.OBX_4)) as key, identity(%namespace, ({patient}), key) \"identity\";\n"
        );
        map += "    // TODO: OBX-11 through a code table (see umc-lab/codes/status.csv); other statuses are refused until then\n    \
                obx where OBX_11 = 'F' -> o.status = 'final' \"final\";\n    \
                obx where OBX_11.empty() or OBX_11 != 'F' -> refuse('this OBX-11 is not mapped', 'add it to the map') \"status\";\n    \
                obx.OBX_3 as code -> o.code = create('CodeableConcept') as concept then {\n      \
                code.C1 as id -> concept.coding = c(%namespace, id, (code.C2)), use(code.C3) \"coding\";\n    } \"code\"; // TODO: a code table\n    \
                obx.OBX_14 as time -> o.effective = cast((hl7DateTime(time, 'Europe/Amsterdam')), 'dateTime') \"time\";\n    \
                obx where OBX_2 = 'NM' -> o.value = qty((obx.OBX_5.first()), (obx.OBX_6.C1)), use(obx.OBX_6) \"number\"; // TODO: ucum() with a table\n    \
                obx where OBX_2 != 'NM' or OBX_2.empty() -> o.valueString = (obx.OBX_5.first()), use(obx.OBX_6) \"text\";\n    \
                obx -> use(obx.OBX_1, obx.OBX_2, obx.OBX_4, obx.OBX_7, obx.OBX_8) \"rest\"; // TODO: range and flag\n  } \"observation\";\n}\n\n";
    }
    map += "/// Every other field of the sample. TODO: map what matters; keep `use` for what does not.\ngroup Fields(source msg : Message) {\n";
    for path in paths(tree, "OBX") {
        map += &format!("  msg.{path} as v -> use(v) \"{path}\";\n");
    }
    map + "}\n"
}

fn resource(id: &str, tree: &Tree, kind: &str) -> String {
    let root = tree.root();
    let mut map = head(id, "Document", &[kind]);
    let has = |name: &str| tree.named(root, name).next().is_some();
    map += &format!("group Document(source src : Document) {{\n  src -> create('{kind}') as tgt then {{\n");
    let subject = ["subject", "patient", "beneficiary"].into_iter().find(|name| has(name));
    let whose = match (subject, kind) {
        (Some(name), _) => {
            map += &format!("    src -> subjectReference(src.{name}.reference) \"whose\";\n");
            format!("src.{name}.reference")
        }
        (None, "Patient") => {
            map += "    src.identifier as id where (system = 'http://fhir.nl/fhir/NamingSystem/bsn') -> subjectBsn(id.value) \"whose\";\n";
            "src.id".to_owned()
        }
        (None, _) => {
            map += "    src -> subjectNone() \"whose\"; // TODO: is this about no patient?\n";
            "src.id".to_owned()
        }
    };
    map += &format!("    src -> identity(%namespace, {whose}, src.id) \"identity\";\n");
    let type_id = shapes().type_id(kind).unwrap_or_default();
    let mut seen: Vec<&str> = Vec::new();
    for child in tree.children(root) {
        let name = tree.name(child);
        if matches!(name, "resourceType" | "id") || seen.contains(&name) || name.starts_with('_') {
            continue;
        }
        seen.push(name);
        let source = step(name);
        map += &match shapes().find(type_id, name) {
            _ if matches!(name, "text" | "meta") => {
                format!("    src.{source} as v -> use(v) \"{name}\"; // of the source alone\n")
            }
            _ if name == "modifierExtension" => format!(
                "    src.{source} as v -> refuse('a modifier extension is not understood', 'map it') \"{name}\"; // TODO\n"
            ),
            Some(_) => format!("    src.{source} as v -> tgt.{source} = v \"{name}\";\n"),
            None => format!(
                "    src.{source} as v -> use(v) \"{name}\"; // TODO: {kind} in R4 has no such element\n"
            ),
        };
    }
    map += "    src -> use(src.id, src.resourceType) \"kind\";\n";
    map + &format!("  }} {};\n}}\n", "\"resource\"")
}

/// A vendor's own JSON: a stand-in resource that is refused until somebody says what it is and whose.
fn document(id: &str, tree: &Tree) -> String {
    let mut map = head(id, "Document", &["Basic"]);
    map += "group Document(source src : Document) {\n  // TODO: Basic stands in for the resource this document is about\n  src -> create('Basic') as b then {\n";
    let said = literal("the map does not say yet what this is and whose");
    map += &format!("    src -> refuse({said}, 'finish the map') \"unfinished\";\n");
    map += "    src -> identity(%namespace, 'TODO: a patient-bound field'), subjectNone(), b.code = cc('TODO') \"head\";\n";
    for path in paths(tree, "\u{0}") {
        map += &format!("    src.{path} as v -> use(v) \"{}\"; // TODO\n", path.replace('"', "'"));
    }
    map + "  } \"document\";\n}\n"
}
