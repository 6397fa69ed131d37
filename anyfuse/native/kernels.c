/* Kernels of what stands around the default model's network. Origin: ours. Licence: Apache-2.0.

   Planes are float32, row by row. A pyramid's level has even sides, and the next one is half as large. Each function
   computes what the function of the same name in image/ or models/ computes with torch, up to rounding.
   `threads` is how many share the rows, where the compiler has OpenMP. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

/* The file is compiled once for any processor (LEVEL 1) and, on x86, for two kinds of newer ones: names end in _1, _3
   or _4, and anyfuse_level says which of them this processor takes. */
#ifndef LEVEL
#define LEVEL 1
#endif
#define JOINED(name, level) name##_##level
#define WITH(name, level) JOINED(name, level)
#define NAME(name) WITH(name, LEVEL)

#define FULL_LINE(n) (((n) + 31) / 32 * 32)
#define KR 0.299f
#define KG 0.587f
#define KB 0.114f
#define NEUTRAL 0.02f /* as models/anyfuse.py */

static inline float least(float a, float b) { return a < b ? a : b; }
static inline float most(float a, float b) { return a > b ? a : b; }

#if LEVEL == 1
#ifndef SOURCES
#define SOURCES "unknown"
#endif

/* The sha256 of this file at the time of the build: a library of other sources is not used. */
API const char *anyfuse_sources(void) { return SOURCES; }

API int anyfuse_threaded(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* The highest level up to MOST_LEVEL that this processor takes. */
API int anyfuse_level(void) {
#if defined(MOST_LEVEL) && MOST_LEVEL >= 4
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        return 4;
#endif
#if defined(MOST_LEVEL) && MOST_LEVEL >= 3
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 3;
#endif
    return 1;
}
#endif

/* ------------------------------------------------------------------ reading */

/* Pixels (h, w, 3), a row every `pitch` values, kind 0: uint8, 1: uint16, 2: float32, times `scale` and clipped to
   [0, 1] -> Y, Cb, Cr, planes of h x w; where `rgb` is set, R, G, B. */
API void NAME(luma_chroma)(const void *pixels, int kind, int64_t h, int64_t w, int64_t pitch, float white, int rgb,
                          float *out, int threads) {
    const int64_t area = h * w;
#pragma omp parallel for num_threads(threads)
    for (int64_t y = 0; y < h; y++) {
        float *restrict a = out + y * w, *restrict b = a + area, *restrict c = b + area;
        if (kind == 0) {
            const uint8_t *restrict p = (const uint8_t *)pixels + y * pitch;
            for (int64_t x = 0; x < w; x++) { a[x] = p[3 * x]; b[x] = p[3 * x + 1]; c[x] = p[3 * x + 2]; }
        } else if (kind == 1) {
            const uint16_t *restrict p = (const uint16_t *)pixels + y * pitch;
            for (int64_t x = 0; x < w; x++) { a[x] = p[3 * x]; b[x] = p[3 * x + 1]; c[x] = p[3 * x + 2]; }
        } else {
            const float *restrict p = (const float *)pixels + y * pitch;
            for (int64_t x = 0; x < w; x++) { a[x] = p[3 * x]; b[x] = p[3 * x + 1]; c[x] = p[3 * x + 2]; }
        }
        for (int64_t x = 0; x < w; x++) {
            float red = least(most(a[x] / white, 0.f), 1.f), green = least(most(b[x] / white, 0.f), 1.f);
            float blue = least(most(c[x] / white, 0.f), 1.f);
            float luma = KR * red + KG * green + KB * blue;
            a[x] = rgb ? red : luma;
            b[x] = rgb ? green : (blue - luma) * (0.5f / (1.f - KB));
            c[x] = rgb ? blue : (red - luma) * (0.5f / (1.f - KR));
        }
    }
}

/* ------------------------------------------------------------------ pyramids */

/* Planes (count, h, w) with even sides -> (count, h/2, w/2), by [1 3 3 1]/8 each way, borders replicated. */
API void NAME(reduce)(const float *in, int64_t count, int64_t h, int64_t w, float *out, int threads) {
    const int64_t hh = h / 2, ww = w / 2;
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < count * hh; row++) {
        const int64_t p = row / hh, y = row % hh;
        const float *plane = in + p * h * w;
        const float *restrict r1 = plane + 2 * y * w, *restrict r2 = r1 + w;
        const float *restrict r0 = y ? r1 - w : r1, *restrict r3 = y < hh - 1 ? r2 + w : r2;
        float *restrict o = out + row * ww;
        float line[2 * 256 + 2];
        for (int64_t start = 0; start < ww; start += 256) { /* in pieces that stay in the nearest cache */
            const int64_t n = ww - start < 256 ? ww - start : 256;
            const int64_t from = 2 * start;
            for (int64_t x = 0; x < 2 * n; x++)
                line[x + 1] = (r1[from + x] + r2[from + x]) * 3.f + (r0[from + x] + r3[from + x]);
            const int64_t a = from ? from - 1 : 0, b = from + 2 * n < w ? from + 2 * n : w - 1;
            line[0] = (r1[a] + r2[a]) * 3.f + (r0[a] + r3[a]);
            line[2 * n + 1] = (r1[b] + r2[b]) * 3.f + (r0[b] + r3[b]);
            for (int64_t x = 0; x < n; x++)
                o[start + x] = ((line[2 * x + 1] + line[2 * x + 2]) * 3.f + (line[2 * x] + line[2 * x + 3])) * (1.f / 64);
        }
    }
}

