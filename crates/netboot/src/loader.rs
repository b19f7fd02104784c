//! The names that TFTP and HTTP serve to firmware. There are no others.
//!
//! A name is compared with a fixed list and gives an enum, so that no byte that a client sent ever
//! becomes part of a path.

use crate::client::{ClientKind, Firmware};

/// A file that firmware may fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServedFile {
    /// iPXE for BIOS on top of the card's own driver.
    UndionlyX86,
    /// iPXE for UEFI x64 with its own drivers.
    IpxeX64,
    /// iPXE for UEFI x64 on top of the firmware's driver.
    SnponlyX64,
    /// iPXE for UEFI arm64.
    IpxeArm64,
    /// The generated first script.
    Autoexec,
}

impl ServedFile {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::UndionlyX86, Self::IpxeX64, Self::SnponlyX64, Self::IpxeArm64, Self::Autoexec];

    /// The name under which it is served, and under which it lies in the folder of loaders.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UndionlyX86 => "undionly.kpxe",
            Self::IpxeX64 => "ipxe.efi",
            Self::SnponlyX64 => "snponly.efi",
            Self::IpxeArm64 => "ipxe-arm64.efi",
            Self::Autoexec => "autoexec.ipxe",
        }
    }

    /// It is made by [`crate::script::autoexec`] and lies in no folder.
    #[must_use]
    pub fn generated(self) -> bool {
        self == Self::Autoexec
    }
}

/// What a requested name means; none if it is not served.
///
/// Leading slashes and backslashes and upper case are forgiven, because firmware asks for
/// `/IPXE.EFI` and `//ipxe.efi`. One trailing NUL is forgiven, because some count the terminator.
/// Nothing is decoded: a name with `%`, a further separator or a control character is not served.
#[must_use]
pub fn served(name: &str) -> Option<ServedFile> {
    let name = name.strip_suffix('\0').unwrap_or(name);
    let name = name.trim_start_matches(['/', '\\']);
    ServedFile::ALL.into_iter().find(|file| file.name().eq_ignore_ascii_case(name))
}

/// The loader that makes iPXE out of a client; none if it needs none or there is none for it.
#[must_use]
pub fn for_client(kind: ClientKind) -> Option<ServedFile> {
    match kind {
        ClientKind::Bios => Some(ServedFile::UndionlyX86),
        ClientKind::UefiX64 | ClientKind::UefiHttpX64 => Some(ServedFile::IpxeX64),
        ClientKind::UefiArm64 | ClientKind::UefiHttpArm64 => Some(ServedFile::IpxeArm64),
        ClientKind::Ipxe {
            firmware: Firmware::Bios | Firmware::UefiX64 | Firmware::UefiArm64 | Firmware::Other,
        }
        | ClientKind::Unsupported { .. }
        | ClientKind::NotNetboot => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, proptest};

    use super::*;

    #[test]
    fn names() {
        let table = [
            ("undionly.kpxe", Some(ServedFile::UndionlyX86)),
            ("ipxe.efi", Some(ServedFile::IpxeX64)),
            ("snponly.efi", Some(ServedFile::SnponlyX64)),
            ("ipxe-arm64.efi", Some(ServedFile::IpxeArm64)),
            ("autoexec.ipxe", Some(ServedFile::Autoexec)),
            ("/ipxe.efi", Some(ServedFile::IpxeX64)),
            ("//ipxe.efi", Some(ServedFile::IpxeX64)),
            ("\\ipxe.efi", Some(ServedFile::IpxeX64)),
            ("IPXE.EFI", Some(ServedFile::IpxeX64)),
            ("ipxe.efi\0", Some(ServedFile::IpxeX64)),
            ("ipxe.efi\0\0", None),
            ("ipxe.efi\0/etc/passwd", None),
            ("", None),
            ("/", None),
            (".", None),
            ("..", None),
            ("../ipxe.efi", None),
            ("/../../ipxe.efi", None),
            ("./ipxe.efi", None),
            ("boot/ipxe.efi", None),
            ("boot\\ipxe.efi", None),
            ("..\\ipxe.efi", None),
            ("%69pxe.efi", None),
            ("%2e%2e/ipxe.efi", None),
            ("%2fipxe.efi", None),
            (" ipxe.efi", None),
            ("ipxe.efi ", None),
            ("ipxe.efi\n", None),
            ("ipxe.efi/", None),
            ("ipxe.efi\u{ff}", None),
            ("\u{131}pxe.efi", None),
            ("/etc/passwd", None),
            ("vmlinuz", None),
        ];
        for (name, expected) in table {
            assert_eq!(served(name), expected, "{name:?}");
        }
    }

    #[test]
    fn each_client_gets_its_loader() {
        let table = [
            (ClientKind::Bios, Some("undionly.kpxe")),
            (ClientKind::UefiX64, Some("ipxe.efi")),
            (ClientKind::UefiHttpX64, Some("ipxe.efi")),
            (ClientKind::UefiArm64, Some("ipxe-arm64.efi")),
            (ClientKind::UefiHttpArm64, Some("ipxe-arm64.efi")),
            (ClientKind::Ipxe { firmware: Firmware::UefiX64 }, None),
            (ClientKind::Unsupported { architecture: 6 }, None),
            (ClientKind::NotNetboot, None),
        ];
        for (kind, expected) in table {
            assert_eq!(for_client(kind).map(ServedFile::name), expected, "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_served_is_named_on_the_list(name in "[/\\\\.%a-z\\x00-]{0,24}") {
            if let Some(file) = served(&name) {
                prop_assert!(name.to_ascii_lowercase().contains(file.name()));
            }
        }
    }
}
