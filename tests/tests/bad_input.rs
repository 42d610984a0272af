//! Bad input over HTTPS: a clear refusal with the right status, nothing stored, nothing lost, nothing told of the inside.
//!
//! The table follows the project's list of bad input (numbers 1 to 71); the bodies are our own.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use sluis::clock::{Clock as _, System};
use sluis::demo::{self, Context};
use sluis::identity::signing::SigningKey;
use sluis_tests::client::Answer;
use sluis_tests::world::{Caller, World, entries};

const FHIR: &str = "application/fhir+json";
const XML: &str = "application/fhir+xml";
const HL7: &str = "x-application/hl7-v2+er7";

/// Resources, versions and waiting units in the database.
fn stored(world: &World) -> Result<(i64, i64)> {
    let tables = world.tables();
    Ok((
        tables.number("SELECT count(*) + (SELECT count(*) FROM version) FROM resource")?,
        tables.number("SELECT count(*) FROM shelf")?,
    ))
}

/// A refusal as it should look: of FHIR, telling nothing of the inside.
fn clear(case: &str, answer: &Answer, due: &[u16]) -> Result<()> {
    let text = answer.text();
    let status = answer.status.as_u16();
    let short: String = text.chars().take(400).collect();
    ensure!(due.contains(&status), "{case}: {status}, due {due:?}: {short}");
    for inside in [
        "panicked",
        "SQLITE",
        "sqlite",
        "rusqlite",
        "stack backtrace",
        "src/",
        ".rs:",
        "no such column",
        "SQLSTATE",
    ] {
        ensure!(!text.contains(inside), "{case} tells {inside:?}: {short}");
    }
    if status >= 400 {
        let body = answer.json();
        ensure!(body["resourceType"] == "OperationOutcome", "{case}: {short}");
        let issue = &body["issue"][0];
        ensure!(
            issue["severity"] == "error" && issue["code"].is_string() && issue["diagnostics"].is_string(),
            "{case}: {short}"
        );
    }
    Ok(())
}

struct Row {
    number: u8,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    due: &'static [u16],
}

const UNREAD: &[u16] = &[400, 422];

fn post(number: u8, body: impl Into<Vec<u8>>, due: &'static [u16]) -> Row {
    let headers = vec![("content-type", FHIR.to_owned())];
    Row { number, method: Method::POST, path: "Patient".into(), headers, body: body.into(), due }
}

fn get(number: u8, path: &str, due: &'static [u16]) -> Row {
    Row { number, method: Method::GET, path: path.into(), headers: Vec::new(), body: Vec::new(), due }
}

impl Row {
    fn to(mut self, path: &str) -> Row {
        self.path = path.into();
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Row {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    fn by(mut self, method: Method) -> Row {
        self.method = method;
        self
    }
}

fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"contact\":{}1{}}}", open.repeat(depth), close.repeat(depth))
}

fn transaction(kind: &str, entries: &Value) -> Vec<u8> {
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries }).to_string().into_bytes()
}

