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
// Words that many blocks wait for are written to several places, so that not all of them ask the same one.
//
// A thread that waits for too long says where, and from then on nobody waits: the launch ends, and the host finds out.
//
// The whole kernel is one function: its parameter is then read from the constant bank, at no cost.
//
// The host defines the shape of the model, see cluster_plan.py: CLIPS, THREADS, CLUSTER, WIDTH (padded), LEVELS, LOGITS
// (LEVELS, padded), HISTORY (of the sample tier; 0 without one), RING (codes that it keeps, a power of two), STAGED (whether
// table rows pass through shared memory: registers are too few), HIDDEN, CONTEXT (codes before a launch that a step may
// need), TOP_HOP, LOW_HOP, MAX_TIERS, PATIENCE, COPIES (of words between frame tiers), NEAR (whether the newest code's table
// rows are kept in the cluster's shared memory), UNLIKELY (logit of codes that there are not).

#include "common.cuh"

struct Tier {
    int steps;               // in a step of the top tier
    int hop, frame, layers;  // a step sees `frame` codes, and moves on by `hop`
    int is_gru, has_above;
    int frame_columns;       // frame, padded
    int x, x_stride;         // in shared memory: samples and conditioning, [CLIPS][frame_columns + WIDTH]; halves
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
    const float *samples;    // [LEVELS], what frame tiers read for each code
    const u8 *weights;       // of the frame tiers: weights and biases of every block's program
    const int *programs;     // [frame blocks][OPS][OP]
    u64 *mail;
    u64 *tape;               // [CLIPS][CONTEXT + samples]: codes, with tag 1 where known
    float *states;
    const float *uniform;    // [CLIPS][samples]
    const float *temperature;  // [CLIPS][steps]
    float *nll;              // [CLIPS][samples]
    u32 *fault;              // on the device: whether a thread gave up
    volatile u32 *report;    // on the host: where it did
    u64 *profile;
    float floor;             // subtracted from all probabilities before a draw
    int steps;               // of the top tier
    int flags;
    int first_op, step_op, last_op, end_op;  // of a program: begin of what runs once, of what runs every step, ...
    int mail_copy;           // words between the copies of what frame tiers tell each other
    int conditioning;        // of the sample tier: [2][CLIPS][LOW_HOP][WIDTH] words in `mail`
    int fetched_last;        // mask: the last output of the lowest tier
    Tier tiers[MAX_TIERS];
};

enum { ALONE = 1, GIVEN = 2, NO_FRAMES = 4 };  // flags: conditioning is not waited for; all codes are given; no frame tiers

// ---- Words between clusters ----

DEVICE u64 word_of(u32 value, u32 tag) { return (u64)tag << 32 | value; }

enum Place { AT_FRAME_CODES = 1, AT_FRAME_CONDITIONING, AT_HIDDEN, AT_CONDITIONING, AT_FIRST_CONDITIONING, AT_LOGITS_ROW,
             AT_EXCHANGE_HIDDEN, AT_EXCHANGE_LOGITS, AT_EXCHANGE_ROWS };

struct Patience {
    int tries;
    long long begun;

    DEVICE bool is_over(const Call &call, u32 place, u32 expected, u32 seen) {
        if (++tries % 16) return false;
        if (is_claimed(call.fault)) return true;
        if (tries == 16) begun = clock_now();
        if (clock_now() - begun <= PATIENCE) return false;
        if (claim(call.fault)) {
            call.report[1] = block_index();
            call.report[2] = thread_index();
            call.report[3] = expected;
            call.report[4] = seen;
            call.report[0] = place;
        }
        return true;
    }
};

DEVICE u32 tag_of(u64 word) { return (u32)(word >> 32); }

DEVICE u32 await(const Call &call, const u64 *word, u32 tag, Place place) {
    Patience patience = {};
    u64 found = read_word(word);
    while (tag_of(found) != tag && !patience.is_over(call, place, tag, tag_of(found))) {
        pause_();
        found = read_word(word);
    }
    return (u32)found;
}

// Waits for a pair of words that may have been read too early. A block that sends mostly glances.
template <bool GLANCES = false>
DEVICE void settle(const Call &call, Words &found, const u64 *from, u32 tag, Place place) {
    Patience patience = {};
    while ((tag_of(found.first) != tag || tag_of(found.second) != tag) && !patience.is_over(call, place, tag, tag_of(found.first))) {
        pause_();
        found = GLANCES && patience.tries % 4 ? glance(from) : read_words(from);
    }
}

DEVICE void await_barrier(const Call &call, u64 *barrier, u32 parity, Place place) {
    Patience patience = {};
    while (!try_barrier(barrier, parity) && !patience.is_over(call, place, parity, 0)) pause_();
}

// Adds up the cycles of each stage of a sample, where the kernel is compiled with PROFILE.
struct Watch {
#ifdef PROFILE
    static constexpr int STAGES = 16;  // at most
    long long *spent, last;  // null for all but one thread
    DEVICE void mark(int stage) {
        const long long now = clock_now();
        if (spent) spent[stage] += now - last;
        last = now;
    }
#else
    DEVICE void mark(int) {}
#endif
};

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
    float partial[2][WARPS][CLIPS][ROWS_AT_ONCE];
    Op ops[STEP_OPS], first;
};

