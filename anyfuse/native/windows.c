/* Blocks of window attention (models/tita/windows.py, ipa.py), a window at a time. Origin: ours. Licence: Apache-2.0.

   Features are float32 (batch, h, w, c), h and w multiples of 8; a window of 8x8 pixels is worked on as a tile: channel by
   channel, 64 values each. Windows of a block do not touch each other, so a block works in place. */

#include "tiles.h"

/* One head of `size` channels: q (already scaled), k, v (size, 64), added (64 keys, 64 queries) -> out (size, 64). */
INLINE void head(const float *q, const float *restrict k, const float *restrict v, const float *added, int64_t size,
                 float *out) {
    V scores[CELLS];
    for (int64_t start = 0; start < CELLS; start += LANES) {
        V own[16], total[16], peak = all(-1e30f), sum = all(0.f);
        for (int64_t d = 0; d < size; d++) {
            own[d] = *(const V *)(q + d * CELLS + start);
            total[d] = all(0.f);
        }
        for (int64_t j = 0; j < CELLS; j++) {
            V s = *(const V *)(added + j * CELLS + start);
            for (int64_t d = 0; d < size; d++) s += own[d] * k[d * CELLS + j];
            scores[j] = s;
            peak = largest(peak, s);
        }
        for (int64_t j = 0; j < CELLS; j++) {
            const V p = exponential(scores[j] - peak);
            sum += p;
            for (int64_t d = 0; d < size; d++) total[d] += p * v[d * CELLS + j];
        }
        sum = 1.f / sum;
        for (int64_t d = 0; d < size; d++) *(V *)(out + d * CELLS + start) = total[d] * sum;
    }
}

/* Attention of tiles q, k, v (c, 64), added (heads, 64 keys, 64 queries) -> out (c, 64); at most 16 channels a head. */
static void attend(float *q, const float *k, const float *v, const float *added, int64_t c, int64_t heads, float *out) {
    const int64_t size = c / heads;
    const float scale = 1.f / sqrtf((float)size);
    for (int64_t i = 0; i < c * CELLS; i++) q[i] *= scale;
    for (int64_t h = 0; h < heads; h++) {
        const int64_t at = h * size * CELLS;
        const float *extra = added + h * CELLS * CELLS;
        switch (size) { /* known sizes stay in registers */
        case 4: head(q + at, k + at, v + at, extra, 4, out + at); break;
        case 6: head(q + at, k + at, v + at, extra, 6, out + at); break;
        case 8: head(q + at, k + at, v + at, extra, 8, out + at); break;
        case 10: head(q + at, k + at, v + at, extra, 10, out + at); break;
        default: head(q + at, k + at, v + at, extra, size, out + at);
        }
    }
}

/* Copies a window between features (h, w, c) and a tile (c, 64); the features are shifted cyclically to the left and up
   by `shift`. */
static void load(const float *image, int64_t h, int64_t w, int64_t c, int64_t shift, int64_t row, int64_t column,
                 float *restrict tile) {
    for (int64_t y = 0; y < SIDE; y++)
        for (int64_t x = 0; x < SIDE; x++) {
            const float *restrict p =
                image + ((row * SIDE + y + shift) % h * w + (column * SIDE + x + shift) % w) * c;
            float *restrict t = tile + y * SIDE + x;
            for (int64_t k = 0; k < c; k++) t[k * CELLS] = p[k];
        }
}

static void save(float *image, int64_t h, int64_t w, int64_t c, int64_t shift, int64_t row, int64_t column,
                 const float *restrict tile) {
    for (int64_t y = 0; y < SIDE; y++)
        for (int64_t x = 0; x < SIDE; x++) {
            float *restrict p = image + ((row * SIDE + y + shift) % h * w + (column * SIDE + x + shift) % w) * c;
            const float *restrict t = tile + y * SIDE + x;
            for (int64_t k = 0; k < c; k++) p[k] = t[k * CELLS];
        }
}

/* x + MLP(LayerNorm(x)) of a tile; weights: gain, offset (c), first (2c, c), its bias, second (c, 2c), its bias. Returns
   what comes after the weights. spare: 3c rows. */
static const float *feed_forward(float *x, int64_t c, const float *weights, float *spare) {
    const float *first = weights + 2 * c, *bias = first + 2 * c * c, *second = bias + 2 * c, *last = second + 2 * c * c;
    float *hidden = spare + c * CELLS;
    normalise(x, c, weights, weights + c, spare);
    linear(first, c, bias, spare, c, 2 * c, hidden, 0);
    for (int64_t i = 0; i < 2 * c * CELLS; i += LANES) *(V *)(hidden + i) = gelu(*(const V *)(hidden + i));
    linear(second, 2 * c, last, hidden, 2 * c, c, x, 1);
    return last + c;
}

