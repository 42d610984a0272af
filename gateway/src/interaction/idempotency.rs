//! `Idempotency-Key` on writes: a write that is sent twice is done once, and who timed out can ask what became of it.
//!
//! The key is kept with the answer in the transaction of the write: either both are there or neither. Sent again, the same
//! request gets the answer of the first; another request under the same key is refused. A key belongs to one client of
//! one organisation, and is forgotten some time after its write. The answer is given again only as far as its
//! resources may still be seen: a withdrawn consent hides here, too.
//! Source: draft-ietf-httpapi-idempotency-key-header sections 2.2 to 2.6

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::perform::Aside;
use super::reference::{self, Target};
use super::write::commit;
use super::{Facts, Outcome, Scene, found_body};
use crate::clock::{Clock, Timestamp};
use crate::connection::limits::Limits;
use crate::connection::request::{Interaction, Parameters};
use crate::decision::Permit;
use crate::ids::PartyKey;
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, Shelf, Store, StoreError, Writer, document};

/// Forgotten keys taken away by one write that brings a key: more than it brings.
const FORGOTTEN_AT_ONCE: u32 = 4;

/// Milliseconds, besides the time an answer may take, for which a key stays claimed whose gateway has gone.
const CLAIM_MS: u64 = 30_000;

/// Keys of writes in work in this process, and the name by which it claims them where several gateways share a store.
#[derive(Debug, Clone)]
pub struct InWork {
    keys: Arc<Mutex<HashSet<String>>>,
    holder: Arc<str>,
}

impl InWork {
    /// Of a process that has just begun.
    pub fn new(clock: &dyn Clock) -> InWork {
        InWork { keys: Arc::default(), holder: clock.uuid().to_string().into() }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A poisoned lock means a panic while holding plain texts: they are still usable.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key in work; no longer, once this is dropped.
#[derive(Debug)]
pub struct Held {
    name: String,
    by: InWork,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.by.keys().remove(&self.name);
    }
}

/// A key of one client, and what it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    owner: PartyKey,
    /// Hash of client and key: a key may hold anything.
    name: String,
    /// Hash of everything that makes the request what it is.
    fingerprint: String,
    until: Timestamp,
    /// Until when another gateway leaves it alone.
    claimed_until: Timestamp,
    now: Timestamp,
    body_bytes_max: u64,
    /// What a job does is carried on by one gateway at a time, which has no claim to wait for.
    in_job: bool,
}

/// That a gateway is at work on a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    holder: String,
    until: i64,
}

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    fingerprint: String,
    until: i64,
    status: u16,
    headers: Vec<(String, String)>,
    /// Base64; empty when there was none, or when it was larger than is kept.
    body: String,
    modified: Option<i64>,
    /// `Type/id/_history/version` of everything in it.
    resources: Vec<String>,
}

impl Key {
    /// The key of a write; `None` when it has none, or changes nothing, or nobody is known to have sent it.
    ///
    /// Errors: `ParameterInvalid` for a batch, whose entries are done one by one.
    pub fn of(
        permit: &Permit,
        interaction: &Interaction,
        aside: &Aside,
        limits: &Limits,
    ) -> Result<Option<Key>, Refusal> {
        let (Some(key), Some(actor)) = (&aside.idempotency_key, permit.actor()) else { return Ok(None) };
        let Some(said) = said(interaction, aside) else { return Ok(None) };
        let after = |ms: u64| {
            let us = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
            Timestamp(aside.now.0.saturating_add(us))
        };
        Ok(Some(Key {
            owner: permit.filter().organisation,
            name: named(&actor.client, key),
            fingerprint: hash(&said),
            until: after(limits.idempotency_ms),
            claimed_until: after(limits.handler_ms.saturating_add(CLAIM_MS)),
            now: aside.now,
            body_bytes_max: limits.idempotency_body_bytes_max,
            in_job: aside.in_job,
        }))
    }

