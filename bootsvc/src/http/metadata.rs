//! The files of cloud-init's NoCloud over plain HTTP, for images that are told to look there
//! (`ds=nocloud-net;s=http://…/metadata/`) instead of at the seed partition. Off unless configured.
//!
//! A machine is known by the address that it asks from: one that DHCP of this service has lent to a
//! node which is told to boot its own system and holds its tenant's data. There is no secret in it:
//! password hashes and user data are only in the seed partition.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contract::id::MacAddress;

use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// The paths, for plain HTTP.
pub fn router() -> Router<Arc<Service>> {
    Router::new().route("/metadata/{file}", get(file))
}

/// Says the same to whoever may not have it, so that nobody learns which machines there are.
fn nothing() -> Refusal {
    Refusal::not_found(
        "there are no data for this machine here",
        "see docs/security.md for who is told what under /metadata/",
    )
}

async fn file(
    State(service): State<Arc<Service>>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    if !service.settings.metadata_enabled {
        return Err(nothing());
    }
    let mac = lent_to(&service, peer).await?.ok_or_else(nothing)?;
    let files = service.public_seed_files(mac).await?.ok_or_else(nothing)?;
    let text = match name.as_str() {
        "meta-data" => files.meta_data,
        "user-data" => files.user_data.reveal().to_owned(),
        // cloud-init asks for it and takes "none" for an answer.
        "vendor-data" => String::new(),
        "network-config" => files.network_config.ok_or_else(nothing)?,
        _ => return Err(nothing()),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], text)
        .into_response())
}

/// To whom this service's DHCP has lent an address.
async fn lent_to(service: &Service, peer: IpAddr) -> Result<Option<MacAddress>, Refusal> {
    let IpAddr::V4(address) = peer.to_canonical() else { return Ok(None) };
    let now = crate::clock::now();
    let mut reading = service.store.read().await?;
    let mut found = Vec::new();
    for block in service.settings.dhcp.iter().filter(|block| block.subnet.contains(address)) {
        for row in store::leases::all(&mut reading, &block.interface).await? {
            let holds = row.address == address.to_string() && row.expires_at > now;
            if let (true, Ok(mac)) = (holds, row.client.parse::<MacAddress>()) {
                found.push(mac);
            }
        }
    }
    // An address that two interfaces have lent says nothing about who asks.
    found.dedup();
    Ok(if let [mac] = found.as_slice() { Some(*mac) } else { None })
}
