//! The rows. A place FHIR has and this version has not stands here too, so that its absence is seen and answered.

use http::Method;
use sluis_conformance::definitions;

use super::Segment::{File, Id, Text, Type, Version};
use super::{Kind, Offer, Route, Segment};
use crate::ids::ResourceType;

/// Path of the FHIR base. Health and metrics stand outside it.
pub const BASE: &str = "/fhir";

const B: Segment = Text("fhir");

/// First segments below the base that are no type.
pub(super) const RESERVED: &[&str] = &["metadata", "oauth", "export", "async"];

const fn row(method: Method, shape: &'static [Segment], kind: Kind) -> Route {
    Route { method, shape, kind, offer: Offer::Yes }
}

const fn later(method: Method, shape: &'static [Segment], name: &'static str) -> Route {
    Route { method, shape, kind: Kind::Absent(name), offer: Offer::Later }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Every row. The first that fits method and path answers.
pub static TABLE: &[Route] = &[
    // The gateway itself.
    row(GET, &[Text("health"), Text("live")], Kind::Live),
    row(GET, &[Text("health"), Text("ready")], Kind::Ready),
    row(GET, &[Text("metrics")], Kind::Metrics),
    // What it is and how to get in (FHIR R4 http.html#capabilities, SMART App Launch 2.2 conformance.html).
    row(GET, &[B, Text("metadata")], Kind::Capabilities),
    row(GET, &[B, Text(".well-known"), Text("smart-configuration")], Kind::SmartConfiguration),
    row(POST, &[B, Text("oauth"), Text("token")], Kind::Token),
    row(GET, &[B, Text("oauth"), Text("jwks")], Kind::Jwks),
    // Documents in local formats, and what waits for mending.
    row(POST, &[B, Text("$ingest")], Kind::Ingest),
    row(GET, &[B, Text("$quarantine")], Kind::Quarantine),
    row(POST, &[B, Text("$replay")], Kind::Replay),
    row(POST, &[B, Text("$discard")], Kind::Discard),
    row(GET, &[B, Text("$unmapped")], Kind::Unmapped),
    row(GET, &[B, Text("$unmapped"), File], Kind::UnmappedFile),
    row(GET, &[B, Text("$shadow")], Kind::Shadow),
    // Bulk Data Access: group export (export.html#endpoint---group-of-patients).
    row(GET, &[B, Text("Group"), Id, Text("$export")], Kind::ExportStart),
    row(POST, &[B, Text("Group"), Id, Text("$export")], Kind::ExportStart),
    row(GET, &[B, Text("export"), Id], Kind::ExportStatus),
    row(DELETE, &[B, Text("export"), Id], Kind::ExportCancel),
    row(GET, &[B, Text("export"), Id, File], Kind::ExportFile),
    // Requests answered later (FHIR R4 async.html).
    row(GET, &[B, Text("async"), Id], Kind::AsyncStatus),
    row(DELETE, &[B, Text("async"), Id], Kind::AsyncCancel),
    row(GET, &[B, Text("async"), Id, File], Kind::AsyncFile),
    // Interactions with resources (FHIR R4 http.html#summary).
    row(POST, &[B], Kind::Bundle),
    row(GET, &[B, Type, Id], Kind::Read),
    row(PUT, &[B, Type, Id], Kind::Update),
    row(PATCH, &[B, Type, Id], Kind::Patch),
    row(DELETE, &[B, Type, Id], Kind::Delete),
    row(GET, &[B, Type, Id, Text("$trace")], Kind::Trace),
    row(GET, &[B, Type, Id, Text("_history")], Kind::History),
    row(GET, &[B, Type, Id, Text("_history"), Version], Kind::Vread),
    row(GET, &[B, Type, Text("_history")], Kind::HistoryType),
    row(GET, &[B, Text("_history")], Kind::HistorySystem),
    row(GET, &[B, Type], Kind::Search),
    row(POST, &[B, Type], Kind::Create),
    row(POST, &[B, Type, Text("_search")], Kind::SearchByForm),
    // Of several types, and within a compartment (FHIR R4 http.html#search, search.html#2.1.1.2).
    row(GET, &[B], Kind::SearchSystem),
    row(POST, &[B, Text("_search")], Kind::SearchSystemByForm),
    row(GET, &[B, Type, Id, Text("*")], Kind::SearchCompartment),
    row(GET, &[B, Type, Id, Type], Kind::SearchCompartment),
    // By criteria instead of an id (FHIR R4 http.html#cond-update, #3.1.0.7.1).
    row(PUT, &[B, Type], Kind::UpdateWhere),
    row(PATCH, &[B, Type], Kind::PatchWhere),
    row(DELETE, &[B, Type], Kind::DeleteWhere),
    // Operations (FHIR R4 operationslist.html).
    row(GET, &[B, Text("$versions")], Kind::Versions),
    // The gateway's own: what became of a write (draft-ietf-httpapi-idempotency-key-header).
    row(GET, &[B, Text("$outcome")], Kind::Outcome),
    row(GET, &[B, Text("Patient"), Text("$everything")], Kind::Everything),
    row(POST, &[B, Text("Patient"), Text("$everything")], Kind::EverythingByBody),
    row(GET, &[B, Text("Patient"), Id, Text("$everything")], Kind::Everything),
    row(POST, &[B, Text("Patient"), Id, Text("$everything")], Kind::EverythingByBody),
    row(POST, &[B, Text("Patient"), Text("$match")], Kind::Match),
    row(POST, &[B, Text("StructureMap"), Text("$transform")], Kind::Transform),
    row(GET, &[B, Text("Observation"), Text("$lastn")], Kind::LastN),
    row(POST, &[B, Text("Observation"), Text("$lastn")], Kind::LastNByBody),
    row(POST, &[B, Type, Text("$validate")], Kind::Validate),
    row(POST, &[B, Type, Id, Text("$validate")], Kind::Validate),
    row(GET, &[B, Text("$meta")], Kind::MetaOf),
    row(GET, &[B, Type, Text("$meta")], Kind::MetaOf),
    row(GET, &[B, Type, Id, Text("$meta")], Kind::Meta),
    row(POST, &[B, Type, Id, Text("$meta-add")], Kind::MetaAdd),
    row(POST, &[B, Type, Id, Text("$meta-delete")], Kind::MetaDelete),
    // FHIR has them, this version has not.
    later(GET, &[B, Text("$export")], "$export of the system; use Group/[id]/$export"),
    later(POST, &[B, Text("$export")], "$export of the system; use Group/[id]/$export"),
    later(GET, &[B, Text("Patient"), Text("$export")], "$export of patients; use Group/[id]/$export"),
    later(POST, &[B, Text("Patient"), Text("$export")], "$export of patients; use Group/[id]/$export"),
];

/// A type that offers less than the rows say.
#[derive(Debug)]
pub struct Exception {
    /// Name of the type.
    pub name: &'static str,
    /// What it does offer.
    pub offers: &'static [Kind],
    /// Why not the rest.
    pub why: &'static str,
}

/// Types that offer less than the rows say.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        name: "AuditEvent",
        offers: &[Kind::Read, Kind::Search, Kind::SearchByForm],
        why: "The log is written by the gateway and changed by no one (NEN 7513).",
    },
    Exception {
        name: "Parameters",
        offers: &[],
        why: "Parameters has no endpoint of its own (FHIR R4 parameters.html).",
    },
];

/// Whether a row is offered for a type.
pub fn offer(route: &Route, resource_type: ResourceType) -> Offer {
    let name = definitions::r4().type_name(resource_type);
    match EXCEPTIONS.iter().find(|exception| exception.name == name) {
        Some(exception) if route.offer == Offer::Yes && !exception.offers.contains(&route.kind) => {
            Offer::Never(exception.why)
        }
        _ => route.offer,
    }
}
