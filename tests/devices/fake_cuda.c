/* A libcuda.so.1 without a GPU: see native.py.

   FAKE_CUDA_DEVICES lists its devices by UUID, "GPU-...,GPU-...", and a MIG instance after the GPU
   that it is of, "GPU-.../MIG-...". FAKE_CUDA_INIT is what cuInit answers, FAKE_CUDA_BROKEN what
   every other call answers once it is initialised. Contexts are retained as by the real one. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK, INVALID_VALUE, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, MOST = 8 };

static int initialised;
static int retained[MOST];

static int told(const char *variable) {
  const char *text = getenv(variable);
  return text ? atoi(text) : OK;
}

static int state(void) { return initialised ? told("FAKE_CUDA_BROKEN") : NOT_INITIALIZED; }

/* Finds the text of the device; returns whether there is such a device. */
static int find(int ordinal, char *text, size_t size) {
  const char *all = getenv("FAKE_CUDA_DEVICES");
  while (all && ordinal--) all = (all = strchr(all, ',')) ? all + 1 : NULL;
  if (!all || !*all) return 0;
  snprintf(text, size, "%.*s", (int)strcspn(all, ","), all);
  return 1;
}

static void octets(const char *uuid, unsigned char *into) {
  int high = 1;
  memset(into, 0, 16);
  for (const char *c = uuid + 4; *c && *c != '/'; ++c) {
    if (*c == '-') continue;
    unsigned digit = *c <= '9' ? *c - '0' : *c - 'a' + 10;
    if (high) *into = digit << 4; else *into++ |= digit;
    high = !high;
  }
}

int cuInit(unsigned flags) {
  (void)flags;
  int code = told("FAKE_CUDA_INIT");
  initialised = code == OK;
  return code;
}

int cuDeviceGetCount(int *count) {
  char text[256];
  if (state()) return state();
  for (*count = 0; find(*count, text, sizeof text); ++*count) {}
  return OK;
}

int cuDeviceGet(int *device, int ordinal) {
  char text[256];
  if (state()) return state();
  *device = ordinal;
  return ordinal >= 0 && find(ordinal, text, sizeof text) ? OK : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device) {
  char text[256];
  if (state()) return state();
  if (!find(device, text, sizeof text)) return INVALID_DEVICE;
#ifdef PLAIN_NAMES
  text[strcspn(text, "/")] = 0;
#endif
  snprintf(name, size, strchr(text, '/') ? "NVIDIA A100-SXM4-40GB MIG 3g.20gb" : "NVIDIA GPU");
  return OK;
}

#ifndef WITHOUT_FIRST_UUID
int cuDeviceGetUuid(unsigned char *uuid, int device) {
  char text[256];
  if (state()) return state();
  if (!find(device, text, sizeof text)) return INVALID_DEVICE;
  octets(text, uuid);
  return OK;
}
#endif

#ifndef WITHOUT_SECOND_UUID
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
  char text[256];
  if (state()) return state();
  if (!find(device, text, sizeof text)) return INVALID_DEVICE;
  char *instance = strchr(text, '/');
  octets(instance ? instance + 1 : text, uuid);
  return OK;
}
#endif

int cuDevicePrimaryCtxRetain(void **context, int device) {
  if (state()) return state();
  retained[device] += 1;
  *context = &retained[device];
  return OK;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  if (state()) return state();
  retained[device] -= 1;
  return OK;
}

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  if (state()) return state();
  *flags = 0;
  *active = retained[device] > 0;
  return OK;
}
