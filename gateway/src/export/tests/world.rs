//! A region with one ALS centre, a treating hospital and patients; time stands still until told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::path::extract;

use super::super::{Context, Disclosure, Kickoff, Permits, Settings, run};
use super::super::{cancel, file, profile::Profile, start, status};
use crate::audit::entry::AuditRecord;
use crate::clock::{Clock, Fixed, Timestamp};
use crate::connection::request::Parameters;
use crate::decision::decide::{self, Parties};
use crate::decision::filter::{Arm, Derived};
use crate::decision::need::Need;
use crate::decision::organisation::Organisations;
use crate::decision::policy::Policy;
use crate::decision::{Action, Permit};
use crate::export::AuditSink;
use crate::identity::actor::{Actor, Permissions, Scope, ScopeLevel};
use crate::ids::{PartyKey, PatientKey, ResourceId, ResourceType, Ura};
use crate::response::Answer;
use crate::response::refusal::Refusal;
use crate::store::sqlite::{Settings as StoreSettings, SqliteStore};
use crate::store::{Method, Record, Store, Writer};

pub(super) const BASE: &str = "https://gateway.example/fhir";
/// 2026-11-23T12:00:00Z
pub(super) const NOW: Timestamp = Timestamp(1_795_435_200_000_000);
pub(super) const ACN: &str = "00000010";
const HOSPITAL: &str = "00000020";

pub(super) struct World {
    pub(super) context: Arc<Context>,
    pub(super) clock: Arc<Fixed>,
    pub(super) policy: Arc<Policy>,
    folder: Folder,
    settings: Settings,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of its folder for passing files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Rules {
    policy: Arc<Policy>,
    organisations: Organisations,
    clock: Arc<Fixed>,
    store: Arc<dyn Store>,
}

impl Permits for Rules {
    fn export(&self, actor: &Arc<Actor>) -> Result<Permit, Refusal> {
        let context = decide::Context {
            policy: &self.policy,
            organisations: &self.organisations,
            now: self.clock.now(),
        };
        let parties = Parties::of(self.store.as_ref(), &self.organisations, actor).unwrap();
        decide::decide(&context, actor, &Need::new(Action::Export, kind("Group")), &parties)
    }

    fn system(&self, reason: &'static str) -> Permit {
        decide::system(&self.policy, self.clock.now(), reason)
    }
}

/// Keeps act, job, file and number of resources as the body.
struct Sink;

impl AuditSink for Sink {
    fn record(&self, d: &Disclosure<'_>) -> AuditRecord {
        AuditRecord {
            at: d.at,
            organisation: d.organisation,
            patients: d.patients.to_vec(),
            body: format!("{:?} {} {}", d.act, d.file.unwrap_or("-"), d.resources).into_bytes(),
        }
    }
}

pub(super) fn kind(name: &str) -> ResourceType {
    definitions::r4().resource_type(name).unwrap()
}

pub(super) fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

impl World {
    pub(super) fn new() -> World {
        World::with(Settings { settle_seconds: 0, cohort_min: 3, ..Settings::default() })
    }

    pub(super) fn with(settings: Settings) -> World {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let folder =
            Folder(std::env::temp_dir().join(format!("sluis-export-{}-{number}", std::process::id())));
        std::fs::create_dir_all(&folder.0).unwrap();
        let clock = Arc::new(Fixed::at(NOW));
        let policy = Arc::new(Policy::included().unwrap());
        let context = open(&folder, &clock, &policy, settings);
        let world = World { context, clock, policy, folder, settings };
        world.store().party(&format!("ura:{ACN}")).unwrap();
        world
    }

