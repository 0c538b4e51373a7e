// What the kernels compute alike: next states of recurrent units, and draws.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef HOST
#define DEVICE __device__ __forceinline__
#include "device.cuh"
#endif

constexpr int WARPS = THREADS / 32;
constexpr float LOG2_E = 1.4426950408889634f;

DEVICE float logistic(float x) { return reciprocal(1.0f + exp2_(-LOG2_E * x)); }
DEVICE float tanh_(float x) { return 2.0f * logistic(2.0f * x) - 1.0f; }

struct Unit { float h, c; };  // c of an LSTM

// The gates of a unit are four rows: input, forget, cell and output; or reset, update, and the two halves of new. Each is in
// a lane of its own, APART lanes from the next. `sum` is what comes from below, with the bias.
template <int APART>
DEVICE Unit step_unit(bool is_gru, int lane, float sum, float recurrent, const Unit &last) {
    const int gate = lane / APART % 4, first = lane - gate * APART;
    if (is_gru) {
        const float open = logistic(sum + recurrent);
        const float reset = lane_of(open, first), update = lane_of(open, first + APART);
        const float from_x = lane_of(sum, first + 2 * APART), from_h = lane_of(sum + recurrent, first + 3 * APART);
        const float fresh = tanh_(fused(reset, from_h, from_x));
        return {fused(update, last.h - fresh, fresh), last.c};
    }
    const float x = sum + recurrent, s = logistic(gate == 2 ? 2.0f * x : x), open = gate == 2 ? 2.0f * s - 1.0f : s;
    const float input = lane_of(open, first), forget = lane_of(open, first + APART);
    const float cell = lane_of(open, first + 2 * APART), output = lane_of(open, first + 3 * APART);
    const float c = fused(forget, last.c, input * cell);
    return {output * tanh_(c), c};
}

struct Drawn {
    int code;
    float total, most, logit;  // of all likelihoods, before the floor; the largest exponent; of the code

    DEVICE float nll(float scale) const { return 0.6931471805599453f * (log2_(total) + most - logit * scale); }
};

// Draws a code for one clip, by one warp: the first whose cumulative sum is above uniform * total. Sums are of what the floor
// leaves of the likelihoods. Those within a lane are in order; those of lanes are added as a tree, and rounded differently:
// only a code that adds something to its lane's sum is drawn. `scale` takes logits to powers of two.
DEVICE Drawn draw(const float *logits, float scale, float floor, float uniform) {
    constexpr int SHARE = LOGITS / 32;
    const int lane = thread_index() % 32;
    float value[SHARE], through[SHARE], largest = logits[lane * SHARE];
    #pragma unroll
    for (int i = 0; i < SHARE; i++) {
        value[i] = logits[lane * SHARE + i];
        largest = larger(largest, value[i]);
    }
    const float most = warp_max(largest) * scale;
    #pragma unroll
    for (int i = 0; i < SHARE; i++) value[i] = exp2_(value[i] * scale - most);
    float all = 0;
    if (floor > 0.0f) {
        #pragma unroll
        for (int i = 0; i < SHARE; i++) all += value[i];
        #pragma unroll
        for (int mask = 1; mask < 32; mask *= 2) all += across(all, mask);
    }
    const float least = floor * all;
    #pragma unroll
    for (int i = 0; i < SHARE; i++) {
        const float left = larger(value[i] - least, 0.0f);
        through[i] = i ? through[i - 1] + left : left;
    }
    float sum = through[SHARE - 1];
    #pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const float other = lane_of(sum, lane - step);
        if (lane >= step) sum += other;
    }
    const float total = lane_of(sum, 31), below = lane_of(sum, lane - 1), threshold = uniform * total;
    const float begin = lane ? below : 0.0f;
    int first = LOGITS;
    #pragma unroll
    for (int i = SHARE - 1; i >= 0; i--)
        if (begin + through[i] > threshold && through[i] > (i ? through[i - 1] : 0.0f)) first = lane * SHARE + i;
    int code = warp_min(first);
    if (code == LOGITS) {  // rounding: the last one, then
        int last = 0;
        #pragma unroll
        for (int i = 0; i < SHARE; i++)
            if (through[i] > (i ? through[i - 1] : 0.0f)) last = lane * SHARE + i;
        code = -warp_min(-last);
    }
    return {code, floor > 0.0f ? all : total, most, logits[code]};
}
