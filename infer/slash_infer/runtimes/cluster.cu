// One launch generates a block of audio: a resident kernel for compute capability 9.0 and later.
//
// The first cluster of the grid is the sample tier. Its blocks hold the hidden and the output layer in registers, as
// operands of the matrix units, and hand their share of every layer to each other through distributed shared memory:
// two exchanges a sample. All of its blocks draw the same code, and thus need no third.
//
// The blocks of all other clusters are the frame tiers. Each runs a program that the host wrote for it: products of its
// rows of a weight with a vector, and what follows them. Weights on the way from the last code of a frame to the
// next sample stay in shared memory as far as they fit; the others are read while samples are drawn.
//
// Blocks of different clusters talk through words in global memory: 32 bits of value and 32 bits of tag, written and read
// in one access, so that whoever waits for a word's tag has its value, too. A tag is the number of the tier's step in this
// launch, from 1. Words alternate between two places by the parity of the step: a step's words are overwritten two
// steps later, when every reader has contributed to the step between. The host clears all words before a launch.
//
// The host defines the shape of the model, see cluster_plan.py: CLIPS, THREADS, CLUSTER, WIDTH (padded), LEVELS, LOGITS
// (LEVELS, padded), HISTORY (0 without a sample tier), HIDDEN, TOP_FRAME, TOP_HOP, LOW_HOP, MAX_TIERS, PATIENCE.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef HOST
#define DEVICE __device__ __forceinline__
#define FUNCTION __device__ __noinline__
#include "cluster_device.cuh"
#endif

constexpr int WARPS = THREADS / 32;

struct Tier {
    int steps;               // in a step of the top tier
    int hop, frame, layers;
    int is_gru, has_above;
    int frame_columns;       // frame, padded
    int x, x_stride;         // in shared memory: frame values and conditioning, [CLIPS][frame_columns + WIDTH]; halves
    int h, h_stride;         // outputs of the layers, then of the skip connections, [CLIPS][layers + 1][WIDTH]; halves
    int h_mail;              // [layers + 1][2][CLIPS][WIDTH / 2] words
    int above_mail;          // conditioning by the tier above: [2][CLIPS][above_rows][WIDTH] words
    int above_rows;
    int state;               // in `states`: h of [layers][CLIPS][WIDTH], then c
};

struct Call {
    const uint4 *fragments;  // of the sample tier: [CLUSTER][tiles][THREADS]
    const float *biases;     // of the sample tier: [HIDDEN][WIDTH], [LOGITS]
    const u32 *table;        // [HISTORY][LEVELS][WIDTH / 2], two halves each
    const u8 *weights;       // of the frame tiers: weights and biases of every block's program
    const int *programs;     // [frame blocks][OPS][OP]
    u64 *mail;
    u64 *tape;               // [CLIPS][TOP_FRAME + samples]: codes, with tag 1 where known
    float *states;
    const float *uniform;    // [CLIPS][samples]
    const float *temperature;  // [CLIPS][steps]
    float *nll;              // [CLIPS][samples]
    u32 *fault;              // on the device: whether a thread gave up
    volatile u32 *report;    // on the host: where it did
    u64 *profile;
    int steps;               // of the top tier
    int flags;
    int first_op, step_op, last_op, end_op;  // of a program: begin of what runs once, of what runs every step, ...
    int conditioning;        // of the sample tier: [2][CLIPS][LOW_HOP][WIDTH] words in `mail`
    int fetched_last;        // mask: the last output of the lowest tier
    Tier tiers[MAX_TIERS];
};

enum { ALONE = 1, GIVEN = 2, NO_FRAMES = 4 };  // flags: conditioning is not waited for; all codes are given; no frame tiers

// ---- Words between clusters ----

DEVICE u64 word_of(u32 value, u32 tag) { return (u64)tag << 32 | value; }

enum Place { AT_FRAME_CODES = 1, AT_FRAME_CONDITIONING, AT_HIDDEN, AT_CONDITIONING, AT_FIRST_CONDITIONING, AT_LOGITS_ROW,
             AT_EXCHANGE_HIDDEN, AT_EXCHANGE_LOGITS, AT_EXCHANGE_ROWS };

DEVICE void give_up(const Call &call, u32 place, u32 expected, u32 seen) {
    if (claim(call.fault)) {
        call.report[1] = block_index(), call.report[2] = thread_index(), call.report[3] = expected, call.report[4] = seen;
        call.report[0] = place;
        stop();
    }
}