// A warp's share of the columns of some tiles, DEPTH at a time, WARPS apart; all are on the way before the first is used.
template <int TILES>
struct Columns {
    static constexpr int DEPTH = 2048 / THREADS > 8 ? 8 : 2048 / THREADS;
    uint4 tiles[DEPTH][TILES];

    template <bool RESIDENT>
    DEVICE void load(int thread, const uint4 *weights, int first, int columns) {
        #pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            const int column = first + i * WARPS < columns ? first + i * WARPS : columns - 1;  // always some: the compiler spills else
            #pragma unroll
            for (int tile = 0; tile < TILES; tile++) {
                const uint4 *from = weights + (column * TILES + tile) * 32 + thread % 32;
                tiles[i][tile] = RESIDENT ? read_shared(from) : stream(from);
            }
        }
    }
    DEVICE void load(const Call &call, int thread, bool resident, int weights, int first, int columns) {
        if (resident) load<true>(thread, (const uint4 *)shared() + weights, first, columns);
        else load<false>(thread, (const uint4 *)call.weights + weights, first, columns);
    }
    DEVICE void times(int thread, float (&sums)[TILES][4], const u16 *vector, int first, int columns) const {
        uint2 b[DEPTH];
        #pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            b[i] = {0, 0};
            if (thread % 32 / 4 < CLIPS && first + i * WARPS < columns) b[i] = *(const uint2 *)(vector + (first + i * WARPS) * 16);
        }
        #pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            if (first + i * WARPS >= columns) break;
            #pragma unroll
            for (int tile = 0; tile < TILES; tile++) multiply(sums[tile], tiles[i][tile], b[i].x, b[i].y);
        }
    }
};

// Words of this block's copy of `mail`.
DEVICE const u64 *mailbox(const Call &call) { return call.mail + block_index() / (CLUSTER) % COPIES * call.mail_copy; }

// Waits for what a step reads, and puts it into shared memory.
DEVICE void fetch(const Call &call, int thread, const Tier &tier, int mask, int step) {
    constexpr int AT_ONCE = 4;  // pairs of words of a thread that are on the way
    u16 *halves = (u16 *)shared();
    if (mask & 1) {
        const int samples = CONTEXT + call.steps * TOP_HOP, first = CONTEXT + step * tier.hop - tier.frame;
        #pragma unroll 1
        for (int i = thread; i < CLIPS * tier.frame; i += THREADS) {
            const int clip = i / tier.frame, j = i % tier.frame;
            const u32 code = await(call, call.tape + clip * samples + first + j, 1, AT_FRAME_CODES);
            halves[tier.x + clip * tier.x_stride + j] = half_of(call.samples[code]);
        }
    }
    if (mask & 2) {
        const int row = step % tier.above_rows, above = step / tier.above_rows;
        const u64 *from = mailbox(call) + tier.above_mail + ((above & 1) * CLIPS * tier.above_rows + row) * WIDTH;
        #pragma unroll 1
        for (int base = thread; base < CLIPS * WIDTH / 2; base += AT_ONCE * THREADS) {
            Words found[AT_ONCE];
            #pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int i = base + k * THREADS, clip = i / (WIDTH / 2), d = i % (WIDTH / 2) * 2;
                if (i < CLIPS * WIDTH / 2) found[k] = read_words(from + clip * tier.above_rows * WIDTH + d);
            }
            #pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int i = base + k * THREADS, clip = i / (WIDTH / 2), d = i % (WIDTH / 2) * 2;
                if (i >= CLIPS * WIDTH / 2) continue;
                settle(call, found[k], from + clip * tier.above_rows * WIDTH + d, above + 1, AT_FRAME_CONDITIONING);
                *(u32 *)(halves + tier.x + clip * tier.x_stride + tier.frame_columns + d) =
                    pair_of(float_of((u32)found[k].first), float_of((u32)found[k].second));
            }
        }
    }
    #pragma unroll 1
    for (int layer = 0; layer <= tier.layers; layer++) {
        if (!(mask >> layer & 4)) continue;
        const u64 *from = mailbox(call) + tier.h_mail + (layer * 2 + (step & 1)) * CLIPS * (WIDTH / 2);
        #pragma unroll 1
        for (int base = thread; base < CLIPS * WIDTH / 4; base += AT_ONCE * THREADS) {
            Words found[AT_ONCE];
            #pragma unroll
            for (int k = 0; k < AT_ONCE; k++)
                if (base + k * THREADS < CLIPS * WIDTH / 4) found[k] = read_words(from + (base + k * THREADS) * 2);
            #pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int i = base + k * THREADS, clip = i / (WIDTH / 4), d = i % (WIDTH / 4) * 4;
                if (i >= CLIPS * WIDTH / 4) continue;
                settle(call, found[k], from + i * 2, step + 1, AT_HIDDEN);
                *(uint2 *)(halves + tier.h + clip * tier.h_stride + layer * WIDTH + d) = {(u32)found[k].first, (u32)found[k].second};
            }
        }
    }
    block_sync();
}

