//! The signed form of a manifest, as the service keeps and serves it: 64 bytes of Ed25519 signature
//! (RFC 8032), then the manifest's bytes as zstd.
//!
//! The signature covers the image id, which is the digest of the manifest's exact bytes. So it is
//! checked before anything is decompressed, and the digest binds every byte that comes out.

use contract::id::{Digest, ImageId};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

use crate::chunk::decompress_bounded;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError};

/// What is signed, so that no other signed text of ours can pass for an image.
const DOMAIN: &[u8] = b"reprieve image manifest v1\0";

const SIGNATURE_BYTES: usize = 64;

/// How hard manifests are compressed. They are written once and read often.
const COMPRESSION_LEVEL: i32 = 9;

/// Why a signed manifest could not be made or believed.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// The signature is missing or does not fit the image and the key.
    #[error("the manifest of image {image} is not signed by this service; import the image again")]
    BadSignature {
        /// Which image was asked for.
        image: ImageId,
    },
    /// The bytes after the signature are not zstd, or are cut off.
    #[error(
        "the manifest of image {image} cannot be decompressed: it is damaged or cut off; import the image again"
    )]
    Decompress {
        /// Which image was asked for.
        image: ImageId,
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest of image {image} is larger than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge {
        /// Which image was asked for.
        image: ImageId,
    },
    /// It is another image's manifest, or was changed.
    #[error("the manifest that came for image {image} is that of {found}; import the image again")]
    OtherImage {
        /// Which image was asked for.
        image: ImageId,
        /// Whose manifest came.
        found: ImageId,
    },
    /// It is signed and whole and still not a manifest that this version understands.
    #[error("the manifest of image {image} is signed but not valid")]
    Manifest {
        /// Which image was asked for.
        image: ImageId,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// Compression failed.
    #[error("could not compress the manifest of image {image}")]
    Compress {
        /// Which image.
        image: ImageId,
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
}

fn signed_bytes(image: ImageId) -> Vec<u8> {
    [DOMAIN, &image.0.0].concat()
}

/// Signs the bytes of a manifest and packs both. Does not look into the manifest: whoever calls this
/// has validated it with [`Manifest::from_bytes`].
///
/// # Errors
/// [`SignedError::Compress`] if zstd fails, [`SignedError::TooLarge`] for what [`open`] would refuse.
pub fn seal(manifest: &[u8], key: &SigningKey) -> Result<Vec<u8>, SignedError> {
    let image = ImageId(Digest::of(manifest));
    if manifest.len() > MANIFEST_BYTES_MAX {
        return Err(SignedError::TooLarge { image });
    }
    let packed = pack(manifest).map_err(|source| SignedError::Compress { image, source })?;
    let signature = key.sign(&signed_bytes(image));
    Ok([signature.to_bytes().as_slice(), &packed].concat())
}

/// Believes a signed manifest: the signature is `key`'s, and the bytes are those of `image`.
///
/// # Errors
/// Each way in which `sealed` is not that is a [`SignedError`].
pub fn open(sealed: &[u8], key: &VerifyingKey, image: ImageId) -> Result<Manifest, SignedError> {
    let bad_signature = || SignedError::BadSignature { image };
    let (signature, packed) = sealed.split_first_chunk::<SIGNATURE_BYTES>().ok_or_else(bad_signature)?;
    key.verify(&signed_bytes(image), &Signature::from_bytes(signature)).map_err(|_| bad_signature())?;
    let bytes = unpack(packed).map_err(|source| SignedError::Decompress { image, source })?;
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(SignedError::TooLarge { image });
    }
    let found = ImageId(Digest::of(&bytes));
    if found != image {
        return Err(SignedError::OtherImage { image, found });
    }
    Manifest::from_bytes(&bytes).map_err(|source| SignedError::Manifest { image, source })
}

/// The bytes of a manifest as they travel in an import, without a signature: zstd.
///
/// # Errors
/// What zstd says, which means that memory ran out.
pub fn pack(manifest: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(manifest, COMPRESSION_LEVEL)
}

/// The opposite of [`pack`], bounded: makes at most [`MANIFEST_BYTES_MAX`] + 1 bytes, which
/// [`Manifest::from_bytes`] then refuses.
///
/// # Errors
/// What zstd says: the bytes are damaged or cut off.
pub fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    decompress_bounded(packed, MANIFEST_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use contract::id::{Digest, ImageId};
    use ed25519_dalek::SigningKey;
    use proptest::prelude::{any, proptest};

    use super::{SignedError, open, pack, seal};
    use crate::manifest::tests::sample;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    #[test]
    fn a_sealed_manifest_opens() {
        let manifest = sample();
        let bytes = manifest.to_bytes().unwrap();
        let sealed = seal(&bytes, &key()).unwrap();
        let opened = open(&sealed, &key().verifying_key(), ImageId(Digest::of(&bytes))).unwrap();
        assert_eq!(opened, manifest);
    }

    #[test]
    fn a_foreign_changed_or_cut_manifest_is_refused() {
        let bytes = sample().to_bytes().unwrap();
        let image = ImageId(Digest::of(&bytes));
        let sealed = seal(&bytes, &key()).unwrap();
        let foreign = SigningKey::from_bytes(&[8; 32]).verifying_key();
        assert!(matches!(open(&sealed, &foreign, image), Err(SignedError::BadSignature { .. })));
        let other = ImageId(Digest::of(b"other"));
        let known = key().verifying_key();
        assert!(matches!(open(&sealed, &known, other), Err(SignedError::BadSignature { .. })));
        for at in (0..64).step_by(7).chain((64..sealed.len()).step_by(13)) {
            let mut changed = sealed.clone();
            changed[at] ^= 0x10;
            assert!(open(&changed, &known, image).is_err() || at >= 64, "byte {at} of the signature");
            // A changed byte of the zstd frame may be one that zstd ignores; then the manifest is
            // still the right one.
            if let Ok(opened) = open(&changed, &known, image) {
                assert_eq!(opened, sample());
            }
            assert!(open(&sealed[..at], &known, image).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_right_signature_on_another_manifest_is_refused() {
        let bytes = sample().to_bytes().unwrap();
        let image = ImageId(Digest::of(&bytes));
        let sealed = seal(&bytes, &key()).unwrap();
        let spliced = [&sealed[..64], &pack(b"{}").unwrap()].concat();
        let opened = open(&spliced, &key().verifying_key(), image);
        assert!(matches!(opened, Err(SignedError::OtherImage { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(sealed in proptest::collection::vec(any::<u8>(), 0..300)) {
            let image = ImageId(Digest::of(&sealed));
            assert!(open(&sealed, &key().verifying_key(), image).is_err());
        }
    }
}
