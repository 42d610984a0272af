//! A store, two organisations and the shipped mappings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use sluis_conformance::definitions;

use crate::audit::entry::AuditRecord;
use crate::clock::{Clock, Fixed, Timestamp};
use crate::connection::request::{Document, Parameters};
use crate::decision::organisation::Organisations;
use crate::decision::policy::Policy;
use crate::decision::{Action, Context, Need, Parties, Permit, decide};
use crate::identity::actor::{Actor, Permissions, Scope, ScopeLevel};
use crate::ids::{PartyKey, ResourceId, ResourceType, SYSTEM_BSN, Ura};
use crate::ingest::map::{Files, Maps};
use crate::ingest::pages::Pages;
use crate::ingest::provenance;
use crate::ingest::{Audit, IngestFacts, Ingested, Intake, IntakeLimits};
use crate::interaction::cursor::CursorSeal;
use crate::interaction::write::Desk;
use crate::response::refusal::Refusal;
use crate::store::quarantine::{QuarantineQuery, QuarantineRow};
use crate::store::sqlite::{Settings, SqliteStore};
use crate::store::{Reader, Shelf, Store, StoreError, Stored, WriteReceipt, WriteWork};

/// Academic hospital, sends ORU.
pub(super) const UMC: &str = "90000101";
/// GeSp team, sends CSV.
pub(super) const GESP: &str = "90000201";
/// GeSp team, sends visits and care plans.
pub(super) const GESP_NOORD: &str = "90000202";
/// Home-ventilation centre, sends settings.
pub(super) const CTB: &str = "90000401";
/// General practice, sends STU3.
pub(super) const GP: &str = "90000301";

const ORGANISATIONS: &str = r#"
[[organisation]]
ura = "90000101"
name = "UMC Teststad"
kind = "hospital"
[[organisation]]
ura = "90000201"
name = "GeSp-team Midden"
kind = "gesp"
[[organisation]]
ura = "90000202"
name = "GeSp-team Noord"
kind = "gesp"
[[organisation]]
ura = "90000401"
name = "Centrum voor Thuisbeademing Test"
kind = "ctb"
[[organisation]]
ura = "90000301"
name = "Huisartsenpraktijk De Brug"
kind = "gp"
"#;

