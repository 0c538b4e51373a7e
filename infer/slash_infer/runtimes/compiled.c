// A whole model on a processor: `generate` takes steps of the top tier, with all that is below it, in one call.
//
// Rows of a batch are computed side by side, so that a weight is read once for all of them. Each sum is added up in one
// order, with multiplications that are fused or not by what is written here, whatever the rows beside it: a clip is the
// same, to the last bit, in any batch. (It is compiled without leave to fuse others.) Structures are those of
// compiled_library.py.
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__)
#include <immintrin.h>
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int8_t Bytes __attribute__((vector_size(LANES), aligned(1)));

// Vectors of sums that are kept in registers. More rows side by side have fewer vectors of outputs each.
enum { SUMS = 8, TILE = SUMS * LANES };

// A weight, [outputs / TILE][inputs][TILE], in float or in 8 bits with a scale for every block of inputs,
// [inputs / block][padded outputs]. The other of the two is null.
typedef struct {
    const float *weight;
    const int8_t *integers;
    const float *scales;
    int32_t inputs, block;
} Matrix;

// y = bias + first inputs @ exact + the other inputs @ weight; either may have no inputs.
typedef struct {
    Matrix exact, weight;
    const float *bias;
    int32_t padded;  // outputs, filled up to whole tiles
} Linear;

typedef struct {
    Linear input, hidden;  // an LSTM has both in `input`
} Layer;

typedef struct {
    const Layer *layers;
    Linear skip, upsample;
    const float *samples;  // that codes are read as
    int32_t count, frame, hop, upsampling, out_features, gru, skips;
} Tier;

typedef struct {
    const Tier *tiers;   // the lowest first
    const float *table;  // [history][levels][width]
    const Linear *hidden;
    Linear output;
    int32_t count, history, levels, width, layers, stride;  // floats of a row of the scratch arrays
} Model;

// What a batch is in, and what a call reads and writes.
typedef struct {
    float *const *h, *const *c;  // of each tier, [layers][rows][width]
    float *const *upsampled;     // of each tier, [rows][a row]
    const int64_t *upsampled_stride;
    float *x, *y, *z;      // [rows][stride]
    int32_t *codes;        // [rows][codes_stride], of which the first `at` are known
    const float *uniform;  // [rows][times]; null where codes are given
    const float *temperature;  // [rows][steps]
    float *nll;            // [rows][times]
    int64_t codes_stride, at, first;  // `first`: number of the codes that were known at first
    int32_t rows, times, steps;
    float floor;
} Batch;

int tile(void) { return TILE; }

int lanes(void) { return LANES; }

