/* A libnvidia-ml.so.1 with one GPU at 0000:3b:00.0. What it says is decided when it is compiled. */
#include <string.h>

#ifndef INIT
#define INIT 0
#endif
#ifndef PENDING
#define PENDING 0
#endif
#ifndef FAILED
#define FAILED 0
#endif
#ifndef ECC
#define ECC 0
#endif
#ifndef SRAM
#define SRAM 0
#endif
#ifndef REASONS
#define REASONS 0x1
#endif
#ifndef LINKS
#define LINKS 2
#endif
#ifndef PROCESSES
#define PROCESSES 0
#endif
#ifndef LINK_RESULT
#define LINK_RESULT 0
#endif

typedef void *device;
static int gpu;

int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "refused"; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, device *found) {
    if (strcmp(address, "0000:5e:00.0") == 0) return 15;
    if (strcmp(address, "0000:3b:00.0") != 0) return 6;
    *found = &gpu;
    return 0;
}

static int text(device d, char *to, unsigned room, const char *what) {
    if (d != &gpu) return 2;
    if (strlen(what) >= room) return 7;
    strcpy(to, what);
    return 0;
}
int nvmlDeviceGetName(device d, char *to, unsigned room) { return text(d, to, room, "NVIDIA Fake\033[2J"); }
int nvmlDeviceGetUUID(device d, char *to, unsigned room) { return text(d, to, room, "GPU-1234"); }
int nvmlDeviceGetVbiosVersion(device d, char *to, unsigned room) { return text(d, to, room, "96.00.01"); }

int nvmlDeviceGetRemappedRows(device d, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                              unsigned *failed) {
    if (d != &gpu) return 2;
    *corrected = 11;
    *uncorrected = 5;
    *pending = PENDING;
    *failed = FAILED;
    return 0;
}

int nvmlDeviceGetTotalEccErrors(device d, unsigned type, unsigned counter, unsigned long long *count) {
    if (d != &gpu || type != 1 || counter != 0) return 2;
    *count = 42;
    return ECC;
}

#ifndef WITHOUT_SRAM
struct sram {
    unsigned version;
    unsigned long long counts[11];
    unsigned exceeded;
};
int nvmlDeviceGetSramEccErrorStatus(device d, struct sram *status) {
    if (d != &gpu) return 2;
    if (status->version != (sizeof(struct sram) | 1u << 24)) return 25;
    memset(status->counts, 0x77, sizeof status->counts);
    status->exceeded = SRAM;
    return 0;
}
#endif

#ifdef OLD
#define nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons
#endif
int nvmlDeviceGetCurrentClocksEventReasons(device d, unsigned long long *reasons) {
    *reasons = REASONS;
    return d == &gpu ? 0 : 2;
}

int nvmlDeviceGetTemperature(device d, unsigned sensor, unsigned *degrees) {
    *degrees = 63;
    return d == &gpu && sensor == 0 ? 0 : 2;
}

#ifdef OLD
#define nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetComputeRunningProcesses
#endif
int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count, void *processes) {
    if (d != &gpu || *count != 0 || processes != 0) return 2;
    *count = PROCESSES;
    return PROCESSES > 0 ? 7 : 0;
}

int nvmlDeviceGetNvLinkState(device d, unsigned link, unsigned *state) {
    if (d != &gpu || link >= LINKS) return LINKS == 0 ? 3 : 2;
    *state = link != 1; /* the second is down */
    return 0;
}

int nvmlDeviceGetNvLinkErrorCounter(device d, unsigned link, unsigned counter, unsigned long long *count) {
    if (d != &gpu || link == 1) return 2;
    if (counter == 3) return 3;
    *count = 10 * link + counter;
    return LINK_RESULT;
}