DEVICE u32 await(const Call &call, const u64 *word, u32 tag, Place place) {
    u64 found = read_word(word);
    if ((u32)(found >> 32) != tag) {
        const long long begun = clock_now();
        do {
            pause_();
            found = read_word(word);
            if (clock_now() - begun > PATIENCE) give_up(call, place, tag, (u32)(found >> 32));
        } while ((u32)(found >> 32) != tag);
    }
    return (u32)found;
}

DEVICE void await_barrier(const Call &call, u64 *barrier, u32 parity, Place place) {
    if (try_barrier(barrier, parity)) return;
    const long long begun = clock_now();
    while (!try_barrier(barrier, parity)) {
        pause_();
        if (clock_now() - begun > PATIENCE) give_up(call, place, parity, 0);
    }
}

#ifdef PROFILE
#define STAMP(slot) do { const long long now = clock_now(); if (watched) s.stamps[slot] += now - stamp; stamp = now; } while (0)
#else
#define STAMP(slot)
#endif

// ---- Frame tiers ----

enum Kind { COPY, STATE_IN, STATE_OUT, RECUR, LAYER, ROWS, MIX };

struct Op {
    int kind, tier, step;    // step of the tier within the top tier's
    int fetch;               // mask: 1 codes, 2 conditioning, 4 << l output of layer l
    int tiles;               // of 16 rows
    int vector_a, stride_a, columns_a, weights_a, resident_a;  // columns in tiles of 16; weights in units of 16 bytes
    int vector_b, stride_b, columns_b, weights_b, resident_b;
    int bias, recurrent, state;  // in shared memory, in floats
    int mail, mail_stride, tile_stride, rows;  // first word, words between parities, and between a clip's tiles
    int layer, unit;         // first unit of the tiles
};
constexpr int OP = sizeof(Op) / sizeof(int), MAX_TILES = 4, ROWS_AT_ONCE = MAX_TILES * 16;

struct FrameShared {  // what follows it in shared memory, the host lays out
    float partial[2][WARPS][ROWS_AT_ONCE][CLIPS];
    Op ops[STEP_OPS];
};

DEVICE float logistic(float x) { return 1.0f / (1.0f + exp2_(-1.4426950408889634f * x)); }
DEVICE float tanh_(float x) { return 2.0f * logistic(2.0f * x) - 1.0f; }

// Adds DEPTH columns of tiles, WARPS apart, to `sums`. All are read before the first is used.
template <int TILES, int DEPTH, bool RESIDENT>
DEVICE void columns_of(float (&sums)[TILES][4], const uint4 *weights, const u16 *vector, int first) {
    uint4 a[DEPTH][TILES];
    #pragma unroll
    for (int i = 0; i < DEPTH; i++) {
        #pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            const uint4 *from = weights + ((first + i * WARPS) * TILES + tile) * 32;
            a[i][tile] = RESIDENT ? read_shared(from) : stream(from);
        }
    }
    #pragma unroll
    for (int i = 0; i < DEPTH; i++) {
        uint2 b = {0, 0};
        if (thread_index() % 32 / 4 < CLIPS) b = *(const uint2 *)(vector + (first + i * WARPS) * 16);
        #pragma unroll
        for (int tile = 0; tile < TILES; tile++) multiply(sums[tile], a[i][tile], b.x, b.y);
    }
}

// Adds the product of tiles of rows and a vector to `sums`, of this warp's share of the columns.
template <int TILES, bool RESIDENT>
DEVICE void product(float (&sums)[TILES][4], const uint4 *weights, int columns, const u16 *vector, int stride) {
    constexpr int DEPTH = 4;
    const int lane = thread_index() % 32;
    int column = thread_index() / 32;
    weights += lane;
    vector += lane / 4 * stride + lane % 4 * 4;
    #pragma unroll 1
    for (; column + (DEPTH - 1) * WARPS < columns; column += DEPTH * WARPS) columns_of<TILES, DEPTH, RESIDENT>(sums, weights, vector, column);
    #pragma unroll 1
    for (; column < columns; column += WARPS) columns_of<TILES, 1, RESIDENT>(sums, weights, vector, column);
}

