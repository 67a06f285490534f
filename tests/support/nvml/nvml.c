/* A double of NVML: the functions that the suite calls, playing GPUs from a script.
 *
 * Built as libnvidia-ml.so.1 and put on LD_LIBRARY_PATH it is what nvidia-ml-py loads.  It needs libc alone, so that
 * it also runs mounted into a container.  The script is the text file that PARITY_NVML_SCRIPT names:
 *
 *     # comment
 *     driver 575.51
 *     gpu 0 GPU-aaaa Double                     a GPU: number, UUID, name
 *     gpu 1 MIG-bbbb Double MIG 1g.10gb of 0    an instance of GPU 0, which is then in MIG mode
 *     2.5 0 used 3000000000                     from 2.5 s on GPU 0 has this: total, used, reserved, power, energy,
 *                                               utilization, celsius, sm, memory, throttle
 *     0 * fail nvmlDeviceGetPowerUsage 3        from 0 s on this function returns 3 for every GPU; 0 heals it
 *
 * Energy counts the power from 0 s on; stating it sets the counter, back too.  Time is CLOCK_MONOTONIC since the value
 * in nanoseconds that PARITY_NVML_SINCE holds, standing still before it, else since the first initialisation.
 * -DWITHOUT_<function> leaves a function out, as an older driver does.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_GPUS 16
#define MOST_EVENTS 2048

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9 };

typedef struct { char uuid[96], name[96]; int there, parent, number; } Gpu;
typedef struct { double at; int gpu; char what[24], function[64]; double value; } Event;

static Gpu gpus[MOST_GPUS];
static Event events[MOST_EVENTS];
static int event_count, initialized;
static char driver[256] = "575.51";
static int64_t since;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double now(void) { return now_ns() < since ? 0 : (double)(now_ns() - since) / 1e9; }

static void add_gpu(const char *rest) {
    int number, used = 0;
    char uuid[96];
    if (sscanf(rest, "%d %95s %n", &number, uuid, &used) < 2 || number < 0 || number >= MOST_GPUS) return;
    Gpu *gpu = &gpus[number];
    gpu->there = 1, gpu->number = number, gpu->parent = -1;
    snprintf(gpu->uuid, sizeof gpu->uuid, "%s", uuid);
    snprintf(gpu->name, sizeof gpu->name, "%s", rest + used);
    char *of = strstr(gpu->name, " of ");
    if (of && !strncmp(uuid, "MIG-", 4)) gpu->parent = atoi(of + 4), *of = 0;
}

static void add_event(const char *line) {
    Event event = {0};
    char which[16], value[64];
    if (event_count == MOST_EVENTS) return;
    if (sscanf(line, "%lf %15s fail %63s %lf", &event.at, which, event.function, &event.value) == 4)
        strcpy(event.what, "fail");
    else if (sscanf(line, "%lf %15s %23s %63s", &event.at, which, event.what, value) == 4)
        event.value = (double)strtoull(value, NULL, 0);
    else return;
    event.gpu = *which == '*' ? -1 : atoi(which);
    events[event_count++] = event;
}

static int read_script(void) {
    const char *path = getenv("PARITY_NVML_SCRIPT"), *start = getenv("PARITY_NVML_SINCE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    if (!file) return NOT_LOADED;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "driver ", 7)) snprintf(driver, sizeof driver, "%s", line + 7);
        else if (!strncmp(line, "gpu ", 4)) add_gpu(line + 4);
        else if (*line && *line != '#') add_event(line);
    }
    fclose(file);
    since = start ? strtoll(start, NULL, 10) : now_ns();
    return OK;
}

/* The events of the script stand in the order of time. */
static double value_of(const Gpu *gpu, const char *what, double otherwise) {
    double found = otherwise, at = now();
    for (int i = 0; i < event_count && events[i].at <= at; i++)
        if ((events[i].gpu < 0 || events[i].gpu == gpu->number) && !strcmp(events[i].what, what)) found = events[i].value;
    return found;
}

static double energy_of(const Gpu *gpu) {
    double energy = 0, power = 0, from = 0, at = now();
    for (int i = 0; i < event_count && events[i].at <= at; i++) {
        if (events[i].gpu >= 0 && events[i].gpu != gpu->number) continue;
        int counts = !strcmp(events[i].what, "energy");
        if (!counts && strcmp(events[i].what, "power")) continue;
        energy += power * (events[i].at - from), from = events[i].at;
        if (counts) energy = events[i].value;
        else power = events[i].value;
    }
    return energy + power * (at - from);
}

/* What `function` is to return for `gpu`, or for no GPU in particular. */
static int failure(const char *function, const Gpu *gpu) {
    int found = OK;
    double at = now();
    for (int i = 0; i < event_count && events[i].at <= at; i++)
        if (!strcmp(events[i].what, "fail") && !strcmp(events[i].function, function) &&
            (events[i].gpu < 0 || (gpu && events[i].gpu == gpu->number)))
            found = (int)events[i].value;
    return found;
}

#define BEGIN(gpu)                                                     \
    if (!initialized) return UNINITIALIZED;                            \
    { int failed = failure(__func__, gpu); if (failed) return failed; }
/* What an instance of a GPU in MIG mode does not tell. */
#define WHOLE(gpu) BEGIN(gpu) if ((gpu)->parent >= 0) return NOT_SUPPORTED;