pub(super) struct Scene {
    store: Arc<SqliteStore>,
    pub(super) intake: Intake,
    policy: Arc<Policy>,
    organisations: Arc<Organisations>,
    pub(super) clock: Arc<Fixed>,
    seal: CursorSeal,
    runtime: tokio::runtime::Runtime,
    folder: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Scene {
    pub(super) fn new() -> Scene {
        let folder = temporary_folder();
        std::fs::create_dir_all(&folder).unwrap();
        Scene::at(folder)
    }

    /// Closes the store and leaves its folder, for [`Scene::at`].
    pub(super) fn close(mut self) -> PathBuf {
        // Dropped without its folder, it takes nothing away.
        std::mem::take(&mut self.folder)
    }

    /// Passes over so many ids, which the fixed clock would draw once more in another process.
    pub(super) fn draw(&self, ids: usize) {
        for _ in 0..ids {
            self.clock.uuid();
        }
    }

    pub(super) fn at(folder: PathBuf) -> Scene {
        let settings = Settings {
            synchronous_full: false,
            ..Settings::at(folder.join("t.db"), "https://sluis.example/fhir")
        };
        let policy = Policy::included().unwrap();
        let organisations = Organisations::parse(&policy, "orgs.toml", ORGANISATIONS).unwrap();
        Scene {
            store: Arc::new(SqliteStore::open(settings).unwrap()),
            intake: Intake::new(Maps::shipped().unwrap()),
            policy: Arc::new(policy),
            organisations: Arc::new(organisations),
            clock: Arc::new(Fixed::at(Timestamp(1_773_000_000_000_000))),
            seal: CursorSeal::new(&[7; 32]).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            folder,
        }
    }

    pub(super) fn permit(&self, ura: &str) -> Permit {
        self.permit_for(ura, Action::Create)
    }

    /// A permit for what `$ingest` and `$replay` (create) or `$quarantine` (read) need.
    fn permit_for(&self, ura: &str, action: Action) -> Permit {
        self.permit_of(ura, action, None)
    }

    fn permit_of(&self, ura: &str, action: Action, kind: Option<ResourceType>) -> Permit {
        let all = Permissions { create: true, read: true, update: true, delete: true, search: true };
        let actor = Arc::new(Actor {
            client: format!("epd-{ura}").into(),
            organisation: Ura::parse(ura).unwrap(),
            user: None,
            patient: None,
            purpose: "TREAT".into(),
            scopes: vec![Scope { level: ScopeLevel::System, kind: None, permissions: all }],
            token_id: "t".into(),
            token_expires: Timestamp::MAX,
        });
        let parties = Parties::of(&*self.store, &self.organisations, &actor).unwrap();
        let context =
            Context { policy: &self.policy, organisations: &self.organisations, now: self.clock.now() };
        decide(&context, &actor, &Need { action, kind }, &parties).unwrap()
    }

    pub(super) fn desk(&self, ura: &str) -> Desk {
        Desk {
            permit: self.permit(ura),
            policy: self.policy.clone(),
            organisations: self.organisations.clone(),
            base: "https://sluis.example/fhir".into(),
            now: self.clock.now(),
            clock: self.clock.clone(),
        }
    }

    fn audit(&self, ura: &str) -> Audit {
        let (organisation, at) = (self.permit(ura).filter().organisation, self.clock.now());
        Arc::new(move |facts: &IngestFacts| AuditRecord {
            at,
            organisation,
            patients: facts.patients.clone(),
            body: format!("{{\"status\":{},\"repeated\":{}}}", facts.status, facts.repeated).into_bytes(),
        })
    }

    pub(super) fn ingest(&self, ura: &str, media: &str, bytes: &[u8]) -> Ingested {
        self.try_ingest(&*self.store, ura, media, bytes).unwrap()
    }

    /// A document that is no document: why.
    pub(super) fn refused(&self, ura: &str, media: &str, bytes: &[u8]) -> Refusal {
        self.try_ingest(&*self.store, ura, media, bytes).unwrap_err()
    }

    /// The same document three times at once.
    pub(super) fn ingest_at_once(&self, ura: &str, media: &str, bytes: &[u8]) -> [Ingested; 3] {
        let document = document(media, bytes);
        let (desk, audit) = (self.desk(ura), self.audit(ura));
        let send = || self.intake.ingest(&*self.store, &desk, &document, audit.clone());
        let (a, b, c) = self.runtime.block_on(async { tokio::join!(send(), send(), send()) });
        [a.unwrap(), b.unwrap(), c.unwrap()]
    }

    fn try_ingest(
        &self,
        store: &dyn Store,
        ura: &str,
        media: &str,
        bytes: &[u8],
    ) -> Result<Ingested, Refusal> {
        self.clock.advance_seconds(1);
        let document = document(media, bytes);
        self.runtime.block_on(self.intake.ingest(store, &self.desk(ura), &document, self.audit(ura)))
    }

    /// Everything is done, and the commit fails.
    pub(super) fn ingest_and_pull_the_plug(
        &self,
        ura: &str,
        media: &str,
        bytes: &[u8],
    ) -> Result<Ingested, Refusal> {
        self.try_ingest(&NoCommit(self.store.clone()), ura, media, bytes)
    }

    pub(super) fn replay(&self, ura: &str, pairs: &[(&str, &str)]) -> Ingested {
        self.replay_looking(ura, pairs, Some(self.permit_for(ura, Action::Read)))
    }

    /// A replay by who may read so much of what is stored.
    pub(super) fn replay_looking(&self, ura: &str, pairs: &[(&str, &str)], look: Option<Permit>) -> Ingested {
        self.clock.advance_seconds(1);
        let desk = self.desk(ura);
        let asked = parameters(pairs);
        let pages = self.pages(&desk.permit);
        let work = self.intake.replay(&*self.store, &desk, look, &pages, &asked, self.audit(ura));
        self.runtime.block_on(work).unwrap()
    }

    fn pages<'s>(&'s self, permit: &'s Permit) -> Pages<'s> {
        Pages { seal: &self.seal, actor: permit.actor(), clock: &*self.clock, now: self.clock.now() }
    }

    pub(super) fn waiting(&self, ura: &str) -> String {
        self.listed(ura, &[]).unwrap()
    }

    /// What `$quarantine` says.
    pub(super) fn listed(&self, ura: &str, pairs: &[(&str, &str)]) -> Result<String, Refusal> {
        let permit = self.permit_for(ura, Action::Read);
        self.intake.quarantine(&*self.store, &permit, &self.pages(&permit), &parameters(pairs))
    }

    /// What `$unmapped` says.
    pub(super) fn unmapped(&self, ura: &str, pairs: &[(&str, &str)]) -> Result<String, Refusal> {
        let permit = self.permit_for(ura, Action::Read);
        self.intake.unmapped(&*self.store, &permit, &self.pages(&permit), &parameters(pairs))
    }

    pub(super) fn unmapped_file(&self, ura: &str, file: &str) -> Result<String, Refusal> {
        self.intake.unmapped_file(&*self.store, &self.permit_for(ura, Action::Read), file)
    }

    pub(super) fn discard(&self, ura: &str, pairs: &[(&str, &str)]) -> String {
        self.clock.advance_seconds(1);
        let desk = Desk { permit: self.permit_for(ura, Action::Discard), ..self.desk(ura) };
        let asked = parameters(pairs);
        let work = self.intake.discard(&*self.store, &desk, &asked, self.audit(ura));
        self.runtime.block_on(work).unwrap().body
    }

    pub(super) fn trace(&self, ura: &str, kind: &str, id: &ResourceId) -> Result<String, Refusal> {
        let permit = self.permit_of(ura, Action::Read, Some(kind_of(kind)));
        let work = self.intake.trace(&*self.store, &permit, kind_of(kind), id);
        self.runtime.block_on(work).map(|(_, body, _)| body)
    }

    /// Puts a document on a shelf of a sender, past the stage.
    pub(super) fn put(&self, ura: &str, shelf: Shelf, key: &'static str, document: String) {
        let (permit, party) = (self.permit(ura), self.party(ura));
        let work = crate::interaction::write::commit(&*self.store, &permit, move |writer| {
            writer.shelf_put(shelf, party, key, document.as_bytes())
        });
        self.runtime.block_on(work).unwrap();
    }

    pub(super) fn limit(&mut self, limits: IntakeLimits) {
        self.intake = Intake::new(Maps::shipped().unwrap()).limited(limits);
    }

    /// The shipped mappings with one file of a folder changed.
    pub(super) fn mend(&self, folder: &str, file: &str, change: impl Fn(String) -> String) {
        let mut folders = shipped();
        changed(folders.get_mut(folder).unwrap(), file, change);
        self.intake.exchange(Maps::new(folders).unwrap());
    }

    /// The shipped mappings, and beside one of them a shadow with one file changed.
    pub(super) fn shadow_of(&self, folder: &str, file: &str, change: impl Fn(String) -> String) {
        let mut folders = shipped();
        let mut files = folders.get(folder).unwrap().clone();
        changed(&mut files, file, change);
        changed(&mut files, "mapping.toml", |text| text.replacen("format =", "shadow = true\nformat =", 1));
        folders.insert(format!("{folder}-next"), files);
        self.intake.exchange(Maps::new(folders).unwrap());
    }

    /// What `$shadow` says once everything was looked at.
    pub(super) fn shadow_report(&self, ura: &str) -> String {
        self.intake.shadows.settle();
        self.intake.shadow(&self.permit_for(ura, Action::Read), &parameters(&[])).unwrap()
    }

    pub(super) fn read<T>(&self, ura: &str, work: impl Fn(&mut dyn Reader) -> Result<T, StoreError>) -> T {
        let mut found = None;
        self.store
            .read(&self.permit(ura), &mut |reader| {
                found = Some(work(reader)?);
                Ok(())
            })
            .unwrap();
        found.unwrap()
    }

    pub(super) fn current(&self, ura: &str, kind: &str, id: &str) -> Option<Stored> {
        let (kind, id) = (kind_of(kind), ResourceId::parse(id).unwrap());
        self.read(ura, |reader| reader.current(kind, &id))
    }

    /// The one written resource of a type: its current text.
    pub(super) fn one(&self, ura: &str, answer: &Ingested, prefix: &str) -> String {
        let found: Vec<_> = answer.facts.resources.iter().filter(|r| r.starts_with(prefix)).collect();
        assert_eq!(found.len(), 1, "{:?}", answer.facts.resources);
        let mut parts = found[0].split('/');
        let (kind, id) = (parts.next().unwrap(), parts.next().unwrap());
        let stored = self.current(ura, kind, id).unwrap();
        String::from_utf8(stored.body.to_vec()).unwrap()
    }

    pub(super) fn patient(&self, ura: &str, bsn: &str) -> Option<ResourceId> {
        self.read(ura, |reader| reader.patient_by_identifier(SYSTEM_BSN, bsn)).map(|(_, id)| id)
    }

    pub(super) fn original(&self, ura: &str, sha256: &str) -> Vec<u8> {
        let party = self.party(ura);
        self.read(ura, |reader| provenance::original(reader, party, sha256)).unwrap().to_vec()
    }

    fn party(&self, ura: &str) -> PartyKey {
        self.permit(ura).filter().organisation
    }

    /// Number of audit records.
    pub(super) fn audited(&self) -> u64 {
        self.read(UMC, |reader| reader.audit_head()).0
    }

    /// What of a sender waits or was set aside.
    pub(super) fn kept(&self, ura: &str) -> Vec<QuarantineRow> {
        let sender = self.party(ura);
        self.read(ura, |reader| {
            let mut rows = Vec::new();
            for discarded in [false, true] {
                let query = QuarantineQuery { sender, discarded, cause: None };
                for document in reader.quarantine_documents(query, None, 10_000)?.0 {
                    let units = reader.quarantine_units(sender, &document.sha256)?;
                    rows.extend(units.into_iter().filter(|row| row.discard.is_some() == discarded));
                }
            }
            Ok(rows)
        })
    }

    /// Every shelf of every sender this stage writes, but receipts' and entries' times: what a resend must not change.
    pub(super) fn state(&self) -> Vec<(PartyKey, String, Bytes)> {
        let mut all = Vec::new();
        for ura in [UMC, GESP, GP] {
            let party = self.party(ura);
            for shelf in [Shelf::Receipt, Shelf::Original, Shelf::Statement, Shelf::PatientLink] {
                all.extend(self.read(ura, |reader| reader.shelf_list(shelf, Some(party), "", 10_000)));
            }
            all.extend(
                self.kept(ura).into_iter().map(|row| {
                    (party, format!("{}/{}#{}", row.sha256, row.label, row.ordinal), row.document)
                }),
            );
        }
        all
    }
}

/// The store, but no commit ever happens.
struct NoCommit(Arc<SqliteStore>);

impl Store for NoCommit {
    fn read(
        &self,
        permit: &Permit,
        work: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.0.read(permit, work)
    }

