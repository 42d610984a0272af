//! For whom a client asks: organisation, professional or patient, purpose. Claims of IHE IUA in a client's assertion,
//! and the same claims in the access token made of it.
//!
//! Reading the claims is here; whether a client may make them is judged by its registration (`client`).
//! Source: IHE ITI IUA 3.71.4.2.2.1.1 (`extensions.ihe_iua`); `subject_id` and `patient_id` are additions of this gateway,
//! because IUA has no claim for a professional's number with its system, nor for a FHIR id.

use serde::{Deserialize, Serialize};

use super::actor::User;
use crate::ids::{ResourceId, SYSTEM_BSN, SYSTEM_UZI_ROLE, Ura};

/// OID arc of the URA, for the URN form IUA asks for.
const URA_URN: &str = "urn:oid:2.16.528.1.1007.3.3.";

/// Code system of purposes of use (`TREAT`, `HRESCH`, ...).
pub const SYSTEM_PURPOSE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// Purpose of a patient who asks for her own data.
pub const PATIENT_REQUEST: &str = "PATRQT";

/// `extensions` of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions {
    /// Claims of IHE IUA.
    pub ihe_iua: Iua,
}

/// Claims of IHE IUA this gateway reads. Others of IUA (`subject_name`, ...) are neither needed nor kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iua {
    /// Organisation: URA, as 8 digits or as `urn:oid:2.16.528.1.1007.3.3.` and the digits.
    pub subject_organization_id: String,
    /// Professional's number in its naming system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<Identifier>,
    /// Roles; exactly one in the UZI role code system when there is a `subject_id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_role: Vec<Coding>,
    /// Purpose of use: exactly one.
    pub purpose_of_use: Vec<Coding>,
    /// FHIR id of the patient who asks herself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_id: Option<String>,
}

impl std::fmt::Debug for Iua {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iua").field("organisation", &self.subject_organization_id).finish_non_exhaustive()
    }
}

/// FHIR `Coding`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coding {
    /// Code system.
    pub system: String,
    /// Code.
    pub code: String,
}

/// FHIR `Identifier`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    /// Naming system.
    pub system: String,
    /// Number.
    pub value: String,
}

/// For whom a client asks, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Organisation.
    pub organisation: Ura,
    /// Professional.
    pub user: Option<User>,
    /// The patient herself.
    pub patient: Option<ResourceId>,
    /// Purpose of use.
    pub purpose: Box<str>,
}

impl Context {
    /// Reads the claims.
    ///
    /// Errors: which claim is missing or cannot be read, as a sentence for the client's developer, without its value.
    pub fn read(claims: &Iua) -> Result<Context, &'static str> {
        let organisation = &claims.subject_organization_id;
        let organisation = Ura::parse(organisation.strip_prefix(URA_URN).unwrap_or(organisation)).ok_or(
            "subject_organization_id is a URA: 8 digits, or urn:oid:2.16.528.1.1007.3.3. and 8 digits",
        )?;
        let [purpose] = claims.purpose_of_use.as_slice() else {
            return Err("purpose_of_use holds exactly one coding");
        };
        if purpose.system != SYSTEM_PURPOSE || !is_code(&purpose.code) {
            return Err("purpose_of_use is a code of http://terminology.hl7.org/CodeSystem/v3-ActReason");
        }
        let user = match (&claims.subject_id, claims.subject_role.as_slice()) {
            (None, []) => None,
            (None, _) => return Err("subject_role without subject_id"),
            (Some(id), roles) => Some(user(id, roles)?),
        };
        let patient = match &claims.patient_id {
            None => None,
            Some(id) => {
                Some(ResourceId::parse(id).ok_or("patient_id is a FHIR id, without Patient/ before it")?)
            }
        };
        // A patient asks for herself, a professional for a patient; neither can be both in one token.
        if patient.is_some() && user.is_some() {
            return Err("patient_id and subject_id exclude each other");
        }
        if patient.is_some() != (purpose.code == PATIENT_REQUEST) {
            return Err("patient_id and the purpose PATRQT belong together");
        }
        Ok(Context { organisation, user, patient, purpose: purpose.code.as_str().into() })
    }

    /// The claims that read as this.
    pub fn claims(&self) -> Iua {
        let coding = |system: &str, code: &str| Coding { system: system.to_owned(), code: code.to_owned() };
        Iua {
            subject_organization_id: format!("{URA_URN}{}", self.organisation),
            subject_id: self.user.as_ref().map(|user| Identifier {
                system: user.system.to_string(),
                value: user.identifier.to_string(),
            }),
            subject_role: self.user.iter().map(|user| coding(SYSTEM_UZI_ROLE, &user.role_code)).collect(),
            purpose_of_use: vec![coding(SYSTEM_PURPOSE, &self.purpose)],
            patient_id: self.patient.as_ref().map(|id| id.to_string()),
        }
    }
}