    /// Claims the key for this gateway, where others share the store: kept before the work begins, so that they refuse the
    /// key meanwhile and do not say that nothing was done. A claim ends with the write, or by its time when the gateway has
    /// gone.
    ///
    /// Errors: `Conflict` while another gateway holds it; the store's.
    pub async fn claim(&self, store: &dyn Store, permit: &Permit, by: &InWork) -> Result<(), Refusal> {
        if self.in_job || !store.is_shared() {
            return Ok(());
        }
        let (key, holder) = (self.clone(), by.holder.to_string());
        commit(store, permit, move |writer| {
            if kept(writer, key.owner, &key.name, key.now)?.is_some() {
                return Ok(());
            }
            if let Some(claim) = claimed(writer, key.owner, &key.name, key.now)?
                && claim.holder != holder
            {
                return Err(StoreError::Refused(Box::new(in_work())));
            }
            let claim = Claim { holder, until: key.claimed_until.0 };
            document::put(writer, Shelf::Idempotency, key.owner, &claim_key(&key.name), &claim)
        })
        .await
    }

    /// Gives the key of a refused write up, so that it can be mended and sent under the same one.
    pub async fn release(&self, store: &dyn Store, permit: &Permit, by: &InWork) {
        if self.in_job || !store.is_shared() {
            return;
        }
        let (key, holder) = (self.clone(), by.holder.to_string());
        let released = commit(store, permit, move |writer| {
            if claimed(writer, key.owner, &key.name, key.now)?.is_some_and(|claim| claim.holder == holder) {
                writer.shelf_remove(Shelf::Idempotency, key.owner, &claim_key(&key.name))?;
            }
            Ok(())
        });
        if let Err(refusal) = released.await {
            // It ends by its time.
            tracing::warn!(cause = refusal.cause.as_deref(), "a claim of a key was not given up");
        }
    }

    /// Marks the key as in work.
    ///
    /// Errors: `Conflict` when it is already (section 2.6: 409).
    pub fn hold(&self, by: &InWork) -> Result<Held, Refusal> {
        let name = format!("{}/{}", self.owner.0, self.name);
        if by.keys().insert(name.clone()) {
            return Ok(Held { name, by: by.clone() });
        }
        Err(in_work())
    }

    /// The answer the key's write was given, if it was done.
    ///
    /// Errors: `BusinessRule` (422) when the key came with another request.
    pub fn earlier(
        &self,
        reader: &mut dyn Reader,
        aside: &Aside,
        base: &str,
    ) -> Result<Option<Outcome>, StoreError> {
        let Some(kept) = kept(reader, self.owner, &self.name, self.now)? else { return Ok(None) };
        if kept.fingerprint != self.fingerprint {
            let text = "This Idempotency-Key was sent with another request. A new request needs a new key.";
            return Err(StoreError::Refused(Box::new(Refusal::new(Reason::BusinessRule, text))));
        }
        Ok(Some(again(kept, reader, aside, base)?))
    }

    /// Keeps an answer under the key, in the transaction of its write, and takes away what is forgotten.
    pub fn keep(
        &self,
        writer: &mut dyn Writer,
        answer: &Answer,
        resources: &[String],
    ) -> Result<(), StoreError> {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let small = answer.body.len() as u64 <= self.body_bytes_max;
        let kept = Kept {
            fingerprint: self.fingerprint.clone(),
            until: self.until.0,
            status: answer.status.as_u16(),
            headers: answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: if small { STANDARD.encode(&answer.body) } else { String::new() },
            modified: answer.modified.map(|at| at.0),
            resources: resources.to_vec(),
        };
        for (_, due, name) in
            writer.shelf_list(Shelf::Idempotency, Some(self.owner), "due/", FORGOTTEN_AT_ONCE)?
        {
            let over = due.strip_prefix("due/").is_some_and(|rest| rest < moment(self.now).as_str());
            if !over {
                break;
            }
            writer.shelf_remove(Shelf::Idempotency, self.owner, &due)?;
            writer.shelf_remove(Shelf::Idempotency, self.owner, &String::from_utf8_lossy(&name))?;
        }
        writer.shelf_remove(Shelf::Idempotency, self.owner, &claim_key(&self.name))?;
        let due = format!("due/{}/{}", moment(self.until), self.name);
        writer.shelf_put(Shelf::Idempotency, self.owner, &due, shelf_key(&self.name).as_bytes())?;
        document::put(writer, Shelf::Idempotency, self.owner, &shelf_key(&self.name), &kept)
    }
}