/* One row of the expanded plane (h, w): row `y` of 2h, 2w values. line: 2w values are written; mid: w + 2 values. */
static inline __attribute__((always_inline)) void expand_row(const float *plane, int64_t h, int64_t w, int64_t y,
                                                             float *restrict mid, float *restrict line) {
    const int64_t near = y / 2, far = y % 2 ? (near < h - 1 ? near + 1 : near) : (near ? near - 1 : near);
    const float *restrict a = plane + near * w, *restrict b = plane + far * w;
    for (int64_t x = 0; x < w; x++) mid[x + 1] = a[x] * 0.75f + b[x] * 0.25f;
    mid[0] = mid[1];
    mid[w + 1] = mid[w];
    for (int64_t x = 0; x < w; x++) {
        line[2 * x] = mid[x + 1] * 0.75f + mid[x] * 0.25f;
        line[2 * x + 1] = mid[x + 1] * 0.75f + mid[x + 2] * 0.25f;
    }
}

/* Planes (count, h, w) -> (count, 2h, 2w), bilinear. */
API void NAME(expand)(const float *in, int64_t count, int64_t h, int64_t w, float *out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *mid = malloc((size_t)FULL_LINE(w + 2) * sizeof(float));
#pragma omp for
        for (int64_t row = 0; row < count * 2 * h; row++)
            expand_row(in + row / (2 * h) * h * w, h, w, row % (2 * h), mid, out + row * 2 * w);
        free(mid);
    }
}

/* ------------------------------------------------------------------ specks */

/* Whether some inner pixel of a plane (h, w) stands out by more than `limit` from all eight around it and by more than
   these differ. planes: `count` of them, a plane every `stride` values. */
API int NAME(has_specks)(const float *planes, int64_t count, int64_t stride, int64_t h, int64_t w, float limit,
                        int threads) {
    int found = 0;
#pragma omp parallel for num_threads(threads) reduction(| : found)
    for (int64_t row = 0; row < count * (h - 2); row++) {
        const float *restrict b = planes + row / (h - 2) * stride + (row % (h - 2) + 1) * w;
        const float *restrict a = b - w, *restrict c = b + w;
        int here = 0;
        for (int64_t x = 1; x < w - 1; x++) {
            float high = most(most(b[x - 1], b[x + 1]), most(a[x], c[x]));
            float low = least(least(b[x - 1], b[x + 1]), least(a[x], c[x]));
            high = most(high, most(most(a[x - 1], a[x + 1]), most(c[x - 1], c[x + 1])));
            low = least(low, least(least(a[x - 1], a[x + 1]), least(c[x - 1], c[x + 1])));
            const float out = most(b[x] - high, low - b[x]);
            here |= (out > limit) & (out > high - low);
        }
        found |= here;
    }
    return found;
}

/* ------------------------------------------------------------------ what the stem sees */

/* Luma (count, h, w), a plane every `stride` values, and its next level low (count, h/2, w/2), as far apart
   -> (count, h/2, w/2, 8): luma - 0.5 of 2x2 pixels, then of the finest band x: x / (|x| + detail). */
API void NAME(stem_input)(const float *luma, int64_t stride, const float *low, int64_t low_stride, int64_t count,
                         int64_t h, int64_t w, float detail, float *out, int threads) {
    const int64_t hh = h / 2, ww = w / 2;
#pragma omp parallel num_threads(threads)
    {
        float *lines = malloc((size_t)(3 * FULL_LINE(w + 2)) * sizeof(float));
        float *mid = lines, *even = mid + FULL_LINE(w + 2), *odd = even + FULL_LINE(w + 2);
#pragma omp for
        for (int64_t row = 0; row < count * hh; row++) {
            const int64_t p = row / hh, y = row % hh;
            const float *restrict a = luma + p * stride + 2 * y * w, *restrict b = a + w;
            expand_row(low + p * low_stride, hh, ww, 2 * y, mid, even);
            expand_row(low + p * low_stride, hh, ww, 2 * y + 1, mid, odd);
            for (int64_t x = 0; x < w; x++) {
                const float e = a[x] - even[x], o = b[x] - odd[x];
                even[x] = e / (fabsf(e) + detail);
                odd[x] = o / (fabsf(o) + detail);
            }
            float *restrict to = out + row * ww * 8;
            for (int64_t x = 0; x < ww; x++) {
                to[8 * x] = a[2 * x] - 0.5f;
                to[8 * x + 1] = a[2 * x + 1] - 0.5f;
                to[8 * x + 2] = b[2 * x] - 0.5f;
                to[8 * x + 3] = b[2 * x + 1] - 0.5f;
                to[8 * x + 4] = even[2 * x];
                to[8 * x + 5] = even[2 * x + 1];
                to[8 * x + 6] = odd[2 * x];
                to[8 * x + 7] = odd[2 * x + 1];
            }
        }
        free(lines);
    }
}

/* ------------------------------------------------------------------ fused bands */

