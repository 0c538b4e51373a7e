/* A CUDA driver without a GPU, for tests: device memory is the host's, a stream runs its work at once, and a captured
 * graph is a list of the work. It is strict where a GPU is: a thread needs a current context, memory that was freed must
 * not be touched, and memory that is freed on a stream spoils what is captured there.
 *
 * cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o libcuda.so.1 fake_cuda.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The driver API's types, as far as they are needed. */
typedef int Result;
typedef uint64_t Address;
typedef void (*HostFunction)(void *);
typedef struct {
    size_t source_x, source_y;
    unsigned source_type;
    const void *source_host;
    Address source;
    void *source_array;
    size_t source_pitch, to_x, to_y;
    unsigned to_type;
    void *to_host;
    Address to;
    void *to_array;
    size_t to_pitch, width, height;
} Copy2D;

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, ILLEGAL_ADDRESS = 700 };
enum { CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };

typedef struct Work {
    enum { COPY, FILL, COPY_2D, CALL, KERNEL } kind;
    void *to;
    const void *from;
    size_t bytes;
    unsigned char value;
    Copy2D rows;
    HostFunction function;
    int (*kernel)(const void *, int);
    int blocks;
    struct Work *next;
} Work;

typedef struct {
    Work *first, **end;
} Graph;

typedef struct {
    int capturing, spoiled;
    Graph *graph;
} Stream;

typedef struct Allocation {
    char *begin;
    size_t bytes;
    struct Allocation *next;
} Allocation;

/* Of a block, at most, as on an H100; and blocks that run at the same time. */
enum { SHARED_BYTES = 232448, BLOCKS = 6 };

#define API __attribute__((visibility("default"))) Result
static char the_context, the_pool;
static __thread void *current;
static Allocation *allocations;
static Result next_failure;
static pthread_mutex_t allocating = PTHREAD_MUTEX_INITIALIZER;

static int is_allocated(Address address, size_t bytes) {
    int found = 0;
    pthread_mutex_lock(&allocating);
    for (Allocation *a = allocations; a && !found; a = a->next)
        found = (char *)address >= a->begin && (char *)address + bytes <= a->begin + a->bytes;
    pthread_mutex_unlock(&allocating);
    return found;
}

static Result run(const Work *work) {
    const Copy2D *rows = &work->rows;
    switch (work->kind) {
    case COPY:
        memmove(work->to, work->from, work->bytes);
        break;
    case FILL:
        memset(work->to, work->value, work->bytes);
        break;
    case KERNEL:
        work->kernel(work->from, work->blocks); /* says by itself that it gave up */
        break;
    case COPY_2D:
        if (!is_allocated(rows->to, rows->to_pitch * rows->height)) return ILLEGAL_ADDRESS;
        if (!is_allocated(rows->source, rows->source_pitch * rows->height)) return ILLEGAL_ADDRESS;
        for (size_t row = 0; row < rows->height; row++)
            memmove((char *)rows->to + row * rows->to_pitch + rows->to_x,
                    (char *)rows->source + row * rows->source_pitch + rows->source_x, rows->width);
        break;
    case CALL:
        work->function(work->to);
    }
    return SUCCESS;
}

/* Run work on a stream, or record it. */
static Result enqueue(Stream *stream, Work work) {
    if (!current) return INVALID_CONTEXT;
    if (!stream || !stream->capturing) return run(&work);
    Work *kept = malloc(sizeof *kept);
    *kept = work;
    kept->next = NULL;
    *stream->graph->end = kept;
    stream->graph->end = &kept->next;
    return SUCCESS;
}

/* The device and its context. */
API cuInit(unsigned flags) { return SUCCESS; }
API cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
API cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
API cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal ? 101 : SUCCESS; }
API cuDeviceGetName(char *name, int length, int device) { return snprintf(name, length, "no GPU"), SUCCESS; }
API cuDeviceGetUuid_v2(void *uuid, int device) { return memset(uuid, 1, 16), SUCCESS; }
API cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1; /* the compute capability is 9.0 */
    if (attribute == 97) *value = SHARED_BYTES;
    if (attribute == 16) *value = BLOCKS;
    return SUCCESS;
}
API cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &the_context, SUCCESS; }
API cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
API cuCtxSetCurrent(void *context) { return current = context, SUCCESS; }
API cuCtxGetCurrent(void **context) { return *context = current, SUCCESS; }
API cuCtxGetDevice(int *device) { return *device = 0, current ? SUCCESS : INVALID_CONTEXT; }
API cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = *greatest = 0, SUCCESS; }

