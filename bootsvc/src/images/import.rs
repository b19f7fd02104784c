//! Imports: begun, filled with chunks, committed or given up.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use contract::id::{ChunkDigest, Digest, ImageId, UnixMillis};
use contract::operator_api::{ErrorKind, ImageView, ImportReply};
use ed25519_dalek::SigningKey;
use imaging::manifest::Manifest;
use uuid::Uuid;

use crate::images::read_back::{Wanted, read_back};
use crate::images::{ImageStore, chunks};
use crate::refusal::Refusal;
use crate::store::{self, Store};

/// How many imports may be under way at once.
const IMPORTS_MAX: u64 = 64;
/// How long an import may lie untouched before it is given up at the next start.
const IMPORT_KEPT_MILLIS: u64 = 24 * 3_600_000;
/// How many chunks one list may have.
pub const CHUNK_LIST_MAX: usize = 10_000;
/// How long an image's name may be, in bytes.
const NAME_BYTES_MAX: usize = 128;

fn no_import(import: Uuid) -> Refusal {
    Refusal::not_found(format!("there is no import {import}"), "begin the import again")
}

/// A chunk that was checked with [`chunks::verify_upload`].
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its name.
    pub digest: ChunkDigest,
    /// Its length in bytes.
    pub length_bytes: usize,
    /// Its stored form.
    pub stored: bytes::Bytes,
}