template <int TILES>
FUNCTION void products(const Call &call, const Op &op, float (*partial)[CLIPS]) {
    float sums[TILES][4] = {};
    const u16 *halves = (const u16 *)shared();
    const uint4 *local = (const uint4 *)shared(), *global = (const uint4 *)call.weights;
    if (op.resident_a) product<TILES, true>(sums, local + op.weights_a, op.columns_a, halves + op.vector_a, op.stride_a);
    else product<TILES, false>(sums, global + op.weights_a, op.columns_a, halves + op.vector_a, op.stride_a);
    if (op.columns_b) {
        if (op.resident_b) product<TILES, true>(sums, local + op.weights_b, op.columns_b, halves + op.vector_b, op.stride_b);
        else product<TILES, false>(sums, global + op.weights_b, op.columns_b, halves + op.vector_b, op.stride_b);
    }
    const int lane = thread_index() % 32, row = lane / 4, clip = lane % 4 * 2;
    #pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        #pragma unroll
        for (int i = 0; i < 4; i++)
            if (clip + i % 2 < CLIPS) partial[tile * 16 + row + i / 2 * 8][clip + i % 2] = sums[tile][i];
    }
}

// Waits for what a step reads, and puts it into shared memory.
DEVICE void fetch(const Call &call, const Tier &tier, int mask, int step) {
    u16 *halves = (u16 *)shared();
    if (mask & 1) {
        const int samples = TOP_FRAME + call.steps * TOP_HOP, first = TOP_FRAME + step * tier.hop - tier.frame;
        for (int i = thread_index(); i < CLIPS * tier.frame; i += THREADS) {
            const int clip = i / tier.frame, j = i % tier.frame;
            const u32 code = await(call, call.tape + clip * samples + first + j, 1, AT_FRAME_CODES);
            halves[tier.x + clip * tier.x_stride + j] = half_of(4.0f / (LEVELS - 1) * (float)code - 2.0f);
        }
    }
    if (mask & 2) {
        const int row = step % tier.above_rows, above = step / tier.above_rows;
        const u64 *from = call.mail + tier.above_mail + (above & 1) * CLIPS * tier.above_rows * WIDTH;
        #pragma unroll 1
        for (int i = thread_index(); i < CLIPS * WIDTH; i += THREADS) {
            const int clip = i / WIDTH, d = i % WIDTH;
            const u32 value = await(call, from + (clip * tier.above_rows + row) * WIDTH + d, above + 1, AT_FRAME_CONDITIONING);
            halves[tier.x + clip * tier.x_stride + tier.frame_columns + d] = half_of(float_of(value));
        }
    }
    #pragma unroll 1
    for (int layer = 0; layer <= tier.layers; layer++) {
        if (!(mask >> layer & 4)) continue;
        const u64 *from = call.mail + tier.h_mail + (layer * 2 + (step & 1)) * CLIPS * (WIDTH / 2);
        #pragma unroll 1
        for (int i = thread_index(); i < CLIPS * (WIDTH / 2); i += THREADS) {
            const int clip = i / (WIDTH / 2), d = i % (WIDTH / 2);
            *(u32 *)(halves + tier.h + clip * tier.h_stride + layer * WIDTH + 2 * d) = await(call, from + i, step + 1, AT_HIDDEN);
        }
    }
    block_sync();
}

// The gates of each unit are four rows: input, forget, cell and output; or reset, update, and the two halves of new.
DEVICE void finish(const Call &call, const Tier &tier, const Op &op, float (*partial)[ROWS_AT_ONCE][CLIPS], int step) {
    float *floats = (float *)shared();
    const int lane = thread_index() % 32, rows = op.tiles * 16, all = rows * CLIPS;
    #pragma unroll 1
    for (int base = thread_index() - lane; base < all; base += THREADS) {
        const bool valid = base + lane < all;
        const int i = valid ? base + lane : 0, clip = i / rows, row = i % rows;
        float sum = 0;
        #pragma unroll
        for (int warp = 0; warp < WARPS; warp++) sum += partial[warp][row][clip];
        if (op.kind == RECUR) {
            if (valid) floats[op.recurrent + i] = sum;
            continue;
        }
        sum += floats[op.bias + row];
        u64 *to = call.mail + op.mail + (step & 1) * op.mail_stride;
        if (op.kind == ROWS) {
            const int at = clip * op.rows + row / 16 * op.tile_stride + row % 16;
            if (valid) write_word(to + at, word_of(bits_of(sum), step + 1));
            continue;
        }
        float h = sum;
        if (op.kind == LAYER) {
            const int gate = lane % 4, unit = row / 4, first = lane - gate;
            float *kept = floats + op.state + (clip * (rows / 4) + unit) * 2;  // h and c
            const float recurrent = floats[op.recurrent + i];
            if (tier.is_gru) {
                const float open = logistic(sum + recurrent);
                const float reset = lane_of(open, first), update = lane_of(open, first + 1);
                const float from_x = lane_of(sum, first + 2), from_h = lane_of(sum + recurrent, first + 3);
                const float fresh = tanh_(from_x + reset * from_h);
                h = fresh + update * (kept[0] - fresh);
            } else {
                const float x = sum + recurrent, s = logistic(gate == 2 ? 2.0f * x : x), open = gate == 2 ? 2.0f * s - 1.0f : s;
                const float input = lane_of(open, first), forget = lane_of(open, first + 1);
                const float cell = lane_of(open, first + 2), output = lane_of(open, first + 3);
                const float c = forget * kept[1] + input * cell;
                h = output * tanh_(c);
                warp_sync();
                if (valid && gate == 0) kept[1] = c;
            }
            warp_sync();
            if (valid && gate == 0) kept[0] = h;
            const float next = lane_of(h, (lane + 4) % 32);
            if (valid && lane % 8 == 0) write_word(to + clip * (WIDTH / 2) + unit / 2, word_of(pair_of(h, next), step + 1));
        } else {  // MIX: rows are outputs
            const float next = lane_of(h, (lane + 1) % 32);
            if (valid && lane % 2 == 0) write_word(to + clip * (WIDTH / 2) + row / 2, word_of(pair_of(h, next), step + 1));
        }
    }
}

