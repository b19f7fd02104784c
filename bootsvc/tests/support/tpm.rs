//! A TPM with a firmware around it, made of software: it signs, and opens credentials, as a real one does.

use attest::endorsement::EndorsementKey;
use attest::event_log::replay;
use aws_lc_rs::agreement::{self, ECDH_P256, UnparsedPublicKey};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use contract::boot_key::{BootKeyReply, BootKeyRequest};
use contract::boot_proof::ShownBoot;
use contract::id::Digest;
use contract::reading::Outcome;
use contract::secret::Secret;
use rcgen::{CertificateParams, CertifiedIssuer, CustomExtension, PublicKeyData as _};

use super::Bench;

/// SHA-256 of a kernel's command line as the kernel measures it: UTF-16 with the zero at its end.
fn measured(command_line: &str) -> [u8; 32] {
    let mut bytes: Vec<u8> = command_line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.extend([0, 0]);
    digest_of(&bytes)
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// A TPM with a firmware around it; `firmware` and `ramdisk` are what it measures of them.
pub struct Tpm {
    key: EcdsaKeyPair,
    endorsement: rcgen::KeyPair,
    pub firmware: u8,
    pub ramdisk: u8,
    /// What it measures of the installed system's loader.
    pub loader: u8,
    /// What its maker left in it; none if nothing.
    pub certificate: Option<Vec<u8>>,
}

impl Tpm {
    pub fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let endorsement = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { key, endorsement, firmware: 1, ramdisk: 1, loader: 1, certificate: None }
    }

    pub fn public(&self) -> Vec<u8> {
        let mut public =
            vec![0, 0x23, 0, 0x0B, 0, 5, 4, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0B, 0, 3, 0, 0x10];
        let point = self.key.public_key().as_ref();
        for coordinate in [&point[1..33], &point[33..]] {
            public.extend([0, 32]);
            public.extend(coordinate);
        }
        public
    }

    /// Of the ramdisk, started by our loader.
    fn event_log(&self, command_line: &str) -> Vec<u8> {
        Self::log_of(&[
            (0, 8, [self.firmware; 32], 0),
            (7, 0x8000_0001, [7; 32], 0),
            (7, 4, digest_of(&[0; 4]), 0),
            (4, 0x8000_0003, [3; 32], 0),
            (9, 6, measured(command_line), 0x8F3B_22ED),
            (9, 6, [self.ramdisk; 32], 0x8F3B_22EC),
        ])
    }

    /// Of the installed system, started by shim and GRUB.
    fn event_log_of_system(&self) -> Vec<u8> {
        Self::log_of(&[
            (0, 8, [self.firmware; 32], 0),
            (7, 0x8000_0001, [7; 32], 0),
            (7, 4, digest_of(&[0; 4]), 0),
            (7, 0x8000_00e0, [0x5B; 32], 0),
            (4, 0x8000_0003, [self.loader; 32], 0),
            (14, 13, [0x4D; 32], 0),
            (8, 13, [0x47; 32], 0),
            (9, 13, [0x4B; 32], 0),
        ])
    }

    fn log_of(events: &[(u32, u32, [u8; 32], u32)]) -> Vec<u8> {
        let mut head = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0B\0\x20\0\0".to_vec();
        let mut log =
            [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &[u8::try_from(head.len()).unwrap(), 0, 0, 0]].concat();
        log.append(&mut head);
        for (register, kind, digest, data) in events {
            log.extend([*register, *kind, 1].map(u32::to_le_bytes).concat());
            log.extend([0x0B, 0]);
            log.extend(digest);
            log.extend([4_u32, *data].map(u32::to_le_bytes).concat());
        }
        log
    }

    /// The ramdisk's boot.
    pub fn show(&self, challenge: Digest, command_line: &str) -> ShownBoot {
        self.quote(challenge, command_line, self.event_log(command_line))
    }

    /// The installed system's boot.
    pub fn show_system(&self, challenge: Digest) -> ShownBoot {
        self.quote(challenge, "root=/dev/vda1 quiet", self.event_log_of_system())
    }

    fn quote(&self, challenge: Digest, command_line: &str, event_log: Vec<u8>) -> ShownBoot {
        let registers = replay(&event_log).unwrap().registers;
        let mut attested = vec![0xFF, b'T', b'C', b'G', 0x80, 0x18, 0, 0, 0, 32];
        attested.extend(challenge.0);
        attested.extend([0; 8 + 4 + 5 + 8]);
        attested.extend([0, 0, 0, 1, 0, 0x0B, 3, 0xFF, 0x43, 0, 0, 32]);
        attested.extend(registers.digest());
        let numbers = self.key.sign(&SystemRandom::new(), &attested).unwrap();
        let mut signature = vec![0, 0x18, 0, 0x0B];
        for number in numbers.as_ref().chunks(32) {
            signature.extend([0, 32]);
            signature.extend(number);
        }
        ShownBoot {
            registers: registers.iter().map(|(index, register)| (index, Digest(*register))).collect(),
            event_log: hex::encode(event_log),
            attested: hex::encode(attested),
            signature: hex::encode(signature),
            public: hex::encode(self.public()),
            command_line: Secret::new(command_line.to_owned()),
        }
    }

    /// `TPMT_PUBLIC` of template L-2.
    pub fn endorsement_public(&self) -> Vec<u8> {
        let mut public = hex::decode(
            "0023000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa\
             000600800043001000030010",
        )
        .unwrap();
        for coordinate in self.endorsement.der_bytes()[1..].chunks(32) {
            public.extend([0, 32]);
            public.extend(coordinate);
        }
        assert!(EndorsementKey::parse(&public).is_ok());
        public
    }

    /// Its maker gives it a certificate.
    pub fn certify(&mut self, maker: &Maker) {
        let mut params = CertificateParams::default();
        // `id:49465800` as tpmManufacturer in a directory name, critical because the subject is empty.
        let name = hex::decode("301ca41a30183116301406056781050201").unwrap();
        let name = [&name[..], &[0x0C, 11], b"id:49465800"].concat();
        let mut name = CustomExtension::from_oid_content(&[2, 5, 29, 17], name);
        name.set_criticality(true);
        params.custom_extensions.push(name);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        self.certificate = Some(params.signed_by(&self.endorsement, maker).unwrap().der().to_vec());
    }

    /// What it shows of its keys.
    pub fn keys(&self) -> BootKeyRequest {
        BootKeyRequest {
            attestation: hex::encode(self.public()),
            endorsement: hex::encode(self.endorsement_public()),
            certificate: self
                .certificate
                .as_ref()
                .map_or(Outcome::Absent, |der| Outcome::Value(hex::encode(der))),
        }
    }

    /// `TPM2_ActivateCredential`: none if the credential is not for these keys.
    pub fn open(&self, reply: &BootKeyReply) -> Option<Secret> {
        let [sealed, point] =
            [&reply.credential, &reply.encrypted_seed].map(|text| hex::decode(text).unwrap());
        assert_eq!((sealed.len(), &sealed[..2], point.len()), (2 + 32 + 2 + 32, &[0, 32][..], 68));
        let (x, y) = (&point[2..34], &point[36..]);
        let ours = agreement::PrivateKey::from_private_key_der(&ECDH_P256, &self.endorsement.serialize_der())
            .unwrap();
        let theirs = UnparsedPublicKey::new(&ECDH_P256, [&[4], x, y].concat());
        let shared = agreement::agree(&ours, theirs, (), |shared| Ok(shared.to_vec())).unwrap();
        let sha256 =
            |bytes: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec();
        let own = &self.endorsement.der_bytes()[1..33];
        let seed = sha256(&[&[0, 0, 0, 1], &shared[..], b"IDENTITY\0", x, own].concat());
        let name = [&[0, 0x0B][..], &sha256(&self.public())].concat();
        let derive = |label: &[u8], context: &[u8], bits: u32| {
            let input = [&[0, 0, 0, 1], label, &[0], context, &bits.to_be_bytes()].concat();
            sign(&Key::new(HMAC_SHA256, &seed), &input).as_ref().to_vec()
        };
        let integrity = Key::new(HMAC_SHA256, &derive(b"INTEGRITY", &[], 256));
        verify(&integrity, &[&sealed[34..], &name].concat(), &sealed[2..34]).ok()?;
        let key = UnboundCipherKey::new(&AES_128, &derive(b"STORAGE", &name, 128)[..16]).unwrap();
        let mut identity = sealed[34..].to_vec();
        let from_zeros = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        let opened = DecryptingKey::cfb128(key).unwrap().decrypt(&mut identity, from_zeros).unwrap();
        Some(Secret::new(hex::encode(&opened[2..])))
    }
}

/// A maker of TPMs.
pub type Maker = CertifiedIssuer<'static, rcgen::KeyPair>;

pub fn maker(name: &str) -> Maker {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
}

/// A service with this policy that believes these makers, and gives machines that nobody has approved the ramdisk
/// each time.
pub async fn bench_that_believes(makers: &[&Maker], policy: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let roots = folder.path().join("makers.pem");
    std::fs::write(&roots, makers.iter().map(|maker| maker.as_ref().pem()).collect::<String>()).unwrap();
    let roots = if makers.is_empty() {
        String::new()
    } else {
        format!("[boot_trust]\nendorsement_roots = {roots:?}\n")
    };
    Bench::start_in(folder, &format!("discovery_attempts_max = 20\n{roots}")).await
}
