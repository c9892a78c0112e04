/* A libnvidia-ml.so.1 without a GPU, for the real nvidia-ml-py: see native.py.

   Which machine it plays is fixed as it is compiled, -DSCENARIO="two", and may be changed by the
   variable FAKE_NVML. FAKE_NVML_USED is how many MiB are in use on the first GPU, FAKE_NVML_FAIL
   which functions fail and how, "nvmlDeviceGetName=4,...". Structures and numbers are those of
   NVIDIA's nvml.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6,
       INSUFFICIENT_SIZE, NO_DRIVER = 9, LIBRARY_NOT_FOUND = 12, IS_LOST = 15, MISMATCH = 18, VERSION_MISMATCH = 25, UNKNOWN = 999 };

typedef unsigned long long bytes;
#define MIB (1ULL << 20)
#define NOT_AVAILABLE (~0ULL)
#define ANY_FIRST(device) ((device)->slot < 0 && (device)->index == 0)

typedef struct { unsigned pid; bytes memory; unsigned gpu_instance, compute_instance; } process;
typedef struct { bytes total, free, used; } memory_v1;
typedef struct { unsigned version; bytes total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } rates;
typedef struct {
  char legacy[16];
  unsigned domain, bus, device, id, subsystem;
  char address[32];
} pci;

typedef struct {
  const char *uuid, *name;
  int index, slot;  /* slot: that of a MIG instance, -1 for a whole GPU */
  int gpu_instance, compute_instance;
  int major, minor, bus;
  bytes total, reserved, used;  /* MiB */
  unsigned utilization;
} device;

static device rtx4090 = {"GPU-4090aaaa-1111-2222-3333-444455556666", "NVIDIA GeForce RTX 4090",
                         0, -1, 0, 0, 8, 9, 0x01, 49140, 451, 1, 0};
static device rtx3060 = {"GPU-3060bbbb-1111-2222-3333-444455556666", "NVIDIA GeForce RTX 3060",
                         1, -1, 0, 0, 8, 6, 0x41, 12288, 238, 512, 7};
static device gtx1080 = {"GPU-1080cccc-1111-2222-3333-444455556666", "NVIDIA GeForce GTX 1080",
                         0, -1, 0, 0, 6, 1, 0x01, 8192, 86, 200, 3};
static device gb10 = {"GPU-0010dddd-1111-2222-3333-444455556666", "NVIDIA GB10",
                      0, -1, 0, 0, 12, 1, 0x01, 0, 0, 0, 0};
static device a100 = {"GPU-a100eeee-1111-2222-3333-444455556666", "NVIDIA A100-SXM4-40GB",
                      0, -1, 0, 0, 8, 0, 0x07, 40960, 623, 24, 0};
/* One compute instance in GPU instance 1, two in GPU instance 2; slot 1 is empty. */
static device slices[] = {
  {"MIG-11111111-aaaa-5555-8888-000000000000", "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
   0, 0, 1, 0, 8, 0, 0x07, 20096, 0, 12, 0},
  {"MIG-22222222-aaaa-5555-8888-000000000000", "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb",
   0, 2, 2, 0, 8, 0, 0x07, 20096, 0, 12, 0},
  {"MIG-33333333-aaaa-5555-8888-000000000000", "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb",
   0, 3, 2, 1, 8, 0, 0x07, 20096, 0, 12, 0},
};

static int opened;        /* how often it was initialised and not shut down */
static int ever_opened;   /* how often it was initialised */

int fakeOpened(void) { return opened; }
int fakeEverOpened(void) { return ever_opened; }

static int plays(const char *scenario) {
  const char *told = getenv("FAKE_NVML");
  return strcmp(told ? told : SCENARIO, scenario) == 0;
}

static device *at(unsigned index) {
  if (plays("mig") || plays("undivided")) return index == 0 ? &a100 : NULL;
  if (plays("old_driver")) return index == 0 ? &gtx1080 : NULL;
  if (plays("integrated") || plays("no_memory")) return index == 0 ? &gb10 : NULL;
  if (plays("two") || plays("lost") || plays("gone") || plays("forbidden"))
    return index == 0 ? &rtx4090 : index == 1 ? &rtx3060 : NULL;
  return index == 0 ? &rtx4090 : NULL;
}

/* What every question about a device begins with. */
static int state(device *asked, const char *function) {
  if (!opened) return UNINITIALIZED;
  const char *failing = getenv("FAKE_NVML_FAIL"), *found;
  for (size_t n = strlen(function); failing && (found = strstr(failing, function)); failing = found + 1)
    if (found[n] == '=') return atoi(found + n + 1);
  return plays("lost") && asked && ANY_FIRST(asked) ? IS_LOST : OK;
}

#define FAIL_IF_TOLD(asked) \
  do { \
    int code = state(asked, __func__); \
    if (code) return code; \
  } while (0)

static void put(char *into, const char *text, unsigned size) { snprintf(into, size, "%s", text); }

static bytes used(device *asked) {
  const char *told = getenv("FAKE_NVML_USED");
  return (told && ANY_FIRST(asked) ? strtoull(told, NULL, 10) : asked->used) * MIB;
}

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  if (plays("no_driver")) return NO_DRIVER;
  if (plays("mismatch")) return MISMATCH;
  if (plays("unknown")) return UNKNOWN;
  __atomic_add_fetch(&opened, 1, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&ever_opened, 1, __ATOMIC_SEQ_CST);
  return OK;
}

int nvmlShutdown(void) {
  if (!opened) return UNINITIALIZED;
  __atomic_sub_fetch(&opened, 1, __ATOMIC_SEQ_CST);
  return OK;
}

