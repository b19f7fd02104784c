//! How the words that a kernel was started with differ from those that it should be started with.
//!
//! Order counts, because of two words for one parameter the kernel takes the last.

use std::collections::BTreeMap;

use contract::agent_api::boot_parameter;
use contract::command_line::{LINE_BYTES_MAX, words};

/// What boot loaders put in front of the line, by what each was asked to load: not part of how a system starts.
/// The kernel's file itself is compared where the image names it.
const OF_THE_LOADER: [&str; 2] = ["BOOT_IMAGE=", "vt.handoff="];
/// What loaders say of the ramdisk's files: the boot script's and iPXE's own names, and those of others. The
/// line cannot tell what was loaded anyway.
const OF_THE_RAMDISK: [&str; 2] = ["initrd=initrd.magic", "initrd="];
/// UEFI starts the kernel with its own name as the first word.
const KERNEL_NAME: &str = "vmlinuz";
/// The boot script gives this to every ramdisk.
const ALWAYS: &str = "quiet";
const OURS: [&str; 7] = [
    boot_parameter::SERVICE,
    boot_parameter::CA_SHA256,
    boot_parameter::NODE,
    boot_parameter::TOKEN,
    boot_parameter::ADDRESS,
    boot_parameter::GATEWAY,
    boot_parameter::INTERFACE,
];

/// Why lines cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is longer than the {LINE_BYTES_MAX} bytes that a kernel may take")]
pub(crate) struct TooLong;

/// What is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Words that should not be there, in their order.
    pub added: Vec<String>,
    /// Words that should be there, in their order.
    pub removed: Vec<String>,
    /// The words that both have, where they stand in another order.
    pub moved: Vec<String>,
}

impl Difference {
    /// Nothing differs.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what differs is among these words: `weakening` ones that were added, `guarded` ones that are
    /// others than before.
    pub fn weakens(&self, weakening: &[String], guarded: &[String]) -> bool {
        let named = |word: &String, list: &[String]| list.iter().any(|pattern| is_named(word, pattern));
        self.added.iter().chain(&self.moved).any(|word| named(word, weakening))
            || self.added.iter().chain(&self.removed).chain(&self.moved).any(|word| named(word, guarded))
    }
}

/// How the running system's line differs from what it was.
pub(crate) fn of_system(expected: &str, found: &str) -> Result<Difference, TooLong> {
    Ok(difference(&system_words(expected)?, &system_words(found)?))
}

/// How the ramdisk's line differs from what its boot script gave it: these arguments, and Reprieve's own.
pub(crate) fn of_ramdisk(arguments: &str, found: &str) -> Result<Difference, TooLong> {
    let mut expected = vec![ALWAYS.to_owned()];
    expected.extend(bounded(arguments)?);
    let mut found = bounded(found)?;
    if found.first().is_some_and(|first| first == KERNEL_NAME) {
        found.remove(0);
    }
    // Each is there once; what comes again is somebody else's, and counts for the agent.
    let once = OURS.map(|name| format!("{name}="));
    let starts = once.iter().map(String::as_str).chain(OF_THE_RAMDISK).chain(OF_THE_LOADER);
    for start in starts {
        if let Some(at) = found.iter().position(|word| word.starts_with(start)) {
            found.remove(at);
        }
    }
    Ok(difference(&expected, &found))
}

fn system_words(line: &str) -> Result<Vec<String>, TooLong> {
    let mut words = bounded(line)?;
    words.retain(|word| !OF_THE_LOADER.iter().any(|start| word.starts_with(start)));
    Ok(words)
}

fn bounded(line: &str) -> Result<Vec<String>, TooLong> {
    if line.len() > LINE_BYTES_MAX { Err(TooLong) } else { Ok(words(line)) }
}

fn difference(expected: &[String], found: &[String]) -> Difference {
    let (kept, removed) = apart(expected, counts(found));
    let (still, added) = apart(found, counts(expected));
    let moved = if kept == still { Vec::new() } else { still };
    Difference { added, removed, moved }
}

fn counts(words: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    words.iter().for_each(|word| *counts.entry(word.as_str()).or_default() += 1);
    counts
}

/// The words that are among the others, and those that are not.
fn apart(words: &[String], mut others: BTreeMap<&str, usize>) -> (Vec<String>, Vec<String>) {
    words.iter().cloned().partition(|word| match others.get_mut(word.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    })
}