#if defined(__AVX512F__)
static inline Vector all(float x) { return (Vector)_mm512_set1_ps(x); }
static inline Vector fused(Vector a, Vector b, Vector c) {
    return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif defined(__AVX2__) && defined(__FMA__)
static inline Vector all(float x) { return (Vector)_mm256_set1_ps(x); }
static inline Vector fused(Vector a, Vector b, Vector c) {
    return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#else
static inline Vector all(float x) { return (Vector){0} + x; }
static inline Vector fused(Vector a, Vector b, Vector c) { return a * b + c; }
#endif

static inline Vector load(const float *from) { return *(const Vector *)from; }

static inline Vector as_float(const int8_t *from) {
#if defined(__AVX512F__)
    return (Vector)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#elif defined(__AVX2__)
    return (Vector)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
#else
    return __builtin_convertvector(*(const Bytes *)from, Vector);
#endif
}

// Adds x @ matrix to y for ROWS rows and the outputs of SUMS / ROWS vectors, `from` on.
#define MULTIPLY(NAME, TYPE, FIELD, LOAD, SCALED, ROWS)                                                               \
    static inline void NAME##_##ROWS(const Matrix *m, const float *x, int64_t x_stride, float *y, int64_t y_stride,   \
                                     int from, int padded) {                                                          \
        enum { VECTORS = SUMS / ROWS };                                                                               \
        const TYPE *weight = m->FIELD + (int64_t)(from / TILE) * TILE * m->inputs + from % TILE;                      \
        Vector total[ROWS][VECTORS];                                                                                  \
        for (int r = 0; r < ROWS; r++)                                                                                \
            for (int v = 0; v < VECTORS; v++) total[r][v] = load(y + r * y_stride + from + v * LANES);                \
        for (int first = 0; first < m->inputs; first += m->block) {                                                   \
            int last = first + m->block < m->inputs ? first + m->block : m->inputs;                                   \
            Vector sum[ROWS][VECTORS] = {0};                                                                          \
            for (int i = first; i < last; i++, weight += TILE)                                                        \
                for (int v = 0; v < VECTORS; v++) {                                                                   \
                    Vector w = LOAD(weight + v * LANES);                                                              \
                    for (int r = 0; r < ROWS; r++) sum[r][v] = fused(all(x[r * x_stride + i]), w, sum[r][v]);         \
                }                                                                                                     \
            const float *scale = m->scales + (int64_t)(first / m->block) * padded + from;                             \
            for (int v = 0; v < VECTORS; v++)                                                                         \
                for (int r = 0; r < ROWS; r++)                                                                        \
                    total[r][v] =                                                                                     \
                        SCALED ? fused(sum[r][v], load(scale + v * LANES), total[r][v]) : total[r][v] + sum[r][v];    \
        }                                                                                                             \
        for (int r = 0; r < ROWS; r++)                                                                                \
            for (int v = 0; v < VECTORS; v++) *(Vector *)(y + r * y_stride + from + v * LANES) = total[r][v];         \
    }

MULTIPLY(floats, float, weight, load, 0, 1)
MULTIPLY(floats, float, weight, load, 0, 2)
MULTIPLY(floats, float, weight, load, 0, 4)
MULTIPLY(bytes, int8_t, integers, as_float, 1, 1)
MULTIPLY(bytes, int8_t, integers, as_float, 1, 2)
MULTIPLY(bytes, int8_t, integers, as_float, 1, 4)

static void multiply(const Matrix *m, const float *x, int64_t x_stride, float *y, int64_t y_stride, int rows,
                     int outputs) {
    if (!m->inputs) return;
    for (int tile = 0; tile < outputs; tile += TILE)  // whose weights stay in the cache for all rows
        for (int row = 0, together; row < rows; row += together) {
            int left = rows - row;
            together = left >= 4 ? 4 : left >= 2 ? 2 : 1;
            const float *from = x + row * x_stride;
            float *to = y + row * y_stride;
            for (int part = 0; part < together; part++) {
                int at = tile + part * (TILE / together);
#define CALL(ROWS)                                                                                                     \
    if (m->integers)                                                                                                   \
        bytes_##ROWS(m, from, x_stride, to, y_stride, at, outputs);                                                    \
    else                                                                                                               \
        floats_##ROWS(m, from, x_stride, to, y_stride, at, outputs);
                if (together == 4) {
                    CALL(4)
                } else if (together == 2) {
                    CALL(2)
                } else {
                    CALL(1)
                }
            }
        }
}

static void apply(const Linear *linear, const float *x, int64_t x_stride, float *y, int64_t y_stride, int rows) {
    for (int row = 0; row < rows; row++) memcpy(y + row * y_stride, linear->bias, linear->padded * sizeof *y);
    multiply(&linear->exact, x, x_stride, y, y_stride, rows, linear->padded);
    multiply(&linear->weight, x + linear->exact.inputs, x_stride, y, y_stride, rows, linear->padded);
}

static inline Vector pick(Integers mask, Vector yes, Vector no) {
    return (Vector)(((Integers)yes & mask) | ((Integers)no & ~mask));
}

// e^x to within two units in the last place (coefficients of Cephes' expf).
static inline Vector exponential(Vector x) {
    Vector low = all(-87.0f), high = all(88.0f);
    x = pick(x < low, low, x);
    x = pick(x > high, high, x);
    Vector scaled = fused(x, all(1.44269504f), pick(x < all(0), all(-0.5f), all(0.5f)));
    Integers power = __builtin_convertvector(scaled, Integers);
    Vector whole = __builtin_convertvector(power, Vector);
    Vector r = fused(whole, all(-0.693359375f), x);
    r = fused(whole, all(2.12194440e-4f), r);
    Vector p = all(1.9875691500e-4f);
    p = fused(p, r, all(1.3981999507e-3f));
    p = fused(p, r, all(8.3334519073e-3f));
    p = fused(p, r, all(4.1665795894e-2f));
    p = fused(p, r, all(1.6666665459e-1f));
    p = fused(p, r, all(5.0000001201e-1f));
    p = fused(p, r * r, r + 1.0f);
    return p * (Vector)((power + 127) << 23);
}

static inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + exponential(-x)); }

