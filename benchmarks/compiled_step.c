// A step of the top tier of one clip, and all below it, as one call: benchmarks/compiled_step.py builds and calls it.
// WEIGHT is float or int8_t. It needs AVX2.
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef __m256 Vector;
enum { LANES = 8, TILE = 64, MOST = 4096 };

// [outputs / TILE][inputs][TILE], scales and biases [outputs]; outputs are padded to whole tiles.
typedef struct {
    const WEIGHT *weight;
    const float *scale, *bias;
    int inputs, outputs;
} Linear;

typedef struct {
    Linear gates, upsample;  // of frame, conditioning and state together
    const float *samples;    // that a code is read as
    float *h, *c;
    int frame, hop, steps, conditioned;
} Tier;

typedef struct {
    const float *table;  // [history][levels][width]
    const Linear *hidden;
    Linear output;
    int layers, history, levels, width, tiers;
    const Tier *tier;  // the lowest first
} Model;

static inline Vector as_float(const WEIGHT *weight) {
    return _Generic(weight,
        const float *: _mm256_loadu_ps((const float *)weight),
        const int8_t *: _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)weight))));
}

static void multiply(const Linear *linear, const float *x, float *y) {
    for (int first = 0; first < linear->outputs; first += TILE) {
        const WEIGHT *weight = linear->weight + (long)first * linear->inputs;
        Vector sum[TILE / LANES] = {0};
        for (int i = 0; i < linear->inputs; i++, weight += TILE)
            for (int j = 0; j < TILE / LANES; j++)
                sum[j] += x[i] * as_float(weight + j * LANES);
        for (int j = 0; j < TILE; j++)
            y[first + j] = ((float *)sum)[j] * linear->scale[first + j] + linear->bias[first + j];
    }
}

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

static int draw(const float *logits, int levels, float uniform) {
    float largest = -INFINITY, total = 0, p[MOST];
    for (int q = 0; q < levels; q++) largest = logits[q] > largest ? logits[q] : largest;
    for (int q = 0; q < levels; q++) total += p[q] = expf(logits[q] - largest);
    float left = uniform * total;
    int code = 0;
    while (code < levels - 1 && left >= p[code]) left -= p[code++];
    return code;
}

static int32_t *sample(const Model *model, const float *conditioning, const float **uniform, int32_t *next) {
    float x[MOST], y[MOST];
    int width = model->width;
    memcpy(x, conditioning, width * sizeof *x);
    for (int h = 0; h < model->history; h++) {
        const float *row = model->table + ((long)h * model->levels + next[h - model->history]) * width;
        for (int j = 0; j < width; j++) x[j] += row[j];
    }
    for (int layer = 0; layer < model->layers; layer++) {
        for (int j = 0; j < width; j++) x[j] = x[j] > 0 ? x[j] : 0;
        multiply(&model->hidden[layer], x, y);
        memcpy(x, y, width * sizeof *x);
    }
    for (int j = 0; j < width; j++) x[j] = x[j] > 0 ? x[j] : 0;
    multiply(&model->output, x, y);
    *next = draw(y, model->levels, *(*uniform)++);
    return next + 1;
}

// `next` points behind the newest code; returns where it points after the step.
static int32_t *tier_step(const Model *model, int k, const float *conditioning, const float **uniform, int32_t *next) {
    const Tier *tier = &model->tier[k];
    int width = model->width;
    float x[MOST], gates[MOST], below[4 * MOST], *at = x;
    for (int i = 0; i < tier->frame; i++) *at++ = tier->samples[next[i - tier->frame]];
    if (tier->conditioned) memcpy(at, conditioning, width * sizeof *x), at += width;
    memcpy(at, tier->h, width * sizeof *x);
    multiply(&tier->gates, x, gates);
    for (int j = 0; j < width; j++) {
        float cell = sigmoid(gates[width + j]) * tier->c[j] +
                     sigmoid(gates[j]) * (2 * sigmoid(2 * gates[2 * width + j]) - 1);
        tier->c[j] = cell;
        tier->h[j] = sigmoid(gates[3 * width + j]) * (2 * sigmoid(2 * cell) - 1);
    }
    multiply(&tier->upsample, tier->h, below);
    for (int i = 0; i < tier->steps; i++)
        next = k ? tier_step(model, k - 1, below + i * width, uniform, next)
                 : sample(model, below + i * width, uniform, next);
    return next;
}

void step(const Model *model, const float *uniform, int32_t *next) {
    tier_step(model, model->tiers - 1, 0, &uniform, next);
}
