//! What a verified client certificate says: its thumbprint, and the URA of a UZI server certificate.
//!
//! TLS has judged chain, time and purpose before. A name in the subject proves nothing here: only the otherName that the
//! UZI register itself writes counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use x509_parser::asn1_rs::{Any, FromDer as _, Oid, TaggedExplicit, oid};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::connection::request::PeerCertificate;
use crate::ids::Ura;

/// Type of the otherName the UZI register writes (CPS UZI-register, subjectAltName.otherName): IA5String syntax.
const UZI_OTHER_NAME: Oid<'static> = oid!(2.5.5.5);

/// Arc of the Dutch care CSP, under which every issuing authority of the UZI register has its number.
const UZI_ARC: &str = "2.16.528.1.1007.";

/// Facts of a certificate TLS has verified.
///
/// The URA stays empty when there is no otherName of the UZI register, when it is not that of a server certificate, or
/// when two of them disagree.
pub fn read(der: &[u8]) -> PeerCertificate {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    PeerCertificate { thumbprint: URL_SAFE_NO_PAD.encode(digest).into(), ura: ura(der) }
}

fn ura(der: &[u8]) -> Option<Ura> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut found = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::OtherName(kind, value) if *kind == UZI_OTHER_NAME => ura_of_other_name(value),
        _ => None,
    });
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// URA in `[0] EXPLICIT` (IA5String or UTF8String) of the form
/// `<OID CA>-<version>-<UZI number>-<card type>-<URA>-<role>-<AGB code>`; card type `S` is a server certificate.
fn ura_of_other_name(value: &[u8]) -> Option<Ura> {
    let (_, tagged) = TaggedExplicit::<Any<'_>, x509_parser::asn1_rs::Error, 0>::from_der(value).ok()?;
    let text = match tagged.into_inner() {
        any if any.tag() == x509_parser::asn1_rs::Tag::Ia5String => any.data,
        any if any.tag() == x509_parser::asn1_rs::Tag::Utf8String => any.data,
        _ => return None,
    };
    let fields: Vec<&str> = std::str::from_utf8(text).ok()?.split('-').collect();
    match fields.as_slice() {
        [issuer, _version, _number, "S", ura, _role, _agb] if issuer.starts_with(UZI_ARC) => Ura::parse(ura),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    const SERVER: &str = "2.16.528.1.1007.99.2110-1-900025039-S-90000382-00.000-00000000";

    fn certificate(names: Vec<SanType>) -> PeerCertificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, SERVER);
        params.distinguished_name = subject;
        let key = KeyPair::generate().unwrap();
        read(params.self_signed(&key).unwrap().der())
    }

    fn uzi(text: &str) -> SanType {
        SanType::OtherName((vec![2, 5, 5, 5], text.into()))
    }

    #[test]
    fn ura_is_the_fifth_field_of_the_uzi_other_name() {
        assert_eq!(certificate(vec![uzi(SERVER)]).ura, Ura::parse("90000382"));
    }

    #[test]
    fn ia5_string_reads_like_utf8_string() {
        let mut value = vec![0xA0, 2 + SERVER.len() as u8, 0x16, SERVER.len() as u8];
        value.extend_from_slice(SERVER.as_bytes());
        assert_eq!(ura_of_other_name(&value), Ura::parse("90000382"));
    }

    #[test]
    fn common_name_other_types_and_cards_of_persons_give_no_ura() {
        assert_eq!(certificate(vec![]).ura, None);
        assert_eq!(certificate(vec![SanType::DnsName("epd.example".try_into().unwrap())]).ura, None);
        assert_eq!(certificate(vec![SanType::OtherName((vec![1, 2, 3, 4], SERVER.into()))]).ura, None);
        for text in [
            "2.16.528.1.1007.99.2110-1-900025039-Z-90000382-01.015-00000000",
            "2.16.528.1.1007.99.2110-1-900025039-S-9000038-00.000-00000000",
            "1.2.3-1-900025039-S-90000382-00.000-00000000",
            "90000382",
            "",
        ] {
            assert_eq!(certificate(vec![uzi(text)]).ura, None, "{text}");
        }
    }

    #[test]
    fn two_uras_that_disagree_are_none() {
        let other = SERVER.replace("90000382", "90000383");
        assert_eq!(certificate(vec![uzi(SERVER), uzi(&other)]).ura, None);
    }

    #[test]
    fn thumbprint_is_sha_256_of_the_der() {
        // Of the empty string, a known value (RFC 8705 section 3.1 shows the encoding).
        assert_eq!(&*read(b"").thumbprint, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        for length in 0..64 {
            let bytes = vec![0x30; length];
            assert_eq!(read(&bytes).ura, None);
            assert_eq!(ura_of_other_name(&bytes), None);
        }
    }
}