fn in_work() -> Refusal {
    let text =
        "A write with this Idempotency-Key is in work. Ask [base]/$outcome?key=, or send it again later.";
    Refusal::new(Reason::Conflict, text).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Whether a refusal says that the write with the key is in work.
pub(super) fn is_in_work(refusal: &Refusal) -> bool {
    refusal.reason == Reason::Conflict && refusal.headers.iter().any(|(name, _)| *name == header::RETRY_AFTER)
}

/// `GET [base]/$outcome?key=`: what became of the write with this key.
#[derive(Debug)]
pub struct Prepared {
    name: Option<String>,
}

/// Reads the one parameter.
///
/// Errors: `ParameterUnknown`, `ParameterInvalid`; `Conflict` while the write is in work.
pub fn prepare(
    scene: &Scene<'_>,
    parameters: &Parameters,
    in_work: &InWork,
    owner: PartyKey,
) -> Result<Prepared, Refusal> {
    let [(name, key)] = &*parameters.pairs else {
        return Err(Refusal::new(Reason::ParameterInvalid, "It takes the key of the write, once.").at("key"));
    };
    if name != "key" {
        return Err(Refusal::new(Reason::ParameterUnknown, "It takes key.").at("key"));
    }
    let name = scene.actor.map(|actor| named(&actor.client, key));
    if let Some(name) = &name {
        let held = format!("{}/{name}", owner.0);
        if in_work.keys().contains(&held) {
            return Err(asked_too_early());
        }
    }
    Ok(Prepared { name })
}

impl Prepared {
    /// Status, location and version of what was done, as Parameters.
    ///
    /// Errors: `NotFound` when nothing was done under the key, or it is forgotten.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        aside: &Aside,
    ) -> Result<Outcome, StoreError> {
        let nothing = || StoreError::Refused(Box::new(Refusal::not_found()));
        let name = self.name.as_ref().ok_or_else(nothing)?;
        let owner = permit.filter().organisation;
        let Some(kept) = kept(reader, owner, name, scene.now)? else {
            return Err(match claimed(reader, owner, name, scene.now)? {
                Some(_) => StoreError::Refused(Box::new(asked_too_early())),
                None => nothing(),
            });
        };
        let mut parts = vec![serde_json::json!({ "name": "status", "valueString": kept.status.to_string() })];
        for (header, name) in [("location", "location"), ("etag", "etag"), ("last-modified", "lastModified")]
        {
            if let Some((_, value)) = kept.headers.iter().find(|(known, _)| known == header) {
                parts.push(serde_json::json!({ "name": name, "valueString": value }));
            }
        }
        let body = serde_json::json!({ "resourceType": "Parameters", "parameter": parts }).to_string();
        let answer = Answer::fhir(StatusCode::OK, found_body(body.into(), aside.format));
        Ok(Outcome { answer, facts: Facts::default() })
    }
}

fn asked_too_early() -> Refusal {
    Refusal::new(Reason::Conflict, "The write with this key is in work; ask again.")
}

