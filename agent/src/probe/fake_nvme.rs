//! An NVMe controller in memory, as far as probing and erasing ask it anything.

use std::cell::{Cell, RefCell};
use std::io;

use erasure::nvme::admin::{self, AdminCommand};

use super::nvme_admin::NvmePort;

/// The controller. What it erases is only counted.
#[derive(Default)]
pub struct FakeNvme {
    identify_controller: Vec<u8>,
    identify_namespace: Vec<u8>,
    sanitize_log: RefCell<Vec<u8>>,
    /// AFI of log page 03h.
    pub active_firmware: u8,
    /// Answer of Get Features 84h; none where write protection is not supported.
    pub write_protection: Option<u32>,
    /// Log page 06h.
    self_tests: Vec<u8>,
    /// The answer to Level 0 Discovery.
    discovery: Vec<u8>,
    /// Whether it has log page 15h.
    pub has_boot_partition_log: bool,
    /// Opcodes that it refuses.
    pub refuses: Vec<u8>,
    /// Log pages that it was asked for.
    pub logs_asked: RefCell<Vec<u8>>,
    /// Commands that change something.
    pub changed: RefCell<Vec<AdminCommand>>,
    /// Whether a sanitize that is started ends at once.
    pub ends_at_once: Cell<bool>,
}

impl FakeNvme {
    /// One namespace, Format with both settings, no Sanitize: like QEMU's.
    pub fn without_sanitize() -> Self {
        let mut controller = vec![0; 4096];
        controller[256] = 0b10;
        controller[524] = 0b100;
        let mut namespace = vec![0; 4096];
        namespace[1] = 1;
        namespace[26] = 0x12;
        Self {
            identify_controller: controller,
            identify_namespace: namespace,
            active_firmware: 1,
            ..Self::default()
        }
    }

    /// With block erase and cryptographic erase.
    pub fn with_sanitize() -> Self {
        let mut fake = Self::without_sanitize();
        fake.identify_controller[328] = 0b011;
        fake.set_sanitize_log(0xffff, 0, 0);
        fake
    }

    /// What log page 81h says: progress, status and the command it is about; 30 s for a block erase.
    pub fn set_sanitize_log(&self, progress: u16, status: u16, command: u32) {
        let mut log = Vec::new();
        log.extend(progress.to_le_bytes());
        log.extend(status.to_le_bytes());
        log.extend(command.to_le_bytes());
        for seconds in [u32::MAX, 30, 2] {
            log.extend(seconds.to_le_bytes());
        }
        *self.sanitize_log.borrow_mut() = log;
    }

    /// Version 2.0 with one replay-protected memory block and boot partitions of 256 KiB.
    pub fn set_version_2_with_memory_beside(&mut self) {
        self.identify_controller[82] = 2;
        self.identify_controller[312] = 1;
        self.has_boot_partition_log = true;
    }

    /// Security Receive is supported and answers with this.
    pub fn set_discovery(&mut self, discovery: Vec<u8>) {
        self.identify_controller[256] |= 1;
        self.discovery = discovery;
    }

    /// Device Self-test is supported and its log is this.
    pub fn set_self_tests(&mut self, log: Vec<u8>) {
        self.identify_controller[256] |= 0b1_0000;
        self.self_tests = log;
    }

    fn boot_page(&self, page: u8) -> Vec<u8> {
        let mut supported = vec![0; 1024];
        supported[0x15 * 4] = u8::from(self.has_boot_partition_log);
        if page == 0 { supported } else { vec![0x15, 0, 0, 0, 2, 0, 0, 0] }
    }

    fn change(&self, command: AdminCommand) {
        if command.opcode == admin::OPCODE_SANITIZE {
            let (progress, status) = if self.ends_at_once.get() { (0xffff, 1) } else { (0, 2) };
            self.set_sanitize_log(progress, status, command.dword_10);
        }
        self.changed.borrow_mut().push(command);
    }
}

impl NvmePort for FakeNvme {
    fn admin(&self, command: AdminCommand, data: &mut [u8], _timeout_millis: u32) -> io::Result<u32> {
        if self.refuses.contains(&command.opcode) {
            return Err(io::Error::other(erasure::nvme::status::in_words(0x4001)));
        }
        let mut controller = self.identify_controller.clone();
        controller[531] = u8::from(self.write_protection.is_some());
        let source = match (command.opcode, command.dword_10 & 0xff) {
            (admin::OPCODE_IDENTIFY, 0) => self.identify_namespace.clone(),
            (admin::OPCODE_IDENTIFY, 1) => controller,
            (admin::OPCODE_IDENTIFY, _) => vec![1, 0, 0, 0],
            (admin::OPCODE_GET_LOG_PAGE, page) => {
                let page = page as u8;
                self.logs_asked.borrow_mut().push(page);
                match page {
                    0x00 | 0x15 => self.boot_page(page),
                    0x03 => vec![self.active_firmware],
                    0x06 => self.self_tests.clone(),
                    _ => self.sanitize_log.borrow().clone(),
                }
            }
            (erasure::opal::OPCODE_SECURITY_RECEIVE, _) => self.discovery.clone(),
            (admin::OPCODE_GET_FEATURES, _) => return Ok(self.write_protection.unwrap_or(0)),
            _ => {
                self.change(command);
                Vec::new()
            }
        };
        let length = source.len().min(data.len());
        data[..length].copy_from_slice(&source[..length]);
        Ok(0)
    }

    fn namespace(&self) -> io::Result<u32> {
        Ok(1)
    }
}
