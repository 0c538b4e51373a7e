// What the kernels need of a device, on the host: every thread of the grid is a fiber on one core, barriers and lanes switch.
// Threads take turns, and what is sent arrives at once; or, after disorder(seed), in a random order that the seed decides.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>
#include <sys/mman.h>

#define HOST
#define DEVICE inline
#define KERNEL(BLOCKS) static
#ifndef CLUSTER
#define CLUSTER 1
#endif
#define GRID_CONSTANT

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
struct uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };

extern "C" void switch_fiber(void **from, void *to);
asm(R"(
.globl switch_fiber
switch_fiber:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");

struct Meeting {  // of `size` fibers
    int size, arrived = 0;
    u32 turn = 0;
    std::vector<int> waiting;
};
struct Fiber { void *stack_pointer; int block, thread; };
struct Barrier { int pending; long bytes; u32 phase; };

static std::vector<Fiber> fibers;
static std::deque<int> ready;
static int current, alive;
static void *main_stack;
static std::vector<Meeting> blocks, clusters, warps;
static std::vector<u8 *> memories;                    // of each block
static std::vector<u64> exchanged[2];                 // by lane
struct Fragments { uint4 a; u32 b0, b1; };
static std::vector<Fragments> operands[2];
static long long ticks;

static u64 disordered;                                // state of a xorshift; 0: everything in order
static int below(int n) {
    disordered ^= disordered << 13, disordered ^= disordered >> 7, disordered ^= disordered << 17;
    return (int)(disordered % n);
}
static void arrive_some(bool all);

static void next_fiber() {
    if (disordered) {
        arrive_some(ready.empty());
        if (!ready.empty()) std::swap(ready.front(), ready[below(ready.size())]);
    }
    if (ready.empty()) {  // every thread waits for a barrier
        void *nowhere;
        switch_fiber(&nowhere, main_stack);
    }
    const int from = current;
    current = ready.front();
    ready.pop_front();
    if (current != from) switch_fiber(&fibers[from].stack_pointer, fibers[current].stack_pointer);
}
static void meet(Meeting &m) {
    if (++m.arrived == m.size) {
        m.arrived = 0, m.turn++;
        for (int fiber : m.waiting) ready.push_back(fiber);
        m.waiting.clear();
        return;
    }
    m.waiting.push_back(current);
    next_fiber();
}

static inline u8 *shared() { return memories[fibers[current].block]; }
static inline int thread_index() { return fibers[current].thread; }
static inline int afresh(int value) { return value; }
static inline int block_index() { return fibers[current].block; }
static inline int cluster_rank() { return fibers[current].block % CLUSTER; }
static inline long long clock_now() { return ticks; }
static inline void pause_() {
    ticks++;
    ready.push_back(current);
    next_fiber();
}
static inline Meeting &warp() { return warps[current / 32]; }
static inline void block_sync() { meet(blocks[block_index()]); }
static inline void warp_sync() { meet(warp()); }
static inline void cluster_sync() { meet(clusters[block_index() / CLUSTER]); }

static inline u64 from_lane(u64 value, int lane) {
    const u32 side = warp().turn & 1;
    exchanged[side][current] = value;
    meet(warp());
    return exchanged[side][current / 32 * 32 + lane % 32];
}
static inline u32 bits_of(float value) { u32 bits; memcpy(&bits, &value, 4); return bits; }
static inline float float_of(u32 bits) { float value; memcpy(&value, &bits, 4); return value; }
static inline float lane_of(float value, int lane) { return float_of((u32)from_lane(bits_of(value), (lane + 32) % 32)); }
static inline float across(float value, int mask) { return float_of((u32)from_lane(bits_of(value), current % 32 ^ mask)); }
static inline u32 bits_of_lane(u32 value, int lane) { return (u32)from_lane(value, lane); }
static inline int warp_min(int value) {
    int least = value;
    for (int lane = 0; lane < 32; lane++) {
        const int other = (int)from_lane((u32)value, lane);
        if (other < least) least = other;
    }
    return least;
}
static inline float warp_max(float value) {
    float most = value;
    for (int lane = 0; lane < 32; lane++) most = fmaxf(most, float_of((u32)from_lane(bits_of(value), lane)));
    return most;
}
static inline u16 half_of(float value) { const _Float16 half = (_Float16)value; u16 bits; memcpy(&bits, &half, 2); return bits; }
static inline float from_half(u16 bits) { _Float16 half; memcpy(&half, &bits, 2); return (float)half; }
static inline u32 pair_of(float low, float high) { return half_of(low) | (u32)half_of(high) << 16; }
static inline float low_of(u32 both) { return from_half((u16)both); }
static inline float high_of(u32 both) { return from_half((u16)(both >> 16)); }
static inline float fused(float a, float b, float c) { return fmaf(a, b, c); }
static inline u64 high_product(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }
static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float reciprocal(float x) { return 1.0f / x; }
static inline float exp2_(float x) { return exp2f(x); }
static inline float log2_(float x) { return log2f(x); }

static inline void multiply(float (&sums)[4], const uint4 &a, u32 b0, u32 b1) {
    const u32 side = warp().turn & 1;
    operands[side][current] = {a, b0, b1};
    meet(warp());
    const Fragments *lanes = &operands[side][current / 32 * 32];
    const int lane = current % 32;
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4, column = lane % 4 * 2 + i % 2;
        for (int quarter = 0; quarter < 4; quarter++) {
            const Fragments &left = lanes[row * 4 + quarter], &right = lanes[column * 4 + quarter];
            const u32 first = i / 2 ? left.a.y : left.a.x, second = i / 2 ? left.a.w : left.a.z;
            sums[i] += low_of(first) * low_of(right.b0) + high_of(first) * high_of(right.b0);
            sums[i] += low_of(second) * low_of(right.b1) + high_of(second) * high_of(right.b1);
        }
    }
}