DEVICE void finish(const Call &call, int thread, const Tier &tier, const Op &op, float (*partial)[CLIPS][ROWS_AT_ONCE], int step) {
    float *floats = (float *)shared();
    const int lane = thread % 32, rows = op.tiles * 16;
    #pragma unroll 1
    for (int i = thread; i < CLIPS * ROWS_AT_ONCE; i += THREADS) {
        const int clip = i / ROWS_AT_ONCE, row = i % ROWS_AT_ONCE;
        if (row - lane >= rows) continue;  // the whole warp
        const bool valid = row < rows;
        float sum = 0;
        #pragma unroll
        for (int warp = 0; warp < WARPS; warp++) sum += partial[warp][clip][row];
        const int at = clip * rows + row;
        if (op.kind == RECUR) {
            if (valid) floats[op.recurrent + at] = sum;
            continue;
        }
        if (valid) sum += floats[op.bias + row];
        const u32 tag = step + 1;
        u64 *to = call.mail + op.mail + (step & 1) * op.mail_stride;
        if (op.kind == ROWS) {
            to += clip * op.rows + row / 16 * op.tile_stride + row % 16;
            const int copies = op.tier ? COPIES : 1;
            if (valid)
                for (int copy = 0; copy < copies; copy++) write_word(to + copy * call.mail_copy, word_of(bits_of(sum), tag));
        } else if (op.kind == LAYER) {
            const int gate = lane % 4, unit = row / 4;
            float *kept = floats + op.state + (clip * (rows / 4) + (valid ? unit : 0)) * 2;  // h and c
            const float recurrent = valid ? floats[op.recurrent + at] : 0.0f;
            const Unit next = step_unit<1>(tier.is_gru, lane, sum, recurrent, {kept[0], kept[1]});
            const float other = across(next.h, 4);  // of the other unit of a pair: its eight lanes write to as many places
            warp_sync();
            if (valid && gate == 0) kept[0] = next.h, kept[1] = next.c;
            const u32 both = lane & 4 ? pair_of(other, next.h) : pair_of(next.h, other);
            to += clip * (WIDTH / 2) + unit / 2;
            if (valid && lane % 8 < COPIES) write_word(to + lane % 8 * call.mail_copy, word_of(both, tag));
        } else {  // MIX: rows are outputs
            const u64 word = word_of(pair_of(sum, across(sum, 1)), tag);
            to += clip * (WIDTH / 2) + row / 2;
            if (valid && lane % 2 == 0)
                for (int copy = 0; copy < COPIES; copy++) write_word(to + copy * call.mail_copy, word);
        }
    }
}

// A product of a block's rows and what follows it. Weights are on the way while the vector is waited for.
template <int TILES>
DEVICE void run_product(const Call &call, const Op &op, int top_step, int turn, bool is_late) {
    constexpr int AT_ONCE = Columns<TILES>::DEPTH * WARPS;
    const Tier &tier = call.tiers[op.tier];
    const int thread = afresh(thread_index());  // what follows from it is not worth a register from op to op
    const int lane = thread % 32, column = thread / 32, step = top_step * tier.steps + op.step;
    const u16 *halves = (const u16 *)shared();
    float(*partial)[CLIPS][ROWS_AT_ONCE] = ((FrameShared *)shared())->partial[turn & 1];
    float sums[TILES][4] = {};
    Columns<TILES> weights;
#ifdef PROFILE
    const bool watched = thread == 0 && block_index() == CLUSTER && top_step >= 0;
    const long long begun = clock_now();
    long long fetched = begun;
#endif
    int columns = op.columns_a, first = column;
    const u16 *vector = halves + op.vector_a + lane / 4 * op.stride_a + lane % 4 * 4;
    bool is_b = false, is_ready = false;
    #pragma unroll 1
    while (true) {
        weights.load(call, thread, is_b ? op.resident_b : op.resident_a, is_b ? op.weights_b : op.weights_a, first, columns);
        if (!is_ready) {
            #pragma unroll 1
            for (int round = is_late ? 0 : 1; round < 2; round++) {  // with given codes no step begins before the last is done
                const int mask = round ? op.fetch : call.fetched_last;
                if (mask) fetch(call, thread, round ? tier : call.tiers[0], mask, round ? step : top_step * call.tiers[0].steps - 1);
            }
            is_ready = true;
#ifdef PROFILE
            fetched = clock_now();
#endif
        }
        weights.times(thread, sums, vector, first, columns);
        first += AT_ONCE;
        if (first < columns) continue;
        if (is_b || !op.columns_b) break;
        is_b = true, columns = op.columns_b, first = column;
        vector = halves + op.vector_b + lane / 4 * op.stride_b + lane % 4 * 4;
    }
    const int row = lane / 4, clip = lane % 4 * 2;
    #pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        #pragma unroll
        for (int i = 0; i < 4; i++)
            if (clip + i % 2 < CLIPS) partial[column][clip + i % 2][tile * 16 + row + i / 2 * 8] = sums[tile][i];
    }
    block_sync();
    finish(call, thread, tier, op, partial, step);
#ifdef PROFILE
    const int slot = 32 + 2 * (&op - ((FrameShared *)shared())->ops);
    if (watched) call.profile[slot] += fetched - begun, call.profile[slot + 1] += clock_now() - fetched;
#endif
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

