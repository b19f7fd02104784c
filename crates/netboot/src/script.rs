//! iPXE scripts. Each ends by booting, leaving iPXE or restarting; none goes round without an end.
//!
//! What is put into a script is checked first: reasons are reduced to harmless characters, and values
//! that must be exact are refused if they hold anything that iPXE or the kernel would take apart.
//!
//! Leaving: iPXE boots the disk itself, because firmware that is left alone tries its other network
//! entries first, each with its timeouts, and some ROMs go round. Under BIOS it is the first of four
//! disks with a boot sector, under UEFI (drive 0 means any) the first with the default boot file. If
//! there is none, iPXE leaves with an error: after success EDK2 shows its menu instead of going on.

use contract::agent_api::boot_parameter;
use contract::id::{MacAddress, NodeId};
use contract::secret::Secret;
use uuid::Uuid;

use crate::directive::Purpose;
use crate::loader::ServedFile;

/// Under this path HTTP serves [`ServedFile`]s by their names.
pub const FILE_PATH: &str = "/boot/";
/// The per-node script: `?mac=…` always, `&uuid=…` if known.
pub const SCRIPT_PATH: &str = "/boot/script.ipxe";

const TEXT_CHARACTERS_MAX: usize = 200;
const VALUE_BYTES_MAX: usize = 400;

/// The address of a served file.
#[must_use]
pub fn file_url(http_base_url: &str, file: ServedFile) -> String {
    format!("{http_base_url}{FILE_PATH}{}", file.name())
}

/// The address of a node's script, for DHCP.
#[must_use]
pub fn script_url(http_base_url: &str, mac: MacAddress, uuid: Option<Uuid>) -> String {
    let uuid = uuid.map(|uuid| format!("&uuid={uuid}")).unwrap_or_default();
    format!("{http_base_url}{SCRIPT_PATH}?mac={mac}{uuid}")
}

/// A value that can't be put into a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} can't be put into a boot script: use 1 to 400 printable ASCII characters without spaces, quotes, '$', '#', '|', ';', '\\' and '&&'"
)]
pub struct ScriptError {
    /// Which value. The value itself may be a secret.
    pub what: &'static str,
}

/// What the ramdisk's script needs.
#[derive(Debug, Clone)]
pub struct RamdiskScript<'values> {
    /// Why the machine gets the ramdisk, for the console.
    pub purpose: Purpose,
    /// The node.
    pub node: NodeId,
    /// Its one-time token.
    pub token: &'values Secret,
    /// API address of the service, such as `https://192.0.2.1:8443`.
    pub service_url: &'values str,
    /// SHA-256 of the service's CA certificate in hexadecimal.
    pub ca_sha256: &'values str,
    /// Where the kernel is.
    pub kernel_url: &'values str,
    /// Where the initial ramdisk is.
    pub initrd_url: &'values str,
    /// Further kernel arguments, such as `console=ttyS0,115200`.
    pub kernel_arguments: &'values [String],
}

/// Boots the local disk at once.
#[must_use]
pub fn local(reason: &str) -> String {
    let reason = text(reason);
    format!("#!ipxe\necho Reprieve: booting the local disk: {reason}\n{LEAVE}")
}

/// Shows why the machine is held; then boots what it has, or asks again in a minute and never boots.
///
/// # Errors
/// If `ask_again_url` can't be put into a script.
pub fn hold(reason: &str, may_boot_local: bool, ask_again_url: &str) -> Result<String, ScriptError> {
    let reason = text(reason);
    if may_boot_local {
        return Ok(format!(
            "#!ipxe\necho Reprieve holds this machine: {reason}\n\
             echo It boots what it has in 10 seconds.\nsleep 10\n{LEAVE}"
        ));
    }
    let ask_again_url = value("address of the script", ask_again_url)?;
    // Asking again is no attempt: it lets the machine go on when the hold is lifted, and boots nothing.
    Ok(format!(
        "#!ipxe\n\
         :stopped\n\
         echo Reprieve holds this machine: {reason}\n\
         echo Its disk is not booted. It asks again every minute.\n\
         sleep 60\n\
         chain --replace --autofree {ask_again_url} || goto stopped\n"
    ))
}