/* One step of blending and collapsing. fine: the level of n sources (n, planes, h, w); low: their next level, at half
   size; weights (n, h, w), or at half size where `half` is set (then expanded); coarse: what is fused so far
   (planes, h/2, w/2) -> out (planes, h, w) = expand(coarse) + the weighted sum of fine - expand(low). Chroma, planes
   1 and 2, takes the weights times the saturation of fine. */
API void NAME(blend_level)(const float *fine, const float *low, const float *weights, const float *coarse, int64_t n,
                          int64_t planes, int64_t h, int64_t w, int half, float *out, int threads) {
    const int64_t hh = h / 2, ww = w / 2, area = h * w, small = hh * ww;
    const size_t line = (size_t)FULL_LINE(w + 2);
#pragma omp parallel num_threads(threads)
    {
        float *memory = malloc(line * 6 * sizeof(float));
        float *mid = memory, *near = mid + line, *weight = near + line, *total = weight + line;
        float *red = total + line, *blue = red + line;
#pragma omp for
        for (int64_t y = 0; y < h; y++) {
            for (int64_t c = 0; c < planes; c++) expand_row(coarse + c * small, hh, ww, y, mid, out + c * area + y * w);
            float *restrict o = out + y * w, *restrict t = total, *restrict b = blue, *restrict r = red;
            if (planes > 1)
                for (int64_t x = 0; x < w; x++) t[x] = b[x] = r[x] = 0.f;
            for (int64_t k = 0; k < n; k++) {
                const float *restrict f = fine + k * planes * area + y * w, *restrict g = weights + k * area + y * w;
                const float *l = low + k * planes * small;
                if (half) {
                    expand_row(weights + k * small, hh, ww, y, mid, weight);
                    g = weight;
                }
                const float *restrict e = near;
                expand_row(l, hh, ww, y, mid, near);
                for (int64_t x = 0; x < w; x++) o[x] += g[x] * (f[x] - e[x]);
                if (planes == 1) continue;
                const float *restrict cb = f + area, *restrict cr = cb + area;
                float *restrict vivid = weight;
                expand_row(l + small, hh, ww, y, mid, near);
                for (int64_t x = 0; x < w; x++) {
                    vivid[x] = most(g[x], 0.f) * (sqrtf(cb[x] * cb[x] + cr[x] * cr[x]) + NEUTRAL);
                    t[x] += vivid[x];
                    b[x] += vivid[x] * (cb[x] - e[x]);
                }
                expand_row(l + 2 * small, hh, ww, y, mid, near);
                for (int64_t x = 0; x < w; x++) r[x] += vivid[x] * (cr[x] - e[x]);
            }
            if (planes == 1) continue;
            float *restrict cb = o + area, *restrict cr = cb + area;
            for (int64_t x = 0; x < w; x++) {
                const float share = 1.f / t[x];
                cb[x] += b[x] * share;
                cr[x] += r[x] * share;
            }
        }
        free(memory);
    }
}

/* Highest and lowest of n planes, a plane every `stride` values, in row y. */
static inline __attribute__((always_inline)) void range_row(const float *luma, int64_t n, int64_t stride, int64_t w,
                                                            int64_t y, float *restrict high, float *restrict low) {
    const float *restrict first = luma + y * w;
    for (int64_t x = 0; x < w; x++) high[x] = low[x] = first[x];
    for (int64_t k = 1; k < n; k++) {
        const float *restrict p = first + k * stride;
        for (int64_t x = 0; x < w; x++) {
            high[x] = most(high[x], p[x]);
            low[x] = least(low[x], p[x]);
        }
    }
}

/* Keeps fused (h, w) between the lowest and the highest of n sources' luma, a plane every `stride` values: at the
   pixel, with `near` in the 3x3 pixels around it, and with `share` (h, w), not null, between both, by that share. */
API void NAME(bound)(float *fused, const float *luma, int64_t n, int64_t stride, int64_t h, int64_t w, int near,
                    const float *share, int threads) {
    const size_t line = (size_t)FULL_LINE(w + 2);
#pragma omp parallel num_threads(threads)
    {
        float *memory = malloc(line * 10 * sizeof(float)); /* high and low of three rows and of their own row */
        float *high = memory + 6 * line + 1, *low = memory + 7 * line + 1;
        int64_t held[3] = {-1, -1, -1};
#pragma omp for
        for (int64_t y = 0; y < h; y++) {
            float *restrict o = fused + y * w;
            const int64_t first = y && near ? y - 1 : y, last = near && y < h - 1 ? y + 1 : y;
            for (int64_t r = first; r <= last; r++)
                if (held[r % 3] != r) {
                    range_row(luma, n, stride, w, r, memory + (r % 3) * 2 * line, memory + (r % 3) * 2 * line + line);
                    held[r % 3] = r;
                }
            const float *restrict ah = memory + (first % 3) * 2 * line, *restrict al = ah + line;
            const float *restrict bh = memory + (y % 3) * 2 * line, *restrict bl = bh + line;
            const float *restrict ch = memory + (last % 3) * 2 * line, *restrict cl = ch + line;
            if (!near) {
                for (int64_t x = 0; x < w; x++) o[x] = most(least(o[x], bh[x]), bl[x]);
                continue;
            }
            for (int64_t x = 0; x < w; x++) {
                high[x] = most(most(ah[x], bh[x]), ch[x]);
                low[x] = least(least(al[x], bl[x]), cl[x]);
            }
            high[-1] = high[0], low[-1] = low[0], high[w] = high[w - 1], low[w] = low[w - 1];
            const float *restrict s = share ? share + y * w : NULL;
            for (int64_t x = 0; x < w; x++) {
                const float top = most(most(high[x - 1], high[x]), high[x + 1]);
                const float bottom = least(least(low[x - 1], low[x]), low[x + 1]);
                const float part = s ? s[x] : 1.f;
                o[x] = most(least(o[x], bh[x] + part * (top - bh[x])), bl[x] + part * (bottom - bl[x]));
            }
        }
        free(memory);
    }
}

