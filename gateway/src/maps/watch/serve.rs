//! The page and its data, on loopback.
//!
//! `/` page, `/watch.js`, `/watch.css`; `/state?after=N` the state after number N, waited for; `/case?name=X` the document of a case beside
//! what becomes of it. A name other than loopback's is refused: a page elsewhere could otherwise read this one under a name of its
//! own (DNS rebinding).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sluis_mappings::case;
use tokio::net::TcpListener;
use tokio::sync::watch::Receiver;

use super::look::State;

/// How long a question for the next state waits before it is answered with the one there is.
const WAIT: Duration = Duration::from_secs(20);
/// How long a connection may take to send its head.
const HEAD: Duration = Duration::from_secs(5);

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");
/// Nothing from elsewhere, nothing inline (W3C Content Security Policy level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

pub(super) async fn serve(listener: TcpListener, state: Receiver<Arc<State>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file handles, most likely: they come back.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, state.clone()));
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // A browser that went away is no news to an author.
            let _gone = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Receiver<Arc<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return Ok(plain(StatusCode::FORBIDDEN, "text/plain", "Ask for localhost.".to_owned()));
    }
    if request.method() != Method::GET {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "Only GET.".to_owned()));
    }
    let query = request.uri().query().unwrap_or_default();
    let now = state.borrow().clone();
    Ok(match request.uri().path() {
        "/" => plain(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned()),
        "/watch.js" => plain(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT.to_owned()),
        "/watch.css" => plain(StatusCode::OK, "text/css; charset=utf-8", STYLE.to_owned()),
        "/state" => next(parameter(query, "after").and_then(|n| n.parse().ok()).unwrap_or(0), state).await,
        "/case" => case_of(&parameter(query, "name").unwrap_or_default(), now).await,
        _ => plain(StatusCode::NOT_FOUND, "text/plain", "No such page.".to_owned()),
    })
}

/// The state after a number, or the one there is when none comes.
async fn next(after: u64, mut state: Receiver<Arc<State>>) -> Response<Full<Bytes>> {
    let newer = state.wait_for(|state| state.number > after);
    let _none_came = tokio::time::timeout(WAIT, newer).await.is_err();
    let state = state.borrow().clone();
    let told = format!("{{\"number\":{},\"state\":{}}}", state.number, state.told);
    plain(StatusCode::OK, "application/json", told)
}

async fn case_of(name: &str, state: Arc<State>) -> Response<Full<Bytes>> {
    let name = name.to_owned();
    let made = tokio::task::spawn_blocking(move || {
        let compiled = state.compiled.as_ref()?;
        let case = compiled.folder().cases.iter().find(|case| case.name == name)?;
        Some(case::page(compiled, &case.input_file, &case.input))
    });
    match made.await {
        Ok(Some(page)) => plain(StatusCode::OK, "application/json", page),
        Ok(None) => plain(StatusCode::NOT_FOUND, "text/plain", "No such case, or no map.".to_owned()),
        Err(_) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "The document was not mapped.".to_owned())
        }
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    response
}
