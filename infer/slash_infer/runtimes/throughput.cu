// Many clips at once: a step of the top tier is a row of launches, each of which takes all clips one stage further.
//
// Products with frame tiers' weights spread over the whole GPU. The sample tier then draws the samples of a step of the
// lowest tier without leaving its block: a block has a few clips of its own, and nobody to wait for. Weights come from the
// second-level cache, where all blocks find them.
//
// Whatever is added up is added up in the order of cluster.cu, so that a clip is the same, to the last bit, in both kernels.
//
// The host captures a step's launches once. Thus where the step is in time is not a parameter of theirs, but in memory.
//
// The host defines the shape of the model, see throughput_plan.py: THREADS, CLIPS (of a block of the sample tier, a multiple of
// 8), PRODUCT_CLIPS (of a warp, in products), WIDTH (padded), LEVELS, LOGITS (LEVELS, padded), HISTORY (of the sample tier; 0
// without one), RING (codes of a clip that a block keeps, a power of two), HIDDEN, TOP_HOP, LOW_HOP, CHAINS (sums that a
// product of the sample tier is the sum of, in cluster.cu one for each warp), ROW_TILES (of a warp, in products), PADDING (of a
// vector in shared memory, so that no banks conflict), UNLIKELY (logit of codes that there are not), SHARED_FLOATS.

#include "common.cuh"

constexpr int COLUMNS = WIDTH / 16, PADDED = WIDTH + PADDING;

enum Kind { GATHER, LAYER, SKIP, ROWS, SAMPLES, ADVANCE, UNIFORMS };

struct Now {                 // what changes from step to step, and from one request to the next
    u32 position, begun;     // samples of each clip so far, less whole periods of what alternates; and since the request
    int count;               // samples of each clip that are asked for
    float floor;             // subtracted from all probabilities before a draw
    const float *uniform;    // [clips][count]
    const float *temperature;  // [clips][count / TOP_HOP]
    int *codes;              // [clips][count]
    float *nll;              // [clips][count]
};

struct Call {
    int kind, clips;
    int at, hop;             // samples since the begin of the top tier's step; of the tier
    int row_tiles;           // of the weights
    int is_gru;
    int recurrent, columns;  // steps of the products: those of a layer's last output, and the others
    int frame, frame_columns;  // of the tier; padded
    int ring;                // codes of a clip that are kept, less 1: all ones
    int stride;              // of `vectors`, in halves
    int to, to_side;         // where in `vectors` outputs go; halves from one side to the other, which steps alternate between
    int out_stride;          // of `above`, `upsampled` or `conditioning`, for each clip
    int count;               // of uniforms, for each clip
    u64 start;               // of these, the number of the first
    Now *now;
    int *tape;               // [clips][ring + 1]: codes
    const float *samples;    // [LEVELS], what frame tiers read for each code
    const u16 *above;        // conditioning by the tier above, halves, [clips][out_stride]
    u16 *vectors;            // of a frame tier, halves, [clips][stride]: inputs, then the outputs of its layers, twice
    const uint4 *weights;    // operands in the order in which they are used: [steps][row tiles][32 lanes]
    const int *order;        // [2 sides][steps]: where each step's vector is; odd where a sum ends
    const float *bias;       // of all rows
    float *h, *c;            // [clips][WIDTH]
    u16 *upsampled;          // conditioning of the tier below, halves
    float *conditioning;     // of the sample tier; or its logits, where there is none
    const u32 *table;        // [HISTORY][LEVELS][WIDTH / 2], two halves each
    const u64 *keys;         // [clips]: seed, clip and candidate
    float *uniform;          // [clips][count]
};

// ---- Products ----

// A warp's tiles of a product.
template <int TILES>
struct Sums {
    float of[ROW_TILES][TILES][4];

    template <typename F>
    DEVICE void each(F &&f) {
        #pragma unroll
        for (int i = 0; i < ROW_TILES; i++)
            #pragma unroll
            for (int j = 0; j < TILES; j++)
                #pragma unroll
                for (int k = 0; k < 4; k++) f(of[i][j][k], i, j, k);
    }
    DEVICE void add(const Sums &other) {
        each([&](float &sum, int i, int j, int k) { sum += other.of[i][j][k]; });
    }
};

DEVICE int row_of(int tile, int k) { return tile * 16 + thread_index() % 32 / 4 + k / 2 * 8; }
DEVICE int clip_of(int tile, int k) { return tile * 8 + thread_index() % 4 * 2 + k % 2; }

template <int TILES>
struct Operands {
    uint4 a[ROW_TILES];
    uint2 b[TILES];

