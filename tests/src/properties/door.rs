//! The whole gateway as a fuzz target: whatever is asked of it, the answer is an answer.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use http::Method;
use sluis::demo::Context;
use sluis_conformance::definitions::r4;
use tokio::runtime::Runtime;

use crate::client::Answer;
use crate::world::{Caller, World};

/// A running gateway with a caller inside.
pub struct Door {
    runtime: Runtime,
    world: World,
    caller: Option<Caller>,
    asked: u32,
    observation: String,
}

/// Requests on one token: it lasts five minutes.
const ON_ONE_TOKEN: u32 = 2_000;

impl Door {
    /// Starts a gateway of its own.
    ///
    /// Errors: what starting a world may meet.
    pub fn open() -> Result<Door> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let world = runtime.block_on(World::start())?;
        let mut door = Door { runtime, world, caller: None, asked: 0, observation: String::new() };
        let observation = serde_json::json!({
            "resourceType": "Observation", "status": "final", "code": { "text": "x" }, "valueQuantity": { "value": 3.1 },
            "subject": { "identifier": { "system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": "999911120" } },
        });
        let made = door.ask(
            Method::POST,
            "Observation",
            "application/fhir+json",
            observation.to_string().as_bytes(),
        )?;
        door.observation = made.json()["id"].as_str().with_context(|| made.text())?.to_owned();
        Ok(door)
    }

    /// `GET [type]?[data]`; the first byte chooses the type.
    pub fn search(&mut self, data: &[u8]) -> bool {
        let Some((first, rest)) = data.split_first() else { return false };
        let kinds: Vec<&str> = r4().resource_types().map(|kind| r4().type_name(kind)).collect();
        let kind = kinds[usize::from(*first) % kinds.len()];
        self.answered(Method::GET, &format!("{kind}?{}", printable(rest)), "", b"")
    }

    /// `PATCH Observation/[id]` as a JSON Patch.
    pub fn patch(&mut self, data: &[u8]) -> bool {
        let address = format!("Observation/{}", self.observation);
        self.answered(Method::PATCH, &address, "application/json-patch+json", data)
    }

    /// `PATCH Observation/[id]` as a FHIRPath Patch.
    pub fn path_patch(&mut self, data: &[u8]) -> bool {
        let address = format!("Observation/{}", self.observation);
        self.answered(Method::PATCH, &address, "application/fhir+json", data)
    }

    /// `POST [base]`: a batch or transaction.
    pub fn bundle(&mut self, data: &[u8]) -> bool {
        self.answered(Method::POST, "", "application/fhir+json", data)
    }

    /// Whether the request was done. Panics when the gateway failed over it: 500 is never the sender's doing.
    fn answered(&mut self, method: Method, path: &str, media: &str, body: &[u8]) -> bool {
        let answer = self.ask(method, path, media, body).expect("an answer");
        let status = answer.status.as_u16();
        assert!(status < 500 || status == 501, "{status} for {path}: {}", answer.text());
        if status >= 400 {
            let text = answer.text();
            assert!(
                text.contains("OperationOutcome") && text.contains("diagnostics"),
                "{status} for {path}: {text}"
            );
        }
        status < 400
    }

    fn ask(&mut self, method: Method, path: &str, media: &str, body: &[u8]) -> Result<Answer> {
        self.asked += 1;
        if self.caller.is_none() || self.asked.is_multiple_of(ON_ONE_TOKEN) {
            self.caller =
                Some(self.runtime.block_on(self.world.caller("gesp-midden-epd", Context::system()))?);
        }
        let caller = self.caller.as_ref().context("no caller")?;
        let headers: &[(&str, &str)] = if media.is_empty() { &[] } else { &[("content-type", media)] };
        self.runtime.block_on(caller.send(method, path, headers, body.to_vec()))
    }
}

/// The bytes as a client must write them in an address: what may not stand there, percent-encoded.
fn printable(data: &[u8]) -> String {
    data.iter().fold(String::new(), |mut out, &byte| {
        if byte.is_ascii_graphic()
            && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'\\' | b'^')
        {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
