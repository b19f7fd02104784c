//! How QEMU is called for a machine.

use std::path::Path;
use std::process::Command;

use super::{Firmware, Machine, OVMF_CODE, OVMF_CODE_OTHER, tpm};
use crate::disk::{Disk, DiskBus};

impl Machine {
    /// Gives it another serial number in its SMBIOS, from the next start on.
    pub fn renumber(&mut self, serial: &str) {
        serial.clone_into(&mut self.spec.serial);
    }

    /// Has the firmware boot the disk at once from the next start on, without the network.
    pub fn skip_network(&mut self, yes: bool) {
        self.skips_network = yes;
    }

    pub(super) fn command(&self, socket: &Path) -> Command {
        // Without the string instructions that copy byte by byte when they are emulated: a kernel that is not
        // told of them clears and copies pages by words, twice as fast.
        const PROCESSOR: &str = "max,erms=off,fsrm=off";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "qemu-system-x86_64"]);
        command.args([
            "-name",
            &self.spec.name,
            "-machine",
            "q35,accel=tcg,graphics=off",
            "-cpu",
            PROCESSOR,
            "-smp",
            "1",
        ]);
        command.args(["-m", &self.spec.memory_mib.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-S"]);
        command.arg("-serial").arg(format!("file:{}", self.console().display()));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        command.arg("-smbios").arg(format!(
            "type=1,manufacturer=Reprieve,product=Laboratory,serial={},uuid={}",
            self.spec.serial,
            self.spec.uuid()
        ));
        command.args(["-device", "virtio-rng-pci"]);
        command.arg("-netdev").arg(format!("tap,id=wire,ifname={},script=no,downscript=no", self.tap));
        // Only its default ROM does QEMU fit to the card; one that is named is not started by SeaBIOS.
        let boots_network = self.spec.loaded.is_none() && !self.skips_network;
        let rom = if self.spec.firmware == Firmware::Bios && boots_network { "" } else { ",romfile=" };
        let order = if boots_network { ",bootindex=1" } else { "" };
        let mac = self.spec.mac();
        let megabits = self.fittings.card_megabits;
        let speed = megabits.map_or(String::new(), |speed| format!(",speed={speed},duplex=full"));
        command.arg("-device").arg(format!("virtio-net-pci,netdev=wire,mac={mac}{order}{rom}{speed}"));
        self.firmware_arguments(&mut command);
        if let Some(loaded) = &self.spec.loaded {
            command.arg("-kernel").arg(&loaded.kernel).arg("-initrd").arg(&loaded.ramdisk);
            command.arg("-append").arg(&loaded.arguments);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            disk_arguments(&mut command, index, disk);
        }
        self.fitting_arguments(&mut command);
        command
    }

    /// Last, so that whatever stands before keeps its place on the bus when something is taken out.
    fn fitting_arguments(&self, command: &mut Command) {
        if self.fittings.tpm {
            tpm::arguments(&self.folder, command);
        }
        if let Some(clock) = &self.fittings.clock {
            command.arg("-rtc").arg(format!("base={clock}"));
        }
        if self.fittings.second_card {
            let mac = format!("52:54:00:77:01:{:02x}", self.spec.number);
            command.arg("-device").arg(format!("virtio-net-pci,mac={mac},romfile="));
        }
    }

    fn firmware_arguments(&self, command: &mut Command) {
        if self.spec.firmware == Firmware::Bios {
            return;
        }
        let variables = self.folder.join("variables.fd");
        let code = if self.fittings.other_firmware { OVMF_CODE_OTHER } else { OVMF_CODE };
        command.arg("-drive").arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={code}"));
        command.arg("-drive").arg(format!("if=pflash,format=raw,unit=1,file={}", variables.display()));
        command.args(["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]);
        if self.spec.firmware == Firmware::UefiHttp {
            command.args(["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]);
        }
    }
}

fn disk_arguments(command: &mut Command, index: usize, disk: &Disk) {
    command.arg("-blockdev").arg(format!(
        "driver=raw,node-name=raw{index},discard=unmap,file.driver=file,file.filename={}",
        disk.path().display()
    ));
    let mut node = format!("raw{index}");
    if let Some(rate) = disk.write_bytes_per_second() {
        command.arg("-object").arg(format!("throttle-group,id=rate{index},x-bps-write={rate}"));
        command
            .arg("-blockdev")
            .arg(format!("driver=throttle,node-name=slow{index},throttle-group=rate{index},file={node}"));
        node = format!("slow{index}");
    }
    if let Some(offset) = disk.unreadable_at() {
        // Sectors of 512 bytes, whatever the disk's are; 5 is EIO.
        let error = format!(
            "inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,inject-error.0.sector={}",
            offset / 512
        );
        command.arg("-blockdev").arg(format!("driver=blkdebug,node-name=bad{index},image={node},{error}"));
        node = format!("bad{index}");
    }
    let (serial, boot) = (disk.serial(), index + 2);
    let device = match disk.bus() {
        DiskBus::Nvme => format!("nvme,id=disk{index},drive={node},serial={serial},bootindex={boot}"),
        DiskBus::Virtio => {
            format!("virtio-blk-pci,id=disk{index},drive={node},serial={serial},bootindex={boot}")
        }
        DiskBus::Scsi => {
            command.arg("-device").arg(format!("virtio-scsi-pci,id=bus{index}"));
            format!("scsi-hd,id=disk{index},bus=bus{index}.0,drive={node},serial={serial},bootindex={boot}")
        }
    };
    command.arg("-device").arg(device);
}