/// Loads kernel and ramdisk. Tries three times and then restarts; the service counts.
///
/// # Errors
/// If a value can't be put into a script.
pub fn ramdisk(parameters: &RamdiskScript<'_>) -> Result<String, ScriptError> {
    let purpose = match parameters.purpose {
        Purpose::Discover => "discovery".to_owned(),
        Purpose::Job(job) => format!("job {job}"),
    };
    // Without it the kernel prints its command line, and with it the token, on every console.
    let mut line = " quiet".to_owned();
    for argument in parameters.kernel_arguments {
        line.push(' ');
        line.push_str(value("kernel argument", argument)?);
    }
    let node = parameters.node.to_string();
    for (name, what, text) in [
        (boot_parameter::SERVICE, "API address", parameters.service_url),
        (boot_parameter::CA_SHA256, "fingerprint of the CA", parameters.ca_sha256),
        (boot_parameter::NODE, "node id", node.as_str()),
        (boot_parameter::TOKEN, "token", parameters.token.reveal()),
    ] {
        line.push_str(&format!(" {name}={}", value(what, text)?));
    }
    // iPXE fills these in: it knows the interface it booted from better than anybody.
    for (name, setting) in [
        (boot_parameter::ADDRESS, "${netX/ip}/${netX/netmask}"),
        (boot_parameter::GATEWAY, "${netX/gateway}"),
        (boot_parameter::INTERFACE, "${netX/mac}"),
    ] {
        line.push_str(&format!(" {name}={setting}"));
    }
    let kernel = value("address of the kernel", parameters.kernel_url)?;
    let initrd = value("address of the ramdisk", parameters.initrd_url)?;
    Ok(format!(
        "#!ipxe\n\
         echo Reprieve: starting the ramdisk for {purpose}\n\
         set attempt:int32 0\n\
         :retry\n\
         inc attempt\n\
         imgfree\n\
         kernel --name vmlinuz {kernel} initrd=initrd.img{line} || goto failed\n\
         initrd --name initrd.img {initrd} || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         echo Reprieve: can not start the ramdisk, attempt ${{attempt}} of 3: ${{errno}}\n\
         iseq ${{attempt}} 3 && goto give_up ||\n\
         sleep 5\n\
         goto retry\n\
         :give_up\n\
         echo Reprieve: restarting in 30 seconds\n\
         sleep 30\n\
         reboot\n"
    ))
}

/// Whether a word can stand on the kernel's command line in a script. A setting is checked with this
/// when it is read, not when the first machine boots.
///
/// # Errors
/// If the word has a character that iPXE's scripts or the kernel would not take as itself.
pub fn check_kernel_argument(argument: &str) -> Result<(), ScriptError> {
    value("kernel argument", argument).map(|_| ())
}

/// The first script, the same for everybody: brings the network up and fetches the node's own. If the
/// service does not answer, the machine goes on with its next boot device: a disk that is not complete
/// does not boot, because its first MiB is written last.
///
/// # Errors
/// If `http_base_url` can't be put into a script.
pub fn autoexec(http_base_url: &str) -> Result<String, ScriptError> {
    let base = value("HTTP address of the service", http_base_url)?;
    Ok(format!(
        "#!ipxe\n\
         set attempt:int32 0\n\
         :retry\n\
         inc attempt\n\
         dhcp || goto failed\n\
         chain --replace --autofree {base}{SCRIPT_PATH}?mac=${{netX/mac}}&uuid=${{uuid}}\
         &platform=${{platform}}&arch=${{buildarch}} || goto failed\n\
         :failed\n\
         echo Reprieve: no answer from the boot service, attempt ${{attempt}} of 5: ${{errno}}\n\
         iseq ${{attempt}} 5 && goto give_up ||\n\
         sleep 5\n\
         goto retry\n\
         :give_up\n\
         echo Reprieve: going on with the next boot device\n\
         exit 1\n"
    ))
}