static int give(char *to, unsigned room, const char *text) {
    if (strlen(text) >= room) return TOO_SMALL;
    strcpy(to, text);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int failed = initialized ? OK : read_script();
    if (failed || (failed = failure(__func__, NULL))) return failed;
    initialized++;
    return OK;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    BEGIN(NULL)
    initialized--;
    return OK;
}

const char *nvmlErrorString(int code) {
    static char text[40];
    snprintf(text, sizeof text, "code %d of the double", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *version, unsigned room) {
    BEGIN(NULL)
    return give(version, room, driver);
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    BEGIN(NULL)
    *count = 0;
    for (int i = 0; i < MOST_GPUS; i++) *count += gpus[i].there && gpus[i].parent < 0;
    return OK;
}

static int nth(int parent, unsigned index, Gpu **device) {
    for (int i = 0; i < MOST_GPUS; i++)
        if (gpus[i].there && gpus[i].parent == parent && index-- == 0) return *device = &gpus[i], OK;
    return parent < 0 ? INVALID : NOT_FOUND;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **device) {
    BEGIN(NULL)
    return nth(-1, index, device);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **device) {
    BEGIN(NULL)
    for (int i = 0; i < MOST_GPUS; i++)
        if (gpus[i].there && !strcmp(gpus[i].uuid, uuid)) return *device = &gpus[i], OK;
    return NOT_FOUND;
}

int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    WHOLE(gpu)
    Gpu *first;
    *current = *pending = nth(gpu->number, 0, &first) == OK;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(Gpu *gpu, unsigned *count) {
    WHOLE(gpu)
    *count = 7;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Gpu *gpu, unsigned index, Gpu **device) {
    WHOLE(gpu)
    return nth(gpu->number, index, device);
}

int nvmlDeviceGetName(Gpu *gpu, char *name, unsigned room) {
    BEGIN(gpu)
    return give(name, room, gpu->name);
}

int nvmlDeviceGetUUID(Gpu *gpu, char *uuid, unsigned room) {
    BEGIN(gpu)
    return give(uuid, room, gpu->uuid);
}

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;

static Memory2 memory_of(const Gpu *gpu) {
    Memory2 memory = {0};
    memory.total = (unsigned long long)value_of(gpu, "total", 80e9);
    memory.reserved = (unsigned long long)value_of(gpu, "reserved", 0);
    memory.used = (unsigned long long)value_of(gpu, "used", 0);
    memory.free = memory.total - memory.used;
    return memory;
}

int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory) {
    BEGIN(gpu)
    Memory2 found = memory_of(gpu);
    memory->total = found.total, memory->free = found.free, memory->used = found.used;
    return OK;
}

#ifndef WITHOUT_nvmlDeviceGetMemoryInfo_v2
int nvmlDeviceGetMemoryInfo_v2(Gpu *gpu, Memory2 *memory) {
    BEGIN(gpu)
    unsigned version = memory->version;
    if (version != (sizeof(Memory2) | 2u << 24)) return INVALID;
    *memory = memory_of(gpu);
    memory->version = version;
    return OK;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetTotalEnergyConsumption
int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, unsigned long long *millijoules) {
    WHOLE(gpu)
    *millijoules = (unsigned long long)energy_of(gpu);
    return OK;
}
#endif

int nvmlDeviceGetPowerUsage(Gpu *gpu, unsigned *milliwatts) {
    WHOLE(gpu)
    *milliwatts = (unsigned)value_of(gpu, "power", 0);
    return OK;
}

int nvmlDeviceGetUtilizationRates(Gpu *gpu, unsigned rates[2]) {
    WHOLE(gpu)
    rates[0] = (unsigned)value_of(gpu, "utilization", 0), rates[1] = 0;
    return OK;
}

int nvmlDeviceGetTemperature(Gpu *gpu, int sensor, unsigned *celsius) {
    WHOLE(gpu)
    if (sensor) return INVALID;
    *celsius = (unsigned)value_of(gpu, "celsius", 30);
    return OK;
}

#ifndef WITHOUT_nvmlDeviceGetTemperatureV
typedef struct { unsigned version; int sensor, celsius; } Temperature;

int nvmlDeviceGetTemperatureV(Gpu *gpu, Temperature *temperature) {
    WHOLE(gpu)
    if (temperature->version != (sizeof(Temperature) | 1u << 24) || temperature->sensor) return INVALID;
    temperature->celsius = (int)value_of(gpu, "celsius", 30);
    return OK;
}
#endif

int nvmlDeviceGetClockInfo(Gpu *gpu, int type, unsigned *mhz) {
    WHOLE(gpu)
    if (type != 1 && type != 2) return INVALID;
    *mhz = (unsigned)value_of(gpu, type == 1 ? "sm" : "memory", 1000);
    return OK;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *gpu, unsigned long long *reasons) {
    WHOLE(gpu)
    *reasons = (unsigned long long)value_of(gpu, "throttle", 0);
    return OK;
}

#ifndef WITHOUT_nvmlDeviceGetCurrentClocksEventReasons
int nvmlDeviceGetCurrentClocksEventReasons(Gpu *gpu, unsigned long long *reasons) {
    WHOLE(gpu)
    *reasons = (unsigned long long)value_of(gpu, "throttle", 0);
    return OK;
}
#endif