DEVICE void run_frame_tiers(const Call &call, int index) {
    FrameShared &s = *(FrameShared *)shared();
    const Op *program = (const Op *)call.programs + index * call.end_op;
    int turn = 0;
    for (int i = sizeof(FrameShared) / 4 + thread_index(); i < SHARED_FLOATS; i += THREADS) ((float *)shared())[i] = 0;
    block_sync();
    for (int i = thread_index(); i < (call.last_op - call.step_op) * OP; i += THREADS)
        ((int *)s.ops)[i] = ((const int *)(program + call.step_op))[i];
    #pragma unroll 1
    for (int step = -1; step < call.steps; step++) {  // -1 is what runs once before
        const int ops = step < 0 ? call.step_op : call.last_op - call.step_op;
        #pragma unroll 1
        for (int i = 0; i < ops; i++) {
            if (step < 0) {
                block_sync();
                if (thread_index() < OP) ((int *)&s.first)[thread_index()] = ((const int *)(program + i))[thread_index()];
                block_sync();
            }
            const Op &op = step < 0 ? s.first : s.ops[i];
            if (op.kind == STATE_IN) move_state(call, op);
            else if (op.kind == COPY) {
                if (step >= 0) break;  // the end of the program
                for (int j = thread_index(); j < op.tiles; j += THREADS)
                    ((uint4 *)shared())[op.bias + j] = ((const uint4 *)call.weights)[op.weights_a + j];
            } else {
                const bool is_late = call.flags & GIVEN && step > 0 && i == 0;
                turn++;
                if (op.tiles == 1) run_product<1>(call, op, step, turn, is_late);
                else if (op.tiles == 2) run_product<2>(call, op, step, turn, is_late);
                else if (op.tiles == 3) run_product<3>(call, op, step, turn, is_late);
                else run_product<4>(call, op, step, turn, is_late);
            }
        }
        block_sync();
    }
    for (int i = call.last_op; i < call.end_op; i++)
        if (program[i].kind == STATE_OUT) move_state(call, program[i]);
}

// ---- Sample tier ----

DEVICE float scale_of(const Call &call, int clip, int t) { return LOG2_E / call.temperature[clip * call.steps + t / TOP_HOP]; }

#if HISTORY == 0

// Without a sample tier the lowest frame tier gives the logits.
DEVICE void run_sample_tier(const Call &call) {
    constexpr int PAIRS = (LOGITS / 2 + 31) / 32;  // of words, of a lane
    const int samples = call.steps * TOP_HOP, lane = thread_index() % 32, clip = thread_index() / 32;
    if (clip >= CLIPS || cluster_rank() != 0) return;
    float *logits = (float *)shared() + clip * LOGITS;
    Drawn drawn = {};
    float scale = 1;
    #pragma unroll 1
    for (int t = 0; t < samples; t++) {
        const int frame = t / LOW_HOP, row = t % LOW_HOP;
        const u64 *from = call.mail + call.conditioning + (((frame & 1) * CLIPS + clip) * LOW_HOP + row) * LOGITS + 2 * lane;
        const float uniform = call.uniform[clip * samples + t];
        Words found[PAIRS];
        #pragma unroll
        for (int k = 0; k < PAIRS; k++)
            if (k * 64 + 2 * lane < LOGITS) found[k] = read_words(from + k * 64);
        if (t && lane == 0) call.nll[clip * samples + t - 1] = drawn.nll(scale);
        if (t % TOP_HOP == 0) scale = scale_of(call, clip, t);
        #pragma unroll
        for (int k = 0; k < PAIRS; k++) {
            const int i = k * 64 + 2 * lane;
            if (i >= LOGITS) continue;
            settle(call, found[k], from + k * 64, frame + 1, AT_LOGITS_ROW);
            logits[i] = i < LEVELS ? float_of((u32)found[k].first) : UNLIKELY;
            logits[i + 1] = i + 1 < LEVELS ? float_of((u32)found[k].second) : UNLIKELY;
        }
        warp_sync();
        drawn = draw(logits, scale, call.floor, uniform);
        if (lane == 0) write_word(call.tape + clip * (CONTEXT + samples) + CONTEXT + t, word_of(drawn.code, 1));
        warp_sync();
    }
    if (lane == 0) call.nll[clip * samples + samples - 1] = drawn.nll(scale);
}

#else

DEVICE constexpr int power_of_two_in(int n, int most) { return n % 2 || most == 1 ? 1 : 2 * power_of_two_in(n / 2, most / 2); }
constexpr int COLUMNS = WIDTH / 16;                              // tiles
constexpr int COLUMN_WARPS = power_of_two_in(COLUMNS, WARPS), ROW_WARPS = WARPS / COLUMN_WARPS;
constexpr int TILES_ACROSS = COLUMNS / COLUMN_WARPS;             // of a warp
constexpr int UNITS = WIDTH / CLUSTER, LOGIT_ROWS = LOGITS / CLUSTER;  // of a block
constexpr int OLDER = HISTORY - 1;                               // codes whose table rows are known a sample before