DEVICE void run_product(const Call &call, const Op &op, int top_step, int &turn) {
    const Tier &tier = call.tiers[op.tier];
    const int step = top_step * tier.steps + op.step;
    FrameShared &s = *(FrameShared *)shared();
    float(*partial)[ROWS_AT_ONCE][CLIPS] = s.partial[turn & 1];
    turn++;
    float(*mine)[CLIPS] = partial[thread_index() / 32];
    if (op.tiles == 1) products<1>(call, op, mine);
    else if (op.tiles == 2) products<2>(call, op, mine);
    else if (op.tiles == 3) products<3>(call, op, mine);
    else products<4>(call, op, mine);
    block_sync();
    finish(call, tier, op, partial, step);
}

// Moves the state of a layer's units between global memory and this block; a block needs every unit's h at first.
DEVICE void move_state(const Call &call, const Op &op) {
    const Tier &tier = call.tiers[op.tier];
    float *floats = (float *)shared();
    u16 *halves = (u16 *)shared();
    float *h = call.states + tier.state + op.layer * CLIPS * WIDTH, *c = h + tier.layers * CLIPS * WIDTH;
    const int units = op.tiles * 4;
    #pragma unroll 1
    for (int i = thread_index(); i < units * CLIPS; i += THREADS) {
        const int clip = i / units, d = op.unit + i % units;
        float *kept = floats + op.state + i * 2;
        if (op.kind == STATE_IN) kept[0] = h[clip * WIDTH + d], kept[1] = tier.is_gru ? 0.0f : c[clip * WIDTH + d];
        else {
            h[clip * WIDTH + d] = kept[0];
            if (!tier.is_gru) c[clip * WIDTH + d] = kept[1];
        }
    }
    if (op.kind == STATE_IN)
        for (int i = thread_index(); i < CLIPS * WIDTH; i += THREADS)
            halves[tier.h + i / WIDTH * tier.h_stride + op.layer * WIDTH + i % WIDTH] = half_of(h[i]);
}

FUNCTION void run_frame_tiers(const Call &call, int index) {
    FrameShared &s = *(FrameShared *)shared();
    const Op *program = (const Op *)call.programs + index * call.end_op;
    int turn = 0;
    for (int i = sizeof(FrameShared) / 4 + thread_index(); i < SHARED_FLOATS; i += THREADS) ((float *)shared())[i] = 0;
    block_sync();
    for (int i = thread_index(); i < (call.last_op - call.step_op) * OP; i += THREADS)
        ((int *)s.ops)[i] = ((const int *)(program + call.step_op))[i];
    for (int i = 0; i < call.step_op; i++) {
        const Op &op = program[i];
        if (op.kind == COPY && op.tiles)
            for (int j = thread_index(); j < op.tiles; j += THREADS) ((uint4 *)shared())[op.bias + j] = ((const uint4 *)call.weights)[op.weights_a + j];
        else if (op.kind == STATE_IN) move_state(call, op);
        else if (op.kind == RECUR) {
            block_sync();
            run_product(call, op, 0, turn);
        }
    }
    block_sync();
#ifdef PROFILE
    const bool watched = thread_index() == 0 && index == 0;
#endif
    for (int step = 0; step < call.steps; step++) {
        if (call.flags & GIVEN && step) fetch(call, call.tiers[0], call.fetched_last, step * call.tiers[0].steps - 1);
        for (int i = 0; i < call.last_op - call.step_op && s.ops[i].kind != COPY; i++) {
            const Op &op = s.ops[i];
            const Tier &tier = call.tiers[op.tier];
#ifdef PROFILE
            const long long begun = clock_now();
#endif
            if (op.fetch) fetch(call, tier, op.fetch, step * tier.steps + op.step);
#ifdef PROFILE
            const long long fetched = clock_now();
#endif
            run_product(call, op, step, turn);
#ifdef PROFILE
            if (watched) call.profile[32 + 2 * i] += fetched - begun, call.profile[33 + 2 * i] += clock_now() - fetched;
#endif
        }
    }
    block_sync();
    for (int i = call.last_op; i < call.end_op; i++)
        if (program[i].kind == STATE_OUT) move_state(call, program[i]);
}