/// See the module's text.
const LEAVE: &str = "iseq ${platform} efi && goto uefi ||\n\
     sanboot --no-describe --drive 0x80 ||\n\
     sanboot --no-describe --drive 0x81 ||\n\
     sanboot --no-describe --drive 0x82 ||\n\
     sanboot --no-describe --drive 0x83 ||\n\
     goto next\n\
     :uefi\n\
     sanboot --no-describe --drive 0 ||\n\
     :next\n\
     exit 1\n";

/// A text for people, reduced to characters that mean nothing to iPXE.
fn text(raw: &str) -> String {
    let harmless = |c: char| match c {
        'a'..='z'
        | 'A'..='Z'
        | '0'..='9'
        | ' '
        | '-'
        | '_'
        | '.'
        | ','
        | ':'
        | '('
        | ')'
        | '/'
        | '='
        | '+' => c,
        '%' | '@' | '?' | '!' | '*' => c,
        // Kept apart from words, so that none of these becomes an operator or a new command.
        ';' => ',',
        c if c.is_whitespace() => ' ',
        '\'' | '"' | '`' => '.',
        _ => '?',
    };
    let cleaned: String = raw.chars().take(TEXT_CHARACTERS_MAX).map(harmless).collect();
    // `echo` knows options.
    cleaned.trim_start_matches([' ', '-']).trim_end().to_owned()
}

