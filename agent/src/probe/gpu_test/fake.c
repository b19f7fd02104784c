/* A libcuda.so.1 with one GPU at 0000:3b:00.0. It knows the kernels by their names, and does their work itself;
 * what is wrong with it is decided when it is compiled. It counts what is open, and refuses what makes no sense. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef INIT
#define INIT 0
#endif
#ifndef LAUNCH /* the code that launches end in, from the LAUNCHES-th on */
#define LAUNCH 0
#endif
#ifndef LAUNCHES
#define LAUNCHES 0
#endif
#ifndef FREE_BYTES
#define FREE_BYTES (64 << 20)
#endif
#ifndef ROOM /* how many pieces of memory there really are */
#define ROOM 1000
#endif
#ifndef WRONG_IN /* the round in which one answer is wrong */
#define WRONG_IN -1
#endif
#ifndef STUCK /* bits of one word in each piece that stay 1 */
#define STUCK 0
#endif
#ifndef STUCK_LOW /* and that stay 0 */
#define STUCK_LOW 0
#endif

enum kernel { ANSWERS = 1, FILL, CHECK };
static int launches, rounds, allocated, failed;
static int modules, contexts;
static _Thread_local int current;

int cuInit(unsigned flags) { return flags == 0 ? INIT : 1; }

int cuGetErrorName(int code, const char **name) {
    *name = code == 2   ? "CUDA_ERROR_OUT_OF_MEMORY"
          : code == 101 ? "CUDA_ERROR_INVALID_DEVICE"
          : code == 214 ? "CUDA_ERROR_ECC_UNCORRECTABLE"
          : code == 999 ? "CUDA_ERROR_UNKNOWN"
                        : 0;
    return *name ? 0 : 1;
}

int cuDeviceGetByPCIBusId(int *device, const char *address) {
    *device = 7;
    return strcmp(address, "0000:3b:00.0") == 0 ? 0 : 101;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (device != 7) return 101;
    *context = &contexts;
    contexts++;
    return 0;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    /* What was not given back keeps the GPU busy. */
    if (device != 7 || allocated != 0 || modules != 0 || current) abort();
    contexts--;
    return 0;
}

int cuCtxSetCurrent(void *context) {
    current = context == &contexts;
    return context == 0 || current ? 0 : 201;
}

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    if (!current) return 201;
    *free_bytes = FREE_BYTES;
    *total = FREE_BYTES * 2ul;
    return failed;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    if (!current) return 201;
    if (failed) return failed;
    if (allocated >= ROOM) return 2;
    *address = (uint64_t)(uintptr_t)malloc(bytes);
    /* Memory holds what the last user left. */
    memset((void *)(uintptr_t)*address, 0x5a, bytes);
    allocated++;
    return 0;
}

int cuMemFree_v2(uint64_t address) {
    free((void *)(uintptr_t)address);
    allocated--;
    return 0;
}

int cuMemsetD32_v2(uint64_t address, unsigned value, size_t count) {
    if (failed) return failed;
    if (value != 0) return 1;
    memset((void *)(uintptr_t)address, 0, count * 4);
    return 0;
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
    if (failed) return failed;
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return 0;
}

int cuModuleLoadData(void **module, const void *text) {
    if (!current) return 201;
    if (!strstr(text, ".version") || !strstr(text, ".target sm_")) return 218;
    *module = (void *)text;
    modules++;
    return 0;
}

int cuModuleUnload(void *module) {
    (void)module;
    modules--;
    return 0;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    char entry[64] = ".entry ";
    strcat(strcat(entry, name), "(");
    if (!strstr(module, entry)) return 500;
    *function = (void *)(intptr_t)(strcmp(name, "answers") == 0 ? ANSWERS : strcmp(name, "fill") == 0 ? FILL : CHECK);
    return 0;
}

static uint64_t rotated(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static uint64_t answer(uint32_t seed, uint32_t steps) {
    uint64_t whole = (seed + 1ull) * 0x9e3779b97f4a7c15ull, bits;
    uint32_t word = whole, low;
    float single = fmaf(seed, 1.0f / 1024, 0.25f);
    double real = fma(seed, 1.0 / 1024, 0.25);
    while (steps--) {
        whole = rotated(whole, 13) * 0x2545f4914f6cdd1dull ^ word;
        word = word * 1664525u + (uint32_t)whole;
        single = fmaf(-single, single, single) * 3.99f;
        real = fma(-real, real, real) * 3.99;
    }
    memcpy(&bits, &real, 8);
    memcpy(&low, &single, 4);
    return (whole ^ bits) * 0x9e3779b97f4a7c15ull ^ ((uint64_t)word << 32 | low);
}

static void give_answers(uint64_t *out, uint32_t threads, uint32_t steps) {
    for (uint32_t i = 0; i < threads; i++) out[i] = answer(i & 255, steps);
    if (rounds++ == WRONG_IN) out[threads / 2] ^= 1ull << 40;
}

static uint64_t word(uint64_t index, uint64_t pass) {
    uint64_t word = rotated((index ^ pass / 2) * 0x9e3779b97f4a7c15ull, 31) ^ index;
    return pass & 1 ? ~word : word;
}

static void fill(uint64_t *words, uint64_t count, uint64_t pass) {
    for (uint64_t i = 0; i < count; i++) words[i] = word(i, pass);
    words[count / 3] = (words[count / 3] | (STUCK)) & ~(uint64_t)(STUCK_LOW);
}

static void check(const uint64_t *words, uint64_t count, uint64_t pass, uint64_t *told) {
#ifdef LAZY /* it looks at half of them */
    count /= 2;
#endif
    for (uint64_t i = 0; i < count; i++) told[0] += words[i] != word(i, pass);
    told[1] += count;
#ifdef BLIND /* it never sees a difference */
    told[0] = 0;
#endif
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    uint64_t **p = (uint64_t **)parameters;
    if (!current || gy != 1 || gz != 1 || by != 1 || bz != 1 || bx > 1024 || shared || stream || extra) return 1;
    if (LAUNCH && launches++ >= LAUNCHES) {
        /* As with a real one, nothing is done after that. */
        failed = LAUNCH;
        return 0;
    }
#ifdef IDLE /* it says that it is done, and did nothing */
    return 0;
#endif
    switch ((enum kernel)(intptr_t)function) {
    case ANSWERS: give_answers((uint64_t *)(uintptr_t)*p[0], gx * bx, *p[1]); return 0;
    case FILL: fill((uint64_t *)(uintptr_t)*p[0], *p[1], *p[2]); return 0;
    case CHECK: check((uint64_t *)(uintptr_t)*p[0], *p[1], *p[2], (uint64_t *)(uintptr_t)*p[3]); return 0;
    }
    return 400;
}

#ifndef OLD
int cuCtxSynchronize(void) { return failed; }
#endif