fn user(id: &Identifier, roles: &[Coding]) -> Result<User, &'static str> {
    let mut codes = roles.iter().filter(|role| role.system == SYSTEM_UZI_ROLE);
    let (Some(role), None) = (codes.next(), codes.next()) else {
        return Err(
            "subject_role holds exactly one UZI role code (http://fhir.nl/fhir/NamingSystem/uzi-rolcode)",
        );
    };
    if !is_code(&role.code) {
        return Err("subject_role holds no code");
    }
    if !id.system.starts_with("http") || id.system == SYSTEM_BSN {
        return Err("subject_id.system is the naming system of a professional's number");
    }
    if !is_code(&id.value) {
        return Err("subject_id.value is the number in its system");
    }
    Ok(User {
        identifier: id.value.as_str().into(),
        system: id.system.as_str().into(),
        role_code: role.code.as_str().into(),
    })
}

fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;
    use serde_json::{Value, json};

    fn read(claims: Value) -> Result<Context, &'static str> {
        Context::read(&serde_json::from_value(claims).unwrap())
    }

    fn professional() -> Value {
        json!({
            "subject_name": "ignored",
            "subject_organization_id": "urn:oid:2.16.528.1.1007.3.3.90000382",
            "subject_id": { "system": "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers", "value": "900012345" },
            "subject_role": [{ "system": SYSTEM_UZI_ROLE, "code": "01.042" }],
            "purpose_of_use": [{ "system": SYSTEM_PURPOSE, "code": "TREAT" }],
        })
    }

    #[test]
    fn claims_of_a_professional_read_and_write_back() {
        let context = read(professional()).unwrap();
        assert_eq!(context.organisation.as_str(), "90000382");
        assert_eq!(&*context.user.as_ref().unwrap().role_code, "01.042");
        assert_eq!(Context::read(&context.claims()), Ok(context));
    }

    #[test]
    fn claims_that_contradict_or_lack_are_refused() {
        let changed = |name: &str, value: Value| {
            let mut claims = professional();
            claims[name] = value;
            read(claims)
        };
        let coding = |code: &str| json!({ "system": SYSTEM_PURPOSE, "code": code });
        assert!(changed("subject_organization_id", json!("9000038")).is_err());
        assert!(changed("purpose_of_use", json!([])).is_err());
        assert!(changed("purpose_of_use", json!([coding("TREAT"), coding("HRESCH")])).is_err());
        assert!(changed("purpose_of_use", json!([coding("PATRQT")])).is_err());
        assert!(changed("subject_role", json!([])).is_err());
        assert!(changed("subject_id", json!({ "system": SYSTEM_BSN, "value": "999911120" })).is_err());
        assert!(changed("patient_id", json!("p1")).is_err());
    }

    #[test]
    fn patient_asks_with_her_own_purpose_only() {
        let claims = |purpose: &str| {
            json!({
                "subject_organization_id": "90000382",
                "purpose_of_use": [{ "system": SYSTEM_PURPOSE, "code": purpose }],
                "patient_id": "p1",
            })
        };
        assert_eq!(read(claims("PATRQT")).unwrap().patient, ResourceId::parse("p1"));
        assert!(read(claims("TREAT")).is_err());
    }

    #[test]
    fn number_of_a_professional_does_not_print() {
        let claims: Iua = serde_json::from_value(professional()).unwrap();
        assert!(!format!("{claims:?}").contains("900012345"));
    }
}
