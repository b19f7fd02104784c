//! What the service is known by: its certificate authority, its keys and the operator's token. Made
//! at first start, kept in the state directory, never sent anywhere but the public halves.

pub mod files;
pub mod tls;

use std::path::Path;

use anyhow::Context as _;
use contract::id::Digest;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::bearer;
use files::{Access, read_or_make, write_new};

/// The CA is good until this year; machines that are installed now must still believe it then.
const CA_LAST_YEAR: i32 = 2066;

/// What the service is known by.
pub struct Authority {
    /// The CA certificate, PEM.
    pub ca_pem: String,
    /// The CA certificate, DER.
    pub ca_der: Vec<u8>,
    /// SHA-256 of the CA certificate's DER, hexadecimal: what a boot script hands to a ramdisk.
    pub ca_sha256: String,
    /// The CA's name and key, for the server certificate.
    issuer: Issuer<'static, KeyPair>,
    /// Signs orders.
    pub order_key: SigningKey,
    /// Signs image manifests.
    pub image_key: SigningKey,
    /// Signs certificates of erased disks.
    pub certificate_key: SigningKey,
    /// BLAKE3 of the operator's token.
    pub operator_token_hash: Digest,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(…)")
    }
}

impl Authority {
    /// Reads everything from the state directory, making at first start what is not there.
    ///
    /// # Errors
    /// Names the file that cannot be read, written or understood. What is there is never replaced.
    pub fn open(state_directory: &Path) -> anyhow::Result<Self> {
        let (ca_pem, issuer) = certificate_authority(state_directory)?;
        let ca_der = tls::certificate_from_pem(&ca_pem).context("ca.pem")?;
        let token_path = state_directory.join("operator.token");
        let token =
            read_or_make(&token_path, Access::OwnerOnly, || Ok(format!("{}\n", bearer::mint()?.reveal())))?;
        let token = token.trim();
        anyhow::ensure!(
            token.len() >= 32,
            "{} holds no token of 32 characters or more",
            token_path.display()
        );
        Ok(Self {
            ca_pem,
            ca_sha256: sha256_hex(&ca_der)?,
            ca_der,
            issuer,
            order_key: signing_key(&state_directory.join("order.key"))?,
            image_key: signing_key(&state_directory.join("image.key"))?,
            certificate_key: certificate_key(state_directory)?,
            operator_token_hash: bearer::hash(token),
        })
    }
}

fn sha256_hex(bytes: &[u8]) -> anyhow::Result<String> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().context("the TLS library has no SHA-256")?.common.hash_provider;
    Ok(hex::encode(hash.hash(bytes).as_ref()))
}

/// An Ed25519 key, kept as 32 bytes in hexadecimal.
fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    let text =
        read_or_make(path, Access::OwnerOnly, || Ok(format!("{}\n", hex::encode(bearer::random_bytes()?))))?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes)
        .with_context(|| format!("{} is not 32 bytes in hexadecimal", path.display()))?;
    Ok(SigningKey::from_bytes(&bytes))
}

/// The key of certificates, with its public half beside it. Certificates are checked for years, so a
/// key that is lost is not replaced without a word.
fn certificate_key(state_directory: &Path) -> anyhow::Result<SigningKey> {
    let key_path = state_directory.join("certificate.key");
    let public_path = state_directory.join("certificate-key.pem");
    anyhow::ensure!(
        key_path.exists() || !public_path.exists(),
        "{} is there but its key {} is not; restore the key from a backup, or keep {0} elsewhere for older \
         certificates and take it away to go on with a new key",
        public_path.display(),
        key_path.display()
    );
    let key = signing_key(&key_path)?;
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).context("encoding the public key")?;
    let beside = read_or_make(&public_path, Access::Everybody, || Ok(pem.clone()))?;
    anyhow::ensure!(
        beside == pem,
        "{} is not the public half of {}; restore the one that belongs to the other",
        public_path.display(),
        key_path.display()
    );
    Ok(key)
}

fn certificate_authority(state_directory: &Path) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let (key_path, certificate_path) = (state_directory.join("ca.key"), state_directory.join("ca.pem"));
    // The key goes first: a certificate without its key could not be used and must not be replaced.
    let key_pem = read_or_make(&key_path, Access::OwnerOnly, || {
        anyhow::ensure!(
            !certificate_path.exists(),
            "{} is there but its key {} is not; restore the key from a backup",
            certificate_path.display(),
            key_path.display()
        );
        Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem())
    })?;
    let key = KeyPair::from_pem(&key_pem).with_context(|| format!("{} is not a key", key_path.display()))?;
    let pem = match std::fs::read_to_string(&certificate_path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let pem = ca_parameters()?.self_signed(&key)?.pem();
            write_new(&certificate_path, Access::Everybody, pem.as_bytes())?;
            pem
        }
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", certificate_path.display()));
        }
    };
    let issuer = Issuer::from_ca_cert_pem(&pem, key)
        .with_context(|| format!("{} is not the certificate of its key", certificate_path.display()))?;
    Ok((pem, issuer))
}

fn ca_parameters() -> anyhow::Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    // Two sites must not have CAs of one name, or a client that knows both could mix them up.
    let name = format!("Reprieve CA {}", hex::encode(&bearer::random_bytes()?[..4]));
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    // The clock of a machine that boots may be years behind.
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(CA_LAST_YEAR, 1, 1);
    Ok(parameters)
}
