//! Imports over the real API: whole or not at all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use std::path::Path;

use contract::operator_api::{ChunkList, ErrorKind, ImageView, ImportReply};
use imaging::chunk::{CHUNK_BYTES, compress, decompress_verified, digest_of};
use reqwest::{Method, StatusCode};
use serde_json::json;
use support::{Bench, image, kind_of, short};

async fn begin(bench: &Bench, name: &str) -> ImportReply {
    bench.operator(Method::POST, "/v1/imports", &json!({"name": name})).await.unwrap()
}

async fn put(bench: &Bench, import: &ImportReply, digest: &str, body: Vec<u8>) -> reqwest::Response {
    bench
        .raw(Method::PUT, &format!("/v1/imports/{}/chunks/{digest}", import.import), &bench.token, body)
        .await
}

fn files_under(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path.display().to_string()) }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_served_by_digest_and_believed_by_signature() {
    let bench = Bench::start().await;
    let view = bench.import("debian", 1).await;
    assert_eq!((view.chunks, view.shared_bytes, view.disk_bytes), (1, 0, 8 << 20));
    let sealed = bench.plain(&format!("/images/{}/manifest", view.id)).await.bytes().await.unwrap();
    let key = bench.service.authority.image_key.verifying_key();
    assert_eq!(imaging::signed::open(&sealed, &key, view.id).unwrap(), image("debian", 1).0);
    let digest = digest_of(&vec![1; CHUNK_BYTES]);
    let response = bench.plain(&format!("/chunks/{digest}")).await;
    assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
    let stored = response.bytes().await.unwrap();
    decompress_verified(&stored, digest, CHUNK_BYTES).unwrap();
    let part = bench
        .client
        .get(format!("http://{}/chunks/{digest}", bench.http))
        .header("range", "bytes=1-4")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), stored[1..5]);
    let head = bench.client.head(format!("http://{}/chunks/{digest}", bench.http)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], stored.len().to_string());
    // The same bytes under another name are stored once.
    let second = bench.import("debian-again", 1).await;
    assert_eq!((second.shared_bytes, second.stored_bytes), (view.stored_bytes, view.stored_bytes));
    for reference in ["debian", &short(view.id), &view.id.to_string()] {
        let found: ImageView =
            bench.operator(Method::GET, &format!("/v1/images/{reference}"), &()).await.unwrap();
        assert_eq!(found.id, view.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_chunks_are_not_taken() {
    let bench = Bench::start().await;
    let import = begin(&bench, "debian").await;
    let digest = digest_of(b"content").to_string();
    let good = compress(b"content").unwrap();
    for bad in
        [compress(b"other").unwrap(), good[..good.len() - 1].to_vec(), Vec::new(), b"not zstd".to_vec()]
    {
        assert_eq!(put(&bench, &import, &digest, bad).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    let bomb = compress(&vec![0; 64 << 20]).unwrap();
    assert_eq!(put(&bench, &import, &digest, bomb).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        put(&bench, &import, &digest, vec![0; (4 << 20) + 1]).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    for name in ["..%2f..%2fx", "ABC", &"A".repeat(64)] {
        assert_eq!(
            put(&bench, &import, name, good.clone()).await.status(),
            StatusCode::BAD_REQUEST,
            "{name}"
        );
    }
    assert!(files_under(&bench.folder.path().join("chunks")).is_empty());
    put(&bench, &import, &digest, good).await.error_for_status().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_resumes_and_an_abandoned_one_leaves_nothing() {
    let bench = Bench::start().await;
    let (manifest, chunk) = image("debian", 3);
    let digest = digest_of(&chunk);
    let import = begin(&bench, "debian").await;
    let path = format!("/v1/imports/{}", import.import);
    let packed = imaging::signed::pack(&manifest.to_bytes().unwrap()).unwrap();
    let early = bench.raw(Method::POST, &format!("{path}/commit"), &bench.token, packed.clone()).await;
    assert_eq!(early.status(), StatusCode::UNPROCESSABLE_ENTITY, "committed without its chunk");
    put(&bench, &import, &digest.to_string(), compress(&chunk).unwrap()).await.error_for_status().unwrap();

    let bench = bench.restart().await;
    let again = begin(&bench, "debian").await;
    assert_eq!((again.import, again.resumed), (import.import, true));
    let other = digest_of(b"never sent");
    let asked = ChunkList { chunks: vec![digest, other] };
    let missing: ChunkList = bench.operator(Method::POST, &format!("{path}/missing"), &asked).await.unwrap();
    assert_eq!(missing.chunks, [other]);

    // Another import counts on the same chunk; giving the first up leaves it.
    let second = begin(&bench, "second").await;
    let second_path = format!("/v1/imports/{}", second.import);
    let _: ChunkList = bench.operator(Method::POST, &format!("{second_path}/missing"), &asked).await.unwrap();
    bench.operator::<()>(Method::DELETE, &path, &()).await.unwrap();
    assert_eq!(files_under(&bench.folder.path().join("chunks")).len(), 1);
    bench.operator::<()>(Method::DELETE, &second_path, &()).await.unwrap();
    assert!(files_under(&bench.folder.path().join("chunks")).is_empty());
    assert_eq!(kind_of(bench.operator::<()>(Method::DELETE, &second_path, &()).await), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_come_side_by_side_and_unasked_belong_to_their_import() {
    let bench = Bench::start().await;
    let import = begin(&bench, "debian").await;
    let send = async |number: u8| {
        let bytes = [number % 3; 4000];
        let sent = put(&bench, &import, &digest_of(&bytes).to_string(), compress(&bytes).unwrap()).await;
        assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    };
    // Some of them are the same chunk.
    tokio::join!(send(0), send(1), send(2), send(3), send(4), send(5));
    let folder = bench.folder.path().join("chunks");
    assert_eq!(files_under(&folder).len(), 3);
    bench.operator::<()>(Method::DELETE, &format!("/v1/imports/{}", import.import), &()).await.unwrap();
    assert!(files_under(&folder).is_empty(), "a file that nothing counts on");
    let late = put(&bench, &import, &digest_of(b"late").to_string(), compress(b"late").unwrap()).await;
    assert_eq!(late.status(), StatusCode::NOT_FOUND);
    assert!(files_under(&folder).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_rots_is_found_at_commit_and_a_stale_import_goes_at_start() {
    let bench = Bench::start().await;
    let (manifest, chunk) = image("debian", 4);
    let digest = digest_of(&chunk);
    let import = begin(&bench, "debian").await;
    put(&bench, &import, &digest.to_string(), compress(&chunk).unwrap()).await.error_for_status().unwrap();
    let file = bench.service.images.chunk_path(digest);
    std::fs::write(&file, compress(b"rotten").unwrap()).unwrap();
    let packed = imaging::signed::pack(&manifest.to_bytes().unwrap()).unwrap();
    let path = format!("/v1/imports/{}/commit", import.import);
    assert_eq!(
        bench.raw(Method::POST, &path, &bench.token, packed).await.status(),
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let images: Vec<ImageView> = bench.operator(Method::GET, "/v1/images", &()).await.unwrap();
    assert!(images.is_empty());

    let mut transaction = bench.service.store.write().await.unwrap();
    sqlx::query("UPDATE imports SET changed_at = 1").execute(&mut *transaction).await.unwrap();
    reprieve_bootsvc::store::commit(transaction).await.unwrap();
    let bench = bench.restart().await;
    assert!(!file.exists(), "a stale import left its chunk");
    drop(bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_lists_are_bounded() {
    let bench = Bench::start().await;
    for name in ["", "a/b", "../x", "a b", "ä", &"x".repeat(129)] {
        let begun = bench.operator::<ImportReply>(Method::POST, "/v1/imports", &json!({"name": name})).await;
        assert_eq!(kind_of(begun), ErrorKind::BadRequest, "{name}");
    }
    let import = begin(&bench, "debian").await;
    let asked = ChunkList { chunks: vec![digest_of(b"x"); 10_001] };
    let path = format!("/v1/imports/{}/missing", import.import);
    assert_eq!(kind_of(bench.operator::<ChunkList>(Method::POST, &path, &asked).await), ErrorKind::TooLarge);
}
