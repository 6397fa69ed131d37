/* Restormer's block (models/unifusion/attention.py), a strip of columns at a time. Origin: ours. Licence: Apache-2.0. */

#include "tiles.h"

typedef float U __attribute__((vector_size(4 * LANES), aligned(4))); /* anywhere in memory */

#define STRIP (CELLS - 2) /* columns of a strip: a tile less what the 3x3 convolution takes at both sides */

/* Row y, columns from `left`, of features (h, w, c) -> LayerNorm -> tile (c, 64); 0 outside the image. */
static void row_of(const float *image, int64_t h, int64_t w, int64_t c, int64_t y, int64_t left, const float *gain,
                   const float *offset, float *restrict tile) {
    memset(tile, 0, (size_t)(c * CELLS) * sizeof(float));
    if (y < 0 || y >= h) return;
    const int64_t from = left < 0 ? -left : 0, to = w - left < CELLS ? w - left : CELLS;
    for (int64_t x = from; x < to; x++) {
        const float *restrict p = image + (y * w + left + x) * c;
        for (int64_t k = 0; k < c; k++) tile[k * CELLS + x] = p[k];
    }
    normalise(tile, c, gain, offset, tile);
    for (int64_t k = 0; k < c; k++) {
        for (int64_t x = 0; x < from; x++) tile[k * CELLS + x] = 0.f;
        for (int64_t x = to; x < CELLS; x++) tile[k * CELLS + x] = 0.f;
    }
}

/* A 3x3 convolution of one channel at LANES places: rows a, b, c of it, its nine taps. */
INLINE V around(const float *a, const float *b, const float *c, const float *taps) {
#define AT(p) ((V) * (const U *)(p))
    V sum = AT(a) * taps[0] + AT(a + 1) * taps[1] + AT(a + 2) * taps[2];
    sum += AT(b) * taps[3] + AT(b + 1) * taps[4] + AT(b + 2) * taps[5];
    return sum + AT(c) * taps[6] + AT(c + 1) * taps[7] + AT(c + 2) * taps[8];
#undef AT
}

/* 1x1 to `wide` channels and 3x3 per channel of LayerNorm(x), of one strip: rows `enter` the ring, and `leave`
   once those around them are there. */
typedef struct {
    const float *image, *norm, *dense, *near; /* features; gain, offset (c); (wide, c); (wide, 9) */
    int64_t h, w, c, wide, left;
    float *tile, *ring; /* c and 3 wide rows */
} Strip;

static void enter(const Strip *s, int64_t y) {
    row_of(s->image, s->h, s->w, s->c, y, s->left, s->norm, s->norm + s->c, s->tile);
    linear(s->dense, s->c, NULL, s->tile, s->c, s->wide, s->ring + (y + 3) % 3 * s->wide * CELLS, 0);
}

/* Row y, of `count` columns and then zeros, once the rows around it have entered -> out (wide, 64). */
static void leave(const Strip *s, int64_t y, int64_t count, float *out) {
    const int64_t size = s->wide * CELLS;
    const float *before = s->ring + (y + 2) % 3 * size, *here = s->ring + (y + 3) % 3 * size;
    const float *after = s->ring + (y + 4) % 3 * size;
    for (int64_t k = 0; k < s->wide; k++) {
        float *to = out + k * CELLS;
        for (int64_t x = 0; x < CELLS; x += LANES)
            *(V *)(to + x) =
                around(before + k * CELLS + x, here + k * CELLS + x, after + k * CELLS + x, s->near + 9 * k);
        for (int64_t x = count; x < CELLS; x++) to[x] = 0.f;
    }
}

/* Features (batch, h, w, c) -> x + down(gelu(gate) * value), gate and value the halves of the 3x3 convolution per channel
   of up(LayerNorm(x)); borders of that are 0. weights: gain, offset (c), up (4c, c), near (4c, 9), down (c, 2c). c is a
   multiple of 4. Not 0: no memory. */
API int NAME(gated_feed)(const float *features, int64_t batch, int64_t h, int64_t w, int64_t c, const float *weights,
                        float *out, int threads) {
    const float *up = weights + 2 * c, *near = up + 4 * c * c, *down = near + 36 * c;
    const int64_t strips = (w + STRIP - 1) / STRIP, bands = (h + 63) / 64, wide = 4 * c * CELLS;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *tile = tiles(c + 12 * c + 2 * c + 1), *ring = tile + c * CELLS, *hidden = ring + 3 * wide;
        failed |= tile == NULL;
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < batch * bands * strips; n++) {
            if (tile == NULL) continue;
            const float *image = features + n / (bands * strips) * h * w * c;
            float *to = out + (image - features);
            const int64_t top = n / strips % bands * 64, bottom = top + 64 < h ? top + 64 : h;
            const int64_t first = n % strips * STRIP, count = w - first < STRIP ? w - first : STRIP;
            const Strip strip = {image, weights, up, near, h, w, c, 4 * c, first - 1, tile, ring};
            for (int64_t y = top - 1; y <= bottom; y++) {
                enter(&strip, y);
                if (y < top + 1) continue;
                const float *before = ring + (y + 1) % 3 * wide, *here = ring + (y + 2) % 3 * wide;
                const float *after = ring + (y + 3) % 3 * wide;
                for (int64_t k = 0; k < 2 * c; k++) {
                    const int64_t gate = k * CELLS, value = (k + 2 * c) * CELLS;
                    for (int64_t x = 0; x < CELLS; x += LANES) { /* the last two places hold what is not used */
                        const V g = around(before + gate + x, here + gate + x, after + gate + x, near + 9 * k);
                        const V v = around(before + value + x, here + value + x, after + value + x, near + 9 * (k + 2 * c));
                        *(V *)(hidden + gate + x) = gelu(g) * v;
                    }
                }
                linear(down, 2 * c, NULL, hidden, 2 * c, c, tile, 0);
                for (int64_t x = 0; x < count; x++) {
                    const int64_t at = ((y - 1) * w + first + x) * c;
                    for (int64_t k = 0; k < c; k++) to[at + k] = image[at + k] + tile[k * CELLS + x];
                }
            }
        }
        if (tile) drop(tile);
    }
    return failed;
}