struct SampleShared {
    u16 x[CLIPS][WIDTH];                  // inputs of the first hidden layer
    u16 hidden[2][CLIPS][WIDTH];          // of the next ones, from all blocks
    float logits[CLIPS][LOGITS];          // from all blocks
    float rows[CLIPS][WIDTH];             // sums of the next sample's table rows but the last one, from all blocks
    float partial[2][COLUMN_WARPS][UNITS * CLIPS];  // layers alternate: a warp may add up one while another makes the next
    float output_partial[COLUMN_WARPS][LOGIT_ROWS * CLIPS];
    float bias[HIDDEN * UNITS + LOGIT_ROWS];
    int codes[CLIPS][RING];
    u64 hidden_full[2], logits_full, rows_full;  // layers alternate, as no other exchange is between them
    alignas(16) u64 words[CLIPS][UNITS];  // the conditioning of a sample to come, of this block's units
    alignas(16) u16 older[STAGED ? CLIPS : 1][STAGED ? HISTORY : 1][UNITS + 8];  // its table rows but the last
#ifdef PROFILE
    long long spent[Watch::STAGES];
#endif
    alignas(16) u16 newest[NEAR ? LEVELS : 1][UNITS];  // table rows of this block's units for the newest code
};

static_assert(sizeof(SampleShared) <= SHARED_FLOATS * 4, "shared memory");

// A block's rows of a layer, shared out among its warps by columns first.
template <int ROWS_>
struct Matrix {
    static constexpr int ROW_TILES = ROWS_ / 16;
    static constexpr int TILES_DOWN = (ROW_TILES + ROW_WARPS - 1) / ROW_WARPS, TILES = TILES_ACROSS * TILES_DOWN;
    uint4 tiles[TILES];

    DEVICE void load(const uint4 *from) {
        #pragma unroll
        for (int i = 0; i < TILES; i++) tiles[i] = from[i * THREADS + thread_index()];
    }

    // Writes each warp's sums over its columns to partial[column warp][clip][row].
    DEVICE void times(const u16 (*vector)[WIDTH], float (*partial)[ROWS_ * CLIPS]) const {
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

// Adds up what the warps made of this block's rows, and sends it to all blocks, 128 bytes at a time. Warps that would have
// nothing to do add up the same, and send to other blocks.
template <int ROWS_, bool IS_HIDDEN>
DEVICE void share(SampleShared &s, const float (*partial)[ROWS_ * CLIPS], const float *bias, int rank, int side) {
    constexpr int EACH = IS_HIDDEN ? 2 : 1;  // values of a lane, 4 bytes
    constexpr int PIECES = (ROWS_ * CLIPS + 32 * EACH - 1) / (32 * EACH);
    constexpr int GROUPS = WARPS > PIECES ? power_of_two_in(CLUSTER, WARPS / PIECES) : 1, TARGETS = CLUSTER / GROUPS;
    const int lane = thread_index() % 32;
    #pragma unroll 1
    for (int job = thread_index() / 32; job < PIECES * GROUPS; job += WARPS) {
        const int piece = job % PIECES, target = job / PIECES * TARGETS, first = (piece * 32 + lane) * EACH;
        u32 value = 0;
        if (first < ROWS_ * CLIPS) {
            float low = bias[first % ROWS_], high = IS_HIDDEN ? bias[first % ROWS_ + 1] : 0.0f;
            #pragma unroll
            for (int warp = 0; warp < COLUMN_WARPS; warp++) {
                if (IS_HIDDEN) {
                    const uint2 both = *(const uint2 *)&partial[warp][first];
                    low += float_of(both.x), high += float_of(both.y);
                } else low += partial[warp][first];
            }
            value = IS_HIDDEN ? pair_of(larger(low, 0.0f), larger(high, 0.0f)) : bits_of(low);
        }
        const int pack = lane % 8 * 4, at = (piece * 32 + pack) * EACH, clip = at / ROWS_, row = at % ROWS_;
        const uint4 four = {bits_of_lane(value, pack), bits_of_lane(value, pack + 1), bits_of_lane(value, pack + 2), bits_of_lane(value, pack + 3)};
        void *to = IS_HIDDEN ? (void *)&s.hidden[side][clip][rank * ROWS_ + row] : (void *)&s.logits[clip][rank * ROWS_ + row];
        #pragma unroll
        for (int i = 0; i < TARGETS; i += 4)
            if (at < ROWS_ * CLIPS && i + lane / 8 < TARGETS)
                send(to, target + i + lane / 8, four, IS_HIDDEN ? &s.hidden_full[side] : &s.logits_full);
    }
}

DEVICE const u64 *conditioning_of(const Call &call, int clip, int t, int unit) {
    const int frame = t / LOW_HOP;
    return call.mail + call.conditioning + (((frame & 1) * CLIPS + clip) * LOW_HOP + t % LOW_HOP) * WIDTH + unit;
}

DEVICE bool has_conditioning(const Call &call, int t) { return t % LOW_HOP && !(call.flags & ALONE); }

// A thread's words of conditioning. Their copies take longer than most of a sample, and thus begin one earlier, as soon as
// the place is free. A frame's second row is not there by then: its copies begin late.
template <int COUNT>
DEVICE void begin_words(const Call &call, SampleShared &s, int clip, int t, int rank, int unit) {
    #pragma unroll
    for (int i = 0; i < COUNT; i += 2) copy_near(&s.words[clip][unit + i], conditioning_of(call, clip, t, rank * UNITS + unit + i));
}

template <int COUNT>
DEVICE void end_words(const Call &call, SampleShared &s, int clip, int t, int rank, int unit, float *values) {
    await_copies();
    Words found[COUNT / 2];
    #pragma unroll
    for (int i = 0; i < COUNT / 2; i++) found[i] = *(const Words *)&s.words[clip][unit + 2 * i];
    #pragma unroll
    for (int i = 0; i < COUNT / 2; i++) {
        settle<true>(call, found[i], conditioning_of(call, clip, t, rank * UNITS + unit + 2 * i), t / LOW_HOP + 1, AT_CONDITIONING);
        values[2 * i] = float_of((u32)found[i].first), values[2 * i + 1] = float_of((u32)found[i].second);
    }
    if ((t + 1) % LOW_HOP > 1) begin_words<COUNT>(call, s, clip, t + 1, rank, unit);
}

// The table rows of a sample but the last, whose code is not known yet; and the conditioning, where it is known by then.
template <bool IS_STAGED> struct Older;

// Few: a warp has eight units of one clip, and a lane four of them, of the positions lane / 2, lane / 2 + 16, ...
template <>
struct Older<false> {
    static constexpr int GROUPS = CLIPS * UNITS / 8, DEPTH = (HISTORY + 15) / 16;
    uint2 rows[DEPTH];

    DEVICE static int group() { return thread_index() / 32; }
    DEVICE static int clip() { return group() / (UNITS / 8); }
    DEVICE static int unit() { return group() % (UNITS / 8) * 8 + thread_index() % 2 * 4; }
    DEVICE static bool has_words(const Call &call, int t) {  // the last position's lanes are free
        return thread_index() % 32 / 2 == OLDER % 16 && has_conditioning(call, t);
    }

    DEVICE void begin(const Call &call, SampleShared &s, int t, int rank) {
        if (group() >= GROUPS) return;
        #pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            const int position = i * 16 + thread_index() % 32 / 2;
            rows[i] = {0, 0};
            if (position < OLDER) {
                const int code = s.codes[clip()][(t + position) % RING];
                rows[i] = read_table(call.table + (position * LEVELS + code) * (WIDTH / 2) + (rank * UNITS + unit()) / 2);
            }
        }
        if (t % LOW_HOP == 1 && has_words(call, t)) begin_words<4>(call, s, clip(), t, rank, unit());
    }
    DEVICE void arrive() {}

    // Adds them up and sends the sum to all blocks.
    DEVICE void end(const Call &call, SampleShared &s, int t, int rank, Watch &watch) {
        if (group() >= GROUPS) return;
        const int lane = thread_index() % 32;
        float sums[4] = {};
        if (has_words(call, t)) end_words<4>(call, s, clip(), t, rank, unit(), sums);
        warp_sync();
        watch.mark(9);
        #pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            sums[0] += low_of(rows[i].x), sums[1] += high_of(rows[i].x);
            sums[2] += low_of(rows[i].y), sums[3] += high_of(rows[i].y);
        }
        #pragma unroll
        for (int mask = 2; mask < 32; mask *= 2) {
            #pragma unroll
            for (int k = 0; k < 4; k++) sums[k] += across(sums[k], mask);
        }
        watch.mark(10);
        const uint4 four = {bits_of(sums[0]), bits_of(sums[1]), bits_of(sums[2]), bits_of(sums[3])};
        if (lane / 2 < CLUSTER) send(&s.rows[clip()][rank * UNITS + unit()], lane / 2, four, &s.rows_full);
    }
};

