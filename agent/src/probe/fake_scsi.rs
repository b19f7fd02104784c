//! A SCSI disk in memory, as far as probing and erasing ask it anything.

use std::cell::{Cell, RefCell};
use std::io;

use erasure::scsi::inquiry;

use super::scsi_generic::{Answer, Data, ScsiPort};

/// Sense key, additional sense code and qualifier.
pub type SenseCodes = (u8, u8, u8);

/// The disk.
pub struct FakeScsi {
    opcodes: bool,
    sanitizes: Vec<u8>,
    /// Log pages that it knows.
    pub log_pages: Vec<(u8, Vec<u8>)>,
    /// The answer to READ DEFECT DATA (12), if it knows the question.
    pub grown_defects: Option<Vec<u8>>,
    /// The answer to Level 0 Discovery, if it knows the question.
    pub discovery: Option<Vec<u8>>,
    /// How Level 0 Discovery is refused, if it does not know the question.
    pub discovery_refused: Cell<SenseCodes>,
    /// What INQUIRY says of the vendor; none is a disk that does not answer it.
    pub vendor: Cell<Option<[u8; 8]>>,
    /// What REQUEST SENSE says.
    pub sense: Cell<SenseCodes>,
    /// How TEST UNIT READY is refused.
    pub unready: Cell<Option<SenseCodes>>,
    /// How many commands are answered with a unit attention first.
    pub attentions: Cell<usize>,
    /// It has WRITE SAME; and the most blocks of one, if it has the page that says it.
    pub write_same: Option<Option<u64>>,
    /// Its WRITE SAMEs are refused with this from the one with this number on, from 0.
    pub same_refused: Cell<Option<(usize, SenseCodes)>>,
    /// A sanitize is refused with this.
    pub refuses: Cell<Option<SenseCodes>>,
    /// The commands that came.
    pub commands: RefCell<Vec<u8>>,
    /// The sanitize commands and WRITE SAMEs that came, with their data.
    pub erased: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl FakeScsi {
    /// Like QEMU's: REPORT SUPPORTED OPERATION CODES is an invalid command.
    pub fn without_opcodes() -> Self {
        Self { opcodes: false, ..Self::with_sanitize(&[]) }
    }

    /// With these service actions of SANITIZE.
    pub fn with_sanitize(service_actions: &[u8]) -> Self {
        Self {
            opcodes: true,
            log_pages: Vec::new(),
            grown_defects: None,
            discovery: None,
            write_same: None,
            same_refused: Cell::new(None),
            discovery_refused: Cell::new((5, 0x20, 0)),
            vendor: Cell::new(Some(*b"QEMU    ")),
            sanitizes: service_actions.to_vec(),
            sense: Cell::new((0, 0, 0)),
            unready: Cell::new(None),
            attentions: Cell::new(0),
            refuses: Cell::new(None),
            commands: RefCell::default(),
            erased: RefCell::default(),
        }
    }
}

impl FakeScsi {
    /// With WRITE SAME; and the most blocks of one, if it says so.
    pub fn with_write_same(blocks_max: Option<u64>) -> Self {
        Self { write_same: Some(blocks_max), ..Self::with_sanitize(&[]) }
    }

    fn has(&self, question: &[u8]) -> bool {
        match question[3] {
            0x48 => question[2] == 2 && self.sanitizes.contains(&question[5]),
            0x93 => question[2] == 1 && self.write_same.is_some(),
            _ => false,
        }
    }

    fn block_limits(&self, data: Data<'_>) -> Answer {
        let Some(blocks) = self.write_same.flatten() else { return check_condition((5, 0x24, 0)) };
        let mut page = [0; 64];
        (page[1], page[3]) = (0xb0, 60);
        page[36..44].copy_from_slice(&blocks.to_be_bytes());
        good(data, &page)
    }

    fn same(&self, command: &[u8], data: &Data<'_>) -> Answer {
        let came = self.erased.borrow().len();
        if let Some((from, codes)) = self.same_refused.get()
            && came >= from
        {
            return check_condition(codes);
        }
        let block = if let Data::Out(block) = data { block.to_vec() } else { Vec::new() };
        self.erased.borrow_mut().push((command.to_vec(), block));
        Answer { status: 0, sense: Vec::new(), moved_bytes: 0 }
    }

    fn log_page(&self, control_and_page: u8) -> Option<&[u8]> {
        let wanted = control_and_page & 0x3f;
        self.log_pages.iter().find(|(page, _)| *page == wanted).map(|(_, content)| content.as_slice())
    }
}

fn sense_data((key, code, qualifier): SenseCodes) -> Vec<u8> {
    vec![0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0x80, 0x40, 0x00]
}

fn check_condition(codes: SenseCodes) -> Answer {
    Answer { status: 2, sense: sense_data(codes), moved_bytes: 0 }
}

/// The answer to SECURITY PROTOCOL IN, or how it is refused.
pub fn discovery_answer(discovery: Option<&[u8]>, refused: SenseCodes, data: Data<'_>) -> Answer {
    discovery.map_or_else(|| check_condition(refused), |content| good(data, content))
}

fn inquiry_answer(vendor: Option<[u8; 8]>, data: Data<'_>) -> Answer {
    let Some(vendor) = vendor else { return check_condition((2, 4, 0)) };
    let mut content = [0; inquiry::DATA_BYTES as usize];
    content[8..16].copy_from_slice(&vendor);
    good(data, &content)
}

fn good(data: Data<'_>, content: &[u8]) -> Answer {
    let mut moved_bytes = 0;
    if let Data::In(buffer) = data {
        moved_bytes = content.len().min(buffer.len());
        buffer[..moved_bytes].copy_from_slice(&content[..moved_bytes]);
    }
    Answer { status: 0, sense: Vec::new(), moved_bytes }
}

impl ScsiPort for FakeScsi {
    fn send(&self, command: &[u8], data: Data<'_>, _timeout_millis: u32) -> io::Result<Answer> {
        self.commands.borrow_mut().push(command[0]);
        if self.attentions.get() > 0 && !matches!(command[0], 0x03 | inquiry::OPERATION_CODE) {
            self.attentions.set(self.attentions.get() - 1);
            return Ok(check_condition((6, 0x29, 0)));
        }
        Ok(match command[0] {
            0x00 => self.unready.get().map_or_else(|| good(data, &[]), check_condition),
            0x93 if self.write_same.is_some() => self.same(command, &data),
            inquiry::OPERATION_CODE if command[1] & 1 == 1 => self.block_limits(data),
            inquiry::OPERATION_CODE => inquiry_answer(self.vendor.get(), data),
            0xa2 => discovery_answer(self.discovery.as_deref(), self.discovery_refused.get(), data),
            0x03 => good(data, &sense_data(self.sense.get())),
            0x4d if self.log_page(command[2]).is_some() => {
                good(data, self.log_page(command[2]).unwrap_or(&[]))
            }
            0xb7 if self.grown_defects.is_some() => good(data, self.grown_defects.as_deref().unwrap_or(&[])),
            0xa3 if self.opcodes => {
                let support = if self.has(command) { 3 } else { 1 };
                good(data, &[0, support, 0, 10])
            }
            0x48 if self.refuses.get().is_none() && self.sanitizes.contains(&(command[1] & 0x1f)) => {
                let list = if let Data::Out(list) = &data { list.to_vec() } else { Vec::new() };
                self.erased.borrow_mut().push((command.to_vec(), list));
                self.sense.set((2, 4, 0x1b));
                good(data, &[])
            }
            _ => check_condition(self.refuses.get().unwrap_or((5, 0x20, 0))),
        })
    }
}