/* ------------------------------------------------------------------ joining and rounding */

/* Y, Cb, Cr: planes of (h, w) with a row every `pitch` values and a plane every `stride` -> RGB that keeps luma and hue
   (colour.join), rounded as Stack.quantise does -> pixels (h, w, 3), a row every `out_pitch` values, kind as above.
   Gives 1 where some value is no number. planes 1: grey alone -> (h, w, 1). */
API int NAME(join_round)(const float *fused, int64_t planes, int64_t h, int64_t w, int64_t pitch, int64_t stride,
                        float white, int kind, void *pixels, int64_t out_pitch, int threads) {
    int bad = 0;
#pragma omp parallel num_threads(threads) reduction(| : bad)
    {
        float *memory = malloc((size_t)(planes * w) * sizeof(float));
#pragma omp for
        for (int64_t y = 0; y < h; y++) {
            const float *restrict luma = fused + y * pitch;
            const float *restrict cb = luma + stride, *restrict cr = cb + stride;
            float *restrict a = memory, *restrict b = a + w, *restrict c = b + w;
            const float half = kind == 2 ? 0.f : 0.5001f;
            int here = 0;
            if (planes == 1)
                for (int64_t x = 0; x < w; x++) {
                    here |= !(fabsf(luma[x]) <= 3e38f);
                    a[x] = least(most(luma[x], 0.f), 1.f) * white + half;
                }
            else
                for (int64_t x = 0; x < w; x++) {
                    const float v = luma[x], dr = cr[x] * (2.f * (1.f - KR)), db = cb[x] * (2.f * (1.f - KB));
                    const float dg = -(KR * dr + KB * db) / KG;
                    here |= !(fabsf(v) <= 3e38f) | !(fabsf(dr) <= 3e38f) | !(fabsf(db) <= 3e38f);
                    const float up = most(most(most(dr, dg), db), 1e-12f);
                    const float down = most(-least(least(dr, dg), db), 1e-12f);
                    const float fit = least(least((1.f - v) / up, v / down), 1.f);
                    a[x] = least(most(v + fit * dr, 0.f), 1.f) * white + half;
                    b[x] = least(most(v + fit * dg, 0.f), 1.f) * white + half;
                    c[x] = least(most(v + fit * db, 0.f), 1.f) * white + half;
                }
            bad |= here;
            if (here) continue;
            for (int64_t k = 0; k < planes; k++) {
                const float *restrict from = memory + k * w;
                if (kind == 0) {
                    uint8_t *restrict to = (uint8_t *)pixels + y * out_pitch + k;
                    if (planes == 1)
                        for (int64_t x = 0; x < w; x++) to[x] = (uint8_t)(int32_t)from[x];
                    else if (k == 0)
                        for (int64_t x = 0; x < w; x++) {
                            to[3 * x] = (uint8_t)(int32_t)a[x];
                            to[3 * x + 1] = (uint8_t)(int32_t)b[x];
                            to[3 * x + 2] = (uint8_t)(int32_t)c[x];
                        }
                } else if (kind == 1) {
                    uint16_t *restrict to = (uint16_t *)pixels + y * out_pitch + k;
                    for (int64_t x = 0; x < w; x++) to[planes * x] = (uint16_t)(int32_t)from[x];
                } else {
                    float *restrict to = (float *)pixels + y * out_pitch + k;
                    for (int64_t x = 0; x < w; x++) to[planes * x] = from[x];
                }
            }
        }
        free(memory);
    }
    return bad;
}

/* ------------------------------------------------------------------ PNG */

/* Rows of n bytes, the row above the first, bytes a pixel -> rows of 1 + n: left, up or Paeth, whichever leaves the
   smallest sum of absolute rests, and its number before it. */