    /// The process ends and another one starts on the same file.
    pub(super) fn restart(&mut self) {
        let settings = self.settings;
        let (folder, clock, policy) = (&self.folder, &self.clock, &self.policy);
        // The old store lets go of its file first.
        self.context = open(folder, clock, policy, settings);
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.context.store.as_ref()
    }

    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Writer) -> Result<T, crate::store::StoreError> + Send + 'static,
    ) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(self.context.commit("test", work))
            .unwrap()
    }

    /// Stores a resource as the hospital's, in category `category`.
    pub(super) fn put(&self, category: &str, patient: Option<PatientKey>, body: &str) -> PatientKey {
        let doc = Doc::parse(body.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let name = doc.root().get("resourceType").unwrap().as_str().unwrap().into_owned();
        let resource = id(&doc.root().get("id").unwrap().as_str().unwrap());
        let derived = Derived {
            patient,
            category: self.policy.category(category).unwrap(),
            labels: 0,
            confidentiality: 3,
            day: NOW.day(),
            author: self.party(HOSPITAL),
        };
        let updated = self.clock.now();
        let key = self.write(move |writer| {
            let entries = extract(definitions::r4(), kind(&name), doc.root());
            let version = writer.current(kind(&name), &resource)?.map_or(1, |old| old.version + 1);
            writer.put(&Record {
                kind: kind(&name),
                id: &resource,
                version,
                updated,
                method: if version == 1 { Method::Post } else { Method::Put },
                derived,
                body: doc.text().as_bytes(),
                entries: &entries,
                root: None,
            })
        });
        PatientKey(key)
    }

    /// A patient with a total score and its date, consenting for `purposes`.
    pub(super) fn patient(&self, name: &str, purposes: &[&str]) -> PatientKey {
        let key = self.put(
            "core",
            None,
            &format!(
                r#"{{"resourceType":"Patient","id":"{name}","identifier":[{{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"999911120"}}],"name":[{{"family":"Achternaam-{name}","given":["Voornaam"]}}],"gender":"female","birthDate":"1961-02-03","address":[{{"postalCode":"1012 NX","city":"Hoogmade"}}]}}"#
            ),
        );
        self.score(name, key, 1, "2026-01-10T09:30:00+01:00");
        self.score(name, key, 2, "2026-04-20T14:00:00+02:00");
        self.consent(key, purposes);
        key
    }

    pub(super) fn score(&self, patient: &str, key: PatientKey, number: u32, when: &str) {
        self.put(
            "alsfrs",
            Some(key),
            &format!(
                r#"{{"resourceType":"Observation","id":"{patient}-score-{number}","status":"final","code":{{"coding":[{{"system":"https://sluis.care/fhir/CodeSystem/als-observation","code":"alsfrs-r-total","display":"Totaal"}}]}},"subject":{{"reference":"Patient/{patient}"}},"effectiveDateTime":"{when}","valueQuantity":{{"value":41.0,"unit":"punten","system":"http://unitsofmeasure.org","code":"{{score}}"}}}}"#
            ),
        );
    }

    /// Replaces her grants: all of the ALS set to the centre, for these purposes.
    pub(super) fn consent(&self, patient: PatientKey, purposes: &[&str]) {
        let recipient = self.party(ACN);
        let arms: Vec<Arm> = purposes
            .iter()
            .map(|purpose| Arm {
                recipient,
                purpose: self.policy.purpose(purpose).unwrap(),
                patient,
                categories: u64::MAX >> 1,
                deny_labels: 0,
                confidentiality_max: 3,
                day_from: -100_000,
                day_to: 100_000,
                author: None,
                valid_from: Timestamp(0),
                valid_to: Timestamp(4_000_000_000_000_000),
                consent: format!("Consent/c{}/_history/1", patient.0).into(),
            })
            .collect();
        self.arms(patient, arms);
    }

    pub(super) fn arms(&self, patient: PatientKey, arms: Vec<Arm>) {
        self.write(move |writer| writer.replace_arms(patient, &arms));
    }

    pub(super) fn arms_of(&self, patient: PatientKey) -> Vec<Arm> {
        let mut arms = Vec::new();
        let permit = self.context.permits.system("test");
        self.store()
            .read(&permit, &mut |reader| {
                arms = reader.arms(patient)?;
                Ok(())
            })
            .unwrap();
        arms
    }

    pub(super) fn party(&self, ura: &str) -> PartyKey {
        self.store().party(&format!("ura:{ura}")).unwrap()
    }

    pub(super) fn group(&self, name: &str, members: &[&str]) {
        let members: Vec<String> =
            members.iter().map(|m| format!(r#"{{"entity":{{"reference":"Patient/{m}"}}}}"#)).collect();
        let body = format!(
            r#"{{"resourceType":"Group","id":"{name}","type":"person","actual":true,"member":[{}]}}"#,
            members.join(",")
        );
        self.put("cohort", None, &body);
    }

    pub(super) fn start(
        &self,
        actor: &Actor,
        group: &str,
        query: &[(&str, &str)],
    ) -> Result<String, Refusal> {
        let pairs: Vec<(String, String)> =
            query.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let parameters = Parameters { pairs: pairs.into(), raw: "".into() };
        let group = id(group);
        let kickoff = Kickoff { group: &group, parameters: &parameters, respond_async: true };
        let permit = self.context.permits.export(&Arc::new(actor.clone()))?;
        let answer = wait(start(&self.context, &permit, actor, &kickoff))?;
        assert_eq!(answer.status, 202);
        let address = header(&answer, "content-location").unwrap();
        Ok(address.strip_prefix(&format!("{BASE}/export/")).unwrap().to_owned())
    }

    /// One step of a job; whether there is more.
    pub(super) fn step(&self, job: &str) -> bool {
        wait(run::step(&self.context, self.party(ACN), job)).unwrap() == crate::jobs::Step::More
    }

    pub(super) fn finish(&self, job: &str) {
        while self.step(job) {}
    }

    pub(super) fn status(&self, actor: &Actor, job: &str) -> Result<Answer, Refusal> {
        let permit = self.context.permits.export(&Arc::new(actor.clone()))?;
        wait(status(&self.context, &permit, actor, &id(job)))
    }

    pub(super) fn cancel(&self, actor: &Actor, job: &str) -> Result<Answer, Refusal> {
        let permit = self.context.permits.export(&Arc::new(actor.clone()))?;
        wait(cancel(&self.context, &permit, actor, &id(job)))
    }

    pub(super) fn file(&self, actor: &Actor, job: &str, name: &str) -> Result<Answer, Refusal> {
        let permit = self.context.permits.export(&Arc::new(actor.clone()))?;
        wait(file(&self.context, &permit, actor, &id(job), name, None))
    }

    pub(super) fn manifest(&self, actor: &Actor, job: &str) -> serde_json::Value {
        let answer = self.status(actor, job).unwrap();
        assert_eq!(answer.status, 200);
        assert!(header(&answer, "expires").is_some());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub(super) fn counts(&self, actor: &Actor, job: &str) -> serde_json::Value {
        self.manifest(actor, job)["extension"]["https://sluis.care/fhir/export-counts"].clone()
    }

    /// A whole export: lines by type, files of each section fetched.
    pub(super) fn export(&self, actor: &Actor, group: &str, query: &[(&str, &str)]) -> (String, Lines) {
        let job = self.start(actor, group, query).unwrap();
        self.finish(&job);
        let lines = self.fetch(actor, &job);
        (job, lines)
    }

    pub(super) fn fetch(&self, actor: &Actor, job: &str) -> Lines {
        let manifest = self.manifest(actor, job);
        let mut lines = Lines::new();
        for section in ["output", "deleted", "error"] {
            for entry in manifest[section].as_array().unwrap() {
                let url = entry["url"].as_str().unwrap();
                let name = url.strip_prefix(&format!("{BASE}/export/{job}/")).unwrap();
                let answer = self.file(actor, job, name).unwrap();
                assert_eq!(header(&answer, "content-type").unwrap(), "application/fhir+ndjson");
                let text = String::from_utf8(answer.body.to_vec()).unwrap();
                assert_eq!(text.lines().count() as u64, entry["count"].as_u64().unwrap());
                let kind = entry["type"].as_str().unwrap().to_owned();
                lines.entry(kind).or_default().extend(text.lines().map(str::to_owned));
            }
        }
        lines
    }

    /// Bodies of the audit log, oldest first.
    pub(super) fn audit(&self) -> Vec<String> {
        let permit = self.context.permits.system("test");
        let mut bodies = Vec::new();
        self.store()
            .read(&permit, &mut |reader| {
                let rows = reader.audit_chain(1, 1000)?;
                bodies = rows.iter().map(|row| String::from_utf8(row.body.to_vec()).unwrap()).collect();
                Ok(())
            })
            .unwrap();
        bodies
    }
}

pub(super) type Lines = BTreeMap<String, Vec<String>>;

fn open(folder: &Folder, clock: &Arc<Fixed>, policy: &Arc<Policy>, settings: Settings) -> Arc<Context> {
    let mut store_settings = StoreSettings::at(folder.0.join("sluis.db"), BASE);
    store_settings.synchronous_full = false;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(store_settings).unwrap());
    let text = format!(
        "[[organisation]]\nura = \"{ACN}\"\nname = \"ALS Centrum\"\nkind = \"acn\"\n\
         [[organisation]]\nura = \"{HOSPITAL}\"\nname = \"Ziekenhuis\"\nkind = \"hospital\"\n"
    );
    let organisations = Organisations::parse(policy, "orgs.toml", &text).unwrap();
    let rules = Rules {
        policy: Arc::clone(policy),
        organisations,
        clock: Arc::clone(clock),
        store: Arc::clone(&store),
    };
    let profile = Arc::new(Profile::built_in().unwrap());
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Arc::new(Context::new(store, clock, Arc::new(rules), Arc::new(Sink), profile, BASE.into(), settings))
}

/// The research client of the centre, with scopes for everything.
pub(super) fn researcher() -> Actor {
    actor("acn-platform", "HRESCH")
}

pub(super) fn actor(client: &str, purpose: &str) -> Actor {
    Actor {
        client: client.into(),
        organisation: Ura::parse(ACN).unwrap(),
        user: None,
        patient: None,
        purpose: purpose.into(),
        scopes: vec![Scope {
            level: ScopeLevel::System,
            kind: None,
            permissions: Permissions { read: true, search: true, ..Permissions::default() },
        }],
        token_id: "t".into(),
        token_expires: Timestamp::MAX,
    }
}

pub(super) fn header(answer: &Answer, name: &str) -> Option<String> {
    let (_, value) = answer.headers.iter().find(|(known, _)| known.as_str() == name)?;
    Some(value.to_str().unwrap().to_owned())
}

/// Runs a future on a runtime of its own.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl World {
    /// Another gateway on the same database.
    pub(super) fn another(&self) -> Arc<Context> {
        open(&self.folder, &self.clock, &self.policy, self.settings)
    }

    pub(super) fn state_of(&self, job: &str) -> Option<super::super::job::JobState> {
        let (owner, mut state) = (self.party(ACN), None);
        let permit = self.context.permits.system("test");
        self.store()
            .read(&permit, &mut |reader| {
                state = super::super::job::Job::load(reader, owner, job)?.map(|job| job.state);
                Ok(())
            })
            .unwrap();
        state
    }

    /// Documents kept for a job beside itself.
    pub(super) fn files_of(&self, job: &str) -> usize {
        let (owner, mut files) = (self.party(ACN), 0);
        let (permit, prefix) = (self.context.permits.system("test"), format!("{job}/"));
        self.store()
            .read(&permit, &mut |reader| {
                let shelf = crate::store::Shelf::ExportFile;
                files = super::super::job::list(reader, shelf, owner, &prefix, &prefix, 1000)?.len();
                Ok(())
            })
            .unwrap();
        files
    }
}