// ---- Sample tier ----

// Draws a code for one clip, by one warp: the number of cumulative sums of the likelihoods at or below uniform * total.
// Sums within a lane are in order; those of lanes are added as a tree.
DEVICE int draw(const float *logits, float sharpness, float uniform, float &nll, bool &is_owner) {
    constexpr int SHARE = LOGITS / 32;
    const int lane = thread_index() % 32;
    float value[SHARE], likelihood[SHARE], largest = -3e38f, sum = 0;
    const float scale = sharpness * 1.4426950408889634f;  // to powers of two
    #pragma unroll
    for (int i = 0; i < SHARE; i++) {
        value[i] = logits[lane * SHARE + i] * scale;
        largest = largest > value[i] ? largest : value[i];
    }
    largest = warp_max(largest);
    #pragma unroll
    for (int i = 0; i < SHARE; i++) {
        likelihood[i] = exp2_(value[i] - largest);
        sum += likelihood[i];
    }
    float through = sum;
    #pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const float other = lane_of(through, lane - step);
        if (lane >= step) through += other;
    }
    const float total = lane_of(through, 31), threshold = uniform * total;
    float cumulative = lane_of(through, lane - 1);
    if (lane == 0) cumulative = 0;
    int count = 0;
    #pragma unroll
    for (int i = 0; i < SHARE; i++) {
        cumulative += likelihood[i];
        count += cumulative <= threshold;
    }
    count = warp_sum(count);
    if (count > LEVELS - 1) count = LEVELS - 1;  // rounding
    is_owner = count / SHARE == lane;
    nll = 0;
    #pragma unroll
    for (int i = 0; i < SHARE; i++)
        if (count % SHARE == i) nll = 0.6931471805599453f * (log2_(total) - (value[i] - largest));
    return count;
}

DEVICE void hand_over(const Call &call, int clip, int t, int code, float nll, bool is_owner) {
    const int samples = call.steps * TOP_HOP;
    if (thread_index() % 32 == 0) write_word(call.tape + clip * (TOP_FRAME + samples) + TOP_FRAME + t, word_of(code, 1));
    if (is_owner) call.nll[clip * samples + t] = nll;
}

#if HISTORY == 0

// Without a sample tier the lowest frame tier gives the logits.
FUNCTION void run_sample_tier(const Call &call) {
    const int samples = call.steps * TOP_HOP, lane = thread_index() % 32, clip = thread_index() / 32;
    if (clip >= CLIPS || cluster_rank() != 0) return;
    float *logits = (float *)shared() + clip * LOGITS;
    #pragma unroll 1
    for (int t = 0; t < samples; t++) {
        const int frame = t / LOW_HOP, row = t % LOW_HOP;
        const u64 *from = call.mail + call.conditioning + (((frame & 1) * CLIPS + clip) * LOW_HOP + row) * LOGITS;
        for (int i = lane; i < LOGITS; i += 32) {
            const float logit = float_of(await(call, from + i, frame + 1, AT_LOGITS_ROW));
            logits[i] = i < LEVELS ? logit : -1e30f;
        }
        warp_sync();
        float nll;
        bool is_owner;
        const int code = draw(logits, 1.0f / call.temperature[clip * call.steps + t / TOP_HOP], call.uniform[clip * samples + t], nll, is_owner);
        hand_over(call, clip, t, code, nll, is_owner);
        warp_sync();
    }
}

#else

DEVICE constexpr int power_of_two_in(int n, int most) { return n % 2 || most == 1 ? 1 : 2 * power_of_two_in(n / 2, most / 2); }
constexpr int COLUMNS = WIDTH / 16;                              // tiles
constexpr int COLUMN_WARPS = power_of_two_in(COLUMNS, WARPS), ROW_WARPS = WARPS / COLUMN_WARPS;
constexpr int UNITS = WIDTH / CLUSTER, LOGIT_ROWS = LOGITS / CLUSTER;  // of a block
constexpr int RING = HISTORY < 30 ? 32 : HISTORY < 62 ? 64 : 256;  // codes kept
constexpr int WIDEST = UNITS > LOGIT_ROWS ? UNITS : LOGIT_ROWS;