API void NAME(png_filter)(const uint8_t *rows, const uint8_t *above, int64_t h, int64_t n, int64_t step, uint8_t *out,
                          int threads) {
#pragma omp parallel num_threads(threads)
    {
        uint8_t *memory = calloc((size_t)(2 * (n + step) + 3 * n), 1); /* rows with a pixel of zeros before them */
        uint8_t *lefts = memory + step, *corners = lefts + n + step, *rest = memory + 2 * (n + step);
#pragma omp for
        for (int64_t y = 0; y < h; y++) {
            const uint8_t *restrict row = rows + y * n, *restrict up = y ? row - n : above;
            uint8_t *restrict one = rest, *restrict two = one + n, *restrict three = two + n;
            memcpy(lefts, row, (size_t)n);
            memcpy(corners, up, (size_t)n);
            int64_t cost[3] = {0, 0, 0};
            const uint8_t *restrict left = lefts - step, *restrict corner = corners - step;
            for (int64_t start = 0; start < n; start += 8192) { /* sums that fit into 32 bits */
                const int64_t stop = n - start < 8192 ? n : start + 8192;
                int32_t c1 = 0, c2 = 0, c3 = 0;
                for (int64_t x = start; x < stop; x++) {
                    const int16_t a = left[x], b = up[x], c = corner[x];
                    const int16_t da = (int16_t)(b > c ? b - c : c - b), db = (int16_t)(a > c ? a - c : c - a);
                    const int16_t both = (int16_t)(a + b - 2 * c), dc = (int16_t)(both < 0 ? -both : both);
                    const int16_t guess = (da <= db) & (da <= dc) ? a : (db <= dc ? b : c);
                    one[x] = (uint8_t)(row[x] - a);
                    two[x] = (uint8_t)(row[x] - b);
                    three[x] = (uint8_t)(row[x] - guess);
                    c1 += one[x] < 128 ? one[x] : 256 - one[x];
                    c2 += two[x] < 128 ? two[x] : 256 - two[x];
                    c3 += three[x] < 128 ? three[x] : 256 - three[x];
                }
                cost[0] += c1, cost[1] += c2, cost[2] += c3;
            }
            const int best = cost[1] < cost[0] ? (cost[2] < cost[1] ? 2 : 1) : (cost[2] < cost[0] ? 2 : 0);
            out[y * (n + 1)] = best == 2 ? 4 : (uint8_t)(best + 1);
            memcpy(out + y * (n + 1) + 1, rest + best * n, (size_t)n);
        }
        free(memory);
    }
}

/* ------------------------------------------------------------------ the network's small parts */

/* Here features are (n, h, w, channels): channels last. */

#define LANES 16 /* weights of a row are filled up to a multiple of this */
#define BLOCK 8  /* pixels gathered at a time */

/* Floats of a register: wider vectors than the processor has are kept in memory, several times slower. */
#if LEVEL == 4
#define WIDTH 16
#elif LEVEL == 3
#define WIDTH 8
#else
#define WIDTH 4
#endif
typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4)));