/* sums[i] += the sum over a tile's row of a[i] * b[i], a vector at a time. */
INLINE void gather(const float *a, const float *b, V *sum) {
    for (int64_t x = 0; x < CELLS; x += LANES) *sum += *(const V *)(a + x) * *(const V *)(b + x);
}

/* Queries of features x, keys and values of features y, both (batch, h, w, c) -> value (batch, h, w, c) and, over all
   pixels of an image, the sums of products of queries and keys of a head gram (batch, heads, c/heads, c/heads) and their
   squares squares (batch, 2, c). weights: gain, offset (c) for x, the same for y, q (c, c), its near (c, 9), kv (2c, c), its
   near (2c, 9). c is a multiple of 4. Not 0: no memory. */
API int NAME(channel_gram)(const float *x, const float *y, int64_t batch, int64_t h, int64_t w, int64_t c, int64_t heads,
                          const float *weights, float *value, double *gram, double *squares, int threads) {
    const float *dense = weights + 4 * c, *near = dense + c * c, *dense2 = near + 9 * c, *near2 = dense2 + 2 * c * c;
    const int64_t strips = (w + STRIP - 1) / STRIP, bands = (h + 63) / 64, each = c / heads;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        /* two tiles, rings of 3c and 6c rows, queries, keys and values; then one vector for each sum */
        const int64_t sums = c * each + 2 * c;
        float *tile = tiles(2 * c + 9 * c + 3 * c + 1 + (sums * LANES + CELLS - 1) / CELLS);
        float *ring = tile + 2 * c * CELLS, *query = ring + 9 * c * CELLS, *key = query + c * CELLS;
        V *total = (V *)(key + (2 * c + 1) * CELLS);
        failed |= tile == NULL;
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < batch * bands * strips; n++) {
            if (tile == NULL) continue;
            const int64_t image = n / (bands * strips), from = image * h * w * c;
            const int64_t top = n / strips % bands * 64, bottom = top + 64 < h ? top + 64 : h;
            const int64_t first = n % strips * STRIP, count = w - first < STRIP ? w - first : STRIP;
            const Strip a = {x + from, weights, dense, near, h, w, c, c, first - 1, tile, ring};
            const Strip b = {y + from, weights + 2 * c, dense2, near2, h, w, c, 2 * c, first - 1, tile + c * CELLS,
                             ring + 3 * c * CELLS};
            for (int64_t k = 0; k < sums; k++) total[k] = all(0.f);
            for (int64_t r = top - 1; r <= bottom; r++) {
                enter(&a, r);
                enter(&b, r);
                if (r < top + 1) continue;
                leave(&a, r - 1, count, query);
                leave(&b, r - 1, count, key);
                for (int64_t k = 0; k < c; k++) {
                    const float *q = query + k * CELLS, *others = key + k / each * each * CELLS;
                    for (int64_t j = 0; j < each; j++) gather(q, others + j * CELLS, total + k * each + j);
                    gather(q, q, total + c * each + k);
                    gather(key + k * CELLS, key + k * CELLS, total + c * each + c + k);
                }
                const float *v = key + c * CELLS;
                float *to = value + from + ((r - 1) * w + first) * c;
                for (int64_t p = 0; p < count; p++)
                    for (int64_t k = 0; k < c; k++) to[p * c + k] = v[k * CELLS + p];
            }
#pragma omp critical
            for (int64_t k = 0; k < sums; k++) {
                double sum = 0;
                for (int lane = 0; lane < LANES; lane++) sum += total[k][lane];
                *(k < c * each ? gram + image * c * each + k : squares + image * 2 * c + k - c * each) += sum;
            }
        }
        if (tile) drop(tile);
    }
    return failed;
}

/* Features x (batch, pixels, c) plus a matrix of each image, mix (batch, c, c), of values (batch, pixels, c) -> out. Not
   0: no memory. */
API int NAME(channel_mix)(const float *x, const float *value, int64_t batch, int64_t pixels, int64_t c, const float *mix,
                         float *out, int threads) {
    const int64_t parts = (pixels + CELLS - 1) / CELLS;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *tile = tiles(2 * c), *mixed = tile + c * CELLS;
        failed |= tile == NULL;
        if (tile) memset(tile, 0, (size_t)(c * CELLS) * sizeof(float));
#pragma omp for
        for (int64_t n = 0; n < batch * parts; n++) {
            if (tile == NULL) continue;
            const int64_t first = n % parts * CELLS, count = pixels - first < CELLS ? pixels - first : CELLS;
            const int64_t from = (n / parts * pixels + first) * c;
            for (int64_t p = 0; p < count; p++)
                for (int64_t k = 0; k < c; k++) tile[k * CELLS + p] = value[from + p * c + k];
            linear(mix + n / parts * c * c, c, NULL, tile, c, c, mixed, 0);
            for (int64_t p = 0; p < count; p++)
                for (int64_t k = 0; k < c; k++) out[from + p * c + k] = x[from + p * c + k] + mixed[k * CELLS + p];
        }
        if (tile) drop(tile);
    }
    return failed;
}