impl ImageStore {
    /// Begins an import, or goes on with the one of that name.
    ///
    /// # Errors
    /// If the name cannot be used or too many imports are under way.
    pub async fn begin_import(
        &self,
        store: &Store,
        name: &str,
        now: UnixMillis,
    ) -> Result<ImportReply, Refusal> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | ':');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
            return Err(Refusal::bad_request(
                "an image's name is 1 to 128 letters, digits, '-', '_', '.', '+' or ':'",
                "choose another name",
            ));
        }
        let _deciding = self.deciding.read().await;
        let mut transaction = store.write().await?;
        let known = store::images::import_named(&mut transaction, name).await?;
        if known.is_none() && store::images::count_imports(&mut transaction).await? >= IMPORTS_MAX {
            return Err(Refusal::conflict(
                format!("{IMPORTS_MAX} imports are under way"),
                "finish or give up one of them",
            ));
        }
        let import = known.unwrap_or_else(crate::bearer::new_uuid);
        store::images::touch_import(&mut transaction, import, name, now).await?;
        store::commit(transaction).await?;
        Ok(ImportReply { import, resumed: known.is_some() })
    }

    /// Which of these chunks are not stored. The import counts on all of them from now on.
    ///
    /// # Errors
    /// If there is no such import or the list is too long.
    pub async fn missing(
        &self,
        store: &Store,
        import: Uuid,
        asked: &[ChunkDigest],
        now: UnixMillis,
    ) -> Result<Vec<ChunkDigest>, Refusal> {
        if asked.len() > CHUNK_LIST_MAX {
            return Err(Refusal::new(
                ErrorKind::TooLarge,
                format!("more than {CHUNK_LIST_MAX} chunks"),
                "ask in parts",
            ));
        }
        let _deciding = self.deciding.read().await;
        let mut transaction = store.write().await?;
        let name =
            store::images::import_name(&mut transaction, import).await?.ok_or_else(|| no_import(import))?;
        store::images::claim_chunks(&mut transaction, import, asked).await?;
        store::images::touch_import(&mut transaction, import, &name, now).await?;
        store::commit(transaction).await?;
        // Looked at after the claim: what is there now stays.
        Ok(asked.iter().copied().filter(|chunk| !self.chunk_path(*chunk).exists()).collect())
    }

    /// Stores a checked chunk.
    ///
    /// # Errors
    /// If there is no such import or the disk does not take it.
    pub async fn put_chunk(&self, store: &Store, import: Uuid, upload: Upload) -> Result<(), Refusal> {
        let digest = upload.digest;
        let _deciding = self.deciding.read().await;
        // First the claim, then the file: a file that nothing counts on would never be found again.
        self.claim(store, import, digest).await?;
        let path = self.chunk_path(digest);
        if path.exists() {
            return Ok(());
        }
        let checked = Arc::clone(&self.checked);
        let written = tokio::task::spawn_blocking(move || {
            chunks::write_whole(&path, &upload.stored)?;
            checked.remember(digest, upload.length_bytes, &upload.stored);
            Ok(())
        });
        let failed =
            |error: std::io::Error| Refusal::internal(format!("could not store chunk {digest}: {error}"));
        written.await.map_err(Refusal::internal)?.map_err(failed)
    }

    /// Makes sure that the import counts on a chunk. Most were claimed when it was asked which are missing.
    async fn claim(&self, store: &Store, import: Uuid, digest: ChunkDigest) -> Result<(), Refusal> {
        let mut reading = store.read().await?;
        if store::images::is_claimed(&mut reading, import, digest).await? {
            return Ok(());
        }
        drop(reading);
        let mut transaction = store.write().await?;
        store::images::import_name(&mut transaction, import).await?.ok_or_else(|| no_import(import))?;
        store::images::claim_chunks(&mut transaction, import, &[digest]).await?;
        Ok(store::commit(transaction).await?)
    }

    /// Makes an image of an import: the manifest is consistent, every chunk is there and reads back.
    ///
    /// # Errors
    /// If anything is missing or damaged; the import stays and can be completed.
    pub async fn commit(
        &self,
        store: &Store,
        import: Uuid,
        packed: bytes::Bytes,
        key: SigningKey,
        now: UnixMillis,
    ) -> Result<ImageView, Refusal> {
        let _deciding = self.deciding.read().await;
        let mut reading = store.read().await?;
        let name =
            store::images::import_name(&mut reading, import).await?.ok_or_else(|| no_import(import))?;
        drop(reading);
        let prepared = self.prepare(packed, key).await?;
        if prepared.manifest.name != name {
            return Err(Refusal::bad_request(
                format!("the manifest's name is {:?}, the import's is {name:?}", prepared.manifest.name),
                "import the image under one name",
            ));
        }
        let view = self.view(store, &prepared, now).await?;
        let path = self.manifest_path(prepared.image);
        let sealed = prepared.sealed;
        tokio::task::spawn_blocking(move || chunks::write_durably(&path, &sealed))
            .await
            .map_err(Refusal::internal)?
            .map_err(|error| {
                Refusal::internal(format!("could not store the manifest of {}: {error}", view.id))
            })?;
        let minimum_disk_bytes = imaging::layout::minimum_disk_bytes(&prepared.manifest);
        let digests: Vec<ChunkDigest> = prepared.chunks.into_iter().collect();
        let mut transaction = store.write().await?;
        store::images::insert(&mut transaction, &view, minimum_disk_bytes, &digests, import).await?;
        store::commit(transaction).await?;
        self.checked.forget(&digests);
        Ok(view)
    }

    async fn prepare(&self, packed: bytes::Bytes, key: SigningKey) -> Result<Prepared, Refusal> {
        let folder = Self {
            chunks: self.chunks.clone(),
            manifests: self.manifests.clone(),
            deciding: tokio::sync::RwLock::default(),
            checked: Arc::clone(&self.checked),
        };
        tokio::task::spawn_blocking(move || prepare(&folder, &packed, &key))
            .await
            .map_err(Refusal::internal)?
    }

    async fn view(&self, store: &Store, prepared: &Prepared, now: UnixMillis) -> Result<ImageView, Refusal> {
        let manifest = &prepared.manifest;
        let (mut stored_bytes, mut shared_bytes) = (0, 0);
        let mut reading = store.read().await?;
        let shared = store::images::chunks_of_images(&mut reading, &prepared.chunks).await?;
        drop(reading);
        for chunk in &prepared.chunks {
            let bytes = std::fs::metadata(self.chunk_path(*chunk)).map(|file| file.len()).unwrap_or_default();
            stored_bytes += bytes;
            if shared.contains(chunk) {
                shared_bytes += bytes;
            }
        }
        Ok(ImageView {
            id: prepared.image,
            name: manifest.name.clone(),
            imported_at: now,
            disk_bytes: manifest.disk_bytes,
            chunks: prepared.chunks.len() as u64,
            stored_bytes,
            shared_bytes,
            partitions: manifest
                .partitions
                .iter()
                .map(|partition| {
                    format!("{} {} {} bytes", partition.number, partition.name, partition.length_bytes)
                })
                .collect(),
            immutable_files: manifest.root.as_ref().map_or(0, |root| root.entries.len() as u64),
            without_agent: manifest.without_agent,
        })
    }

    /// Gives an import up and frees what only it had stored.
    ///
    /// # Errors
    /// If there is no such import, or a file cannot be removed; then the import stays.
    pub async fn abandon(&self, store: &Store, import: Uuid) -> Result<(), Refusal> {
        let _deciding = self.deciding.write().await;
        let mut transaction = store.write().await?;
        store::images::import_name(&mut transaction, import).await?.ok_or_else(|| no_import(import))?;
        let alone = store::images::chunks_of_import_alone(&mut transaction, import).await?;
        self.checked.forget(&alone);
        for chunk in alone {
            match std::fs::remove_file(self.chunk_path(chunk)) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Refusal::internal(format!("could not remove chunk {chunk}: {error}")));
                }
            }
        }
        store::images::forget_import(&mut transaction, import).await?;
        store::commit(transaction).await?;
        Ok(())
    }

    /// Gives up what nobody has gone on with for a day, and removes manifests without an image. Done at
    /// start.
    ///
    /// # Errors
    /// If the database fails or a file cannot be removed.
    pub async fn sweep(&self, store: &Store, now: UnixMillis) -> Result<(), Refusal> {
        let mut reading = store.read().await?;
        let old = store::images::imports_older_than(
            &mut reading,
            UnixMillis(now.0.saturating_sub(IMPORT_KEPT_MILLIS)),
        )
        .await?;
        let images: BTreeSet<String> = store::images::all(&mut reading)
            .await?
            .iter()
            .map(|image| format!("{}.manifest", image.id))
            .collect();
        drop(reading);
        for import in old {
            tracing::info!(%import, "gave up an import that nobody went on with for a day");
            self.abandon(store, import).await?;
        }
        for entry in std::fs::read_dir(&self.manifests).map_err(Refusal::internal)?.flatten() {
            if !images.contains(entry.file_name().to_string_lossy().as_ref()) {
                std::fs::remove_file(entry.path()).map_err(Refusal::internal)?;
            }
        }
        Ok(())
    }
}