// Many: rows are copied to shared memory, eight units at a time, by whichever thread; then each thread adds up two units.
template <>
struct Older<true> {
    static constexpr int PIECES = UNITS / 8, PAIRS = CLIPS * UNITS / 2;

    DEVICE void begin(const Call &call, SampleShared &s, int t, int rank) {
        const int thread = afresh(thread_index());
        #pragma unroll 1
        for (int i = thread; i < CLIPS * OLDER * PIECES; i += THREADS) {
            const int unit = i % PIECES * 8, position = i / PIECES % (OLDER ? OLDER : 1), clip = i / PIECES / (OLDER ? OLDER : 1);
            const int code = s.codes[clip][(t + position) % RING];
            copy_near(&s.older[clip][position][unit], call.table + (position * LEVELS + code) * (WIDTH / 2) + (rank * UNITS + unit) / 2);
        }
        if (t % LOW_HOP != 1 || !has_conditioning(call, t)) return;
        #pragma unroll 1
        for (int i = thread; i < PAIRS; i += THREADS) begin_words<2>(call, s, i / (UNITS / 2), t, rank, i % (UNITS / 2) * 2);
    }
    DEVICE void arrive() { await_copies(); }  // before a barrier of the block, after which `end` may read them

    // Adds up in the order in which the lanes of Older<false> do: rounded otherwise, a clip would not be the same in any batch.
    template <int FIRST, int COUNT>
    DEVICE static void add_up(const SampleShared &s, int clip, int unit, const float *given, float *sums) {
        if constexpr (COUNT > 1) {
            float others[2] = {};
            add_up<FIRST, COUNT / 2>(s, clip, unit, given, sums);
            add_up<FIRST + COUNT / 2, COUNT / 2>(s, clip, unit, given, others);
            sums[0] += others[0], sums[1] += others[1];
        } else {
            if (FIRST == OLDER % 16) sums[0] = given[0], sums[1] = given[1];
            #pragma unroll
            for (int position = FIRST; position < OLDER; position += 16) {
                const u32 both = *(const u32 *)&s.older[clip][position][unit];
                sums[0] += low_of(both), sums[1] += high_of(both);
            }
        }
    }