const char *nvmlErrorString(int code) { (void)code; return "as told by the fake"; }

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
  FAIL_IF_TOLD(NULL);
  put(version, plays("old_driver") ? "470.256.02" : "580.95.05", size);
  return OK;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
  FAIL_IF_TOLD(NULL);
  if (plays("no_libcuda")) return LIBRARY_NOT_FOUND;
  *version = plays("old_driver") ? 11040 : 13000;
  return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  FAIL_IF_TOLD(NULL);
  for (*count = 0; at(*count); ++*count) {}
  return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **found) {
  if (!opened) return UNINITIALIZED;
  if (plays("gone") && index == 0) return IS_LOST;
  if (plays("forbidden") && index == 0) return NO_PERMISSION;
  *found = at(index);
  return *found ? OK : INVALID_ARGUMENT;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device **found) {
  if (!opened) return UNINITIALIZED;
  for (unsigned index = 0; (*found = at(index)); ++index)
    if (!strcmp(uuid, (*found)->uuid)) return plays("gone") && index == 0 ? IS_LOST : OK;
  for (unsigned index = 0; plays("mig") && index < 3; ++index)
    if (!strcmp(uuid, (*found = &slices[index])->uuid)) return OK;
  return NOT_FOUND;
}

int nvmlDeviceGetUUID(device *asked, char *uuid, unsigned size) {
  int code = state(asked, __func__);
  if (code && code != IS_LOST) return code;
  put(uuid, asked->uuid, size);
  return OK;
}

int nvmlDeviceGetName(device *asked, char *name, unsigned size) {
  FAIL_IF_TOLD(asked);
  put(name, plays("garbled") ? "NVIDIA \xff\xfe" : asked->name, size);
  return OK;
}

int nvmlDeviceGetPciInfo_v3(device *asked, pci *info) {
  FAIL_IF_TOLD(asked);
  info->bus = asked->bus;
  snprintf(info->legacy, sizeof info->legacy, "0000:%02X:00.0", asked->bus);
  snprintf(info->address, sizeof info->address, "%08X:%02X:00.0",
           plays("integrated") ? 0x1f : 0, asked->bus);
  return OK;
}

int nvmlDeviceGetCudaComputeCapability(device *asked, int *major, int *minor) {
  FAIL_IF_TOLD(asked);
  *major = asked->major, *minor = asked->minor;
  return OK;
}

int nvmlDeviceGetComputeMode(device *asked, int *mode) {
  FAIL_IF_TOLD(asked);
  *mode = plays("exclusive") ? 3 : plays("prohibited") ? 2 : 0;
  return OK;
}

int nvmlDeviceGetUtilizationRates(device *asked, rates *told) {
  FAIL_IF_TOLD(asked);
  if (plays("mig")) return NOT_SUPPORTED;
  *told = (rates){asked->utilization, 0};
  return OK;
}

int nvmlDeviceGetMemoryInfo(device *asked, memory_v1 *told) {
  FAIL_IF_TOLD(asked);
  if (plays("integrated")) return NOT_SUPPORTED;
  bytes taken = used(asked) + asked->reserved * MIB;
  *told = (memory_v1){asked->total * MIB, asked->total * MIB - taken, taken};
  return OK;
}

#ifndef OLD_DRIVER

int nvmlDeviceGetMemoryInfo_v2(device *asked, memory_v2 *told) {
  FAIL_IF_TOLD(asked);
  if (plays("integrated")) return NOT_SUPPORTED;
  if (told->version != (sizeof(memory_v2) | 2 << 24)) return VERSION_MISMATCH;
  told->total = asked->total * MIB;
  told->reserved = asked->reserved * MIB;
  told->used = used(asked);
  told->free = told->total - told->reserved - told->used;
  return OK;
}

static int tell(unsigned *count, process *told, const process *all, unsigned n) {
  unsigned room = *count;
  *count = n;
  if (room < n) return INSUFFICIENT_SIZE;
  if (n) memcpy(told, all, n * sizeof *all);
  return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device *asked, unsigned *count, process *told) {
  static const process busy[] = {{4242, 20480 * MIB, ~0u, ~0u}, {31337, 512 * MIB, ~0u, ~0u}};
  static const process wsl[] = {{26, NOT_AVAILABLE, ~0u, ~0u}};
  FAIL_IF_TOLD(asked);
  if (plays("mig")) return NO_PERMISSION;
  return plays("busy") ? tell(count, told, busy, 2) : tell(count, told, wsl, plays("wsl"));
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device *asked, unsigned *count, process *told) {
  static const process busy[] = {{777, 300 * MIB, ~0u, ~0u}, {31337, NOT_AVAILABLE, ~0u, ~0u}};
  FAIL_IF_TOLD(asked);
  return tell(count, told, busy, plays("busy") ? 2 : 0);
}

int nvmlDeviceGetMigMode(device *asked, unsigned *current, unsigned *pending) {
  FAIL_IF_TOLD(asked);
  *current = plays("mig");
  *pending = plays("undivided");  /* the mode after the next start, which is nobody's business */
  return *current || *pending ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetMaxMigDeviceCount(device *asked, unsigned *count) {
  FAIL_IF_TOLD(asked);
  *count = plays("mig") ? 7 : 0;
  return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(device *asked, unsigned slot, device **found) {
  FAIL_IF_TOLD(asked);
  for (int index = 0; index < 3; ++index)
    if (slices[index].slot == (int)slot) { *found = &slices[index]; return OK; }
  return NOT_FOUND;
}

int nvmlDeviceGetGpuInstanceId(device *asked, unsigned *id) {
  FAIL_IF_TOLD(asked);
  *id = asked->gpu_instance;
  return OK;
}

int nvmlDeviceGetComputeInstanceId(device *asked, unsigned *id) {
  FAIL_IF_TOLD(asked);
  *id = asked->compute_instance;
  return OK;
}

#endif
