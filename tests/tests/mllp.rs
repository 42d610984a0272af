//! HL7v2 over MLLP, through a whole gateway: acknowledged after the commit, harmless to resend, bound to its sender.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use sluis::connection::mllp::framed;
use sluis::demo::Context;
use sluis_tests::world::{World, entries};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An ORU^R01 of the UMC with one SNIP result.
fn oru(number: u32, value: &str) -> Vec<u8> {
    [
        &format!(
            "MSH|^~\\&|LONGFUNCTIE|UMCTEST|SLUIS|GESP|20260311{:02}{:02}00||ORU^R01^ORU_R01|MLLP-{number}|P|2.5|||AL|NE|NLD|8859/1",
            number / 60,
            number % 60
        ),
        "PID|1||40112^^^UMCTEST&2.999.90000101.1&ISO^PI~999911120^^^NLMINBIZA^NNNLD",
        &format!("ORC|RE||F-{number}^UMCTEST"),
        &format!("OBR|1||F-{number}^UMCTEST|LFO^Longfunctieonderzoek^99ALS|||20260310093000||||||||||||||||||F"),
        &format!("OBX|1|NM|SNIP^SNIP^99ALS||{value}|cmH2O|||||F|||20260310093000"),
        "",
    ]
    .join("\r")
    .into_bytes()
}

/// Reads one frame's message.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut text = Vec::new();
    let read = async {
        loop {
            let byte = stream.read_u8().await?;
            text.push(byte);
            if text.ends_with(b"\x1c\r") {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.context("no answer")??;
    ensure!(text.first() == Some(&0x0b), "no frame: {}", String::from_utf8_lossy(&text));
    Ok(String::from_utf8_lossy(text.get(1..text.len() - 2).unwrap_or_default()).into_owned())
}

async fn send(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), message: &[u8]) -> Result<String> {
    stream.write_all(&framed(message)).await?;
    answer(stream).await
}

/// A world with a plain listener for this machine and one with TLS for the certificate of [`identity`].
async fn world() -> Result<(World, Identity)> {
    let mut world = World::start().await?;
    let identity = identity()?;
    let file = world.folder().join("sluis.toml");
    let peer = "client = \"umc-epd\"\norganisation = \"90000101\"";
    let settings = std::fs::read_to_string(&file)?
        .replace("client_authorities = \"authority.pem\"", "client_authorities = \"epd-authority.pem\"");
    let listeners = format!(
        "{settings}\n[[mllp]]\nlisten = \"127.0.0.1:0\"\ntls = false\n[[mllp.peer]]\n{peer}\naddress = \"127.0.0.1\"\n\
         [[mllp]]\nlisten = \"127.0.0.1:0\"\n[[mllp.peer]]\n{peer}\ncertificate = \"{}\"\n",
        identity.thumbprint
    );
    std::fs::write(&file, listeners)?;
    std::fs::write(world.folder().join("epd-authority.pem"), &identity.authority)?;
    world.restart().await?;
    Ok((world, identity))
}

struct Identity {
    authority: String,
    chain: String,
    key: String,
    thumbprint: String,
    /// A certificate of the same authority that no peer has.
    other: (String, String),
}

fn identity() -> Result<Identity> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate()?;
    let root = authority.self_signed(&authority_key)?;
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let issue = |name: &str| -> Result<(rcgen::Certificate, rcgen::KeyPair)> {
        let mut leaf = rcgen::CertificateParams::new(vec![name.to_owned()])?;
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate()?;
        Ok((leaf.signed_by(&key, &issuer)?, key))
    };
    let ((leaf, key), (other, other_key)) = (issue("lab.umc.example")?, issue("other.example")?);
    let digest = sluis::ingest::digest::sha256_hex(leaf.der());
    let bytes: Vec<u8> = (0..digest.len())
        .step_by(2)
        .filter_map(|at| u8::from_str_radix(digest.get(at..at + 2)?, 16).ok())
        .collect();
    Ok(Identity {
        authority: root.pem(),
        chain: leaf.pem(),
        key: key.serialize_pem(),
        thumbprint: URL_SAFE_NO_PAD.encode(bytes),
        other: (other.pem(), other_key.serialize_pem()),
    })
}

async fn plain(world: &World) -> Result<TcpStream> {
    let address = *world.running()?.mllp_addresses().first().context("no listener")?;
    Ok(TcpStream::connect(address).await?)
}