    DEVICE void load(const uint4 *weights, int second, const u16 *vector, int stride) {
        #pragma unroll
        for (int i = 0; i < ROW_TILES; i++) a[i] = read_operand(weights + i * second);
        #pragma unroll
        for (int j = 0; j < TILES; j++) b[j] = *(const uint2 *)(vector + (size_t)j * 8 * stride);
    }
    DEVICE void times(Sums<TILES> &sums) const {
        #pragma unroll
        for (int i = 0; i < ROW_TILES; i++)
            #pragma unroll
            for (int j = 0; j < TILES; j++) multiply(sums.of[i][j], a[i], b[j].x, b[j].y);
    }
};

// Adds the products of `steps` columns of two rows of tiles. `order` says where a step's vector is, and whether a sum ends with
// it. The operands of a group of steps are on the way while those of the group before are multiplied.
template <int TILES, typename Order>
DEVICE void add_products(Sums<TILES> &sums, const uint4 *weights, int rows, int tile, const u16 *vector, int stride, int steps, Order order) {
    constexpr int GROUP = TILES > 2 ? 1 : 2;
    const int lane = thread_index() % 32, second = tile + 1 < rows ? 32 : 0;
    weights += tile * 32 + lane, vector += (size_t)(lane / 4) * stride + lane % 4 * 4;
    Sums<TILES> some = {};
    Operands<TILES> group[GROUP], next[GROUP];
    int entry[GROUP], next_entry[GROUP];
    const auto load = [&](int step) {
        #pragma unroll
        for (int g = 0; g < GROUP; g++) {
            const int there = step + g < steps ? step + g : steps - 1;
            next_entry[g] = order(there);
            next[g].load(weights + (size_t)there * rows * 32, second, vector + (next_entry[g] >> 1), stride);
        }
    };
    load(0);
    #pragma unroll 1
    for (int step = 0; step < steps; step += GROUP) {
        #pragma unroll
        for (int g = 0; g < GROUP; g++) group[g] = next[g], entry[g] = next_entry[g];
        load(step + GROUP);
        #pragma unroll
        for (int g = 0; g < GROUP; g++) {
            if (step + g >= steps) break;
            group[g].times(some);
            if (entry[g] & 1) sums.add(some), some = {};
        }
    }
}

// A product with a frame tier's weights, and what follows it. Each warp has two rows of tiles and the clips of one group.
DEVICE void run_product(const Call &call) {
    constexpr int TILES = PRODUCT_CLIPS / 8;
    const int lane = thread_index() % 32, groups = call.clips / PRODUCT_CLIPS, across = groups > 1 ? 2 : 1, down = WARPS / across;
    const int blocks_down = (call.row_tiles + ROW_TILES * down - 1) / (ROW_TILES * down), warp = thread_index() / 32;
    const int tile = (block_index() % blocks_down * down + warp / across) * ROW_TILES;
    const int group = block_index() / blocks_down * across + warp % across, first_clip = group * PRODUCT_CLIPS;
    if (tile >= call.row_tiles || group >= groups) return;
    const int side = (call.now->position + call.at) / call.hop & 1;
    const int *order = call.order + side * (call.recurrent + call.columns);
    const u16 *vector = call.vectors + (size_t)first_clip * call.stride;
    Sums<TILES> sums = {};
    float *recurrent = (float *)shared() + thread_index();  // of each of this thread's sums, THREADS apart: registers are too few
    if (call.recurrent) {
        add_products(sums, call.weights, call.row_tiles, tile, vector, call.stride, call.recurrent, [&](int step) { return order[step]; });
        sums.each([&](float &sum, int i, int j, int k) { recurrent[((i * TILES + j) * 4 + k) * THREADS] = sum; });
        sums = {};
    }
    order += call.recurrent;
    add_products(sums, call.weights + (size_t)call.recurrent * call.row_tiles * 32, call.row_tiles, tile, vector, call.stride, call.columns,
                 [&](int step) { return order[step]; });
    sums.each([&](float &sum, int i, int j, int k) {
        if (tile + i >= call.row_tiles) return;
        const int row = row_of(tile + i, k), clip = first_clip + clip_of(j, k);
        u16 *to = call.vectors + (size_t)clip * call.stride + call.to + side * call.to_side;
        sum += call.bias[row];
        if (call.kind == LAYER) {
            const size_t at = (size_t)clip * WIDTH + row / 4;
            const Unit next = step_unit<4>(call.is_gru, lane, sum, recurrent[((i * TILES + j) * 4 + k) * THREADS], {call.h[at], call.c[at]});
            warp_sync();
            if (row % 4) return;
            call.h[at] = next.h, call.c[at] = next.c;
            to[row / 4] = half_of(next.h);
        } else if (call.kind == SKIP) to[row] = half_of(sum);
        else if (call.upsampled) call.upsampled[(size_t)clip * call.out_stride + row] = half_of(sum);
        else call.conditioning[(size_t)clip * call.out_stride + row] = sum;
    });
}