    fn write(&self, permit: Permit, work: WriteWork) -> WriteReceipt {
        self.0.write(
            permit,
            Box::new(move |writer| {
                work(writer)?;
                Err(StoreError::Database("the plug was pulled".to_owned()))
            }),
        )
    }

    fn party(&self, name: &str) -> Result<PartyKey, StoreError> {
        self.0.party(name)
    }

    fn patient_key(&self, id: &ResourceId) -> Result<Option<crate::ids::PatientKey>, StoreError> {
        self.0.patient_key(id)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.0.check()
    }
}

/// A document as the connection hands it over; `;fhirVersion=` may follow the media type.
fn document(media: &str, bytes: &[u8]) -> Document {
    let (media, version) = media.split_once(";fhirVersion=").map_or((media, None), |(m, v)| (m, Some(v)));
    Document {
        media: media.into(),
        media_parameters: version.map(|v| ("fhirVersion".into(), v.into())).into_iter().collect(),
        bytes: Bytes::copy_from_slice(bytes),
        idempotency_key: None,
    }
}

/// The shipped mappings without their cases, by folder.
fn shipped() -> BTreeMap<String, Files> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../mappings");
    let mut folders = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.join("mapping.toml").is_file() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let mut files = Files::new();
            for file in ["mapping.toml", "map.fml"] {
                files.insert(file.to_owned(), std::fs::read(path.join(file)).unwrap());
            }
            for entry in std::fs::read_dir(path.join("codes")).into_iter().flatten() {
                let entry = entry.unwrap();
                let name = format!("codes/{}", entry.file_name().to_string_lossy());
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
            folders.insert(name, files);
        }
    }
    folders
}