/* Attention of a tile's queries to another tile's keys and values; weights: qkv (3c, c), its bias, proj (c, c), its bias.
   Returns what comes after the weights. spare: 4c rows. */
static const float *attention(const float *x, const float *other, int64_t c, int64_t heads, const float *added,
                              const float *weights, float *out, float *spare) {
    const float *bias = weights + 3 * c * c, *proj = bias + 3 * c, *last = proj + c * c;
    const int64_t tile = c * CELLS;
    linear(weights, c, bias, x, c, c, spare, 0);
    linear(weights + c * c, c, bias + c, other, c, 2 * c, spare + tile, 0);
    attend(spare, spare + tile, spare + 2 * tile, added, c, heads, spare + 3 * tile);
    linear(proj, c, last, spare + 3 * tile, c, c, out, 0);
    return last + c;
}

/* Which windows of shifted features see a seam: 1: at the right, 2: at the bottom, 3: in the corner. */
INLINE int64_t kind(int64_t shift, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    return shift ? (column == columns - 1) + 2 * (row == rows - 1) : 0;
}

/* models.tita.windows.SwinBlock on features (batch, h, w, c), in place. added: (1 or, with a shift, 4 kinds of windows,
   heads, 64 keys, 64 queries). weights: gain, offset (c); attention; feed_forward. Not 0: no memory. */
API int NAME(swin_block)(float *image, int64_t batch, int64_t h, int64_t w, int64_t c, int64_t heads, int64_t shift,
                        const float *weights, const float *added, int threads) {
    const int64_t rows = h / SIDE, columns = w / SIDE, size = c * CELLS;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *x = tiles(7 * c), *norm = x + size, *spare = norm + size; /* spare: 4c rows, then c for the result */
        float *found = spare + 4 * size;
        failed |= x == NULL;
#pragma omp for schedule(dynamic, 16)
        for (int64_t n = 0; n < batch * rows * columns; n++) {
            if (x == NULL) continue;
            const int64_t row = n / columns % rows, column = n % columns;
            float *at = image + n / (rows * columns) * h * w * c;
            load(at, h, w, c, shift, row, column, x);
            normalise(x, c, weights, weights + c, norm);
            const float *extra = added + kind(shift, row, rows, column, columns) * heads * CELLS * CELLS;
            const float *rest = attention(norm, norm, c, heads, extra, weights + 2 * c, found, spare);
            for (int64_t i = 0; i < size; i++) x[i] += found[i];
            feed_forward(x, c, rest, spare);
            save(at, h, w, c, shift, row, column, x);
        }
        if (x) drop(x);
    }
    return failed;
}

/* models.tita.ipa.PairAttention and what stands before it, for one direction: own and other tiles (c, 64), side by side
   (own first), phi's gate and this direction's weights -> own + result in out. spare: 6c rows. gate: first (c, 2c), its
   bias, second (c, c), its bias. weights: difference of the keys' vectors (c); in_proj (3c, c), its bias; out_proj (c,
   c), its bias. */