// Makes the inputs of a frame tier for one clip: its last codes as samples, and the conditioning by the tier above.
DEVICE void gather(const Call &call) {
    const int clip = block_index(), position = call.now->position + call.at;
    u16 *to = call.vectors + (size_t)clip * call.stride;
    for (int i = thread_index(); i < call.frame; i += THREADS)
        to[i] = half_of(call.samples[call.tape[(size_t)clip * (call.ring + 1) + (position - call.frame + i & call.ring)]]);
    if (!call.above) return;
    for (int i = thread_index(); i < WIDTH; i += THREADS) to[call.frame_columns + i] = call.above[(size_t)clip * call.out_stride + i];
}

// Makes the uniforms of one clip: words of Philox4x64-10 (Salmon et al. 2011), those of a candidate 2^64 after those of the last.
DEVICE void make_uniforms(const Call &call) {
    const int clip = block_index();
    const u64 *keys = call.keys + clip * 3, end = call.start + call.count;
    float *to = call.uniform + (size_t)clip * call.count;
    for (u64 counter = call.start / 4 + thread_index(); counter * 4 < end; counter += THREADS) {
        u64 x[4] = {counter + 1 + (keys[2] << 62), keys[2] >> 2, 0, 0}, seed = keys[0], stream = keys[1];  // numpy counts from 1
        #pragma unroll
        for (int round = 0; round < 10; round++) {
            const u64 a = 0xD2E7470EE14C6C93ull, b = 0xCA5A826395121157ull;
            const u64 high_a = high_product(a, x[0]), high_b = high_product(b, x[2]), low_a = a * x[0], low_b = b * x[2];
            x[0] = high_b ^ x[1] ^ seed, x[1] = low_b, x[2] = high_a ^ x[3] ^ stream, x[3] = low_a;
            seed += 0x9E3779B97F4A7C15ull, stream += 0xBB67AE8584CAA73Bull;
        }
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            const u64 number = counter * 4 + i;
            if (number >= call.start && number < end) to[number - call.start] = ((int)(x[i] >> 42) + 0.5f) * (1.0f / (1 << 22));
        }
    }
}

// ---- Sample tier ----

struct SampleShared {
    float logits[CLIPS][LOGITS];
#if HISTORY > 0
    int codes[CLIPS][RING];
    u16 x[2][CLIPS][PADDED];  // inputs and outputs of the hidden layers
#endif
};

static_assert(sizeof(SampleShared) <= SHARED_FLOATS * 4, "shared memory");

#if HISTORY > 0

constexpr int OLDER = HISTORY - 1;  // codes whose table rows cluster.cu adds up a sample before

DEVICE void add_row(const Call &call, const int *codes, int t, int position, int unit, float *sums) {
    const int code = codes[(t + position) % RING];
    const uint2 row = read_table(call.table + (size_t)(position * LEVELS + code) * (WIDTH / 2) + unit / 2);
    sums[0] += low_of(row.x), sums[1] += high_of(row.x), sums[2] += low_of(row.y), sums[3] += high_of(row.y);
}

// Adds up table rows as a tree of sixteen leaves, as the lanes of cluster.cu do.
template <int FIRST, int COUNT>
DEVICE void add_rows(const Call &call, const int *codes, int t, int unit, const float *given, float *sums) {
    if constexpr (COUNT > 1) {
        float others[4] = {};
        add_rows<FIRST, COUNT / 2>(call, codes, t, unit, given, sums);
        add_rows<FIRST + COUNT / 2, COUNT / 2>(call, codes, t, unit, given, others);
        #pragma unroll
        for (int i = 0; i < 4; i++) sums[i] += others[i];
    } else {
        #pragma unroll
        for (int i = 0; i < 4; i++)
            if (FIRST == OLDER % 16) sums[i] = given[i];
        #pragma unroll
        for (int position = FIRST; position < OLDER; position += 16) add_row(call, codes, t, position, unit, sums);
    }
}

// Four units at a time of the first hidden layer's inputs.
DEVICE void make_inputs(const Call &call, SampleShared &s, int first_clip, int t) {
    #pragma unroll 1
    for (int i = thread_index(); i < CLIPS * WIDTH / 4; i += THREADS) {
        const int clip = i / (WIDTH / 4), unit = i % (WIDTH / 4) * 4;
        const float *from = call.conditioning + (size_t)(first_clip + clip) * call.out_stride + t * WIDTH + unit;
        const uint4 bits = *(const uint4 *)from;
        const float conditioning[4] = {float_of(bits.x), float_of(bits.y), float_of(bits.z), float_of(bits.w)}, none[4] = {};
        float x[4] = {};
        add_rows<0, 16>(call, s.codes[clip], t, unit, t ? conditioning : none, x);
        #pragma unroll
        for (int k = 0; k < 4; k++)
            if (!t) x[k] += conditioning[k];  // cluster.cu has it late
        add_row(call, s.codes[clip], t, OLDER, unit, x);
        *(uint2 *)&s.x[0][clip][unit] = {pair_of(larger(x[0], 0.0f), larger(x[1], 0.0f)), pair_of(larger(x[2], 0.0f), larger(x[3], 0.0f))};
    }
}