struct SampleShared {
    u16 x[CLIPS][WIDTH];                  // inputs of the first hidden layer
    u16 hidden[2][CLIPS][WIDTH];          // of the next ones, from all blocks
    float logits[CLIPS][LOGITS];          // from all blocks
    float rows[CLIPS][WIDTH];             // sums of the next sample's table rows but the last one, from all blocks
    float partial[COLUMN_WARPS][WIDEST * CLIPS];
    uint4 staged[WIDEST * CLIPS / 4 + 1];
    u16 older[CLIPS][HISTORY][UNITS];     // table rows of this block's units
    float bias[HIDDEN * UNITS + LOGIT_ROWS];
    int codes[CLIPS][RING];
    u64 hidden_full[2], logits_full, rows_full;  // layers alternate, as no other exchange is between them
#ifdef PROFILE
    long long stamps[12];
#endif
};

static_assert(sizeof(SampleShared) <= SHARED_FLOATS * 4, "shared memory");

// A block's rows of a layer, shared out among its warps by columns first.
template <int ROWS_>
struct Matrix {
    static constexpr int ROW_TILES = ROWS_ / 16, TILES_ACROSS = COLUMNS / COLUMN_WARPS;
    static constexpr int TILES_DOWN = (ROW_TILES + ROW_WARPS - 1) / ROW_WARPS, TILES = TILES_ACROSS * TILES_DOWN;
    uint4 tiles[TILES];

    DEVICE void load(const uint4 *from) {
        #pragma unroll
        for (int i = 0; i < TILES; i++) tiles[i] = from[i * THREADS + thread_index()];
    }

    // Writes each warp's sums over its columns to partial[column warp][clip][row].
    DEVICE void times(const u16 (*vector)[WIDTH], float (*partial)[WIDEST * CLIPS]) const {
        const int lane = thread_index() % 32, warp = thread_index() / 32, quarter = lane % 4;
        const int column_warp = warp % COLUMN_WARPS, row_warp = warp / COLUMN_WARPS;
        float sums[TILES_DOWN][4] = {};
        #pragma unroll
        for (int i = 0; i < TILES_ACROSS; i++) {
            const int column = column_warp * TILES_ACROSS + i;
            uint2 b = {0, 0};
            if (lane / 4 < CLIPS) b = *(const uint2 *)&vector[lane / 4][column * 16 + quarter * 4];
            #pragma unroll
            for (int j = 0; j < TILES_DOWN; j++) multiply(sums[j], tiles[j * TILES_ACROSS + i], b.x, b.y);
        }
        #pragma unroll
        for (int j = 0; j < TILES_DOWN; j++) {
            const int row = (row_warp * TILES_DOWN + j) * 16 + lane / 4;
            if (row_warp * TILES_DOWN + j < ROW_TILES) {
                #pragma unroll
                for (int i = 0; i < 4; i++)
                    if (quarter * 2 + i % 2 < CLIPS) partial[column_warp][(quarter * 2 + i % 2) * ROWS_ + row + i / 2 * 8] = sums[j][i];
            }
        }
    }
};

// Adds up what the warps made of this block's rows, and sends it to all blocks.
template <int ROWS_, bool IS_HIDDEN>
DEVICE void share(SampleShared &s, const float *bias, int rank, int side) {
    constexpr int PACK = IS_HIDDEN ? 8 : 4, PACKS = 32 / PACK;  // values in 16 bytes; of a warp
    const int lane = thread_index() % 32;
    #pragma unroll 1
    for (int base = thread_index() - lane; base < ROWS_ * CLIPS; base += THREADS) {
        const int i = base + lane;
        if (i < ROWS_ * CLIPS) {
            float sum = bias[i % ROWS_];
            #pragma unroll
            for (int warp = 0; warp < COLUMN_WARPS; warp++) sum += s.partial[warp][i];
            if (IS_HIDDEN) ((u16 *)s.staged)[i] = half_of(sum > 0 ? sum : 0);
            else ((float *)s.staged)[i] = sum;
        }
        warp_sync();
        #pragma unroll
        for (int j = lane; j < PACKS * CLUSTER; j += 32) {
            const int first = base + j % PACKS * PACK, clip = first / ROWS_, row = first % ROWS_;
            if (first >= ROWS_ * CLIPS) continue;
            void *to = IS_HIDDEN ? (void *)&s.hidden[side][clip][rank * ROWS_ + row] : (void *)&s.logits[clip][rank * ROWS_ + row];
            send(to, j / PACKS, s.staged[first / PACK], IS_HIDDEN ? &s.hidden_full[side] : &s.logits_full);
        }
        warp_sync();
    }
}

