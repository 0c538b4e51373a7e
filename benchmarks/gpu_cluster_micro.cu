// What the cluster kernel's design rests on, each in a loop of its own. gpu_cluster.py compiles this after device.cuh.

struct Args { u64 *out; u64 *words; uint4 *big; long long bytes; int which; int rounds; };
struct S { u64 bar[2]; alignas(16) uint4 data[256]; u16 x[2048]; float f[1024]; };
extern "C" __global__ __launch_bounds__(512, 1) void micro(const __grid_constant__ Args a) {
    S &s = *(S *)dynamic_shared;
    const int rank = cluster_rank(), tid = threadIdx.x, lane = tid % 32;
    long long begun = 0, ended = 0;
    float sink = 0;
    for (int i = tid; i < 2048; i += 512) s.x[i] = 0;
    if (tid == 0) { begin_barrier(&s.bar[0]); begin_barrier(&s.bar[1]); fence_barriers(); }
    cluster_sync();
    if (a.which == 0) {  // barrier of a block
        begun = clock64(); for (int i = 0; i < a.rounds; i++) __syncthreads(); ended = clock64();
    } else if (a.which == 1) {  // barrier of the cluster
        begun = clock64(); for (int i = 0; i < a.rounds; i++) cluster_sync(); ended = clock64();
    } else if (a.which == 2 || a.which == 3) {  // exchange of 64 or 128 bytes a block: sends by one or two warps, all wait
        const int packs = a.which == 2 ? 4 : 8; u32 size; asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
        if (tid == 0) expect(&s.bar[0], packs * 16 * size);
        cluster_sync();
        begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            if (tid < packs * 8) for (int j = lane; j < 4 * size; j += 32) send(&s.data[rank * 8 + j % 4 + tid / 32 * 4], j / 4, s.data[255], &s.bar[0]);
            const long long now = clock64();
            while (!try_barrier(&s.bar[0], i & 1)) if (clock64() - now > 1000000000ll) __trap();
            if (tid == 0) expect(&s.bar[0], packs * 16 * size);
            __syncthreads();
        }
        ended = clock64();
        cluster_sync();
    } else if (a.which == 4) {  // exchange of 512 words between all blocks through global memory
        const int count = gridDim.x, mine = blockIdx.x;
        begun = clock64();
        for (int i = 1; i <= a.rounds; i++) {
            for (int j = mine + tid * count; j < 512; j += 512 * count) write_word(a.words + (i & 1) * 512 + j, (u64)i << 32 | j);
            const long long now = clock64();
            while ((u32)(read_word(a.words + (i & 1) * 512 + tid) >> 32) != i) if (clock64() - now > 1000000000ll) __trap();
            __syncthreads();
        }
        ended = clock64();
    } else if (a.which == 5) {  // dependent loads from the second-level cache, of 2 MB
        if (tid == 0) { u64 at = 0; begun = clock64();
            for (int i = 0; i < a.rounds; i++) { u64 v; asm volatile("ld.global.cg.u64 %0, [%1];" : "=l"(v) : "l"((const u64 *)a.big + (at * 97 + 64 * i) % 262144)); at = v & 1; }
            ended = clock64(); sink += at; }
    } else if (a.which == 6) {  // a chain of dependent matrix products
        float c[4] = {}; uint4 w = {0, 0, 0, 0}; begun = clock64();
        for (int i = 0; i < a.rounds; i++) multiply(c, w, 0, 0);
        ended = clock64(); sink += c[0];
    } else if (a.which == 7) {  // 16 products, in 4 chains, by each of 16 warps, with their vector from shared memory
        float c[4][4] = {}; uint4 w = {(u32)tid, 0, 0, 0}; begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            #pragma unroll
            for (int k = 0; k < 4; k++) { uint2 b = {0, 0}; if (lane < 4) b = *(uint2 *)&s.x[((tid / 32) * 4 + k) * 16 + lane * 4];
                #pragma unroll
                for (int j = 0; j < 4; j++) multiply(c[j], w, b.x, b.y); }
            __syncthreads();
        }
        ended = clock64(); for (int j = 0; j < 4; j++) sink += c[j][0];
    } else if (a.which == 8) {  // all blocks stream weights
        const long long per = a.bytes / 16 / gridDim.x; const uint4 *from = a.big + per * blockIdx.x; u32 x = 0;
        begun = clock64();
        for (int r = 0; r < a.rounds; r++)
            for (long long i = tid; i + 512 * 7 < per; i += 512 * 8) {
                uint4 v[8];
                #pragma unroll
                for (int j = 0; j < 8; j++) v[j] = stream(from + i + 512 * j);
                #pragma unroll
                for (int j = 0; j < 8; j++) x ^= v[j].x ^ v[j].w;
            }
        ended = clock64(); sink += x == 12345;
    } else if (a.which == 10) {  // a warp's scan and reductions as in a draw
        float v = lane; begun = clock64();
        for (int i = 0; i < a.rounds; i++) { v = warp_max(v); for (int m = 1; m < 32; m *= 2) { float o = lane_of(v, lane - m); if (lane >= m) v += o; } v = warp_min((int)v) & 3; }
        ended = clock64(); sink += v;
    } else if (a.which == 11) {  // one round trip of a word between two blocks of different clusters
        const int other = gridDim.x / 2; begun = clock64();
        if (tid == 0 && (blockIdx.x == 0 || blockIdx.x == other))
            for (int i = 1; i <= a.rounds; i++) {
                const long long now = clock64();
                if (blockIdx.x == 0) { write_word(a.words, i); while (read_word(a.words + 64) != i) if (clock64() - now > 1000000000ll) __trap(); }
                else { while (read_word(a.words) != i) if (clock64() - now > 1000000000ll) __trap(); write_word(a.words + 64, i); }
            }
        ended = clock64();
    } else if (a.which == 12) {  // dependent loads of 8 bytes a lane from another block's shared memory, by 8 warps of every block
        if (tid < 256) {
            u32 at = 0; begun = clock64();
            for (int i = 0; i < a.rounds; i++) { const uint2 v = read_near(&s.x[lane % 16 * 4 + at], (tid / 32 * 2 + lane / 16 + i) % 16); at = v.x & v.y & 4; }
            ended = clock64(); sink += at;
        }
    } else if (a.which == 13) {  // the same exchange by 8 warps, 128 bytes to each of two blocks
        if (tid == 0) expect(&s.bar[0], 128 * 16);
        cluster_sync();
        begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            if (tid < 256 && lane < 16) send(&s.data[rank * 8 + lane % 8], tid / 32 * 2 + lane / 8, s.data[255], &s.bar[0]);
            const long long now = clock64();
            while (!try_barrier(&s.bar[0], i & 1)) if (clock64() - now > 1000000000ll) __trap();
            if (tid == 0) expect(&s.bar[0], 128 * 16);
            __syncthreads();
        }
        ended = clock64();
        cluster_sync();
    } else if (a.which >= 15 && a.which <= 17) {  // the same exchange, and eight words of a warp that are read as it is under way
        if (tid == 0) expect(&s.bar[0], 128 * 16);
        cluster_sync();
        begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            if (tid < 256 && lane < 16) send(&s.data[rank * 8 + lane % 8], tid / 32 * 2 + lane / 8, s.data[255], &s.bar[0]);
            const u64 *from = a.words + rank * 64 + tid / 32 * 8 + lane % 2 * 4;
            Words found = {};
            if (tid < 256 && lane < 2) {
                if (a.which == 15) found = read_words(from);
                else if (a.which == 16) found = glance(from);
                else copy_near(&s.x[tid / 32 * 16 + lane * 8], from), await_copies(), found.first = s.x[tid / 32 * 16 + lane * 8];
            }
            sink += (float)(u32)(found.first ^ found.second);
            const long long now = clock64();
            while (!try_barrier(&s.bar[0], i & 1)) if (clock64() - now > 1000000000ll) __trap();
            if (tid == 0) expect(&s.bar[0], 128 * 16);
            __syncthreads();
        }
        ended = clock64();
        cluster_sync();
    } else if (a.which == 18) {  // words of a warp that another cluster writes all the time
        begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            if (blockIdx.x >= 16) { if (tid < 64) write_word(a.words + rank * 64 + tid, i); }
            else if (tid < 256 && lane < 2) sink += (float)(u32)read_words(a.words + rank * 64 + tid / 32 * 8 + lane * 4).first;
            __syncthreads();
        }
        ended = clock64();
    } else if (a.which == 14) {  // dependent loads of a warp of 8 bytes a lane from the second-level cache, by 8 warps of every block
        if (tid < 256) {
            u32 at = 0; begun = clock64();
            for (int i = 0; i < a.rounds; i++) { const uint2 v = read_table((const u32 *)a.big + (i * 37 % 256) * 512 + tid * 2 + at); at = v.x & v.y & 4; }
            ended = clock64(); sink += at;
        }
    }
    s.f[tid] = sink;
    if (tid == 0 && blockIdx.x == 0) { a.out[0] = ended - begun; a.out[1] = s.f[0] > 1e30f; }
    cluster_sync();
}