/// A value that must arrive exactly as it is.
fn value<'text>(what: &'static str, raw: &'text str) -> Result<&'text str, ScriptError> {
    let harmless = |byte: u8| byte.is_ascii_graphic() && !b"\"'`$#|;\\".contains(&byte);
    let sound =
        (1..=VALUE_BYTES_MAX).contains(&raw.len()) && raw.bytes().all(harmless) && !raw.contains("&&");
    if sound { Ok(raw) } else { Err(ScriptError { what }) }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn ramdisk_with(token: &str, arguments: &[String]) -> Result<String, ScriptError> {
        ramdisk(&RamdiskScript {
            purpose: Purpose::Job("018f0000-0000-7000-8000-000000000001".parse().unwrap()),
            node: "018f0000-0000-7000-8000-000000000002".parse().unwrap(),
            token: &Secret::new(token.to_owned()),
            service_url: "https://192.0.2.1:8443",
            ca_sha256: "00ff",
            kernel_url: "http://192.0.2.1:8080/boot/vmlinuz",
            initrd_url: "http://192.0.2.1:8080/boot/initrd.img",
            kernel_arguments: arguments,
        })
    }

    #[test]
    fn golden_local() {
        insta::assert_snapshot!(local("nothing to do"), @r"
        #!ipxe
        echo Reprieve: booting the local disk: nothing to do
        iseq ${platform} efi && goto uefi ||
        sanboot --no-describe --drive 0x80 ||
        sanboot --no-describe --drive 0x81 ||
        sanboot --no-describe --drive 0x82 ||
        sanboot --no-describe --drive 0x83 ||
        goto next
        :uefi
        sanboot --no-describe --drive 0 ||
        :next
        exit 1
        ");
    }

    #[test]
    fn golden_hold() {
        insta::assert_snapshot!(hold("waits for approval; attempts are used up (3)", true, "").unwrap(), @r"
        #!ipxe
        echo Reprieve holds this machine: waits for approval, attempts are used up (3)
        echo It boots what it has in 10 seconds.
        sleep 10
        iseq ${platform} efi && goto uefi ||
        sanboot --no-describe --drive 0x80 ||
        sanboot --no-describe --drive 0x81 ||
        sanboot --no-describe --drive 0x82 ||
        sanboot --no-describe --drive 0x83 ||
        goto next
        :uefi
        sanboot --no-describe --drive 0 ||
        :next
        exit 1
        ");
    }

    #[test]
    fn golden_hold_without_booting() {
        let script =
            hold("half-written", false, "http://192.0.2.1:8080/boot/script.ipxe?mac=52:54:00:00:00:01");
        insta::assert_snapshot!(script.unwrap(), @r"
        #!ipxe
        :stopped
        echo Reprieve holds this machine: half-written
        echo Its disk is not booted. It asks again every minute.
        sleep 60
        chain --replace --autofree http://192.0.2.1:8080/boot/script.ipxe?mac=52:54:00:00:00:01 || goto stopped
        ");
    }

    #[test]
    fn golden_ramdisk() {
        let arguments = ["console=ttyS0,115200".to_owned(), "console=tty0".to_owned()];
        insta::assert_snapshot!(ramdisk_with("t0ken-_.", &arguments).unwrap(), @r"
        #!ipxe
        echo Reprieve: starting the ramdisk for job 018f0000-0000-7000-8000-000000000001
        set attempt:int32 0
        :retry
        inc attempt
        imgfree
        kernel --name vmlinuz http://192.0.2.1:8080/boot/vmlinuz initrd=initrd.img quiet console=ttyS0,115200 console=tty0 reprieve.service=https://192.0.2.1:8443 reprieve.ca=00ff reprieve.node=018f0000-0000-7000-8000-000000000002 reprieve.token=t0ken-_. reprieve.address=${netX/ip}/${netX/netmask} reprieve.gateway=${netX/gateway} reprieve.interface=${netX/mac} || goto failed
        initrd --name initrd.img http://192.0.2.1:8080/boot/initrd.img || goto failed
        boot || goto failed
        :failed
        echo Reprieve: can not start the ramdisk, attempt ${attempt} of 3: ${errno}
        iseq ${attempt} 3 && goto give_up ||
        sleep 5
        goto retry
        :give_up
        echo Reprieve: restarting in 30 seconds
        sleep 30
        reboot
        ");
    }

    #[test]
    fn golden_autoexec() {
        insta::assert_snapshot!(autoexec("http://192.0.2.1:8080").unwrap(), @r"
        #!ipxe
        set attempt:int32 0
        :retry
        inc attempt
        dhcp || goto failed
        chain --replace --autofree http://192.0.2.1:8080/boot/script.ipxe?mac=${netX/mac}&uuid=${uuid}&platform=${platform}&arch=${buildarch} || goto failed
        :failed
        echo Reprieve: no answer from the boot service, attempt ${attempt} of 5: ${errno}
        iseq ${attempt} 5 && goto give_up ||
        sleep 5
        goto retry
        :give_up
        echo Reprieve: going on with the next boot device
        exit 1
        ");
    }

    #[test]
    fn values_that_ipxe_or_the_kernel_would_take_apart_are_refused() {
        let refused = [
            "",
            "a b",
            "a\nreboot",
            "${net0/mac}",
            "a||reboot",
            "a&&b",
            "a;b",
            "#a",
            "\"a\"",
            "a\\",
            "ä",
            "a\0",
        ];
        for token in refused {
            assert_eq!(ramdisk_with(token, &[]), Err(ScriptError { what: "token" }), "{token:?}");
            assert!(ramdisk_with("t", &[token.to_owned()]).is_err(), "{token:?}");
            assert!(autoexec(token).is_err(), "{token:?}");
            assert!(hold("reason", false, token).is_err(), "{token:?}");
        }
        let error = ramdisk_with("secret token", &[]).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    proptest! {
        /// A reason stays one line, expands to nothing and chains nothing.
        #[test]
        fn a_reason_injects_nothing(reason in "\\PC{0,300}|[\\x00-\\x7f]{0,300}") {
            let shown = text(&reason);
            let harmful = shown.contains(['\n', '\r', '$', '#', '|', '&', ';', '\\', '"', '\'', '`', '{']);
            prop_assert!(!harmful, "{}", shown);
            prop_assert!(shown.len() <= TEXT_CHARACTERS_MAX && !shown.starts_with('-'));
            prop_assert_eq!(local(&reason).lines().count(), local("x").lines().count());
        }
    }
}