/// Whether a pattern means this word: `name` and `name=value` exactly, `name=` with any value. The kernel
/// takes dashes and underscores in names for the same.
fn is_named(word: &str, pattern: &str) -> bool {
    let parts = |text: &str| {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        (name.replace('-', "_"), value.map(ToOwned::to_owned))
    };
    let ((name, value), (wanted, wanted_value)) = (parts(word), parts(pattern));
    name == wanted && (value == wanted_value || value.is_some() && wanted_value.as_deref() == Some(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::proptest;

    const INSTALLED: &str = "BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=1-2 ro quiet mitigations=auto";

    /// `+added -removed ~moved`.
    fn shown(difference: Result<Difference, TooLong>) -> String {
        let Ok(difference) = difference else { return "too long".to_owned() };
        let with = |sign: char, words: &[String]| {
            words.iter().map(|word| format!("{sign}{word}")).collect::<Vec<_>>()
        };
        let mut all = with('+', &difference.added);
        all.extend(with('-', &difference.removed));
        all.extend(with('~', &difference.moved));
        all.join(" ")
    }

    #[test]
    fn what_differs_of_a_system_is_told_word_by_word() {
        let line = |rest: &str| format!("root=UUID=1-2 ro quiet mitigations=auto{rest}");
        let table = [
            (line(""), ""),
            (format!("BOOT_IMAGE=(hd0,gpt2)/vmlinuz-6.8 {} vt.handoff=7", line("")), ""),
            (line(" \"init=/bin/sh\" a=\"b c\""), "+init=/bin/sh +a=b c"),
            (line(" ro"), "+ro"),
            ("root=/dev/sdb1 ro quiet".to_owned(), "+root=/dev/sdb1 -root=UUID=1-2 -mitigations=auto"),
            (line(" mitigations=off"), "+mitigations=off"),
            (
                "ro quiet root=UUID=1-2 mitigations=auto".to_owned(),
                "~ro ~quiet ~root=UUID=1-2 ~mitigations=auto",
            ),
            ("x".repeat(LINE_BYTES_MAX + 1), "too long"),
        ];
        for (found, expected) in table {
            assert_eq!(shown(of_system(INSTALLED, &found)), expected, "{found:.80}");
        }
    }

    #[test]
    fn what_the_boot_script_did_not_give_a_ramdisk_is_told() {
        let ours = "reprieve.service=https://h reprieve.ca=ab reprieve.node=1 reprieve.token=(removed) \
                    reprieve.address=192.0.2.1/255.255.255.0 reprieve.gateway= reprieve.interface=52-54";
        let given = format!("initrd=initrd.img quiet console=ttyS0 {ours}");
        let table = [
            (given.clone(), ""),
            (format!("vmlinuz {given} initrd=initrd.magic"), ""),
            (format!("BOOT_IMAGE=vmlinuz {given}"), ""),
            (format!("quiet console=ttyS0 {ours}"), ""),
            (format!("quiet console=ttyS0 {ours} initrd=initrd"), ""),
            (format!("{given} rdinit=/bin/sh"), "+rdinit=/bin/sh"),
            (format!("{given} reprieve.service=https://other"), "+reprieve.service=https://other"),
            (format!("{given} initrd=other.img"), "+initrd=other.img"),
            (format!("{given} vmlinuz"), "+vmlinuz"),
            (format!("quiet {ours}"), "-console=ttyS0"),
            (format!("console=ttyS0 {ours}"), "-quiet"),
        ];
        for (found, expected) in table {
            assert_eq!(shown(of_ramdisk(" console=ttyS0", &found)), expected, "{found}");
        }
    }

    #[test]
    fn a_pattern_means_a_word_with_one_value_or_with_any() {
        let weakens = |found: &str, weakening: &str, guarded: &str| {
            let list = |text: &str| words(text);
            let found = of_system("ro lockdown=integrity a=1 a=2", found).unwrap();
            found.weakens(&list(weakening), &list(guarded))
        };
        let same = "ro lockdown=integrity a=1 a=2";
        let table = [
            (format!("{same} init=/bin/sh"), "init=", "", true),
            (format!("{same} init"), "init=", "", false),
            (format!("{same} initcall=1"), "init=", "", false),
            (format!("{same} single"), "single", "", true),
            (format!("{same} module.sig-enforce=0"), "module.sig_enforce=0", "", true),
            (format!("{same} module.sig_enforce=1"), "module.sig_enforce=0", "", false),
            ("ro a=1 a=2".to_owned(), "", "lockdown=", true),
            ("ro a=1 a=2".to_owned(), "lockdown=", "", false),
            (format!("{same} lockdown=none"), "", "lockdown=", true),
            ("ro lockdown=integrity a=2 a=1".to_owned(), "a=1", "", true),
            ("ro lockdown=integrity a=2 a=1".to_owned(), "b", "b", false),
        ];
        for (found, weakening, guarded, expected) in table {
            assert_eq!(weakens(&found, weakening, guarded), expected, "{found}, {weakening:?} {guarded:?}");
        }
    }

    proptest! {
        /// Of any two lines: the same differ in nothing, others in something, and a word more is seen.
        #[test]
        fn any_two_lines_are_compared(one in "[ -~é\"]{0,80}", other in "[ab= \"]{0,20}") {
            assert!(of_system(&one, &one).unwrap().is_none());
            let found = of_system(&one, &other).unwrap();
            assert_eq!(found.is_none(), system_words(&one) == system_words(&other));
            let more = format!("init=/bin/sh {one}");
            assert!(of_system(&one, &more).unwrap().weakens(&["init=".to_owned()], &[]));
            let _ = of_ramdisk(&other, &one);
        }
    }
}
