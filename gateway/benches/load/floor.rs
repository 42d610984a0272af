//! What the numbers stand beside: bare hyper, the disk, the store and the mapping alone.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use sluis::decision;
use sluis::gateway::Gateway;
use sluis::ids::{ResourceId, Ura};
use sluis::ingest::map::Maps;
use sluis::interaction::write::kinds;
use sluis_mappings::source::Format;
use tokio::net::TcpListener;

/// A server that does nothing but HTTP: reads the body, answers `bytes` bytes.
pub(crate) async fn bare_hyper(bytes: Arc<AtomicUsize>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let whole = Bytes::from(vec![b'x'; 1 << 20]);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // As the gateway does; else the floor would wait for delayed acknowledgements.
            let _ = stream.set_nodelay(true);
            let (whole, bytes) = (whole.clone(), Arc::clone(&bytes));
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let answer = whole.slice(..bytes.load(Ordering::Relaxed).min(whole.len()));
                    async move {
                        let _ = request.into_body().collect().await;
                        Ok::<_, Infallible>(Response::new(Full::new(answer)))
                    }
                });
                // A connection the client drops is the end of a load, not a fault.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}

/// Microseconds (median) in which this disk makes 4 KiB at the end of a file durable.
pub(crate) fn disk_us(folder: &Path) -> Result<u64> {
    let path = folder.join("disk");
    let mut file = std::fs::File::create(&path)?;
    let mut took = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.push(begun.elapsed().as_micros() as u64);
    }
    std::fs::remove_file(path)?;
    took.sort_unstable();
    took.get(took.len() / 2).copied().context("no sample")
}

/// Microseconds of one read by id in the store, without HTTP: snapshot, statement, body.
pub(crate) fn store_read_us(gateway: &Gateway, ids: &[&str], time: Duration) -> Result<f64> {
    let parts = gateway.parts();
    let permit = decision::system(&parts.policy, parts.clock.now(), "bench");
    let ids = ids.iter().map(|id| ResourceId::parse(id).context("id")).collect::<Result<Vec<_>>>()?;
    each(time, |at| {
        let mut found = false;
        parts.store.read(&permit, &mut |reader| {
            found = reader.current(kinds().patient, &ids[at % ids.len()])?.is_some();
            Ok(())
        })?;
        ensure!(found, "a patient is gone");
        Ok(())
    })
}

/// Microseconds in which one HL7v2 message is parsed and mapped, without HTTP and store.
pub(crate) fn map_us(message: &[u8], time: Duration) -> Result<f64> {
    let maps = Maps::shipped().map_err(|errors| anyhow!("{errors:?}"))?;
    let sender = Ura::parse(sluis::demo::region::UMC.ura).context("URA")?;
    each(time, |_| {
        let mapped = maps.map(&sender, Format::Hl7v2, message);
        ensure!(!mapped.output.units.is_empty(), "nothing was mapped");
        Ok(())
    })
}

/// Mean microseconds of `work` on one thread.
fn each(time: Duration, mut work: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        work(count)?;
        count += 1;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / count as f64)
}