static inline uint4 stream(const uint4 *from) { return *from; }
static inline uint4 read_operand(const uint4 *from) { return *from; }
static inline uint4 read_shared(const uint4 *from) { return *from; }
static inline u64 read_word(const u64 *from) { return *from; }
struct Words { u64 first, second; };
static inline Words read_words(const u64 *from) { return {from[0], from[1]}; }
static inline Words glance(const u64 *from) { return read_words(from); }
struct Copy { int fiber; void *to; const void *from; };
static std::vector<Copy> copies;                       // that have begun
static inline void copy_near(void *to, const void *from) {
    if (disordered) copies.push_back({current, to, from});
    else memcpy(to, from, 16);
}
static inline void await_copies() {
    for (size_t i = 0; i < copies.size();)
        if (copies[i].fiber == current) memcpy(copies[i].to, copies[i].from, 16), copies[i] = copies.back(), copies.pop_back();
        else i++;
}
static inline uint2 read_table(const u32 *from) { return {from[0], from[1]}; }
static inline void write_word(u64 *to, u64 word) { *to = word; }
static inline bool claim(u32 *flag) { return (*flag)++ == 0; }
static inline bool is_claimed(const u32 *flag) { return *flag != 0; }

static u8 *there(const void *local, int rank) {
    const int block = block_index(), other = block / CLUSTER * CLUSTER + rank;
    return memories[other] + ((const u8 *)local - memories[block]);
}
static inline void complete(Barrier &b) {
    if (b.pending == 0 && b.bytes == 0) b.pending = 1, b.phase++;
}
static std::vector<Barrier> barriers;                  // a barrier in shared memory holds its index here
struct Sent { void *to; uint4 value; u64 *barrier; };
static std::vector<Sent> on_their_way;
static inline void arrive(const Sent &s) {
    memcpy(s.to, &s.value, 16);
    Barrier &b = barriers[*s.barrier];
    b.bytes -= 16;
    complete(b);
}
static inline void send(void *to, int rank, const uint4 &value, u64 *barrier) {
    const Sent s = {there(to, rank), value, (u64 *)there(barrier, rank)};
    if (disordered) on_their_way.push_back(s);
    else arrive(s);
}
static void arrive_some(bool all) {
    for (int n = all ? on_their_way.size() : below(3); n > 0 && !on_their_way.empty(); n--) {
        std::swap(on_their_way.back(), on_their_way[below(on_their_way.size())]);
        const Sent s = on_their_way.back();
        on_their_way.pop_back();
        arrive(s);
    }
    if (!copies.empty() && below(16) == 0) {  // most arrive only when they are waited for
        std::swap(copies.back(), copies[below(copies.size())]);
        memcpy(copies.back().to, copies.back().from, 16);
        copies.pop_back();
    }
}
static inline uint2 read_near(const void *local, int rank) { return *(const uint2 *)there(local, rank); }
static inline void begin_barrier(u64 *barrier) {
    *barrier = barriers.size();
    barriers.push_back({1, 0, 0});
}
static inline void fence_barriers() {}
static inline void expect(u64 *barrier, u32 bytes) {
    Barrier &b = barriers[*barrier];
    b.bytes += bytes, b.pending--;
    complete(b);
}
static inline bool try_barrier(u64 *barrier, u32 parity) { return (barriers[*barrier].phase & 1) != parity; }

