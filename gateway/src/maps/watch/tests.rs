//! The page as its browser gets it. What a browser makes of it: `tests/clients/watch_in_chromium.py`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::{Sender, channel};

use super::look::{State, look, stamp};
use super::serve;

/// A copy of a shipped folder that a test may change; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn of(name: &str, test: &str) -> Folder {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mappings").join(name);
        let to = std::env::temp_dir().join(format!("sluis-watch-{}-{test}", std::process::id()));
        for (path, bytes) in crate::maps::files::files(&from).unwrap() {
            let file = to.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
        Folder(to)
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.0.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} holds no {from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Serves a state; the port, and where later states go in.
async fn served(first: State) -> (u16, Sender<Arc<State>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel(Arc::new(first));
    tokio::spawn(serve::serve(listener, receiver));
    (port, sender)
}

/// Status, headers and body of a request, asked under a name.
async fn ask(port: u16, host: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

async fn json(port: u16, path: &str) -> Value {
    let (status, _, body) = ask(port, "localhost:1", path).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn the_page_is_for_this_machine_and_loads_nothing_from_elsewhere() {
    let folder = Folder::of("ctb-settings", "page");
    let (port, _state) = served(State { number: 1, ..look(&folder.0) }).await;
    let (status, head, body) = ask(port, &format!("127.0.0.1:{port}"), "/").await;
    assert!(status == 200 && head.contains("content-security-policy: default-src 'none'"), "{head}");
    for path in ["/", "/watch.js", "/watch.css"] {
        let (status, _, text) = ask(port, "localhost", path).await;
        assert!(status == 200 && !text.contains("://"), "{path} names another place");
        assert!(!text.contains("innerHTML"), "{path}");
    }
    assert!(!body.contains("style=") && !body.contains("onclick"), "{body}");
    // A page elsewhere that made its own name lead here is not answered.
    assert_eq!(ask(port, "evil.example", "/state").await.0, 403);
    assert_eq!(ask(port, "localhost", "/case?name=../../etc").await.0, 404);
    assert_eq!(ask(port, "localhost", "/nothing").await.0, 404);
}

/// What the page draws: the pieces are the document, each element knows the pieces behind it and no others.
#[tokio::test]
async fn every_element_leads_to_its_bytes_and_back() {
    for (name, case, path, field) in [
        ("ctb-settings", "settings", "Observation.component[1].valueQuantity.value", "18"),
        ("als-visit", "visit", "Observation.valueQuantity.value", "3"),
        ("als-plan", "plan", "Consent.dateTime", "2026-03-10"),
    ] {
        let folder = Folder::of(name, &format!("pieces-{name}"));
        let (port, _state) = served(State { number: 1, ..look(&folder.0) }).await;
        let page = json(port, &format!("/case?name={case}")).await;
        let pieces = page["pieces"].as_array().unwrap();
        let text: String = pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
        let input = std::fs::read(folder.0.join(page["name"].as_str().unwrap())).unwrap();
        assert_eq!(text, String::from_utf8_lossy(&input), "{name}: the pieces are the document");
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        pieces.iter().filter_map(|p| p["state"].as_str()).for_each(|s| *states.entry(s).or_default() += 1);
        assert!(states["copied"] > 3, "{name}: {states:?}");
        let elements: Vec<&Value> = page["units"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|u| u["elements"].as_array().unwrap())
            .collect();
        let mut linked = 0;
        for element in &elements {
            for number in element["pieces"].as_array().into_iter().flatten() {
                let piece = &pieces[number.as_u64().unwrap() as usize];
                assert!(piece["path"].is_string(), "{element} leads to text between fields");
                linked += 1;
            }
        }
        assert!(linked > elements.len() / 2, "{name}: {linked} links of {} elements", elements.len());
        let behind = |element: &Value| {
            let numbers = element["pieces"].as_array().unwrap();
            let text = |n: &Value| pieces[n.as_u64().unwrap() as usize]["text"].as_str().unwrap();
            // JSON has its strings in quotes.
            numbers.iter().map(|n| text(n).trim_matches('"').to_owned()).collect::<Vec<_>>()
        };
        let found = elements
            .iter()
            .filter(|element| element["path"] == path)
            .any(|element| behind(element).iter().any(|text| text == field));
        assert!(found, "{name}: {path} does not lead to {field}");
    }
}

#[tokio::test]
async fn a_save_is_seen_compiled_tested_and_told() {
    let folder = Folder::of("ctb-settings", "save");
    let before = stamp(&folder.0);
    let (port, sender) = served(State { number: 1, ..look(&folder.0) }).await;
    let told = json(port, "/state?after=0").await;
    assert_eq!(told["number"], 1);
    assert!(told["state"]["cases"].as_array().unwrap().iter().all(|case| case["passed"] == true), "{told}");
    // A wrong name in the map: the page says where, and waits.
    folder.edit("map.fml", "settings.ipap", "settings.ipap.nothingg()");
    assert_ne!(stamp(&folder.0), before);
    let waiting = tokio::spawn(async move { json(port, "/state?after=1").await });
    sender.send_replace(Arc::new(State { number: 2, ..look(&folder.0) }));
    let told = waiting.await.unwrap();
    assert!(told["number"] == 2 && told["state"]["problems"][0].as_str().unwrap().contains("^"), "{told}");
    assert_eq!(ask(port, "localhost", "/case?name=settings").await.0, 404);
    folder.edit("map.fml", "settings.ipap.nothingg()", "settings.ipap");
    folder.edit("codes/status.csv", ",final,", ",amended,");
    sender.send_replace(Arc::new(State { number: 3, ..look(&folder.0) }));
    let told = json(port, "/state?after=2").await;
    let failed = told["state"]["cases"].as_array().unwrap().iter().find(|case| case["passed"] == false);
    let shown = failed.unwrap()["differences"].to_string();
    assert!(shown.contains("amended") && shown.contains("map.fml"), "{shown}");
}