/* values (pixels, depth) times the first `vecs` registers of rows of weights (depth, lanes) -> out (pixels, lanes) */
static inline __attribute__((always_inline)) void product(const float *values, int64_t depth, const float *weights,
                                                          int64_t lanes, const int pixels, const int vecs, float *out) {
    vec sums[8][6];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 6
        for (int v = 0; v < vecs; v++) sums[p][v] = (vec){0};
    for (int64_t k = 0; k < depth; k++) {
        const float *row = weights + k * lanes;
#pragma GCC unroll 8
        for (int p = 0; p < pixels; p++)
#pragma GCC unroll 6
            for (int v = 0; v < vecs; v++) sums[p][v] += *(const vec *)(row + v * WIDTH) * values[p * depth + k];
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 6
        for (int v = 0; v < vecs; v++) *(vec *)(out + p * lanes + v * WIDTH) = sums[p][v];
}

/* The same of BLOCK pixels and all lanes, 16, 32 or 48: as many pixels at a time as the registers hold. */
static inline __attribute__((always_inline)) void products(const float *values, int64_t depth, const float *weights,
                                                           int64_t lanes, float *out) {
#if LEVEL == 4
#define EACH(pixels, vecs) product(values + p * depth, depth, weights, lanes, pixels, vecs, out + p * lanes)
    for (int p = 0; p < BLOCK; p += 8) {
        if (lanes == LANES) EACH(8, 1);
        else if (lanes == 2 * LANES) EACH(8, 2);
        else EACH(8, 3);
    }
#elif LEVEL == 3
#define EACH(pixels, vecs) product(values + p * depth, depth, weights, lanes, pixels, vecs, out + p * lanes)
    if (lanes == LANES)
        for (int p = 0; p < BLOCK; p += 4) EACH(4, 2);
    else if (lanes == 2 * LANES)
        for (int p = 0; p < BLOCK; p += 2) EACH(2, 4);
    else
        for (int p = 0; p < BLOCK; p += 2) EACH(2, 6);
#else
    for (int p = 0; p < BLOCK; p += 2)
        for (int64_t at = 0; at < lanes; at += LANES)
            product(values + p * depth, depth, weights + at, lanes, 2, 4, out + p * lanes + at);
#endif
#undef EACH
}

/* Mean and largest of n inputs x, a value every `step`, c of them -> mean (c) and peak (c), times `share` and added. */
static inline __attribute__((always_inline)) void gather(const float *x, int64_t n, int64_t step, int64_t c, float share,
                                                         float *restrict mean, float *restrict peak) {
    for (int64_t i = 0; i < c; i++) {
        float sum = x[i], top = x[i];
        for (int64_t k = 1; k < n; k++) {
            sum += x[k * step + i];
            top = most(top, x[k * step + i]);
        }
        mean[i] += sum * (share / (float)n);
        peak[i] += top * share;
    }
}

/* SetConv after its convolution: x (n, h, w, c), weights (2c, lanes) of mean and peak, own (n, h/stride, w/stride, cout)
   becomes relu(own + weights applied to both), with `residual` plus x. */
API void NAME(mix)(const float *x, const float *weights, float *own, int64_t n, int64_t h, int64_t w, int64_t c,
                   int64_t cout, int64_t lanes, int64_t stride, int residual, int threads) {
    const int64_t hh = h / stride, ww = w / stride, area = h * w * c;
#pragma omp parallel num_threads(threads)
    {
        float *values = malloc((size_t)(BLOCK * (2 * c + lanes)) * sizeof(float)), *shared = values + BLOCK * 2 * c;
#pragma omp for
        for (int64_t y = 0; y < hh; y++)
            for (int64_t start = 0; start < ww; start += BLOCK) {
                const int64_t count = ww - start < BLOCK ? ww - start : BLOCK;
                memset(values, 0, (size_t)(BLOCK * 2 * c) * sizeof(float));
                for (int64_t p = 0; p < count; p++) {
                    float *mean = values + p * 2 * c, *peak = mean + c;
                    const float *at = x + ((y * stride) * w + (start + p) * stride) * c;
                    for (int64_t j = 0; j < stride; j++)
                        for (int64_t i = 0; i < stride; i++)
                            gather(at + (j * w + i) * c, n, area, c, 1.f / (float)(stride * stride), mean, peak);
                }
                products(values, 2 * c, weights, lanes, shared);
                for (int64_t k = 0; k < n; k++) {
                    float *restrict o = own + ((k * hh + y) * ww + start) * cout;
                    const float *restrict skip = x + ((k * h + y) * w + start) * c;
                    for (int64_t p = 0; p < count; p++) {
                        const float *restrict s = shared + p * lanes;
                        if (residual)
                            for (int64_t i = 0; i < cout; i++)
                                o[p * cout + i] = most(o[p * cout + i] + s[i], 0.f) + skip[p * cout + i];
                        else
                            for (int64_t i = 0; i < cout; i++) o[p * cout + i] = most(o[p * cout + i] + s[i], 0.f);
                    }
                }
            }
        free(values);
    }
}

/* Head: x (n, h, w, c), weights (c, lanes) of which `maps` count -> out (n, maps, h, w): how each input's features
   differ from the mean of all, with `normalised` in features of unit size, times weights. */
API void NAME(head)(const float *x, const float *weights, int64_t n, int64_t h, int64_t w, int64_t c, int64_t maps,
                    int64_t lanes, int normalised, float *out, int threads) {
    const int64_t area = h * w;
#pragma omp parallel num_threads(threads)
    {
        float *values = malloc((size_t)(BLOCK * (c + n * lanes + lanes)) * sizeof(float));
        float *sums = values + BLOCK * c, *means = sums + BLOCK * n * lanes;
#pragma omp for
        for (int64_t start = 0; start < area; start += BLOCK) {
            const int64_t count = area - start < BLOCK ? area - start : BLOCK;
            float scale[BLOCK] = {0};
            memset(values, 0, (size_t)(BLOCK * c) * sizeof(float));
            memset(means, 0, (size_t)(BLOCK * lanes) * sizeof(float));
            for (int64_t k = 0; k < n; k++) { /* less the first input, so that equal inputs give 0 to the bit */
                const float *restrict from = x + (k * area + start) * c, *restrict first = x + start * c;
                float *restrict s = sums + k * BLOCK * lanes;
                for (int64_t p = 0; p < count; p++)
                    for (int64_t i = 0; i < c; i++) values[p * c + i] = from[p * c + i] - first[p * c + i];
                products(values, c, weights, lanes, s);
                for (int64_t i = 0; i < BLOCK * lanes; i++) means[i] += s[i] / (float)n;
                for (int64_t p = 0; normalised && p < count; p++) {
                    float size[LANES] = {0};
                    for (int64_t i = 0; i < c; i += LANES)
                        for (int64_t j = 0; j < LANES && i + j < c; j++)
                            size[j] += from[p * c + i + j] * from[p * c + i + j];
                    for (int j = 0; j < LANES; j++) scale[p] += size[j];
                }
            }
            for (int64_t p = 0; p < count; p++)
                scale[p] = normalised ? 1.f / sqrtf(scale[p] / (float)(n * c) + 1e-4f) : 1.f;
            for (int64_t k = 0; k < n; k++)
                for (int64_t m = 0; m < maps; m++) {
                    float *restrict o = out + (k * maps + m) * area + start;
                    const float *restrict s = sums + k * BLOCK * lanes + m;
                    for (int64_t p = 0; p < count; p++) o[p] = (s[p * lanes] - means[p * lanes + m]) * scale[p];
                }
        }
        free(values);
    }
}

/* A step of the decoder: skip (n, 2h, 2w, c) plus low (n, h, w, c), bilinear -> out, as skip. */
API void NAME(up_add)(const float *low, const float *skip, int64_t n, int64_t h, int64_t w, int64_t c, float *out,
                      int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *mid = malloc((size_t)(w * c) * sizeof(float));
#pragma omp for
        for (int64_t row = 0; row < n * 2 * h; row++) {
            const int64_t k = row / (2 * h), y = row % (2 * h), near = y / 2;
            const int64_t far = y % 2 ? (near < h - 1 ? near + 1 : near) : (near ? near - 1 : near);
            const float *restrict a = low + (k * h + near) * w * c, *restrict b = low + (k * h + far) * w * c;
            for (int64_t i = 0; i < w * c; i++) mid[i] = a[i] * 0.75f + b[i] * 0.25f;
            for (int64_t x = 0; x < w; x++) {
                const float *restrict here = mid + x * c;
                const float *restrict before = x ? here - c : here, *restrict after = x < w - 1 ? here + c : here;
                const float *restrict s = skip + (row * 2 * w + 2 * x) * c;
                float *restrict o = out + (row * 2 * w + 2 * x) * c;
                for (int64_t i = 0; i < c; i++) {
                    o[i] = s[i] + (here[i] * 0.75f + before[i] * 0.25f);
                    o[c + i] = s[c + i] + (here[i] * 0.75f + after[i] * 0.25f);
                }
            }
        }
        free(mid);
    }
}