// Starts to read the table rows of sample t but the last, whose code is not known yet.
DEVICE void begin_rows(const Call &call, SampleShared &s, int clip, int t, int rank) {
    constexpr int PACKS = UNITS / 8;  // of 16 bytes
    #pragma unroll 1
    for (int i = thread_index() % 32; i < (HISTORY - 1) * PACKS; i += 32) {
        const int position = i / PACKS, pack = i % PACKS, code = s.codes[clip][(t + position) % RING];
        const u32 *row = call.table + ((size_t)position * LEVELS + code) * (WIDTH / 2);
        copy_behind(&s.older[clip][position][pack * 8], row + (rank * UNITS + pack * 8) / 2);
    }
    commit_copies();
}

// Adds up these rows and, if it is known by then, the conditioning, and sends the sum to all blocks.
DEVICE void end_rows(const Call &call, SampleShared &s, int clip, int t, int rank) {
    const int frame = t / LOW_HOP, row = t % LOW_HOP;
    const u64 *words = call.mail + call.conditioning + (((frame & 1) * CLIPS + clip) * LOW_HOP + row) * WIDTH + rank * UNITS;
    await_copies();
    warp_sync();
    #pragma unroll 1
    for (int pair = thread_index() % 32; pair < UNITS / 2; pair += 32) {
        float low = 0, high = 0;
        if (row && !(call.flags & ALONE)) {
            low = float_of(await(call, words + 2 * pair, frame + 1, AT_CONDITIONING));
            high = float_of(await(call, words + 2 * pair + 1, frame + 1, AT_CONDITIONING));
        }
        #pragma unroll
        for (int position = 0; position < HISTORY - 1; position++) {
            const u32 both = *(const u32 *)&s.older[clip][position][2 * pair];
            low += low_of(both), high += high_of(both);
        }
        #pragma unroll 4
        for (int to = 0; to < CLUSTER; to++) send_pair(&s.rows[clip][rank * UNITS + 2 * pair], to, low, high, &s.rows_full);
    }
}

// Makes the inputs of the hidden layers for sample t.
DEVICE void make_inputs(const Call &call, SampleShared &s, int t) {
    const int frame = t / LOW_HOP;
    const bool is_first = t % LOW_HOP == 0 && !(call.flags & ALONE);
    #pragma unroll 1
    for (int i = thread_index(); i < CLIPS * WIDTH / 2; i += THREADS) {
        const int clip = i / (WIDTH / 2), pair = i % (WIDTH / 2), code = s.codes[clip][(t + HISTORY - 1) % RING];
        const u32 newest = call.table[((size_t)(HISTORY - 1) * LEVELS + code) * (WIDTH / 2) + pair];
        float low = s.rows[clip][2 * pair], high = s.rows[clip][2 * pair + 1];
        if (is_first) {
            const u64 *words = call.mail + call.conditioning + (((frame & 1) * CLIPS + clip) * LOW_HOP) * WIDTH + 2 * pair;
            low += float_of(await(call, words, frame + 1, AT_FIRST_CONDITIONING));
            high += float_of(await(call, words + 1, frame + 1, AT_FIRST_CONDITIONING));
        }
        low += low_of(newest), high += high_of(newest);
        *(u32 *)&s.x[clip][2 * pair] = pair_of(low > 0 ? low : 0, high > 0 ? high : 0);
    }
}

