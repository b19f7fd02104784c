# Runs in a virtual machine whose root is that of the machine it runs on, read-only. First argument to last:
# kernel, agent, images, image, key, runs, mebibytes.
set -o errexit -o errtrace -o pipefail -o nounset
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run LC_ALL=C
kernel=$1 agent=$2 images=$3 image=$4 key=$5 runs=$6 mebibytes=$7
device=/dev/loop0

trap 'echo "FIGURE failed $LINENO"; reboot_now' ERR
reboot_now() { echo b > /proc/sysrq-trigger; }

clock() { date +%s.%N; }
say() { echo "FIGURE $1 $2"; }
taken() {
    local name=$1 begun
    shift
    begun=$(clock)
    "$@"
    say "$name" "$(echo "$(clock) $begun" | awk '{ print $1 - $2 }')"
}
fill() {
    head -c "$((mebibytes + 64))M" /dev/zero | tr '\0' 'x' |
        dd of=$device bs=1M iflag=fullblock oflag=direct conv=fsync status=none
    blockdev --flushbufs $device
}
# What fio itself counts, without its start, which takes seconds where processors are emulated.
device_speed() {
    local millis
    millis=$(fio --name=bench --direct=1 --ioengine=libaio --iodepth=16 --bs=1M --end_fsync=1 \
        --filename=$device --rw="$2" --size="${mebibytes}M" --output-format=json |
        sed -n 's/^ *"runtime" : \([0-9]*\),\?$/\1/p' | sort -n | tail -1)
    say "$1" "$(echo "$millis" | awk '{ print $1 / 1000 }')"
}
pipe() {
    curl --silent --fail "$images/boot/ramdisk" | zstd -dc |
        dd of=$device oflag=direct iflag=fullblock bs=4M conv=fsync status=none
}
ours() {
    local said
    said=$(REPRIEVE_LOG=error "$agent" bench-write --device $device --images "$images" --image "$image" --image-key "$key")
    say "$1" "$(echo "$said" | tail -1)"
}
# As much as the image has, from memory: opening and starting programs comes over a slow path here.
digest() { head -c "${mebibytes}M" $device | "$1" > /dev/null; }

modprobe --dirname "$kernel" --all virtio_net nvme loop
until [ -b /dev/nvme0n1 ] && [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
losetup --direct-io=on $device /dev/nvme0n1
# So that every program, and what the service hands out, was read once.
for program in fio curl zstd dd b3sum "$agent"; do "$program" --version > /dev/null 2>&1 || true; done
curl --silent --fail "$images/boot/ramdisk" > /dev/null
for _ in $(seq "$runs"); do
    fill
    device_speed fio-write write
    fill
    taken pipe pipe
    fill
    ours write
    blockdev --flushbufs $device
    device_speed fio-read read
    blockdev --flushbufs $device
    taken b3sum digest b3sum
    blockdev --flushbufs $device
    ours verify
done
echo "FIGURE end 0"
reboot_now