/* Streams, capture, and graphs. */
API cuStreamCreateWithPriority(Stream **stream, unsigned flags, int priority) {
    return *stream = calloc(1, sizeof **stream), current ? SUCCESS : INVALID_CONTEXT;
}
API cuStreamDestroy_v2(Stream *stream) { return SUCCESS; }
API cuStreamGetCtx(Stream *stream, void **context) { return *context = &the_context, SUCCESS; }
API cuStreamGetFlags(Stream *stream, unsigned *flags) { return *flags = 1, SUCCESS; }
API cuStreamGetPriority(Stream *stream, int *priority) { return *priority = 0, SUCCESS; }
API cuStreamSynchronize(Stream *stream) {
    if (!current) return INVALID_CONTEXT;
    if (!stream->capturing) return SUCCESS;
    stream->spoiled = 1;
    return CAPTURE_UNSUPPORTED;
}
API cuStreamIsCapturing(Stream *stream, int *status) {
    return *status = stream && stream->capturing ? 1 + stream->spoiled : 0, SUCCESS;
}
API cuStreamBeginCapture_v2(Stream *stream, int mode) {
    Graph *graph = calloc(1, sizeof *graph);
    graph->end = &graph->first;
    *stream = (Stream){1, 0, graph};
    return SUCCESS;
}
API cuStreamEndCapture(Stream *stream, Graph **graph) {
    stream->capturing = 0;
    *graph = stream->graph;
    return stream->spoiled ? CAPTURE_INVALIDATED : SUCCESS;
}
API cuStreamGetCaptureInfo_v3(Stream *stream, int *status, uint64_t *id, Graph **graph, const void **nodes,
                              const void **edges, size_t *count) {
    cuStreamIsCapturing(stream, status);
    if (id) *id = 1;
    if (graph) *graph = stream->graph;
    if (count) *count = 0;
    return SUCCESS;
}
API cuGraphInstantiateWithParams(Graph **executable, Graph *graph, void *parameters) {
    ((int *)parameters)[6] = 0; /* result_out, after flags, upload stream and error node */
    return *executable = graph, SUCCESS;
}
API cuGraphDestroy(Graph *graph) { return SUCCESS; }
API cuGraphExecDestroy(Graph *graph) { return SUCCESS; }
API cuGraphLaunch(Graph *graph, Stream *stream) {
    if (!current) return INVALID_CONTEXT;
    for (Work *work = graph->first; work; work = work->next) {
        Result result = run(work);
        if (result) return result;
    }
    return SUCCESS;
}

/* Memory and work on it. Freed memory is filled with 0xDD, new memory with 0xCB. */
API cuMemAllocFromPoolAsync(Address *address, size_t bytes, void *pool, Stream *stream) {
    void *memory;
    const Result failure = next_failure;
    next_failure = SUCCESS;
    if (failure) return failure;
    if (!current) return INVALID_CONTEXT;
    if (stream && stream->capturing) return stream->spoiled = 1, CAPTURE_UNSUPPORTED;
    if (posix_memalign(&memory, 512, bytes)) return OUT_OF_MEMORY;
    memset(memory, 0xCB, bytes);
    Allocation *made = malloc(sizeof *made);
    pthread_mutex_lock(&allocating);
    *made = (Allocation){memory, bytes, allocations};
    allocations = made;
    pthread_mutex_unlock(&allocating);
    return *address = (Address)memory, SUCCESS;
}
API cuMemFreeAsync(Address address, Stream *stream) {
    if (stream && stream->capturing) return stream->spoiled = 1, CAPTURE_INVALIDATED;
    pthread_mutex_lock(&allocating);
    Allocation **at = &allocations;
    while (*at && (*at)->begin != (char *)address) at = &(*at)->next;
    Allocation *freed = *at;
    if (freed) *at = freed->next;
    pthread_mutex_unlock(&allocating);
    if (!freed) return INVALID_VALUE;
    memset(freed->begin, 0xDD, freed->bytes); /* kept, so that late reads find it */
    return SUCCESS;
}
API cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream *stream) {
    return enqueue(stream, (Work){.kind = FILL, .to = (void *)to, .value = value, .bytes = bytes});
}
API cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, Stream *stream) {
    if (!is_allocated(to, bytes)) return ILLEGAL_ADDRESS;
    return enqueue(stream, (Work){.kind = COPY, .to = (void *)to, .from = from, .bytes = bytes});
}
API cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, Stream *stream) {
    if (!is_allocated(from, bytes)) return ILLEGAL_ADDRESS;
    return enqueue(stream, (Work){.kind = COPY, .to = to, .from = (void *)from, .bytes = bytes});
}
API cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Stream *stream) {
    if (!is_allocated(to, bytes) || !is_allocated(from, bytes)) return ILLEGAL_ADDRESS;
    return enqueue(stream, (Work){.kind = COPY, .to = (void *)to, .from = (void *)from, .bytes = bytes});
}
API cuMemcpy2DAsync_v2(const Copy2D *rows, Stream *stream) {
    if (rows->source_pitch < rows->source_x + rows->width || rows->to_pitch < rows->to_x + rows->width)
        return INVALID_VALUE;
    return enqueue(stream, (Work){.kind = COPY_2D, .rows = *rows});
}
API cuLaunchHostFunc(Stream *stream, HostFunction function, void *argument) {
    return enqueue(stream, (Work){.kind = CALL, .function = function, .to = argument});
}
API cuDeviceGetMemPool(void **pool, int device) { return *pool = &the_pool, SUCCESS; }
API cuMemGetMemPool(void **pool, void *location, int kind) { return *pool = &the_pool, SUCCESS; }
API cuMemPoolGetAttribute(void *pool, int attribute, void *value) { return *(uint64_t *)value = 0, SUCCESS; }
API cuMemPoolSetAttribute(void *pool, int attribute, void *value) { return SUCCESS; }
API cuUserObjectCreate(void **object, void *held, HostFunction destroy, unsigned count, unsigned flags) {
    return *object = &the_pool, SUCCESS;
}
API cuUserObjectRelease(void *object, unsigned count) { return SUCCESS; }
API cuGraphRetainUserObject(Graph *graph, void *object, unsigned count, unsigned flags) { return SUCCESS; }
API cuGraphReleaseUserObject(Graph *graph, void *object, unsigned count) { return SUCCESS; }