    DEVICE void end(const Call &call, SampleShared &s, int t, int rank, Watch &watch) {
        const int thread = afresh(thread_index()), lane = thread % 32;
        #pragma unroll 1
        for (int base = thread - lane; base < PAIRS; base += THREADS) {
            const int mine = base + lane, clip = mine / (UNITS / 2), unit = mine % (UNITS / 2) * 2;
            const int pack = base + lane % 16 * 2;  // sent by this lane: four units, of two lanes
            float sums[2] = {};
            if (mine < PAIRS) {
                float given[2] = {};
                if (has_conditioning(call, t)) end_words<2>(call, s, clip, t, rank, unit, given);
                watch.mark(9);
                add_up<0, 16>(s, clip, unit, given, sums);
            }
            warp_sync();
            const int first = lane % 16 * 2;
            const uint4 four = {bits_of(lane_of(sums[0], first)), bits_of(lane_of(sums[1], first)),
                                bits_of(lane_of(sums[0], first + 1)), bits_of(lane_of(sums[1], first + 1))};
            watch.mark(10);
            void *to = &s.rows[pack / (UNITS / 2)][rank * UNITS + pack % (UNITS / 2) * 2];
            #pragma unroll 1
            for (int i = 0; i < CLUSTER; i += 2)
                if (pack < PAIRS && i + lane / 16 < CLUSTER) send(to, i + lane / 16, four, &s.rows_full);
        }
    }
};

// Makes the inputs of the hidden layers for sample t: every warp those of its columns.
DEVICE void make_inputs(const Call &call, SampleShared &s, int newest, int t, Watch &watch) {
    constexpr int QUADS = TILES_ACROSS * 4, TURNS = (CLIPS * QUADS + 31) / 32;  // four units at a time
    const int thread = CLIPS == 1 ? thread_index() : afresh(thread_index());  // addresses of many turns are not worth registers
    const int frame = t / LOW_HOP, lane = thread % 32, begin = thread / 32 % COLUMN_WARPS * TILES_ACROSS * 16;
    const bool is_first = t % LOW_HOP == 0 && !(call.flags & ALONE);
    uint2 last[TURNS];
    #pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        const int i = turn * 32 + lane, clip = i / QUADS, unit = begin + i % QUADS * 4;
        if (i >= CLIPS * QUADS) continue;
        const int code = CLIPS == 1 ? newest : s.codes[clip][(t + HISTORY - 1) % RING];
        last[turn] = NEAR ? read_near(&s.newest[code][unit % UNITS], unit / UNITS)
                          : read_table(call.table + ((HISTORY - 1) * LEVELS + code) * (WIDTH / 2) + unit / 2);
    }
    await_barrier(call, &s.rows_full, t & 1, AT_EXCHANGE_ROWS);
    watch.mark(0);
    #pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        const int i = turn * 32 + lane, clip = i / QUADS, unit = begin + i % QUADS * 4;
        if (i >= CLIPS * QUADS) continue;
        float x[4];
        #pragma unroll
        for (int k = 0; k < 4; k++) x[k] = s.rows[clip][unit + k];
        if (is_first) {
            const u64 *from = conditioning_of(call, clip, t, unit);
            Words first = glance(from), second = glance(from + 2);
            settle<true>(call, first, from, frame + 1, AT_FIRST_CONDITIONING);
            settle<true>(call, second, from + 2, frame + 1, AT_FIRST_CONDITIONING);
            x[0] += float_of((u32)first.first), x[1] += float_of((u32)first.second);
            x[2] += float_of((u32)second.first), x[3] += float_of((u32)second.second);
        }
        x[0] += low_of(last[turn].x), x[1] += high_of(last[turn].x), x[2] += low_of(last[turn].y), x[3] += high_of(last[turn].y);
        *(uint2 *)&s.x[clip][unit] = {pair_of(larger(x[0], 0.0f), larger(x[1], 0.0f)), pair_of(larger(x[2], 0.0f), larger(x[3], 0.0f))};
    }
    warp_sync();
}

