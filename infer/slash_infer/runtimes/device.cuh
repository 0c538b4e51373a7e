// What the kernels need of the device, in PTX: no header of CUDA is at hand where only NVRTC is installed.

#define KERNEL(BLOCKS) extern "C" __global__ __launch_bounds__(THREADS, BLOCKS)  // that a processor should hold
#define GRID_CONSTANT __grid_constant__

extern __shared__ uint4 dynamic_shared[];

DEVICE u8 *shared() { return (u8 *)dynamic_shared; }
DEVICE int thread_index() { return threadIdx.x; }
DEVICE int afresh(int value) { asm volatile("" : "+r"(value)); return value; }  // as if just computed
DEVICE int block_index() { return blockIdx.x; }
DEVICE int cluster_rank() { int rank; asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank)); return rank; }
DEVICE long long clock_now() { return clock64(); }
DEVICE void pause_() {}
DEVICE void block_sync() { __syncthreads(); }
DEVICE void warp_sync() { __syncwarp(); }
DEVICE void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

DEVICE float lane_of(float value, int lane) { return __shfl_sync(0xffffffff, value, lane); }
DEVICE float across(float value, int mask) { return __shfl_xor_sync(0xffffffff, value, mask); }
DEVICE u32 bits_of_lane(u32 value, int lane) { return __shfl_sync(0xffffffff, value, lane); }
DEVICE int warp_min(int value) { return __reduce_min_sync(0xffffffff, value); }
DEVICE float warp_max(float value) {  // as integers in the same order
    const int bits = __float_as_int(value), most = __reduce_max_sync(0xffffffff, bits ^ (bits >> 31 & 0x7fffffff));
    return __int_as_float(most ^ (most >> 31 & 0x7fffffff));
}

DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 bits_of(float value) { return __float_as_uint(value); }
DEVICE u32 pair_of(float low, float high) { u32 both; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low)); return both; }
DEVICE u16 half_of(float value) { u16 half; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value)); return half; }
DEVICE float from_half(u16 half) { float value; asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half)); return value; }
DEVICE float low_of(u32 both) { return from_half((u16)both); }
DEVICE float high_of(u32 both) { return from_half((u16)(both >> 16)); }
DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }  // a b + c, rounded once
DEVICE u64 high_product(u64 a, u64 b) { return __umul64hi(a, b); }
DEVICE float larger(float a, float b) { return fmaxf(a, b); }
DEVICE float exp2_(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
DEVICE float reciprocal(float x) { float y; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
DEVICE float log2_(float x) { float y; asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }

// sums += a b: a of 16 rows and 16 columns, b of 16 rows and 8 columns, each spread over the lanes of a warp.
DEVICE void multiply(float (&sums)[4], const uint4 &a, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// ---- Global memory ----

// What is read once a step stays out of the first-level cache, and makes way in the second.
DEVICE uint4 stream(const uint4 *from) {
    uint4 value;
    u64 first_to_go;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(first_to_go));
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "l"(from), "l"(first_to_go));
    return value;
}
DEVICE uint2 read_table(const u32 *from) {
    uint2 value;
    asm volatile("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "l"(from));
    return value;
}
DEVICE uint4 read_operand(const uint4 *from) {
    uint4 value;
    asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "l"(from));
    return value;
}
DEVICE uint4 read_shared(const uint4 *from) {
    uint4 value;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "r"((u32)__cvta_generic_to_shared(from)));
    return value;
}
DEVICE u64 read_word(const u64 *from) {
    u64 word;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(from) : "memory");
    return word;
}
struct Words { u64 first, second; };
DEVICE Words read_words(const u64 *from) {
    Words words;
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(words.first), "=l"(words.second) : "l"(from) : "memory");
    return words;
}
// The same without a promise to see the latest: who finds an old tag asks again.
DEVICE Words glance(const u64 *from) {
    Words words;
    asm volatile("ld.global.L1::no_allocate.v2.u64 {%0, %1}, [%2];" : "=l"(words.first), "=l"(words.second) : "l"(from) : "memory");
    return words;
}
DEVICE void write_word(u64 *to, u64 word) { asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" :: "l"(to), "l"(word) : "memory"); }
DEVICE bool claim(u32 *flag) { return atomicCAS(flag, 0u, 1u) == 0; }
DEVICE bool is_claimed(const u32 *flag) { return *(const volatile u32 *)flag != 0; }

// ---- Shared memory of the cluster ----

DEVICE u32 address_of(const void *local) { return (u32)__cvta_generic_to_shared(local); }
DEVICE u32 address_at(const void *local, int rank) {  // of the same place in another block
    u32 there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address_of(local)), "r"(rank));
    return there;
}
// Copies 16 bytes from global memory to this block, past the first-level cache.
DEVICE void copy_near(void *to, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(address_of(to)), "l"(from) : "memory");
}
DEVICE void await_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }  // of this thread
// A send writes to a block of the cluster, and counts towards the bytes that its barrier expects.
DEVICE void send(void *to, int rank, const uint4 &value, u64 *barrier) {
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];"
                 :: "r"(address_at(to, rank)), "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w), "r"(address_at(barrier, rank))
                 : "memory");
}
DEVICE uint2 read_near(const void *local, int rank) {
    uint2 value;
    asm volatile("ld.shared::cluster.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "r"(address_at(local, rank)));
    return value;
}
DEVICE void begin_barrier(u64 *barrier) { asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(address_of(barrier)) : "memory"); }
DEVICE void fence_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void expect(u64 *barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(address_of(barrier)), "r"(bytes) : "memory");
}
// What is sent arrives in this block's own shared memory, which no cache stands before: nothing wider than .cta to acquire.
DEVICE bool try_barrier(u64 *barrier, u32 parity) {
    u32 done;
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done) : "r"(address_of(barrier)), "r"(parity) : "memory");
    return done;
}