/// An image that is ready to be recorded.
struct Prepared {
    image: ImageId,
    manifest: Manifest,
    chunks: BTreeSet<ChunkDigest>,
    sealed: Vec<u8>,
}

/// Reads the manifest, reads back every chunk that it names, and makes their names durable.
fn prepare(images: &ImageStore, packed: &[u8], key: &SigningKey) -> Result<Prepared, Refusal> {
    let bytes = imaging::signed::unpack(packed).map_err(|error| {
        let message = format!("the manifest is not zstd or is cut off: {error}");
        Refusal::new(ErrorKind::Corrupt, message, "send it again")
    })?;
    let manifest = Manifest::from_bytes(&bytes).map_err(|error| {
        Refusal::bad_request(format!("the manifest is not valid: {error}"), "import the image again")
    })?;
    let mut chunks = BTreeSet::new();
    let mut wanted = Vec::new();
    for (index, chunk) in manifest.chunks_and_content() {
        let imaging::manifest::Chunk::Stored(digest) = chunk else { continue };
        // The last one of the disk may be shorter than another with its name would have to be.
        if chunks.insert(digest) || index + 1 == manifest.chunk_count() {
            let length_bytes = manifest.chunk_or_content_length(index);
            wanted.push(Wanted { digest, length_bytes, path: images.chunk_path(digest) });
        }
    }
    read_back(&wanted, &images.checked)?;
    sync_folders(&wanted)
        .map_err(|error| Refusal::internal(format!("could not make chunks durable: {error}")))?;
    let sealed = imaging::signed::seal(&bytes, key)
        .map_err(|error| Refusal::new(ErrorKind::TooLarge, error.to_string(), "make the image smaller"))?;
    Ok(Prepared { image: ImageId(Digest::of(&bytes)), manifest, chunks, sealed })
}

/// Makes the names of chunks durable, folder by folder.
fn sync_folders(chunks: &[Wanted]) -> std::io::Result<()> {
    let folders: BTreeSet<&Path> = chunks.iter().filter_map(|chunk| chunk.path.parent()).collect();
    folders.into_iter().try_for_each(chunks::sync_folder)
}