// A single clip's code is drawn by every warp for itself. Of more, each is drawn by one warp.
DEVICE void run_sample_tier(const Call &call) {
    SampleShared &s = *(SampleShared *)shared();
    const int rank = cluster_rank(), warp = thread_index() / 32, lane = thread_index() % 32, samples = call.steps * TOP_HOP;
    const int clip = CLIPS == 1 ? 0 : warp;
    const bool draws = clip < CLIPS, tells = draws && rank == 0 && lane == 0 && warp == clip;
    Matrix<UNITS> hidden[HIDDEN];
    Matrix<LOGIT_ROWS> output;
    const uint4 *fragments = call.fragments + (size_t)rank * (HIDDEN * Matrix<UNITS>::TILES + Matrix<LOGIT_ROWS>::TILES) * THREADS;
    #pragma unroll
    for (int layer = 0; layer < HIDDEN; layer++) hidden[layer].load(fragments + layer * Matrix<UNITS>::TILES * THREADS);
    output.load(fragments + HIDDEN * Matrix<UNITS>::TILES * THREADS);
    for (int i = thread_index(); i < HIDDEN * UNITS; i += THREADS) s.bias[i] = call.biases[i / UNITS * WIDTH + rank * UNITS + i % UNITS];
    for (int i = thread_index(); i < LOGIT_ROWS; i += THREADS) s.bias[HIDDEN * UNITS + i] = call.biases[HIDDEN * WIDTH + rank * LOGIT_ROWS + i];
    for (int i = thread_index(); i < CLIPS * HISTORY; i += THREADS)
        s.codes[i / HISTORY][i % HISTORY] = (int)call.tape[i / HISTORY * (CONTEXT + samples) + CONTEXT - HISTORY + i % HISTORY];
    if (NEAR)
        for (int i = thread_index(); i < LEVELS * UNITS / 4; i += THREADS) {
            const int code = i / (UNITS / 4), unit = i % (UNITS / 4) * 4;
            *(uint2 *)&s.newest[code][unit] = read_table(call.table + ((HISTORY - 1) * LEVELS + code) * (WIDTH / 2) + (rank * UNITS + unit) / 2);
        }
    if (thread_index() == 0) {
        begin_barrier(&s.hidden_full[0]), begin_barrier(&s.hidden_full[1]), begin_barrier(&s.logits_full), begin_barrier(&s.rows_full);
        fence_barriers();
        expect(&s.hidden_full[0], CLIPS * WIDTH * 2), expect(&s.hidden_full[1], CLIPS * WIDTH * 2);
        expect(&s.logits_full, CLIPS * LOGITS * 4);
        expect(&s.rows_full, CLIPS * WIDTH * 4);
    }
    cluster_sync();
    Watch watch = {};
    Older<STAGED> older;
    older.begin(call, s, 0, rank);
    older.arrive();
    block_sync();
    older.end(call, s, 0, rank, watch);
    Drawn drawn = {s.codes[0][HISTORY - 1], 0, 0, 0};
    float scale = 1;
    u32 phases[2] = {0, 0};
    float *nll = call.nll + clip * samples;
    u64 *tape = call.tape + clip * (CONTEXT + samples) + CONTEXT;
#ifdef PROFILE
    if (thread_index() == 0 && rank == 0) {
        for (int i = 0; i < Watch::STAGES; i++) s.spent[i] = 0;
        watch.spent = s.spent;
    }
    watch.last = clock_now();
#endif
    #pragma unroll 1
    for (int t = 0; t < samples; t++) {
        float uniform = 0;
        if (draws) uniform = call.uniform[clip * samples + t];
        make_inputs(call, s, drawn.code, t, watch);
        if (thread_index() == 0) expect(&s.rows_full, CLIPS * WIDTH * 4);
        watch.mark(1);
        #pragma unroll
        for (int layer = 0; layer < HIDDEN; layer++) {
            hidden[layer].times(layer ? s.hidden[(layer + 1) % 2] : s.x, s.partial[layer % 2]);
            watch.mark(2);
            block_sync();
            watch.mark(3);
            share<UNITS, true>(s, s.partial[layer % 2], s.bias + layer * UNITS, rank, layer % 2);
            watch.mark(4);
            if (layer == 0) {
                if (t + 1 < samples) older.begin(call, s, t + 1, rank);
                if (tells && t) nll[t - 1] = drawn.nll(scale);
                if (draws && t % TOP_HOP == 0) scale = scale_of(call, clip, t);
            }
            watch.mark(5);
            await_barrier(call, &s.hidden_full[layer % 2], phases[layer % 2], AT_EXCHANGE_HIDDEN);
            if (thread_index() == 0) expect(&s.hidden_full[layer % 2], CLIPS * WIDTH * 2);
            phases[layer % 2] ^= 1;
            watch.mark(6);
        }
        output.times(s.hidden[(HIDDEN + 1) % 2], s.output_partial);
        older.arrive();
        block_sync();
        watch.mark(7);
        share<LOGIT_ROWS, false>(s, s.output_partial, s.bias + HIDDEN * UNITS, rank, 0);
        watch.mark(8);
        if (t + 1 < samples) older.end(call, s, t + 1, rank, watch);
        watch.mark(11);
        await_barrier(call, &s.logits_full, t & 1, AT_EXCHANGE_LOGITS);
        if (thread_index() == 0) expect(&s.logits_full, CLIPS * LOGITS * 4);
        watch.mark(12);
        if (draws) {
            drawn = draw(s.logits[clip], scale, call.floor, uniform);
            if (tells) write_word(tape + t, word_of(drawn.code, 1));
            if (warp == clip && lane == 0) s.codes[clip][(t + HISTORY) % RING] = drawn.code;
        }
        watch.mark(13);
        if (CLIPS > 1) block_sync();
        watch.mark(14);
    }
    if (tells) nll[samples - 1] = drawn.nll(scale);
#ifdef PROFILE
    if (watch.spent) for (int i = 0; i < Watch::STAGES; i++) call.profile[i] = s.spent[i];
#endif
    cluster_sync();  // no block may end while others still write to it
}

#endif

KERNEL(1) void generate(const GRID_CONSTANT Call call) {
    if (block_index() < CLUSTER) {
        if (!(call.flags & GIVEN)) run_sample_tier(call);
    } else if (!(call.flags & NO_FRAMES)) {
        run_frame_tiers(call, block_index() - CLUSTER);
    }
}