fn changed(files: &mut Files, file: &str, change: impl Fn(String) -> String) {
    let bytes = files.get_mut(file).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "the change changes something");
    *bytes = changed.into_bytes();
}

/// A folder no other test of this or another process has.
fn temporary_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sluis-ingest-{}-{count}", std::process::id()))
}

pub(super) fn kind_of(name: &str) -> ResourceType {
    definitions::r4().resource_type(name).unwrap()
}

pub(super) fn parameters(pairs: &[(&str, &str)]) -> Parameters {
    let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Parameters { pairs: pairs.into(), raw: "".into() }
}

/// An ORU^R01 of the UMC about 999911120: control number `M-<number>`, sent `number` minutes after midnight.
pub(super) fn oru(number: u32, obx: &[&str]) -> Vec<u8> {
    let time = format!("20260311{:02}{:02}00", number % 1000 / 60, number % 60);
    let mut lines = vec![
        format!(
            "MSH|^~\\&|LONGFUNCTIE|UMCTEST|SLUIS|GESP|{time}||ORU^R01^ORU_R01|M-{number}|P|2.5|||AL|NE|NLD|8859/1"
        ),
        "PID|1||40112^^^UMCTEST&2.999.90000101.1&ISO^PI~999911120^^^NLMINBIZA^NNNLD".to_owned(),
        "ORC|RE||F-2026-0310^UMCTEST".to_owned(),
        "OBR|1||F-2026-0310^UMCTEST|LFO^Longfunctieonderzoek^99ALS|||20260310093000||||||||||||||||||F"
            .to_owned(),
    ];
    lines.extend(obx.iter().map(|line| (*line).to_owned()));
    let mut text = lines.join("\r");
    text.push('\r');
    text.into_bytes()
}
