//! The demo region: organisations and the clients that act for them. Numbers and names are made up.

/// An organisation of the demo.
#[derive(Debug)]
pub struct Party {
    /// URA, made up.
    pub ura: &'static str,
    /// Name.
    pub name: &'static str,
    /// Organisation kind of the policy.
    pub kind: &'static str,
}

/// Academic hospital: sends laboratory and lung function results.
pub const UMC: Party = Party { ura: "90000101", name: "UMC Teststad", kind: "hospital" };
/// GeSp team of the first region.
pub const GESP_MIDDEN: Party = Party { ura: "90000201", name: "GeSp-team Midden", kind: "gesp" };
/// GeSp team of the second region.
pub const GESP_NOORD: Party = Party { ura: "90000202", name: "GeSp-team Noord", kind: "gesp" };
/// General practice of the first region.
pub const GP_BRUG: Party = Party { ura: "90000301", name: "Huisartsenpraktijk De Brug", kind: "gp" };
/// General practice of the second region.
pub const GP_ELDERS: Party = Party { ura: "90000302", name: "Huisartsenpraktijk Elders", kind: "gp" };
/// Home-ventilation centre.
pub const CTB: Party = Party { ura: "90000401", name: "Centrum voor Thuisbeademing Test", kind: "ctb" };
/// National ALS centre.
pub const ACN: Party = Party { ura: "90000501", name: "ALS Centrum Test", kind: "acn" };
/// Patient portal.
pub const PORTAL: Party = Party { ura: "90000601", name: "Patiëntportaal Test", kind: "portal" };
/// First EPD vendor: hospital, GeSp and CTB systems.
pub const VENDOR_A: Party = Party { ura: "90000701", name: "EPD-leverancier Alfa", kind: "epd-vendor" };
/// Second EPD vendor: GP systems.
pub const VENDOR_B: Party = Party { ura: "90000702", name: "EPD-leverancier Beta", kind: "epd-vendor" };

/// Every organisation.
pub const PARTIES: &[&Party] =
    &[&UMC, &GESP_MIDDEN, &GESP_NOORD, &GP_BRUG, &GP_ELDERS, &CTB, &ACN, &PORTAL, &VENDOR_A, &VENDOR_B];

/// Organisations whose data the demo's consents open.
pub const HOLDERS: &[&Party] = &[&UMC, &GESP_MIDDEN, &GESP_NOORD, &GP_BRUG, &GP_ELDERS, &CTB];

/// A client of the demo.
#[derive(Debug)]
pub struct Software {
    /// Client id.
    pub id: &'static str,
    /// What it is.
    pub name: &'static str,
    /// Acts for.
    pub party: &'static Party,
    /// Purposes of use it may state.
    pub purposes: &'static [&'static str],
    /// UZI role codes it may vouch for; empty: no persons.
    pub role_codes: &'static [&'static str],
    /// May vouch for a patient.
    pub portal: bool,
    /// Default context of `sluis assertion`: role code.
    pub default_role: Option<&'static str>,
}

/// Role codes of a rehabilitation team (uzi-rolcode): revalidatiearts, verpleegkundig specialist, fysiotherapeut,
/// ergotherapeut, logopedist, diëtist, GZ-psycholoog.
const TEAM: &[&str] = &["01.042", "30.076", "04.000", "90.000", "91.000", "89.000", "25.000"];

/// Every client.
pub const CLIENTS: &[Software] = &[
    Software {
        id: "umc-epd",
        name: "EPD of UMC Teststad (Alfa)",
        party: &UMC,
        purposes: &["TREAT"],
        role_codes: &[],
        portal: false,
        default_role: None,
    },
    Software {
        id: "gesp-midden-epd",
        name: "EPD of GeSp-team Midden (Alfa)",
        party: &GESP_MIDDEN,
        purposes: &["TREAT"],
        role_codes: TEAM,
        portal: false,
        default_role: Some("01.042"),
    },
    Software {
        id: "gesp-noord-epd",
        name: "EPD of GeSp-team Noord (Alfa)",
        party: &GESP_NOORD,
        purposes: &["TREAT"],
        role_codes: TEAM,
        portal: false,
        default_role: Some("01.042"),
    },
    Software {
        id: "gp-brug-his",
        name: "HIS of De Brug (Beta)",
        party: &GP_BRUG,
        purposes: &["TREAT"],
        role_codes: &["01.015"],
        portal: false,
        default_role: Some("01.015"),
    },
    Software {
        id: "gp-elders-his",
        name: "HIS of Elders (Beta)",
        party: &GP_ELDERS,
        purposes: &["TREAT"],
        role_codes: &["01.015"],
        portal: false,
        default_role: Some("01.015"),
    },
    Software {
        id: "ctb-epd",
        name: "EPD of the CTB (Alfa)",
        party: &CTB,
        purposes: &["TREAT"],
        role_codes: &["01.023", "30.000"],
        portal: false,
        default_role: Some("01.023"),
    },
    Software {
        id: "acn-data",
        name: "Data platform of ACN",
        party: &ACN,
        purposes: &["HRESCH", "HQUALIMP"],
        role_codes: &[],
        portal: false,
        default_role: None,
    },
    Software {
        id: "portaal",
        name: "Patient portal",
        party: &PORTAL,
        purposes: &["PATRQT"],
        role_codes: &[],
        portal: true,
        default_role: None,
    },
];