/* Kernels: "code" is the path of a library for the host, whose `run` takes the kernel's only parameter and its blocks. */
typedef struct {
    int id, unused, blocks[16];
} LaunchAttribute;
typedef struct {
    unsigned grid[3], block[3], shared_bytes;
    Stream *stream;
    LaunchAttribute *attributes;
    unsigned count;
} Launch;
typedef struct {
    int (*run)(const void *, int);
    int (*parameter_bytes)(void);
} Function;
API cuModuleLoadData(void **module, const void *code) {
    if (!current) return INVALID_CONTEXT;
    return *module = dlopen(code, RTLD_NOW), *module ? SUCCESS : 200;
}
API cuModuleGetFunction(void **function, void *module, const char *name) {
    Function *made = calloc(1, sizeof *made);
    made->run = (int (*)(const void *, int))dlsym(module, "run"); /* null: a kernel that is never launched */
    made->parameter_bytes = (int (*)(void))dlsym(module, "call_size");
    return *function = made, SUCCESS;
}
API cuFuncSetAttribute(void *function, int attribute, int value) { return value > SHARED_BYTES ? INVALID_VALUE : SUCCESS; }
API cuOccupancyMaxActiveClusters(int *clusters, void *function, const Launch *launch) {
    return *clusters = BLOCKS / launch->attributes[0].blocks[0], SUCCESS;
}
API cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) { return *memory = calloc(1, bytes), SUCCESS; }
API cuMemHostGetDevicePointer_v2(Address *address, void *memory, unsigned flags) {
    return *address = (Address)memory, SUCCESS;
}
API cuLaunchKernelEx(const Launch *launch, Function *function, void **parameters, void **extra) {
    if (launch->shared_bytes > SHARED_BYTES || launch->count > 1) return INVALID_VALUE;
    if (launch->count) { /* a cluster, whose blocks must all run at the same time */
        int cluster = launch->attributes[0].blocks[0];
        if (launch->attributes[0].id != 4 || launch->grid[0] % cluster || launch->grid[0] > BLOCKS) return INVALID_VALUE;
    }
    int bytes = function->parameter_bytes();
    Work work = {.kind = KERNEL, .from = memcpy(malloc(bytes), parameters[0], bytes), .kernel = function->run};
    work.blocks = launch->grid[0];
    return enqueue(launch->stream, work);
}

/* What is wrong. */
API cuGetErrorName(Result result, const char **name) {
    static __thread char text[32];
    if (result == OUT_OF_MEMORY) return *name = "CUDA_ERROR_OUT_OF_MEMORY", SUCCESS;
    snprintf(text, sizeof text, "fake error %d", result);
    return *name = text, SUCCESS;
}
API cuGetErrorString(Result result, const char **text) { return cuGetErrorName(result, text); }

/* How many allocations there are. */
API fake_allocations(void) {
    int count = 0;
    pthread_mutex_lock(&allocating);
    for (Allocation *a = allocations; a; a = a->next) count++;
    pthread_mutex_unlock(&allocating);
    return count;
}

/* Let the next allocation fail. */
API fake_failure(Result result) { return next_failure = result, SUCCESS; }

/* The driver hands out its functions by name. One that is not here is not found. */
API cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    static const char *endings[] = {"_v3", "_v2", ""};
    char full[128];
    *function = NULL;
    for (int i = 0; i < 3 && !*function; i++) {
        snprintf(full, sizeof full, "%s%s", name, endings[i]);
        *function = dlsym(RTLD_DEFAULT, full);
        if (!*function) {
            Dl_info here;
            dladdr(&the_pool, &here);
            void *self = dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD);
            *function = dlsym(self, full);
        }
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : 500;
}