#include KERNEL_SOURCE

static const Call *the_call;
static void body() {
    generate(*the_call);
    if (--alive == 0) {
        void *nowhere;
        switch_fiber(&nowhere, main_stack);
    }
    next_fiber();
}

// Runs the kernel on `count` blocks; returns whether all threads ended, and none gave up.
extern "C" int run(const Call *call, int count) {
    const size_t stack = 16384;
    const int n = count * THREADS;
    fibers.assign(n, {}), ready.clear(), barriers.clear(), memories.clear(), on_their_way.clear(), copies.clear();
    blocks.clear(), clusters.clear(), warps.clear();
    for (int i = 0; i < count; i++) {
        Meeting m;
        m.size = THREADS, blocks.push_back(m);
        if (i % CLUSTER == 0) m.size = THREADS * CLUSTER, clusters.push_back(m);
        m.size = 32;
        for (int j = 0; j < WARPS; j++) warps.push_back(m);
        u8 *memory = (u8 *)aligned_alloc(128, SHARED_FLOATS * 4 + 128);
        memset(memory, 0x7b, SHARED_FLOATS * 4);       // poison
        memories.push_back(memory);
    }
    for (int i = 0; i < 2; i++) exchanged[i].assign(n, 0), operands[i].assign(n, {});
    u8 *stacks = (u8 *)mmap(nullptr, n * stack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) return 0;
    for (int i = 0; i < n; i++) {
        void **top = (void **)(stacks + (i + 1) * stack - 64);
        *--top = nullptr;                              // where body() would return to; keeps the stack aligned
        *--top = (void *)body;
        top -= 6;
        fibers[i] = {top, i / THREADS, i % THREADS};
        if (i) ready.push_back(i);
    }
    the_call = call, alive = n, current = 0, ticks = 0;
    switch_fiber(&main_stack, fibers[0].stack_pointer);
    munmap(stacks, n * stack);
    for (u8 *memory : memories) free(memory);
#ifdef PATIENCE
    if (*call->fault) return 0;
#endif
    return alive == 0;
}
// From now on, threads take turns at random, and sends and copies arrive late. 0 brings back the order.
extern "C" void disorder(unsigned long long seed) { disordered = seed * 0x9e3779b97f4a7c15ull; }
extern "C" int call_size() { return sizeof(Call); }
#ifdef PATIENCE
extern "C" int op_size() { return OP; }
#endif