static inline Vector hyperbolic_tangent(Vector x) { return 2.0f / (1.0f + exponential(-2.0f * x)) - 1.0f; }

static inline void store(float *to, Vector value) { *(Vector *)to = value; }

static void lstm(const float *gates, int width, int at, float *h, float *c) {
    Vector i = sigmoid(load(gates + at)), f = sigmoid(load(gates + width + at));
    Vector g = hyperbolic_tangent(load(gates + 2 * width + at)), o = sigmoid(load(gates + 3 * width + at));
    Vector cell = f * load(c + at) + i * g;
    store(c + at, cell);
    store(h + at, o * hyperbolic_tangent(cell));
}

static void gru(const float *from_x, const float *from_h, int width, int at, float *h) {
    Vector r = sigmoid(load(from_x + at) + load(from_h + at));
    Vector z = sigmoid(load(from_x + width + at) + load(from_h + width + at));
    Vector n = hyperbolic_tangent(load(from_x + 2 * width + at) + r * load(from_h + 2 * width + at));
    store(h + at, n + z * (load(h + at) - n));
}

// Draws a code of one row from its logits, which it overwrites: as the graphs do (docs/bundle-format.md).
static int draw(float *p, int levels, float temperature, float floor, float uniform, float *nll) {
    float largest = -INFINITY, sum = 0, inverse = 1 / temperature, total = 0, reached = 0;
    int code = 0, last = 0;
    for (int q = 0; q < levels; q++) {
        p[q] *= inverse;
        largest = p[q] > largest ? p[q] : largest;
    }
    for (int q = 0; q < levels; q += LANES) store(p + q, exponential(load(p + q) - largest));
    for (int q = 0; q < levels; q++) sum += p[q];
    for (int q = 0; q < levels; q++) {
        p[q] /= sum;
        total += p[q] > floor ? p[q] - floor : 0;
        last = p[q] > floor ? q : last;
    }
    for (int q = 0; q < levels; q++) {
        reached += p[q] > floor ? p[q] - floor : 0;
        code += reached <= uniform * total;
    }
    code = code < last ? code : last;
    *nll = -logf(p[code]);
    return code;
}

