use std::process::Command;
use std::path::Path;
use std::time::*;
use reprieve_tests::{lab::Lab, machine::*, disk::*, process::*};
fn main() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    std::fs::write(lab.folder().join("test.ipxe"), "#!ipxe\necho hello-from-script\nreboot\n")?;
    let mut c = lab.network().command(Path::new("dnsmasq"));
    c.args(["-d","--conf-file=/dev/null","--port=0","--interface=site","--dhcp-range=10.77.0.100,10.77.0.150,1h","--dhcp-boot=http://10.77.0.1:8000/test.ipxe","--log-dhcp","--enable-tftp"]).arg(format!("--tftp-root={}", lab.folder().display()));
    c.arg(format!("--dhcp-leasefile={}/leases", lab.folder().display()));
    let _d = Background::start("dnsmasq", &mut c, &lab.folder().join("dnsmasq.log"))?;
    let mut h = lab.network().command(Path::new("python3"));
    h.args(["-m","http.server","8000","--directory"]).arg(lab.folder());
    let _h = Background::start("http", &mut h, &lab.folder().join("http.log"))?;
    let fw = match std::env::args().nth(1).as_deref() { Some("bios")=>Firmware::Bios, Some("pxe")=>Firmware::UefiPxe, _=>Firmware::UefiHttp };
    let spec = Spec{name:"one".into(), firmware: fw, memory_mib:512, serial:"SER1".into(), number:1};
    let disks = vec![Disk::blank(lab.folder().join("d0"), DiskBus::Nvme, "N1", 64<<20)?, Disk::blank(lab.folder().join("d1"), DiskBus::Scsi, "S1", 64<<20)?.slow(1<<20), Disk::blank(lab.folder().join("d2"), DiskBus::Virtio, "V1", 64<<20)?];
    let mut m = Machine::new(&lab, spec, disks)?;
    let t=Instant::now();
    m.start(OnReset::Stop)?;
    let r = m.wait_stopped(Duration::from_secs(30));
    println!("{:?} {:?}", t.elapsed(), r.is_ok());
    println!("{:?}", m.counters());
    println!("{:?}", m.raise_nvme_warning(0, 4));
    println!("{}", tail(&m.console()));
    println!("{}", tail(&lab.folder().join("dnsmasq.log")));
    println!("{}", tail(&lab.folder().join("http.log")));
    Ok(())
}