static void interact(const float *own, int64_t c, int64_t heads, int by_channel, const float *gate, const float *weights,
                     float *out, float *spare) {
    const int64_t size = c * CELLS, each = c / heads;
    const float *other = own + size;
    const float *gate_bias = gate + 2 * c * c, *second = gate_bias + c, *second_bias = second + c * c;
    const float *proj = weights + c, *bias = proj + 3 * c * c, *last = bias + 3 * c, *last_bias = last + c * c;
    float *phi = spare, *hidden = phi + size, *query = hidden + size, *key = query + size;
    float *value = key + size, *apart = value + size;
    linear(gate, 2 * c, gate_bias, own, 2 * c, c, hidden, 0);
    for (int64_t i = 0; i < size; i += LANES) *(V *)(hidden + i) = gelu(*(const V *)(hidden + i));
    linear(second, c, second_bias, hidden, c, c, phi, 0);
    for (int64_t start = 0; start < CELLS; start += LANES) {
        V peak = all(-1e30f), sum = all(0.f);
        if (!by_channel) {
            for (int64_t k = 0; k < c; k++) peak = largest(peak, *(const V *)(phi + k * CELLS + start));
            for (int64_t k = 0; k < c; k++) {
                V *p = (V *)(phi + k * CELLS + start);
                *p = exponential(*p - peak);
                sum += *p;
            }
            sum = 1.f / sum;
        }
        for (int64_t k = 0; k < c; k++) {
            V *p = (V *)(phi + k * CELLS + start);
            const V share = by_channel ? sigmoid(*p) : *p * sum;
            *p = *(const V *)(own + k * CELLS + start) * share * -2.f + weights[k]; /* the keys, first less second */
        }
    }
    linear(proj, c, bias, own, c, c, query, 0);
    linear(proj + c * c, c, NULL, phi, c, c, key, 0);
    for (int64_t i = 0; i < size; i++) hidden[i] = own[i] - other[i];
    linear(proj + 2 * c * c, c, NULL, hidden, c, c, apart, 0);
    linear(proj + 2 * c * c, c, bias + 2 * c, other, c, c, value, 0);
    const float scale = 1.f / sqrtf((float)each);
    for (int64_t k = 0; k < heads; k++)
        for (int64_t start = 0; start < CELLS; start += LANES) {
            V score = all(0.f);
            for (int64_t d = k * each; d < (k + 1) * each; d++)
                score += *(const V *)(query + d * CELLS + start) * *(const V *)(key + d * CELLS + start);
            score = sigmoid(score * scale);
            for (int64_t d = k * each; d < (k + 1) * each; d++)
                *(V *)(value + d * CELLS + start) += *(const V *)(apart + d * CELLS + start) * score;
        }
    memcpy(out, own, (size_t)size * sizeof(float));
    linear(last, c, last_bias, value, c, c, out, 1);
}

/* models.tita.isf.ISF on features of two sources (batch, h, w, c), in place. intra: each attends to itself; by_channel:
   phi is a sigmoid. added: as for swin_block, for the first and for the second source. weights: for each source: gain,
   offset (c) and attention; gate; for each source: what `interact` takes; for each source: feed_forward. gate: whether
   there is an IPA. */
API int NAME(isf_block)(float *first, float *second, int64_t batch, int64_t h, int64_t w, int64_t c, int64_t heads,
                       int64_t shift, int64_t intra, int64_t gate, int64_t by_channel,
                       const float *weights, const float *added, int threads) {
    const int64_t rows = h / SIDE, columns = w / SIDE, size = c * CELLS, kinds = shift ? 4 : 1;
    const int64_t heavy = 2 * c + 4 * c * c + 4 * c; /* weights of a norm and an attention */
    const int64_t pair = c + 4 * c * c + 4 * c;      /* of one direction of IPA */
    const float *gated = weights + 2 * heavy, *directions = gated + 3 * c * c + 2 * c;
    const float *rest = gate ? directions + 2 * pair : gated;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *x = tiles(15 * c), *y = x + size, *nx = y + size, *ny = nx + size, *xa = ny + size, *ya = xa + size;
        float *again = ya + size, *out = again + size, *spare = out + 2 * size; /* xa, ya, xa: each beside the other */
        failed |= x == NULL;
#pragma omp for schedule(dynamic, 16)
        for (int64_t n = 0; n < batch * rows * columns; n++) {
            if (x == NULL) continue;
            const int64_t row = n / columns % rows, column = n % columns, from = n / (rows * columns) * h * w * c;
            const int64_t which = kind(shift, row, rows, column, columns) * heads * CELLS * CELLS;
            load(first + from, h, w, c, shift, row, column, x);
            load(second + from, h, w, c, shift, row, column, y);
            normalise(x, c, weights, weights + c, nx);
            normalise(y, c, weights + heavy, weights + heavy + c, ny);
            attention(nx, intra ? nx : ny, c, heads, added + which, weights + 2 * c, xa, spare);
            attention(ny, intra ? ny : nx, c, heads, added + kinds * heads * CELLS * CELLS + which,
                      weights + heavy + 2 * c, ya, spare);
            memcpy(again, xa, (size_t)size * sizeof(float));
            if (gate) {
                interact(xa, c, heads, by_channel, gated, directions, out, spare);
                interact(ya, c, heads, by_channel, gated, directions + pair, out + size, spare);
            }
            const float *gained = gate ? out : xa;
            for (int64_t i = 0; i < 2 * size; i++) x[i] += gained[i];
            feed_forward(y, c, feed_forward(x, c, rest, spare), spare);
            save(first + from, h, w, c, shift, row, column, x);
            save(second + from, h, w, c, shift, row, column, y);
        }
        if (x) drop(x);
    }
    return failed;
}
