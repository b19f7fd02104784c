//! Something that speaks to the service as an agent would, and as an agent never would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::service::{HTTP_PORT, Service};

/// What a boot script hands to a ramdisk.
#[derive(Debug, Clone)]
pub struct Handed {
    /// The node.
    pub node: String,
    /// The one-time token.
    pub token: String,
}

/// A host on the wire that pretends to be machines.
#[derive(Debug)]
pub struct ScriptedAgent<'lab> {
    network: &'lab Namespace,
    api: String,
    http: String,
    ca: PathBuf,
}

impl<'lab> ScriptedAgent<'lab> {
    /// A host that knows the service's addresses and its CA.
    #[must_use]
    pub fn new(network: &'lab Namespace, service: &Service<'_>) -> Self {
        let api = service.api_url();
        let host = api.trim_start_matches("https://").split(':').next().unwrap_or_default().to_owned();
        Self { network, api, http: format!("http://{host}:{HTTP_PORT}"), ca: service.state().join("ca.pem") }
    }

    /// Fetches the boot script of a machine, as iPXE does.
    ///
    /// # Errors
    /// If the service does not answer, or not with a script.
    pub fn script(&self, mac: &str) -> Result<String> {
        let (status, body) = self.request(&[&format!("{}/boot/script.ipxe?mac={mac}", self.http)], None)?;
        ensure!(status == 200, "the boot script came with status {status}");
        Ok(body)
    }

    /// Fetches the boot script of a machine and takes out what it hands to the ramdisk.
    ///
    /// # Errors
    /// If the script does not start the ramdisk.
    pub fn boot(&self, mac: &str) -> Result<Handed> {
        let script = self.script(mac)?;
        let value = |name: &str| -> Result<String> {
            let rest =
                script.split_once(name).with_context(|| format!("no {name} in the script:\n{script}"))?.1;
            Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
        };
        Ok(Handed { node: value("reprieve.node=")?, token: value("reprieve.token=")? })
    }

    /// Enrolls; status and answer.
    ///
    /// # Errors
    /// If the service does not answer.
    pub fn enroll(&self, handed: &Handed, mac: &str, number: u8) -> Result<(u16, Value)> {
        let body = json!({
            "node": handed.node,
            "token": handed.token,
            "boot_id": format!("00000000-0000-4000-8000-0000000000{number:02x}"),
            "nonce": format!("{number:064x}"),
            "system_uuid": { "outcome": "absent" },
            "macs": [mac],
            "agent_version": "scripted",
            "since_kernel_start_millis": 1,
        });
        self.post("/v1/agent/enroll", None, &body)
    }

    /// Posts JSON to the API; status and answer, null if that is no JSON.
    ///
    /// # Errors
    /// If the service does not answer.
    pub fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> Result<(u16, Value)> {
        self.post_bytes(path, bearer, body.to_string().as_bytes())
    }

    /// Posts bytes to the API; status and answer, null if that is no JSON.
    ///
    /// # Errors
    /// If the service does not answer.
    pub fn post_bytes(&self, path: &str, bearer: Option<&str>, body: &[u8]) -> Result<(u16, Value)> {
        let (url, header) =
            (format!("{}{path}", self.api), bearer.map(|bearer| format!("Authorization: Bearer {bearer}")));
        let mut arguments = vec![url.as_str(), "--data-binary", "@-", "-H", "Content-Type: application/json"];
        if let Some(header) = &header {
            arguments.extend(["-H", header]);
        }
        let (status, text) = self.request(&arguments, Some(body))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    fn request(&self, arguments: &[&str], body: Option<&[u8]>) -> Result<(u16, String)> {
        let mut command: Command = self.network.command(Path::new("curl"));
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--write-out",
            "\n%{http_code}",
            "--cacert",
        ]);
        command.arg(&self.ca).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("could not start curl")?;
        if let Some(mut input) = child.stdin.take() {
            // The service may answer and close before it has read everything.
            let _ = input.write_all(body.unwrap_or_default());
        }
        let output = child.wait_with_output().context("could not wait for curl")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (answer, status) = text.rsplit_once('\n').context("curl said nothing")?;
        let status: u16 = status.trim().parse().context("curl gave no status")?;
        ensure!(status != 0, "no answer: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok((status, answer.to_owned()))
    }
}
