//! Whether everything that is configured to listen does.

use std::sync::{Mutex, PoisonError};

use crate::config::Settings;

/// A listener that is opened after HTTP and the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// All interfaces with DHCP.
    Dhcp,
    /// All addresses with TFTP.
    Tftp,
}

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "DHCP",
            Self::Tftp => "TFTP",
        }
    }
}

/// What does not listen yet. HTTP and the API are bound before the first answer leaves, so they are not
/// in it.
#[derive(Debug)]
pub struct Readiness {
    waits_for: Mutex<Vec<Listener>>,
}

impl Readiness {
    /// Waits for what is configured.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let dhcp = (!settings.dhcp.is_empty()).then_some(Listener::Dhcp);
        let tftp = (!settings.tftp.listen.is_empty()).then_some(Listener::Tftp);
        Self { waits_for: Mutex::new([dhcp, tftp].into_iter().flatten().collect()) }
    }

    /// This one listens now.
    pub fn listens(&self, listener: Listener) {
        // A panic elsewhere leaves a plain list behind.
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != listener);
    }

    /// What does not listen yet, in words; none if everything does.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = waits_for.iter().map(|listener| listener.name()).collect();
        (!names.is_empty()).then(|| names.join(" and "))
    }
}
