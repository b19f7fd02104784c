//! The machine protocol of QEMU: commands and events over a socket, one JSON document a line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::wait::until;

/// Longest wait for the answer to a command.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Events kept that nobody has asked for yet.
const EVENTS_MAX: usize = 1000;

/// A connection to one machine.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    partial: String,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Connects and leaves the negotiation.
    ///
    /// # Errors
    /// If nobody listens within the limit or what answers is not QEMU.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = until("QEMU's control socket", ANSWER_LIMIT, || Ok(UnixStream::connect(socket).ok()))?;
        let mut qmp =
            Self { reader: BufReader::new(stream), partial: String::new(), events: VecDeque::new() };
        let greeting = qmp.read(Instant::now() + ANSWER_LIMIT)?;
        if greeting.as_ref().is_none_or(|greeting| greeting.get("QMP").is_none()) {
            bail!("{} does not speak QMP: {greeting:?}", socket.display());
        }
        qmp.call("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and gives what it returns.
    ///
    /// # Errors
    /// If QEMU refuses, does not answer in time or is gone.
    pub fn call(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        let stream = self.reader.get_mut();
        stream.write_all(line.as_bytes()).with_context(|| format!("could not send {command} to QEMU"))?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let Some(answer) = self.read(deadline)? else { bail!("QEMU did not answer {command}") };
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused {command}: {error}");
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            self.keep_event(answer);
        }
    }

    /// Waits for an event of this name; gives it, or none if it did not come within `limit`.
    ///
    /// # Errors
    /// If QEMU is gone.
    pub fn event(&mut self, name: &str, limit: Duration) -> Result<Option<Value>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.events.iter().position(|event| event["event"] == name) {
                return Ok(self.events.remove(at));
            }
            match self.read(deadline)? {
                Some(event) => self.keep_event(event),
                None => return Ok(None),
            }
        }
    }

    /// Forgets the events that have come so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    fn keep_event(&mut self, event: Value) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The next document; none if none came before the deadline.
    fn read(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.reader
                .get_ref()
                .set_read_timeout(Some(left))
                .context("could not set the timeout of QEMU's socket")?;
            match self.reader.read_line(&mut self.partial) {
                Ok(0) => bail!("QEMU is gone"),
                Ok(_) => {
                    let line = std::mem::take(&mut self.partial);
                    return serde_json::from_str(&line).map(Some).context("QEMU said what is not JSON");
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("could not read from QEMU"),
            }
        }
    }
}