async fn secure(
    world: &World,
    identity: Option<(&str, &str)>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(world.folder().join("authority.pem"))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?,
            PrivateKeyDer::from_pem_slice(key.as_bytes())?,
        )?,
    };
    let address = *world.running()?.mllp_addresses().get(1).context("no second listener")?;
    let stream = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    Ok(connector.connect(ServerName::try_from("localhost")?, stream).await?)
}

/// Values of the SNIP results the UMC has sent over MLLP, sorted.
async fn results(world: &World) -> Result<Vec<String>> {
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let found = gesp.search("Observation", &[("_count", "500")]).await?;
    let mut values: Vec<String> = entries(&found)
        .iter()
        .map(|entry| &entry["resource"])
        .filter(|resource| resource["code"].to_string().contains("SNIP"))
        .filter(|resource| {
            resource["effectiveDateTime"].as_str().is_some_and(|t| t.starts_with("2026-03-10"))
        })
        .map(|resource| resource["valueQuantity"]["value"].to_string())
        .collect();
    values.sort();
    Ok(values)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_acknowledged_once_it_is_stored_and_a_resend_changes_nothing() -> Result<()> {
    let (world, _) = world().await?;
    let mut lab = plain(&world).await?;
    let first = send(&mut lab, &oru(1, "45")).await?;
    ensure!(first.contains("\rMSA|AA|MLLP-1\r"), "{first}");
    ensure!(first.starts_with("MSH|^~\\&|SLUIS|GESP|LONGFUNCTIE|UMCTEST|"), "{first}");
    ensure!(results(&world).await? == ["45"]);
    // Again on the same connection, on another, and by a sender that went away before its answer came.
    ensure!(send(&mut lab, &oru(1, "45")).await?.contains("MSA|AA|MLLP-1\r"));
    let mut gone = plain(&world).await?;
    gone.write_all(&framed(&oru(2, "46"))).await?;
    drop(gone);
    ensure!(send(&mut plain(&world).await?, &oru(2, "46")).await?.contains("MSA|AA|MLLP-2\r"));
    ensure!(results(&world).await? == ["45", "46"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_an_error_with_place_and_what_cannot_be_read_a_rejection() -> Result<()> {
    let (world, _) = world().await?;
    let mut lab = plain(&world).await?;
    let without_status = String::from_utf8(oru(3, "47"))?.replace("|||||F|||", "||||||||");
    let told = send(&mut lab, without_status.as_bytes()).await?;
    ensure!(told.contains("MSA|AE|MLLP-3\r") && told.contains("\rERR||OBX^1"), "{told}");
    let unknown = String::from_utf8(oru(4, "47"))?.replace("ORU^R01^ORU_R01", "SIU^S12^SIU_S12");
    let told = send(&mut lab, unknown.as_bytes()).await?;
    ensure!(
        told.contains("MSA|AE|MLLP-4\r") && told.contains("|200^Unsupported message type^HL70357|E|"),
        "{told}"
    );
    let batch = [b"BHS|^~\\&\r".to_vec(), oru(5, "1"), oru(6, "2"), b"BTS|2\r".to_vec()].concat();
    ensure!(send(&mut lab, &batch).await?.contains("batch-unsplit"));
    // A broken frame is answered and ends the connection; half a frame leaves nothing behind.
    let mut broken = plain(&world).await?;
    broken.write_all(b"MSH|^~\\&|no frame").await?;
    let told = answer(&mut broken).await?;
    ensure!(told.contains("MSA|AR|") && told.contains("frame-broken"), "{told}");
    ensure!(broken.read(&mut [0; 1]).await? == 0, "the connection goes on");
    let mut half = plain(&world).await?;
    let frame = framed(&oru(7, "48"));
    half.write_all(frame.get(..frame.len() / 2).unwrap_or_default()).await?;
    drop(half);
    ensure!(results(&world).await?.is_empty());
    ensure!(send(&mut plain(&world).await?, &oru(7, "48")).await?.contains("MSA|AA|MLLP-7\r"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_cut_anywhere_leaves_nothing_and_sent_again_is_there_once() -> Result<()> {
    let (world, _) = world().await?;
    let frame = framed(&oru(40, "52"));
    // After the first byte, in the head, in the last field, before the end mark, and between its two bytes.
    for cut in [1, 20, frame.len() - 10, frame.len() - 2, frame.len() - 1] {
        let mut half = plain(&world).await?;
        half.write_all(frame.get(..cut).context("shorter")?).await?;
        half.shutdown().await?;
        // The gateway ends the connection, with or without a word; a positive one it does not give.
        let mut told = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), half.read_to_end(&mut told)).await??;
        let told = String::from_utf8_lossy(&told).into_owned();
        ensure!(!told.contains("MSA|AA|") && !told.contains("MSA|AE|"), "cut at {cut}: {told}");
        ensure!(results(&world).await?.is_empty(), "cut at {cut}");
    }
    for _ in 0..3 {
        ensure!(send(&mut plain(&world).await?, &oru(40, "52")).await?.contains("MSA|AA|MLLP-40\r"));
    }
    ensure!(results(&world).await? == ["52"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_too_slow_for_its_frame_is_told_and_one_that_drips_within_the_time_is_heard() -> Result<()> {
    let (mut world, _) = world().await?;
    let file = world.folder().join("sluis.toml");
    let settings = std::fs::read_to_string(&file)?;
    let usual = "mllp_frame_ms = 30000";
    ensure!(settings.contains(usual), "the settings do not say {usual}");
    std::fs::write(&file, settings.replacen(usual, "mllp_frame_ms = 3000", 1))?;
    world.restart().await?;
    let frame = framed(&oru(41, "53"));
    let mut stuck = plain(&world).await?;
    stuck.write_all(frame.get(..frame.len() / 2).context("shorter")?).await?;
    let told = answer(&mut stuck).await?;
    ensure!(told.contains("MSA|AR|"), "{told}");
    ensure!(stuck.read(&mut [0; 1]).await? == 0, "the connection goes on");
    ensure!(results(&world).await?.is_empty());
    // Byte by byte, each on its way alone, and its answer read late.
    let mut drips = plain(&world).await?;
    drips.set_nodelay(true)?;
    for byte in &frame {
        drips.write_all(&[*byte]).await?;
    }
    ensure!(answer(&mut drips).await?.contains("MSA|AA|MLLP-41\r"));
    ensure!(results(&world).await? == ["53"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_is_known_by_its_certificate_and_no_other_is_heard() -> Result<()> {
    let (world, identity) = world().await?;
    let mut lab = secure(&world, Some((&identity.chain, &identity.key))).await?;
    ensure!(send(&mut lab, &oru(8, "49")).await?.contains("MSA|AA|MLLP-8\r"));
    let (chain, key) = &identity.other;
    for shown in [None, Some((chain.as_str(), key.as_str()))] {
        let told = send(&mut secure(&world, shown).await?, &oru(9, "50")).await?;
        ensure!(told.contains("MSA|AR|MLLP-9\r"), "{told}");
    }
    ensure!(results(&world).await? == ["49"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_senders_at_once_are_both_heard_and_a_stop_answers_what_is_in_work() -> Result<()> {
    let (mut world, identity) = world().await?;
    let (mut one, mut two) =
        (plain(&world).await?, secure(&world, Some((&identity.chain, &identity.key))).await?);
    let first = async {
        for number in 10..20 {
            let told = send(&mut one, &oru(number, &number.to_string())).await?;
            ensure!(told.contains(&format!("MSA|AA|MLLP-{number}\r")), "{told}");
        }
        Ok(())
    };
    let second = async {
        for number in 20..30 {
            let told = send(&mut two, &oru(number, &number.to_string())).await?;
            ensure!(told.contains(&format!("MSA|AA|MLLP-{number}\r")), "{told}");
        }
        Ok(())
    };
    let (first, second) = tokio::join!(first, second);
    first.and(second)?;
    one.write_all(&framed(&oru(30, "30"))).await?;
    world.restart().await?;
    // Answered, or not begun: sent again it is there once either way.
    let told = answer(&mut one).await.unwrap_or_default();
    ensure!(told.is_empty() || told.contains("MSA|AA|MLLP-30\r"), "{told}");
    ensure!(send(&mut plain(&world).await?, &oru(30, "30")).await?.contains("MSA|AA|MLLP-30\r"));
    let expected: Vec<String> = (10..=30).map(|n| n.to_string()).collect();
    ensure!(results(&world).await? == expected);
    Ok(())
}