// A layer of the sample tier: f takes each of its sums.
template <typename F>
DEVICE void run_layer(const uint4 *weights, const float *bias, int rows, const u16 (&x)[CLIPS][PADDED], F &&f) {
    constexpr int ACROSS = COLUMNS / CHAINS;
    #pragma unroll 1
    for (int tile = thread_index() / 32 * ROW_TILES; tile < rows; tile += WARPS * ROW_TILES) {
        Sums<CLIPS / 8> sums;
        sums.each([&](float &sum, int i, int, int k) { sum = tile + i < rows ? bias[row_of(tile + i, k)] : 0.0f; });
        add_products(sums, weights, rows, tile, x[0], PADDED, COLUMNS, [](int step) { return step * 32 | ((step + 1) % ACROSS == 0); });
        sums.each([&](float &sum, int i, int j, int k) {
            if (tile + i < rows) f(sum, row_of(tile + i, k), clip_of(j, k));
        });
    }
}

DEVICE void make_logits(const Call &call, SampleShared &s, int first_clip, int t) {
    const uint4 *weights = call.weights;
    make_inputs(call, s, first_clip, t);
    block_sync();
    #pragma unroll 1
    for (int layer = 0; layer < HIDDEN; layer++) {
        u16 (&to)[CLIPS][PADDED] = s.x[(layer + 1) % 2];
        run_layer(weights, call.bias + layer * WIDTH, COLUMNS, s.x[layer % 2],
                  [&](float sum, int row, int clip) { to[clip][row] = half_of(larger(sum, 0.0f)); });
        weights += COLUMNS * COLUMNS * 32;
        block_sync();
    }
    run_layer(weights, call.bias + HIDDEN * WIDTH, LOGITS / 16, s.x[HIDDEN % 2],
              [&](float sum, int row, int clip) { s.logits[clip][row] = sum; });
    block_sync();
}

#else

// Without a sample tier the lowest frame tier gives the logits.
DEVICE void make_logits(const Call &call, SampleShared &s, int first_clip, int t) {
    for (int i = thread_index(); i < CLIPS * LOGITS; i += THREADS) {
        const int clip = i / LOGITS, row = i % LOGITS;
        s.logits[clip][row] = row < LEVELS ? call.conditioning[(size_t)(first_clip + clip) * call.out_stride + t * LOGITS + row] : UNLIKELY;
    }
    block_sync();
}

#endif

// Draws the samples of a step of the lowest tier, for the clips of this block; each is drawn by one warp.
DEVICE void draw_samples(const Call &call) {
    SampleShared &s = *(SampleShared *)shared();
    const int first_clip = block_index() * CLIPS, lane = thread_index() % 32;
    const Now now = *call.now;
    const u32 position = now.position + call.at, begun = now.begun + call.at;
#if HISTORY > 0
    for (int i = thread_index(); i < CLIPS * HISTORY; i += THREADS) {
        const int clip = i / HISTORY, j = i % HISTORY;
        s.codes[clip][j] = call.tape[(size_t)(first_clip + clip) * (call.ring + 1) + (position - HISTORY + j & call.ring)];
    }
    block_sync();
#endif
    #pragma unroll 1
    for (int t = 0; t < LOW_HOP; t++) {
        make_logits(call, s, first_clip, t);
        #pragma unroll 1
        for (int clip = thread_index() / 32; clip < CLIPS; clip += WARPS) {
            const size_t row = first_clip + clip, at = row * now.count + begun + t;
            const float scale = LOG2_E / now.temperature[row * (now.count / TOP_HOP) + begun / TOP_HOP];
            const Drawn drawn = draw(s.logits[clip], scale, now.floor, now.uniform[at]);
            if (lane) continue;
#if HISTORY > 0
            s.codes[clip][(t + HISTORY) % RING] = drawn.code;
#endif
            call.tape[row * (call.ring + 1) + (position + t & call.ring)] = drawn.code;
            now.codes[at] = drawn.code, now.nll[at] = drawn.nll(scale);
        }
        block_sync();
    }
}

KERNEL(2) void generate(const GRID_CONSTANT Call call) {
    if (call.kind == GATHER) gather(call);
    else if (call.kind == SAMPLES) draw_samples(call);
    else if (call.kind == UNIFORMS) make_uniforms(call);
    else if (call.kind == ADVANCE) {
        if (thread_index() == 0) call.now->position += TOP_HOP, call.now->begun += TOP_HOP;
    } else run_product(call);
}
