/* Tiles of features: channel by channel, 64 values each; what is computed on them. Origin: ours. Licence: Apache-2.0.

   Included by files that are compiled once for each kind of processor, see kernels.c. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

#ifndef LEVEL
#define LEVEL 1
#endif
#define JOINED(name, level) name##_##level
#define WITH(name, level) JOINED(name, level)
#define NAME(name) WITH(name, LEVEL)

#if LEVEL == 4
#define LANES 16
#elif LEVEL == 3
#define LANES 8
#else
#define LANES 4
#endif
#define SIDE 8
#define CELLS 64
#define EPSILON 1e-5f /* of torch.nn.LayerNorm */
#define INLINE static inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(4 * LANES), aligned(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES), aligned(4 * LANES)));

INLINE V all(float x) { return (V){0} + x; }
INLINE V choose(I where, V a, V b) { return (V)((where & (I)a) | (~where & (I)b)); }
INLINE V largest(V a, V b) { return choose(a > b, a, b); }

/* e^x within 2e-7 of it; x up to 80, below -80 as at -80. */
INLINE V exponential(V x) {
    x = largest(x, all(-80.f));
    const V shifted = x * 1.44269504f + 12582912.f; /* to the nearest whole number, in the lowest bits */
    const V whole = shifted - 12582912.f;
    const V r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    return (V)((I)p + ((I)shifted << 23));
}

/* x times the normal distribution's share below x; erf by Abramowitz and Stegun 7.1.26, within 1.5e-7. */
INLINE V gelu(V x) {
    const V at = x * 0.70710678f, size = (V)((I)at & 0x7fffffff);
    const V t = 1.f / (size * 0.3275911f + 1.f);
    const V p = ((((t * 1.061405429f - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    const V erf = 1.f - p * exponential(-size * size);
    return x * 0.5f * (choose(at < 0.f, -erf, erf) + 1.f);
}

INLINE V sigmoid(V x) { return 1.f / (exponential(-largest(x, all(-80.f))) + 1.f); }

#if LEVEL == 4
#define ACROSS 4 /* vectors of a row that are worked on together: what the registers hold */
#else
#define ACROSS 2
#endif

/* Rows of weights (cout, stride), the first cin of each, on a tile (cin, 64) -> (cout, 64), plus bias where it is not
   null; `add`: to what is there. cout is a multiple of 4. */
static void linear(const float *restrict weights, int64_t stride, const float *restrict bias, const float *in,
                   int64_t cin, int64_t cout, float *out, int add) {
    for (int64_t o = 0; o < cout; o += 4) {
        const float *restrict w0 = weights + o * stride, *restrict w1 = w0 + stride;
        const float *restrict w2 = w1 + stride, *restrict w3 = w2 + stride;
        for (int64_t start = 0; start < CELLS; start += ACROSS * LANES) {
            V a[4][ACROSS];
            for (int r = 0; r < 4; r++)
                for (int j = 0; j < ACROSS; j++) a[r][j] = all(bias ? bias[o + r] : 0.f);
            for (int64_t c = 0; c < cin; c++) {
                const V *x = (const V *)(in + c * CELLS + start);
#pragma GCC unroll 4
                for (int j = 0; j < ACROSS; j++) {
                    a[0][j] += x[j] * w0[c];
                    a[1][j] += x[j] * w1[c];
                    a[2][j] += x[j] * w2[c];
                    a[3][j] += x[j] * w3[c];
                }
            }
            for (int r = 0; r < 4; r++)
                for (int j = 0; j < ACROSS; j++) {
                    V *to = (V *)(out + (o + r) * CELLS + start) + j;
                    *to = add ? *to + a[r][j] : a[r][j];
                }
        }
    }
}

/* LayerNorm over the channels of a tile (c, 64). */
static void normalise(const float *in, int64_t c, const float *restrict gain, const float *restrict offset, float *out) {
    for (int64_t start = 0; start < CELLS; start += LANES) {
        V sum = all(0.f), squares = all(0.f);
        for (int64_t k = 0; k < c; k++) sum += *(const V *)(in + k * CELLS + start);
        const V mean = sum / (float)c;
        for (int64_t k = 0; k < c; k++) {
            const V x = *(const V *)(in + k * CELLS + start) - mean;
            squares += x * x;
        }
        V scale = squares / (float)c + EPSILON;
        for (int k = 0; k < LANES; k++) scale[k] = 1.f / sqrtf(scale[k]);
        for (int64_t k = 0; k < c; k++)
            *(V *)(out + k * CELLS + start) = (*(const V *)(in + k * CELLS + start) - mean) * scale * gain[k] + offset[k];
    }
}

/* Memory for so many rows of a tile, or null. */
INLINE float *tiles(int64_t rows) {
    void *memory = NULL;
#ifdef _WIN32
    memory = _aligned_malloc((size_t)rows * CELLS * sizeof(float), 64);
#else
    if (posix_memalign(&memory, 64, (size_t)rows * CELLS * sizeof(float))) memory = NULL;
#endif
    return memory;
}

INLINE void drop(float *memory) {
#ifdef _WIN32
    _aligned_free(memory);
#else
    free(memory);
#endif
}
