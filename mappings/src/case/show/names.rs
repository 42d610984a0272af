//! Words for what FHIR calls by a name: types, elements, code systems. Tables; what is in none keeps its FHIR name.

use super::Language;

/// Types of R4 a sheet has a word for: type, English, Dutch.
const TYPES: [(&str, &str, &str); 22] = [
    ("AllergyIntolerance", "Allergy", "Allergie"),
    ("Appointment", "Appointment", "Afspraak"),
    ("CarePlan", "Care plan", "Zorgplan"),
    ("CareTeam", "Care team", "Zorgteam"),
    ("Communication", "Conversation", "Gesprek"),
    ("Condition", "Problem or diagnosis", "Probleem of diagnose"),
    ("Consent", "Directive or consent", "Behandelaanwijzing of toestemming"),
    ("Device", "Device", "Hulpmiddel"),
    ("DeviceUseStatement", "Use of a device", "Gebruik van een hulpmiddel"),
    ("DiagnosticReport", "Report", "Verslag"),
    ("DocumentReference", "Document", "Document"),
    ("Encounter", "Contact", "Contact"),
    ("EpisodeOfCare", "Episode or phase of care", "Zorgepisode of fase"),
    ("Flag", "Alert", "Alert"),
    ("Goal", "Goal", "Behandeldoel"),
    ("MedicationRequest", "Prescription", "Medicatieafspraak"),
    ("MedicationStatement", "Medication used", "Medicatiegebruik"),
    ("Observation", "Measurement or finding", "Meting of bevinding"),
    ("Patient", "Patient", "Patiënt"),
    ("Procedure", "Procedure", "Verrichting"),
    ("ServiceRequest", "Request", "Aanvraag"),
    ("Task", "Task", "Taak"),
];

/// Elements a sheet has a word for, by the step that says most: element, English, Dutch.
const ELEMENTS: [(&str, &str, &str); 36] = [
    ("activity", "activity", "activiteit"),
    ("address", "address", "adres"),
    ("author", "author", "auteur"),
    ("birthDate", "date of birth", "geboortedatum"),
    ("bodySite", "body site", "plaats op het lichaam"),
    ("category", "category", "rubriek"),
    ("code", "what", "wat"),
    ("comment", "comment", "toelichting"),
    ("component", "part", "onderdeel"),
    ("dataAbsentReason", "why there is no value", "waarom er geen waarde is"),
    ("dateTime", "date", "datum"),
    ("derivedFrom", "derived from", "afgeleid van"),
    ("description", "description", "omschrijving"),
    ("device", "instrument", "meetinstrument"),
    ("display", "shown as", "getoond als"),
    ("effective", "date", "datum"),
    ("end", "until", "tot"),
    ("gender", "gender", "geslacht"),
    ("identifier", "identifier", "kenmerk"),
    ("intent", "intent", "bedoeling"),
    ("interpretation", "interpretation", "beoordeling"),
    ("issued", "issued", "afgegeven"),
    ("location", "place", "locatie"),
    ("managingOrganization", "responsible organisation", "verantwoordelijke organisatie"),
    ("method", "method", "methode"),
    ("name", "name", "naam"),
    ("note", "remark", "opmerking"),
    ("onset", "begin", "begin"),
    ("owner", "who does it", "uitvoerder"),
    ("performer", "performed by", "uitgevoerd door"),
    ("period", "period", "periode"),
    ("referenceRange", "reference range", "referentiewaarden"),
    ("start", "from", "vanaf"),
    ("status", "status", "status"),
    ("subject", "patient", "patiënt"),
    ("value", "value", "waarde"),
];

const SYSTEMS: [(&str, &str); 14] = [
    ("http://loinc.org", "LOINC"),
    ("http://snomed.info/sct", "SNOMED CT"),
    ("http://unitsofmeasure.org", "UCUM"),
    ("http://fhir.nl/fhir/NamingSystem/bsn", "BSN"),
    ("http://fhir.nl/fhir/NamingSystem/ura", "URA"),
    ("http://fhir.nl/fhir/NamingSystem/agb-z", "AGB"),
    ("http://fhir.nl/fhir/NamingSystem/uzi-rolcode", "UZI-rolcode"),
    ("http://hl7.org/fhir/sid/icd-10-nl", "ICD-10"),
    ("http://www.whocc.no/atc", "ATC"),
    ("https://sluis.care/fhir/CodeSystem/", "Sluis "),
    ("http://terminology.hl7.org/CodeSystem/", "HL7 "),
    ("http://nictiz.nl/fhir/", "Nictiz "),
    ("http://hl7.org/fhir/", "FHIR "),
    ("urn:oid:", "OID "),
];

fn word(
    table: &[(&str, &'static str, &'static str)],
    name: &str,
    language: Language,
) -> Option<&'static str> {
    let (_, english, dutch) = table.iter().find(|(known, ..)| *known == name)?;
    Some(language.of(english, dutch))
}

/// A type with its FHIR name.
pub(super) fn type_name(name: &str, language: Language) -> String {
    match word(&TYPES, name, language) {
        Some(word) if word != name => format!("{word} ({name})"),
        _ => name.to_owned(),
    }
}

/// An element inside its resource: `valueQuantity` as `waarde`, `period.start` as `periode: vanaf`.
pub(super) fn element(path: &str, language: Language) -> String {
    let step = |step: &str| {
        let choice = ELEMENTS.iter().map(|(name, ..)| *name).find(|name| {
            let rest = step.strip_prefix(name).unwrap_or("-");
            rest.is_empty()
                || (["value", "effective", "onset"].contains(name) && rest.starts_with(char::is_uppercase))
        });
        match choice.and_then(|name| word(&ELEMENTS, name, language)) {
            Some(word) => word.to_owned(),
            None => step.to_owned(),
        }
    };
    path.split('.').map(step).collect::<Vec<_>>().join(": ")
}

/// A system by the name people know it by.
pub(super) fn system(address: &str) -> String {
    for (known, name) in SYSTEMS {
        match address.strip_prefix(known) {
            Some("") => return name.to_owned(),
            Some(rest) if name.ends_with(' ') => return format!("{name}{rest}"),
            _ => {}
        }
    }
    address.to_owned()
}