// Draws a sample of every row. Rows of `conditioning` begin `stride` apart.
static void sample(const Model *model, Batch *batch, const float *conditioning, int64_t stride) {
    int width = model->width;
    int64_t time = batch->at - batch->first;
    if (!batch->uniform) {  // the code is given
        batch->at++;
        return;
    }
    for (int row = 0; row < batch->rows; row++) {
        float *x = batch->x + (int64_t)row * model->stride;
        const int32_t *seen = batch->codes + row * batch->codes_stride + batch->at - model->history;
        memcpy(x, conditioning + row * stride, (model->history ? width : model->levels) * sizeof *x);
        for (int h = 0; h < model->history; h++) {
            const float *entry = model->table + ((int64_t)h * model->levels + seen[h]) * width;
            for (int j = 0; j < width; j++) x[j] += entry[j];
        }
    }
    float *logits = batch->x, *other = batch->y;
    for (int layer = 0; model->history && layer <= model->layers; layer++) {
        for (int row = 0; row < batch->rows; row++) {
            float *x = logits + (int64_t)row * model->stride;
            for (int j = 0; j < width; j++) x[j] = x[j] < 0 ? 0 : x[j];  // NaN stays
        }
        const Linear *linear = layer < model->layers ? model->hidden + layer : &model->output;
        apply(linear, logits, model->stride, other, model->stride, batch->rows);
        float *next = other;
        other = logits, logits = next;
    }
    for (int row = 0; row < batch->rows; row++) {
        int64_t at = row * (int64_t)batch->times + time;
        batch->codes[row * batch->codes_stride + batch->at] =
            draw(logits + (int64_t)row * model->stride, model->levels,
                 batch->temperature[row * (int64_t)batch->steps + time / model->tiers[model->count - 1].hop],
                 batch->floor, batch->uniform[at], batch->nll + at);
    }
    batch->at++;
}

// A step of tier k and of all below it. Rows of `conditioning`, which is of the tier above, begin `stride` apart.
static void tier_step(const Model *model, Batch *batch, int k, const float *conditioning, int64_t stride) {
    const Tier *tier = model->tiers + k;
    int width = model->width, rows = batch->rows;
    int64_t apart = model->stride;
    // x: the frame, then what the first layer has besides: the layer below, conditioning and its own state.
    for (int layer = 0; layer < tier->count; layer++) {
        const Layer *weights = tier->layers + layer;
        float *h = batch->h[k] + (int64_t)layer * rows * width, *c = batch->c[k] + (int64_t)layer * rows * width;
        for (int row = 0; row < rows; row++) {
            float *to = batch->x + row * apart;
            const int32_t *newest = batch->codes + row * batch->codes_stride + batch->at - tier->frame;
            int whole = !layer || tier->skips;
            if (whole)
                for (int i = 0; i < tier->frame; i++) *to++ = tier->samples[newest[i]];
            if (layer) memcpy(to, h - (int64_t)(rows - row) * width, width * sizeof *to), to += width;
            if (whole && conditioning) memcpy(to, conditioning + row * stride, width * sizeof *to), to += width;
            if (!tier->gru) memcpy(to, h + (int64_t)row * width, width * sizeof *to);
        }
        apply(&weights->input, batch->x, apart, batch->y, apart, rows);
        if (tier->gru) apply(&weights->hidden, h, width, batch->z, apart, rows);
        for (int row = 0; row < rows; row++)
            for (int at = 0; at < width; at += LANES)
                if (tier->gru)
                    gru(batch->y + row * apart, batch->z + row * apart, width, at, h + (int64_t)row * width);
                else
                    lstm(batch->y + row * apart, width, at, h + (int64_t)row * width, c + (int64_t)row * width);
    }
    const float *top = batch->h[k] + (int64_t)(tier->count - 1) * rows * width;
    int64_t top_stride = width;
    if (tier->skips) {
        for (int row = 0; row < rows; row++)
            for (int layer = 0; layer < tier->count; layer++)
                memcpy(batch->x + row * apart + layer * width,
                       batch->h[k] + ((int64_t)layer * rows + row) * width, width * sizeof(float));
        apply(&tier->skip, batch->x, apart, batch->y, apart, rows);
        top = batch->y, top_stride = apart;
    }
    if (k || batch->uniform) apply(&tier->upsample, top, top_stride, batch->upsampled[k], batch->upsampled_stride[k], rows);
    for (int i = 0; i < tier->upsampling; i++) {
        const float *below = batch->upsampled[k] + (int64_t)i * tier->out_features;
        if (k)
            tier_step(model, batch, k - 1, below, batch->upsampled_stride[k]);
        else
            sample(model, batch, below, batch->upsampled_stride[k]);
    }
}

void generate(const Model *model, Batch *batch) {
    for (int step = 0; step < batch->steps; step++) tier_step(model, batch, model->count - 1, 0, 0);
}