/* exp for |x| up to 80 or so, relative error about 1e-7: 2^k times a polynomial, as Cephes has it. */
static inline float power_of_e(float x) {
    x = least(most(x, -87.f), 87.f);
    const float k = floorf(x * 1.44269504f + 0.5f);
    const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    union { int32_t i; float f; } two = {.i = ((int32_t)k + 127) << 23};
    return p * two.f;
}

static inline float hyperbolic(float x) { return 1.f - 2.f / (power_of_e(2.f * x) + 1.f); }

/* Logits and residuals of n inputs, rows of w values every `step` -> weights that sum to 1, rows every `to` values. */
static inline __attribute__((always_inline)) void weigh(float *restrict logits, const float *restrict residuals,
                                                        int64_t n, int64_t w, float margin, float *restrict sums,
                                                        float *out, int64_t to) {
    float *restrict top = sums, *restrict total = sums + w, *restrict mean = total + w;
    for (int64_t x = 0; x < w; x++) top[x] = logits[x], total[x] = mean[x] = 0.f;
    for (int64_t k = 1; k < n; k++)
        for (int64_t x = 0; x < w; x++) top[x] = most(top[x], logits[k * w + x]);
    for (int64_t k = 0; k < n; k++) {
        float *restrict o = out + k * to;
        for (int64_t x = 0; x < w; x++) {
            logits[k * w + x] = power_of_e(logits[k * w + x] - top[x]);
            total[x] += logits[k * w + x];
            o[x] = margin * hyperbolic(residuals[k * w + x]);
            mean[x] += o[x];
        }
    }
    for (int64_t x = 0; x < w; x++) total[x] = 1.f / total[x], mean[x] /= (float)n;
    for (int64_t k = 0; k < n; k++) {
        float *restrict o = out + k * to;
        for (int64_t x = 0; x < w; x++) o[x] += logits[k * w + x] * total[x] - mean[x];
    }
}

/* What the finest head says, maps (n, 18, h, w): 9 logits and 9 residuals, and the logit above them, coarse
   (n, h/2, w/2) -> weights of bands 2 (n, h, w), 1 and 0 (n, 2h, 2w each). logits: memory of (n, h, w). */
API void NAME(fine_weights)(const float *maps, const float *coarse, int64_t n, int64_t h, int64_t w, float limit,
                            float margin, float *logits, float *two, float *one, float *zero, int threads) {
    const int64_t area = h * w, ww = 2 * w;
#pragma omp parallel num_threads(threads)
    {
        float *memory = malloc((size_t)(2 * n * ww + 3 * ww + 2 * FULL_LINE(ww + 2)) * sizeof(float));
        float *logit = memory, *rest = logit + n * ww, *sums = rest + n * ww, *mid = sums + 3 * ww;
        float *line = mid + FULL_LINE(ww + 2);
#pragma omp for
        for (int64_t y = 0; y < h; y++) {
            for (int64_t k = 0; k < n; k++) {
                const float *restrict m = maps + k * 18 * area + y * w;
                float *restrict l = logits + k * area + y * w, *restrict here = logit + k * w;
                expand_row(coarse + k * area / 4, h / 2, w / 2, y, mid, line);
                for (int64_t x = 0; x < w; x++) l[x] = here[x] = limit * hyperbolic(m[x] / limit) + line[x];
                memcpy(rest + k * w, m + 9 * area, (size_t)w * sizeof(float));
            }
            weigh(logit, rest, n, w, margin, sums, two + y * w, area);
        }
#pragma omp for
        for (int64_t y = 0; y < 2 * h; y++)
            for (int band = 1; band >= 0; band--) {
                for (int64_t k = 0; k < n; k++) { /* 2x2 pixels are 4 maps */
                    const int64_t first = (band ? 1 : 5) + (y % 2) * 2;
                    const float *restrict a = maps + (k * 18 + first) * area + y / 2 * w, *restrict b = a + area;
                    const float *restrict ra = a + 9 * area, *restrict rb = b + 9 * area;
                    float *restrict l = logit + k * ww, *restrict r = rest + k * ww;
                    expand_row(logits + k * area, h, w, y, mid, line);
                    for (int64_t x = 0; x < w; x++) {
                        l[2 * x] = line[2 * x] + limit * hyperbolic(a[x] / limit);
                        l[2 * x + 1] = line[2 * x + 1] + limit * hyperbolic(b[x] / limit);
                        r[2 * x] = ra[x];
                        r[2 * x + 1] = rb[x];
                    }
                    if (band) continue;
                    for (int64_t x = 0; x < w; x++) { /* the finest logit adds to the one of band 1 */
                        l[2 * x] += limit * hyperbolic(a[x - 4 * area] / limit);
                        l[2 * x + 1] += limit * hyperbolic(b[x - 4 * area] / limit);
                    }
                }
                weigh(logit, rest, n, ww, margin, sums, (band ? one : zero) + y * ww, 4 * area);
            }
        free(memory);
    }
}