FUNCTION void run_sample_tier(const Call &call) {
    SampleShared &s = *(SampleShared *)shared();
    const int rank = cluster_rank(), warp = thread_index() / 32, samples = call.steps * TOP_HOP;
    const int reader = warp - WARPS / 2;  // warps that read table rows, one for each clip
    Matrix<UNITS> hidden[HIDDEN];
    Matrix<LOGIT_ROWS> output;
    const uint4 *fragments = call.fragments + (size_t)rank * (HIDDEN * Matrix<UNITS>::TILES + Matrix<LOGIT_ROWS>::TILES) * THREADS;
    #pragma unroll
    for (int layer = 0; layer < HIDDEN; layer++) hidden[layer].load(fragments + layer * Matrix<UNITS>::TILES * THREADS);
    output.load(fragments + HIDDEN * Matrix<UNITS>::TILES * THREADS);
    for (int i = thread_index(); i < HIDDEN * UNITS; i += THREADS) s.bias[i] = call.biases[i / UNITS * WIDTH + rank * UNITS + i % UNITS];
    for (int i = thread_index(); i < LOGIT_ROWS; i += THREADS) s.bias[HIDDEN * UNITS + i] = call.biases[HIDDEN * WIDTH + rank * LOGIT_ROWS + i];
    for (int i = thread_index(); i < CLIPS * HISTORY; i += THREADS)
        s.codes[i / HISTORY][i % HISTORY] = (int)call.tape[i / HISTORY * (TOP_FRAME + samples) + TOP_FRAME - HISTORY + i % HISTORY];
    if (thread_index() == 0) {
        begin_barrier(&s.hidden_full[0]), begin_barrier(&s.hidden_full[1]), begin_barrier(&s.logits_full), begin_barrier(&s.rows_full);
        fence_barriers();
        expect(&s.hidden_full[0], CLIPS * WIDTH * 2), expect(&s.hidden_full[1], CLIPS * WIDTH * 2);
        expect(&s.logits_full, CLIPS * LOGITS * 4);
        expect(&s.rows_full, CLIPS * WIDTH * 4);
    }
    cluster_sync();
    if (reader >= 0 && reader < CLIPS) {
        begin_rows(call, s, reader, 0, rank);
        end_rows(call, s, reader, 0, rank);
    }
    u32 phases[2] = {0, 0};
#ifdef PROFILE
    const bool watched = thread_index() == 0 && rank == 0;
    if (watched) for (int i = 0; i < 12; i++) s.stamps[i] = 0;
    long long stamp = clock_now();
#endif
    #pragma unroll 1
    for (int t = 0; t < samples; t++) {
        float uniform = 0, temperature = 1;
        if (warp < CLIPS) uniform = call.uniform[warp * samples + t], temperature = call.temperature[warp * call.steps + t / TOP_HOP];
        await_barrier(call, &s.rows_full, t & 1, AT_EXCHANGE_ROWS);
        STAMP(0);
        make_inputs(call, s, t);
        block_sync();
        if (thread_index() == 0) expect(&s.rows_full, CLIPS * WIDTH * 4);
        STAMP(1);
        if (reader >= 0 && reader < CLIPS && t + 1 < samples) begin_rows(call, s, reader, t + 1, rank);
        #pragma unroll
        for (int layer = 0; layer < HIDDEN; layer++) {
            hidden[layer].times(layer ? s.hidden[(layer + 1) % 2] : s.x, s.partial);
            STAMP(2);
            block_sync();
            STAMP(3);
            share<UNITS, true>(s, s.bias + layer * UNITS, rank, layer % 2);
            STAMP(4);
            await_barrier(call, &s.hidden_full[layer % 2], phases[layer % 2], AT_EXCHANGE_HIDDEN);
            STAMP(5);
            if (thread_index() == 0) expect(&s.hidden_full[layer % 2], CLIPS * WIDTH * 2);
            phases[layer % 2] ^= 1;
        }
        output.times(s.hidden[(HIDDEN + 1) % 2], s.partial);
        STAMP(6);
        block_sync();
        share<LOGIT_ROWS, false>(s, s.bias + HIDDEN * UNITS, rank, 0);
        STAMP(7);
        if (reader >= 0 && reader < CLIPS && t + 1 < samples) end_rows(call, s, reader, t + 1, rank);
        if (warp < CLIPS) {
            await_barrier(call, &s.logits_full, t & 1, AT_EXCHANGE_LOGITS);
            STAMP(8);
            float nll;
            bool is_owner;
            const int code = draw(s.logits[warp], 1.0f / temperature, uniform, nll, is_owner);
            if (thread_index() % 32 == 0) s.codes[warp][(t + HISTORY) % RING] = code;
            if (rank == 0) hand_over(call, warp, t, code, nll, is_owner);
            STAMP(9);
        }
        block_sync();
        if (thread_index() == 0) expect(&s.logits_full, CLIPS * LOGITS * 4);
        STAMP(10);
    }
#ifdef PROFILE
    if (watched) for (int i = 0; i < 12; i++) call.profile[i] = s.stamps[i];
#endif
    cluster_sync();  // no block may end while others still write to it
}

#endif

KERNEL void generate(const GRID_CONSTANT Call call) {
    if (block_index() < CLUSTER) {
        if (!(call.flags & GIVEN)) run_sample_tier(call);
    } else if (!(call.flags & NO_FRAMES)) {
        run_frame_tiers(call, block_index() - CLUSTER);
    }
}
