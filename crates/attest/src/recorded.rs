//! What two virtual machines with swtpm 0.7.1 showed of one boot (`recorded/README.md`).

use crate::register::Registers;

/// What both were asked to put into their quotes: the bytes 0 to 31.
pub(crate) const CHALLENGE: [u8; 32] = {
    let mut challenge = [0; 32];
    let mut at = 0;
    while at < 32 {
        challenge[at] = at as u8;
        at += 1;
    }
    challenge
};

/// The command line of both; OVMF put the last word there.
pub(crate) const COMMAND_LINE: &str = "console=ttyS0 quiet initrd=initrd";

/// SHA-256 of the ramdisk that both were given.
pub(crate) const RAMDISK: &str = "859f27fd65d3c9d638f35b5e7ab5e869cd6aaa23f22409131031b6f0da27d92c";

/// What one machine showed.
pub(crate) struct Machine {
    pub(crate) log: &'static [u8],
    pub(crate) key_answer: &'static [u8],
    pub(crate) quote_answer: &'static [u8],
    registers: &'static str,
}

impl Machine {
    pub(crate) fn registers(&self) -> Registers {
        Registers::new(self.registers.lines().map(|line| {
            let (index, digits) = line.split_once(' ').unwrap();
            let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
            (index.parse().unwrap(), std::array::from_fn(byte))
        }))
    }
}

/// `SeaBIOS`, which measures no kernel.
pub(crate) const BIOS: Machine = Machine {
    log: include_bytes!("../recorded/bios.log"),
    key_answer: include_bytes!("../recorded/bios.key"),
    quote_answer: include_bytes!("../recorded/bios.quote"),
    registers: include_str!("../recorded/bios.registers"),
};

/// OVMF, which measures the kernel, whose own loader measures the ramdisk.
pub(crate) const UEFI: Machine = Machine {
    log: include_bytes!("../recorded/uefi.log"),
    key_answer: include_bytes!("../recorded/uefi.key"),
    quote_answer: include_bytes!("../recorded/uefi.quote"),
    registers: include_str!("../recorded/uefi.registers"),
};

/// The event log and the registers of Debian's system behind shim and GRUB, with Secure Boot enforced.
pub(crate) const SYSTEM: Machine = Machine {
    log: include_bytes!("../recorded/system.log"),
    key_answer: &[],
    quote_answer: &[],
    registers: include_str!("../recorded/system.registers"),
};

/// What swtpm answered in an enrolment, and what went into it, by name.
pub(crate) fn enrolment(name: &str) -> Vec<u8> {
    let all = include_str!("../recorded/enrolment.txt");
    let digits = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
    (0..digits.len() / 2).map(byte).collect()
}