/// The kept answer, with its body only if everything in it may be seen now.
fn again(kept: Kept, reader: &mut dyn Reader, aside: &Aside, base: &str) -> Result<Outcome, StoreError> {
    let failed = |what: &str| StoreError::Database(format!("a kept answer cannot be read: {what}"));
    let mut seen = true;
    let mut facts = Facts::default();
    for text in &kept.resources {
        let Target::Local(kind, id, Some(version)) = reference::parse(text, base) else {
            return Err(failed("a resource"));
        };
        match reader.version(kind, &id, version)? {
            Some(stored) => facts.add(std::slice::from_ref(&stored)),
            None => seen = false,
        }
    }
    facts.settle();
    let status = StatusCode::from_u16(kept.status).map_err(|_| failed("its status"))?;
    let mut answer = Answer::empty(status);
    for (name, value) in &kept.headers {
        let is_body = name.starts_with("content-");
        if (seen && !kept.body.is_empty()) || !is_body {
            let name: HeaderName = name.parse().map_err(|_| failed("a header"))?;
            answer = answer.with(name, value);
        }
    }
    if seen {
        answer.body = Bytes::from(STANDARD.decode(&kept.body).map_err(|_| failed("its body"))?);
        answer.body = found_body(answer.body, aside.format);
    }
    answer.modified = kept.modified.map(Timestamp);
    Ok(Outcome { answer, facts })
}

fn kept(
    reader: &mut dyn Reader,
    owner: PartyKey,
    name: &str,
    now: Timestamp,
) -> Result<Option<Kept>, StoreError> {
    let kept: Option<Kept> = document::get(reader, Shelf::Idempotency, owner, &shelf_key(name))?;
    Ok(kept.filter(|kept| now.0 < kept.until))
}

/// The claim on a key that holds.
fn claimed(
    reader: &mut dyn Reader,
    owner: PartyKey,
    name: &str,
    now: Timestamp,
) -> Result<Option<Claim>, StoreError> {
    let claim: Option<Claim> = document::get(reader, Shelf::Idempotency, owner, &claim_key(name))?;
    Ok(claim.filter(|claim| now.0 < claim.until))
}

/// Everything that makes a write what it is; `None` for what is no write, or is no single one.
fn said(interaction: &Interaction, aside: &Aside) -> Option<Vec<u8>> {
    use crate::connection::request::Patch;
    let r4 = sluis_conformance::definitions::r4();
    let name = |kind: &crate::ids::ResourceType| r4.type_name(*kind).to_owned();
    let patch = |patch: &Patch| match patch {
        Patch::Json(doc) => format!("json {}", doc.text()),
        Patch::Path(doc) => format!("path {}", doc.text()),
    };
    let (what, whom, body) = match interaction {
        Interaction::Create(kind, doc) => ("create", name(kind), doc.text().to_owned()),
        Interaction::Update(kind, id, doc) => {
            ("update", format!("{}/{id}", name(kind)), doc.text().to_owned())
        }
        Interaction::UpdateWhere(kind, asked, doc) => {
            ("update", format!("{}?{}", name(kind), asked.raw), doc.text().to_owned())
        }
        Interaction::Patch(kind, id, how) => ("patch", format!("{}/{id}", name(kind)), patch(how)),
        Interaction::PatchWhere(kind, asked, how) => {
            ("patch", format!("{}?{}", name(kind), asked.raw), patch(how))
        }
        Interaction::MetaChange(kind, id, true, doc) => {
            ("meta-add", format!("{}/{id}", name(kind)), doc.text().to_owned())
        }
        Interaction::MetaChange(kind, id, false, doc) => {
            ("meta-delete", format!("{}/{id}", name(kind)), doc.text().to_owned())
        }
        Interaction::Delete(kind, id) => ("delete", format!("{}/{id}", name(kind)), String::new()),
        Interaction::DeleteWhere(kind, asked) => {
            ("delete", format!("{}?{}", name(kind), asked.raw), String::new())
        }
        Interaction::Bundle(doc) => ("transaction", String::new(), doc.text().to_owned()),
        _ => return None,
    };
    let conditions = format!("{:?}", aside.preconditions);
    let mut out = Vec::new();
    for part in [what, &whom, &conditions, &body] {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    Some(out)
}

fn named(client: &str, key: &str) -> String {
    hash(&[client.as_bytes(), b"\0", key.as_bytes()].concat())
}

fn hash(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shelf_key(name: &str) -> String {
    format!("key/{name}")
}

fn claim_key(name: &str) -> String {
    format!("claim/{name}")
}

/// A moment as text that sorts.
fn moment(at: Timestamp) -> String {
    format!("{:020}", at.0.max(0))
}
