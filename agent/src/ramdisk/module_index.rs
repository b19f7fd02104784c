//! Which kernel module drives what: `modules.alias`, `modules.dep` and `modules.softdep`, as depmod
//! writes them.

use std::collections::{BTreeMap, BTreeSet};

/// No sane set of modules needs a deeper chain.
const DEPTH_MAX: usize = 32;

/// The index of one kernel's modules.
#[derive(Debug, Default)]
pub struct ModuleIndex {
    /// Name to path below the modules' directory.
    paths: BTreeMap<String, String>,
    /// Name to the names it needs, hard and soft.
    needs: BTreeMap<String, Vec<String>>,
    /// Patterns and names, by what stands before the first `:` or wildcard.
    aliases: BTreeMap<String, Vec<(String, String)>>,
}

impl ModuleIndex {
    /// Reads the three files. What is malformed is left out: a module that cannot be found is noticed
    /// where it is needed.
    #[must_use]
    pub fn parse(dependencies: &str, aliases: &str, soft_dependencies: &str) -> Self {
        let mut index = Self::default();
        for line in dependencies.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            let name = name_of(path);
            index.paths.insert(name.clone(), path.trim().to_owned());
            index.needs.insert(name, needs.split_ascii_whitespace().map(name_of).collect());
        }
        for line in aliases.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(pattern), Some(name)) = (words.next(), words.next(), words.next()) {
                let entry = (pattern.to_owned(), normalized(name));
                index.aliases.entry(key_of(pattern).to_owned()).or_default().push(entry);
            }
        }
        for line in soft_dependencies.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("softdep"), Some(name)) = (words.next(), words.next()) {
                let before =
                    words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
                index.needs.entry(normalized(name)).or_default().extend(before.map(str::to_owned));
            }
        }
        index
    }

    /// Names of the modules for a device's `modalias` or a name that the kernel asks for.
    #[must_use]
    pub fn modules_for(&self, wanted: &str) -> Vec<String> {
        let by_alias = self
            .aliases
            .get(key_of(wanted))
            .into_iter()
            .flatten()
            .filter(|(pattern, _)| matches(pattern, wanted))
            .map(|(_, name)| name.clone());
        let mut found: Vec<String> = by_alias.collect();
        let name = normalized(wanted);
        if self.paths.contains_key(&name) {
            found.push(name);
        }
        found.dedup();
        found
    }

    /// Paths to load for a module, what it needs first; empty if it is not there (it may be built in).
    #[must_use]
    pub fn load_order(&self, name: &str) -> Vec<&str> {
        let mut order = Vec::new();
        self.visit(name, &mut BTreeSet::new(), &mut order, 0);
        order
    }

    fn visit<'a>(&'a self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<&'a str>, depth: usize) {
        let module = normalized(name);
        if depth > DEPTH_MAX || !seen.insert(module.clone()) {
            return;
        }
        let Some(path) = self.paths.get(&module) else {
            // A soft dependency may be an alias such as `crypto-crc32c`.
            for name in self.modules_for(name) {
                self.visit(&name, seen, order, depth + 1);
            }
            return;
        };
        for need in self.needs.get(&module).into_iter().flatten() {
            self.visit(need, seen, order, depth + 1);
        }
        order.push(path);
    }
}

/// `kernel/fs/ext4/ext4.ko` is `ext4`.
fn name_of(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    normalized(file.split(".ko").next().unwrap_or_default())
}

/// The kernel takes `-` and `_` in names for the same.
fn normalized(name: &str) -> String {
    name.replace('-', "_")
}

/// What every match has in common with its pattern: the text up to the bus's colon, if no wildcard
/// stands before it.
fn key_of(text: &str) -> &str {
    let head = text.split_once(':').map_or("", |(bus, _)| bus);
    if head.contains(['*', '?', '[']) { "" } else { head }
}

/// fnmatch(3) without flags: `*`, `?` and `[…]`.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to take up again after the last star: behind it in the pattern, and one further in the text.
    let mut again: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            again = Some((p + 1, t));
            p += 1;
        } else if let Some(next) = matches_one(&pattern[p..], text[t]) {
            p += next;
            t += 1;
        } else if let Some((star, from)) = again {
            again = Some((star, from + 1));
            p = star;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// How long the piece of pattern is that takes this byte; none if it does not.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let end = pattern.iter().skip(2).position(|&b| b == b']')? + 2;
            let (negated, set) = match pattern[1] {
                b'!' | b'^' => (true, &pattern[2..end]),
                _ => (false, &pattern[1..end]),
            };
            (in_set(set, byte) != negated).then_some(end + 1)
        }
        literal => (literal == byte).then_some(1),
    }
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let mut rest = set;
    loop {
        match *rest {
            [low, b'-', high, ..] => {
                if (low..=high).contains(&byte) {
                    return true;
                }
                rest = &rest[3..];
            }
            [one, ..] if one == byte => return true,
            [_, ..] => rest = &rest[1..],
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn patterns_match_as_fnmatch_does() {
        let cases = [
            ("pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", true),
            ("pci:v00001AF5d*", "pci:v00001AF4d00001000", false),
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
            (
                "usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*",
                "usb:v0781p5567d0126dc00dsc00dp00ic08isc06ip50in00",
                true,
            ),
            ("acpi*:PNP0C0[A-C]:*", "acpi:PNP0C0B:", true),
            ("acpi*:PNP0C0[!A-C]:*", "acpi:PNP0C0B:", false),
            ("a?c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("*", "", true),
            ("", "", true),
            ("[a", "[a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    fn index() -> ModuleIndex {
        ModuleIndex::parse(
            "kernel/net/core/failover.ko:\n\
             kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko\n\
             kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko\n\
             kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\n\
             kernel/fs/jbd2/jbd2.ko:\n\
             kernel/crypto/crc32c_generic.ko:\n\
             kernel/a-b.ko: kernel/c.ko\nkernel/c.ko: kernel/a-b.ko\n",
            "alias virtio:d00000001v* virtio_net\nalias fs-ext4 ext4\nalias crypto-crc32c crc32c_generic\n",
            "softdep ext4 pre: crypto-crc32c post: nothing\n",
        )
    }

    #[test]
    fn what_a_module_needs_comes_first_and_once() {
        let index = index();
        assert_eq!(index.modules_for("virtio:d00000001v00001AF4"), ["virtio_net"]);
        let order = index.load_order("virtio-net");
        assert_eq!(
            order,
            [
                "kernel/net/core/failover.ko",
                "kernel/drivers/net/net_failover.ko",
                "kernel/drivers/net/virtio_net.ko"
            ]
        );
        assert_eq!(index.modules_for("fs-ext4"), ["ext4"]);
        let order = index.load_order("ext4");
        assert_eq!(
            order,
            ["kernel/fs/jbd2/jbd2.ko", "kernel/crypto/crc32c_generic.ko", "kernel/fs/ext4/ext4.ko"]
        );
        assert!(index.load_order("built_in").is_empty());
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(index().load_order("a_b").len(), 2);
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in "[a-c*?\\[\\]!-]{0,20}", text in "[a-c]{0,40}") {
            let _ = matches(&pattern, &text);
        }

        #[test]
        fn any_files_are_survived(a in any::<String>(), b in any::<String>(), c in any::<String>()) {
            let index = ModuleIndex::parse(&a, &b, &c);
            let _ = index.load_order(&a);
            let _ = index.modules_for(&b);
        }

        #[test]
        fn a_text_matches_itself_and_a_star(text in "[a-z0-9:]{0,30}") {
            prop_assert!(matches(&text, &text) && matches("*", &text));
        }
    }
}