#[rustfmt::skip]
fn table() -> Vec<Row> {
    let patient = |rest: &str| format!("{{\"resourceType\":\"Patient\",{rest}}}");
    let bundle = |n, kind: &str, entries: Value, due| post(n, transaction(kind, &entries), due).to("");
    // Answered in XML unless JSON is asked for, as the body is XML.
    let xml = |n, body: String| post(n, body, &[400, 422]).with("content-type", XML).with("accept", FHIR);
    let put = json!({ "request": { "method": "PUT", "url": "Patient/x-1" }, "resource": { "resourceType": "Patient", "id": "x-1" } });
    let named = json!({ "fullUrl": "urn:uuid:5f1e0b9c-30a1-4c3e-9d3a-0c7d3f0a1b2c", "request": { "method": "POST", "url": "Patient" }, "resource": { "resourceType": "Patient" } });
    // To `Bundle` it would be a resource to keep (FHIR R4 bundle.html); to the base it asks to be performed.
    let inside = json!({ "request": { "method": "POST", "url": "?" }, "resource": { "resourceType": "Bundle", "type": "batch", "entry": [named] } });
    let lost = json!({ "request": { "method": "POST", "url": "Observation" }, "resource": { "resourceType": "Observation", "status": "final",
        "code": { "text": "x" }, "subject": { "reference": "Patient?identifier=urn:x|none" } } });
    let doctype = |dtd: &str| format!("<?xml version=\"1.0\"?><!DOCTYPE p [{dtd}]><Patient xmlns=\"http://hl7.org/fhir\"><id value=\"&a;\"/></Patient>");
    let none = "eyJhbGciOiJub25lIn0.e30.";
    vec![
        post(1, "{resourceType:\"Patient\"}", UNREAD),
        post(2, "{\"resourceType\":\"Patient\"/* c */}", UNREAD),
        post(3, patient("\"multipleBirthInteger\":NaN"), UNREAD),
        post(4, patient("\"multipleBirthInteger\":0x1"), UNREAD),
        post(5, [b"{\"resourceType\":\"Patient\",\"id\":\"".as_slice(), &[0xC0, 0xAF], b"\"}"].concat(), UNREAD),
        post(6, "null", UNREAD),
        post(7, "{\"resourceType\":\"Patient\",\"resourceType\":\"Patient\"}", UNREAD),
        post(8, patient("\"birthDate\":\"1960-01-01\",\"birthDate\":\"1961-01-01\""), UNREAD),
        post(9, nested(100_000, "[", "]"), &[400, 413, 422]),
        post(10, nested(20_000, "{\"a\":", "}"), &[400, 413, 422]),
        post(11, "{\"birthDate\":\"1960-01-01\"}", UNREAD),
        post(12, "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{\"text\":\"x\"}}", UNREAD),
        post(13, patient("\"shoeSize\":42"), UNREAD),
        post(14, patient("\"name\":[{\"family\":\"\"}]"), UNREAD),
        post(15, patient("\"birthDate\":null"), UNREAD),
        post(16, patient("\"multipleBirthInteger\":\"1\""), UNREAD),
        post(17, patient("\"name\":{\"family\":\"X\"}"), UNREAD),
        post(18, patient("\"gender\":\"dame\""), UNREAD),
        post(19, patient("\"birthDate\":\"2021-13-01\""), UNREAD),
        post(20, patient("\"birthDate\":\"1980-02-30\""), UNREAD),
        post(21, patient("\"deceasedBoolean\":true,\"deceasedDateTime\":\"2020\""), UNREAD),
        post(22, patient("\"deceasedString\":\"ja\""), UNREAD),
        post(23, patient("\"contact\":[{\"gender\":\"male\"}]"), UNREAD),
        post(24, patient("\"link\":[{\"other\":{\"display\":\"x\"}}]"), UNREAD),
        post(25, patient("\"text\":{\"status\":\"generated\",\"div\":\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\" onclick=\\\"x()\\\">x</div>\"}"), UNREAD),
        post(26, patient("\"managingOrganization\":{\"reference\":\"#o\"}"), UNREAD),
        post(27, "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{\"text\":\"x\"},\"effectiveInstant\":\"2020-01-01T00:00:00\"}", UNREAD).to("Observation"),
        get(28, "Patientje", &[400, 404]),
        get(29, "Patient/..%2F..%2Fetc", &[400, 404]),
        get(30, "", &[400, 404, 405, 412]).by(Method::DELETE),
        get(31, "Patient", &[400, 404, 405, 412]).by(Method::DELETE),
        get(32, "Patient", &[406]).with("accept", "image/png"),
        get(33, "Patient?_format=banana", &[400, 406]),
        post(34, "{\"resourceType\":\"Patient\",\"id\":\"x-1\"}", &[400, 404, 412]).to("Patient/x-1").by(Method::PUT).with("if-match", "three"),
        post(35, "{\"resourceType\":\"Patient\"}", &[400]).with("if-none-exist", "shoe=42"),
        // As long as the client library lets an address be; the list says 100 kB.
        get(36, &format!("Patient?family={}", "x".repeat(65_000)), &[400, 414, 431]),
        get(37, &format!("Patient?{}", "a=1&".repeat(8_000)), &[400, 414, 431]),
        bundle(38, "transaction", json!([{ "resource": { "resourceType": "Patient" } }]), &[400, 409, 412, 422]),
        bundle(39, "transaction", json!([{ "request": { "method": "POST", "url": "Patient" } }]), &[400, 409, 412, 422]),
        bundle(40, "transaction", json!([named, named]), &[400, 409, 412, 422]),
        bundle(41, "transaction", json!([put, put]), &[400, 409, 412, 422]),
        bundle(42, "transaction", json!([lost]), &[400, 409, 412, 422]),
        bundle(43, "batch", json!([inside]), &[200, 400, 422]),
        bundle(44, "batch", Value::Array(vec![named.clone(); 20_000]), &[400, 413, 422]),
        get(45, "Patient?shoe=42", &[400]).with("prefer", "handling=strict"),
        get(46, "Patient?birthdate=xx2020-01-01", &[400]),
        get(47, "RiskAssessment?probability=half", &[400]),
        get(48, "Observation?value-quantity=a%7Cb%7Cc%7Cd", &[400]),
        get(49, "Patient?_has:Observation=x", &[400]),
        get(50, "Patient?_has:Nothing:patient:code=x", &[400]),
        get(51, "Patient?_count=-1", &[400]),
        get(52, "Patient?_summary=banana", &[400]),
        get(53, "Observation?code:in=http://example.org/none", &[400, 404, 422]),
        get(54, "Patient?family=%E0%A4", &[200, 400]),
        get(55, "Patient?family=a%00b", &[200, 400]),
        get(56, "Patient?family=x'%20OR%20'1'%3D'1", &[200]),
        get(57, "Patient?_sort=birthdate;DROP%20TABLE%20resource", &[200, 400]),
        get(58, "Patient?family=%25", &[200, 400]),
        get(59, "Patient?_cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &[400, 404, 410]),
        xml(60, "<Patient xmlns=\"http://hl7.org/fhir\"><birthDate value=\"1960\"/><active value=\"true\"/></Patient>".into()),
        xml(61, "<Patient xmlns=\"http://hl7.org/fhir\"><active>true</active></Patient>".into()),
        xml(62, doctype("<!ENTITY a SYSTEM \"file:///etc/hostname\">")),
        xml(63, doctype("<!ENTITY % b SYSTEM \"http://localhost:1/x\"> %b;")),
        xml(64, doctype("<!ENTITY b \"xx\"><!ENTITY a \"&b;&b;&b;&b;&b;&b;&b;&b;\">")),
        xml(65, doctype(&format!("<!ENTITY a \"{}\">", "x".repeat(50_000)))),
        xml(66, "<a>".repeat(50_000)),
        xml(67, patient("\"active\":true")),
        xml(68, "<?xml version=\"1.0\" encoding=\"banana\"?><Patient/>".into()),
        get(69, "Patient", &[401]).with("authorization", "Bearer garbage"),
        get(70, "Patient", &[401]).with("authorization", &format!("Bearer {none}")),
        get(71, "Patient", &[401]).with("authorization", "Basic eDp5"),
    ]
}

async fn send(world: &World, caller: &Caller, row: &Row) -> Result<Answer> {
    let bearer = format!("Bearer {}", caller.token());
    let mut headers: Vec<(&str, &str)> =
        row.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        headers.push(("authorization", &bearer));
    }
    let path = format!("/fhir/{}", row.path);
    world.client().send(row.method.clone(), path.trim_end_matches('/'), &headers, row.body.clone()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_the_table_is_refused_clearly_and_stores_nothing() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let rows = table();
    ensure!(rows.iter().map(|row| row.number).eq(1..=71), "a row is missing");
    let (mut wrong, before) = (Vec::new(), stored(&world)?);
    for row in &rows {
        let case = format!("row {} {} {:.60}", row.number, row.method, row.path);
        let mut answer = send(&world, &gesp, row).await;
        // A refusal may come and close the line while a long body is still on its way (RFC 9112 section 9.6), so that
        // the client meets a broken line instead of the answer. It asks again; what is refused stays refused.
        for _ in 0..5 {
            if answer.is_ok() || row.body.len() < 64 * 1024 {
                break;
            }
            answer = send(&world, &gesp, row).await;
        }
        let answer = answer.with_context(|| case.clone())?;
        // Past the header buffer hyper answers by itself, before the gateway, with a status and no body.
        if row.number == 36 && answer.body.is_empty() {
            ensure!(row.due.contains(&answer.status.as_u16()), "{case}: {}", answer.status);
            continue;
        }
        if let Err(error) = clear(&case, &answer, row.due) {
            wrong.push(error.to_string());
        }
        if answer.status == 401 && !answer.header("www-authenticate").starts_with("Bearer") {
            wrong.push(format!("{case}: no WWW-Authenticate"));
        }
        if [56, 58].contains(&row.number) && answer.status == 200 && answer.json()["total"] != 0 {
            wrong.push(format!("{case}: matched {}", answer.json()["total"]));
        }
        if stored(&world)? != before {
            wrong.push(format!("{case}: something was stored"));
            break;
        }
    }
    let long =
        send(&world, &gesp, &get(36, &format!("Patient?family={}", "x".repeat(50_000)), &[414])).await?;
    clear("a long address the gateway itself sees", &long, &[414])?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(gesp.get("Patient?_count=1").await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_past_the_limit_gets_a_page_of_the_limit_and_one_that_is_no_number_is_refused() -> Result<()>
{
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient =
        gesp.ok("Patient?_count=1").await?["entry"][0]["resource"]["id"].as_str().unwrap_or("").to_owned();
    for place in [
        "Observation",
        "Observation/_history",
        "_history",
        "",
        &format!("Patient/{patient}/Observation"),
        &format!("Patient/{patient}/*"),
        &format!("Patient/{patient}/$everything"),
    ] {
        let page = gesp.get(&format!("{place}?_count=1000000000")).await?;
        ensure!(page.status == 200, "{place}: {} {}", page.status, page.text());
        ensure!(entries(&page.json()).len() <= 1_000, "{place}: {} entries", entries(&page.json()).len());
        for count in ["99999999999999999999999", "-1", "1e9", "ten"] {
            let answer = gesp.get(&format!("{place}?_count={count}")).await?;
            ensure!(answer.status == 400, "{place}?_count={count}: {}", answer.status);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_of_the_wrong_kind_is_refused_and_a_bad_message_is_kept() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let hospital = world.caller("umc-epd", Context::system()).await?;
    let before = stored(&world)?;
    let nowhere = r#"{"resourceType":"Condition","subject":{"reference":"Patient/nowhere"}}"#;
    let large = vec![b' '; 65 * 1024 * 1024];
    for (row, due) in [
        (post(0, nested(10_000, "[", "]"), &[400, 413]), "too-costly"),
        (post(0, "<Patient xmlns=\"http://hl7.org/fhir\"/>", UNREAD), "structure"),
        (post(0, nowhere, &[422]).to("Condition"), "not-found"),
        (post(0, nowhere, &[404]).to("Conditie"), "not-supported"),
    ] {
        let answer = send(&world, &gesp, &row).await?;
        clear(&row.path, &answer, row.due)?;
        ensure!(answer.json()["issue"][0]["code"] == due, "{}", answer.text());
    }
    // A body past the limit is refused by its length; the line may break while the rest is still on its way.
    match gesp.send(Method::POST, "Patient", &[("content-type", FHIR)], large).await {
        Ok(answer) => clear("65 MiB", &answer, &[413])?,
        Err(error) => ensure!(gesp.get("Patient?_count=1").await?.status == 200, "{error:#}"),
    }
    ensure!(stored(&world)? == before, "something was stored");
    // A message that cannot be read is not applied, and not lost: it waits.
    let header = "MSH|^~\\&|LAB|90000101|SLUIS|90000201|20261101120000||ORU^R01^ORU_R01|M-1|P|2.5.1||||||";
    for (name, message) in [
        ("truncated", "MSH|^~\\&|LAB|90000".to_owned()),
        ("MSH-18", format!("{header}KLINGON\rPID|1||999911120^^^NLMINBIZA^NNNLD\rOBR|1|||19868-9^FVC^LN\r")),
    ] {
        let (resources, shelf) = stored(&world)?;
        let answer = hospital.ingest(HL7, message).await?;
        clear(name, &answer, &[400, 422])?;
        let after = stored(&world)?;
        ensure!(after.0 == resources, "{name}: something was stored");
        if answer.status == 422 {
            ensure!(after.1 > shelf, "{name}: it is kept nowhere: {}", answer.text());
        }
    }
    Ok(())
}

/// A token with its claims changed: signed anew with `key`, so that only the claims are wrong, or not signed at all.
fn forged(
    token: &str,
    key: Option<&SigningKey>,
    typ: &str,
    change: impl FnOnce(&mut Value),
) -> Result<String> {
    let claims = token.split('.').nth(1).context("no JWT")?;
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    change(&mut claims);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Ok(match key {
        None => format!("{}.{}.", encode(&json!({ "alg": "none", "typ": typ })), encode(&claims)),
        Some(key) => key.sign(typ, &claims)?,
    })
}

fn key(world: &World, file: &str) -> Result<SigningKey> {
    Ok(SigningKey::from_pem(&std::fs::read_to_string(world.folder().join(file))?)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_assertion_counts_once_and_a_forged_one_never() -> Result<()> {
    let world = World::start().await?;
    let make = || demo::assertion(world.folder(), "umc-epd", &Context::system(), &System);
    let hers = key(&world, "clients/umc-epd.pem")?;
    let other = key(&world, "clients/ctb-epd.pem")?;
    // Signed again and otherwise untouched it is taken: what is refused below is refused for what was changed.
    let fresh = forged(&make()?, Some(&hers), "JWT", |_| {})?;
    ensure!(world.token(&fresh, demo::SCOPES).await?.status == 200);
    for (case, assertion) in [
        ("alg none", forged(&make()?, None, "JWT", |_| {})?),
        ("another client's key", forged(&make()?, Some(&other), "JWT", |_| {})?),
        (
            "other audience",
            forged(&make()?, Some(&hers), "JWT", |claims| {
                claims["aud"] = "https://elsewhere.example/token".into()
            })?,
        ),
        ("expired", forged(&make()?, Some(&hers), "JWT", |claims| claims["exp"] = 1.into())?),
        (
            "unknown client",
            forged(&make()?, Some(&hers), "JWT", |claims| {
                (claims["iss"], claims["sub"]) = ("who".into(), "who".into())
            })?,
        ),
        ("no JWT", "garbage".to_owned()),
    ] {
        let answer = world.token(&assertion, demo::SCOPES).await?;
        ensure!(answer.status == 401 || answer.status == 400, "{case}: {} {}", answer.status, answer.text());
        ensure!(answer.json()["error"] == "invalid_client", "{case}: {}", answer.text());
    }
    let once = make()?;
    ensure!(world.token(&once, demo::SCOPES).await?.status == 200);
    let again = world.token(&once, demo::SCOPES).await?;
    ensure!(again.status != 200 && again.json()["error"] == "invalid_client", "{}", again.text());
    // Twenty at once: one winner.
    let shared = make()?;
    let mut running = tokio::task::JoinSet::new();
    let body = format!(
        "grant_type=client_credentials&scope=system%2F%2A.cruds&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={shared}"
    );
    for _ in 0..20 {
        let (client, body) = (world.client().clone(), body.clone());
        running.spawn(async move {
            let form = [("content-type", "application/x-www-form-urlencoded")];
            client.send(Method::POST, "/fhir/oauth/token", &form, body).await
        });
    }
    let mut winners = 0;
    while let Some(answer) = running.join_next().await {
        winners += usize::from(answer??.status == 200);
    }
    ensure!(winners == 1, "{winners} winners");
    // An access token of another issuer's making, and one of ours that has ended, open nothing.
    let caller = world.caller("umc-epd", Context::system()).await?;
    let ours = key(&world, "token-key.pem")?;
    let same = forged(caller.token(), Some(&ours), "at+jwt", |_| {})?;
    let bearer = format!("Bearer {same}");
    let answer = world.client().send(Method::GET, "/fhir/Patient", &[("authorization", &bearer)], "").await?;
    ensure!(answer.status == 200, "{}", answer.text());
    for (case, token) in [
        ("alg none", forged(caller.token(), None, "at+jwt", |_| {})?),
        ("a client's key", forged(caller.token(), Some(&hers), "at+jwt", |_| {})?),
        (
            "other audience",
            forged(caller.token(), Some(&ours), "at+jwt", |claims| {
                claims["aud"] = "https://elsewhere.example".into()
            })?,
        ),
        ("expired", forged(caller.token(), Some(&ours), "at+jwt", |claims| claims["exp"] = 1.into())?),
        ("an assertion", make()?),
    ] {
        let bearer = format!("Bearer {token}");
        let answer =
            world.client().send(Method::GET, "/fhir/Patient", &[("authorization", &bearer)], "").await?;
        clear(case, &answer, &[401])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_has_ended_says_so() -> Result<()> {
    let clock = std::sync::Arc::new(sluis::clock::Fixed::at(System.now()));
    let world = World::start_with(std::sync::Arc::<sluis::clock::Fixed>::clone(&clock)).await?;
    let assertion = demo::assertion(world.folder(), "umc-epd", &Context::system(), &*clock)?;
    let answer = world.token(&assertion, demo::SCOPES).await?;
    let bearer = format!("Bearer {}", answer.json()["access_token"].as_str().context("token")?);
    let headers = [("authorization", bearer.as_str())];
    let ask = || world.client().send(Method::GET, "/fhir/Organization", &headers, "");
    ensure!(ask().await?.status == 200);
    clock.advance_seconds(301);
    let ended = ask().await?;
    clear("ended", &ended, &[401])?;
    ensure!(ended.json()["issue"][0]["code"] == "expired", "{}", ended.text());
    Ok(())
}
