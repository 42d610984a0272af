#![allow(clippy::unwrap_used, reason = "a test that cannot read its own model should stop")]
use super::*;

const LEFT: &str = r#"{"resourceType":"StructureDefinition","url":"http://x/Left","kind":"logical","type":"Left",
"baseDefinition":"http://x/Top","differential":{"element":[{"path":"Left"},
{"path":"Left.a","max":"1","type":[{"code":"string"}]},{"path":"Left.b","max":"*"},
{"path":"Left.b.c","max":"1","type":[{"code":"http://x/Left"}]},
{"path":"Left.v[x]","max":"1","type":[{"code":"Quantity"},{"code":"string"}]}]}}"#;
const TOP: &str = r#"<StructureDefinition xmlns="http://hl7.org/fhir"><url value="http://x/Top"/><kind value="logical"/>
<type value="Top"/><differential><element><path value="Top"/></element><element><path value="Top.id"/>
<representation value="xmlAttr"/><max value="1"/><type><code value="string"/></type></element></differential></StructureDefinition>"#;

#[test]
fn a_logical_model_has_its_own_and_inherited_elements() {
    let models = Models::read(&[("left.json", LEFT.as_bytes()), ("top.xml", TOP.as_bytes())]).unwrap();
    let shapes = &models.shapes;
    let left = shapes.by_url("http://x/Left").unwrap();
    let names: Vec<&str> = shapes.names(left).collect();
    assert_eq!(names, ["id", "a", "b", "vQuantity", "vString"]);
    let b = shapes.field(shapes.find(left, "b").unwrap());
    assert!(b.many && shapes.find(b.type_id, "c").is_some());
    assert_eq!(shapes.field(shapes.find(b.type_id, "c").unwrap()).type_id, left);
    assert_eq!(shapes.choices(left, "v[x]").len(), 2);
    assert!(shapes.is_a(left, "Top") && !shapes.is_r4(left));
}

#[test]
fn a_version_of_fhir_stands_beside_r4() {
    let quantity = r#"{"resourceType":"StructureDefinition","url":"http://hl7.org/fhir/StructureDefinition/Quantity",
        "fhirVersion":"3.0.2","kind":"complex-type","snapshot":{"element":[{"path":"Quantity"},
        {"path":"Quantity.value","max":"1","type":[{"code":"decimal"}]}]}}"#;
    let decimal = r#"{"resourceType":"StructureDefinition","url":"http://hl7.org/fhir/StructureDefinition/decimal",
        "fhirVersion":"3.0.2","kind":"primitive-type","snapshot":{"element":[{"path":"decimal"},
        {"path":"decimal.value","max":"1"}]}}"#;
    let models = Models::read(&[("q.json", quantity.as_bytes()), ("d.json", decimal.as_bytes())]).unwrap();
    let stu3 = models.shapes.by_url("http://hl7.org/fhir/3.0/StructureDefinition/Quantity").unwrap();
    let r4 = models.shapes.by_url("http://hl7.org/fhir/StructureDefinition/Quantity").unwrap();
    assert_ne!(stu3, r4);
    let decimal = models.shapes.field(models.shapes.find(stu3, "value").unwrap()).type_id;
    assert!(models.shapes.is_primitive(decimal) && !models.shapes.is_r4(decimal));
}

#[test]
fn what_is_no_definition_is_named_and_what_nothing_defines_is_open() {
    let files: [(&str, &[u8]); 2] =
        [("left.json", LEFT.as_bytes()), ("p.json", b"{\"resourceType\":\"Patient\"}")];
    let errors = Models::read(&files).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].file == "p.json" && errors[0].message.contains("Patient"), "{errors:?}");
    let broken = LEFT.replace("\"Quantity\"", "\"http://x/Gone\"");
    let models = Models::read(&[("left.json", broken.as_bytes())]).unwrap();
    let left = models.shapes.by_url("http://x/Left").unwrap();
    let gone = models.shapes.field(models.shapes.find(left, "vGone").unwrap()).type_id;
    assert_eq!(models.shapes.names(gone).count(), 0);
}
