//! Starts everything and runs until told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Settings;
use crate::http::listen::Listeners;
use crate::service::Service;

/// Reads the policies again at each SIGHUP, until the process ends.
async fn keep_reading_policies(service: &Service, hangup: &mut Signal) {
    while hangup.recv().await.is_some() {
        service.read_policies_again().await;
    }
    // No further SIGHUP can come; that is no reason to stop.
    std::future::pending::<()>().await;
}

/// Runs the service until SIGTERM or SIGINT. Everything answered is durable, so there is nothing to
/// wait for when it stops.
///
/// # Errors
/// Names what could not be opened or listened on.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("could not listen for SIGHUP")?;
    let service = Service::open(settings).await?;
    let listeners = Listeners::bind(&service.settings.http, &service.settings.api).await?;
    tracing::info!(http = ?listeners.http, api = ?listeners.api, "listening");
    let http_port = listeners.http.first().map_or(0, std::net::SocketAddr::port);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let network = tokio::spawn(crate::network::serve(Arc::clone(&service), http_port, stopped));
    tokio::pin!(network);
    let with_network = !service.settings.dhcp.is_empty() || !service.settings.tftp.listen.is_empty();
    tokio::select! {
        ended = &mut network, if with_network => ended.context("DHCP and TFTP failed")??,
        ended = listeners.serve(Arc::clone(&service)) => ended?,
        () = service.keep_looking_for_overdue() => {}
        () = service.keep_opening_windows() => {}
        () = service.keep_forgetting() => {}
        () = service.keep_rolling_waves() => {}
        () = service.keep_asking_controllers() => {}
        () = keep_reading_policies(&service, &mut hangup) => {}
        _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
    }
    // Nobody may be listening any more; then there is nobody to tell.
    let _ = stop.send(true);
    service.store.close().await;
    Ok(())
}