/* ------------------------------------------------------------------ values at places */

/* Weights of 2 (linear) or 4 (cubic) values around a place, and the index of the first of them. */
static inline __attribute__((always_inline)) int64_t taps(float at, int64_t size, int cubic, int border,
                                                          float *restrict weights) {
    if (!cubic && border) at = least(most(at, 0.f), (float)(size - 1));
    at = least(most(at, -8.f), (float)size + 8.f);
    const float low = floorf(at), t = at - low, a = -0.75f;
    if (!cubic) {
        weights[0] = 1.f - t;
        weights[1] = t;
        return (int64_t)low;
    }
    const float s = t + 1.f, u = 1.f - t, v = 2.f - t;
    weights[0] = ((a * s - 5.f * a) * s + 8.f * a) * s - 4.f * a;
    weights[1] = ((a + 2.f) * t - (a + 3.f)) * t * t + 1.f;
    weights[2] = ((a + 2.f) * u - (a + 3.f)) * u * u + 1.f;
    weights[3] = ((a * v - 5.f * a) * v + 8.f * a) * v - 4.f * a;
    return (int64_t)low - 1;
}

/* Planes (c, h, w) at `count` places, points (count, 2), x and y from -1 to 1 from outer edge to outer edge, linear or
   cubic -> out (c, count). Beyond the planes their border counts where `border` is set, else zeros. */
static inline __attribute__((always_inline)) void sample(const float *planes, int64_t c, int64_t h, int64_t w,
                                                         const float *points, int64_t count, int cubic, int border,
                                                         float *out, int threads) {
    const int size = cubic ? 4 : 2;
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        float across[4], down[4];
        int64_t columns[4], rows[4];
        const int64_t left = taps((points[2 * i] + 1.f) * ((float)w * 0.5f) - 0.5f, w, cubic, border, across);
        const int64_t top = taps((points[2 * i + 1] + 1.f) * ((float)h * 0.5f) - 0.5f, h, cubic, border, down);
        for (int k = 0; k < size; k++) {
            const int64_t x = left + k, y = top + k;
            columns[k] = x < 0 ? 0 : x < w ? x : w - 1;
            rows[k] = (y < 0 ? 0 : y < h ? y : h - 1) * w;
            if (!border && columns[k] != x) across[k] = 0.f;
            if (!border && (y < 0 || y >= h)) down[k] = 0.f;
        }
        for (int64_t p = 0; p < c; p++) {
            const float *plane = planes + p * h * w;
            float sum = 0.f;
            for (int v = 0; v < size; v++) {
                float line = 0.f;
                for (int u = 0; u < size; u++) line += plane[rows[v] + columns[u]] * across[u];
                sum += line * down[v];
            }
            out[p * count + i] = sum;
        }
    }
}

API void NAME(sample_linear)(const float *planes, int64_t c, int64_t h, int64_t w, const float *points, int64_t count,
                             int border, float *out, int threads) {
    sample(planes, c, h, w, points, count, 0, border, out, threads);
}

API void NAME(sample_cubic)(const float *planes, int64_t c, int64_t h, int64_t w, const float *points, int64_t count,
                            int border, float *out, int threads) {
    sample(planes, c, h, w, points, count, 1, border, out, threads);
}

/* ------------------------------------------------------------------ filters of a network's own */

static inline int64_t mirrored(int64_t at, int64_t size) { return at < 0 ? -at : at < size ? at : 2 * size - 2 - at; }

/* Mean of 3x3 pixels of features (count, h, w, c), borders reflected, under weights exp(logits) * window, normalised;
   logits (count, h, w, 9), window (9) -> out (count, h, w, c). h and w are at least 2. */
API void NAME(low_pass)(const float *features, const float *logits, const float *window, int64_t count, int64_t h,
                       int64_t w, int64_t c, float *out, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < count * h; row++) {
        const int64_t y = row % h;
        const float *image = features + row / h * h * w * c;
        for (int64_t x = 0; x < w; x++) {
            const float *l = logits + (row * w + x) * 9;
            float *restrict o = out + (row * w + x) * c;
            float share[9], peak = l[0], sum = 0.f;
            for (int i = 1; i < 9; i++) peak = most(peak, l[i]);
            for (int i = 0; i < 9; i++) sum += share[i] = expf(l[i] - peak) * window[i];
            for (int64_t k = 0; k < c; k++) o[k] = 0.f;
            for (int i = 0; i < 9; i++) {
                const int64_t v = mirrored(y + i / 3 - 1, h), u = mirrored(x + i % 3 - 1, w);
                const float *restrict p = image + (v * w + u) * c;
                const float part = share[i] / sum;
                for (int64_t k = 0; k < c; k++) o[k] += part * p[k];
            }
        }
    }
}
