/* Feature mutual information of 3x3 windows (metrics/fmi.py) and phase congruency (metrics/phase.py), in double
   precision. Origin: ours. Licence: Apache-2.0.

   A window is a distribution over nine positions, columns first. As many windows as a vector has lanes are worked on at
   once. */

#include "tiles.h"

#define WIDE (LANES / 2) /* doubles in a vector */
#define SPOTS 9
#define TINY 1e-300 /* keeps the logarithm away from 0, vanishes beside any other number */

typedef double D __attribute__((vector_size(4 * LANES), aligned(4 * LANES)));
typedef int64_t L __attribute__((vector_size(4 * LANES), aligned(4 * LANES)));

INLINE D every(double x) { return (D){0} + x; }
INLINE D pick(L where, D a, D b) { return (D)((where & (L)a) | (~where & (L)b)); }
INLINE D less(D a, D b) { return pick(a < b, a, b); }
INLINE D more(D a, D b) { return pick(a > b, a, b); }

INLINE D root(D x) {
    for (int k = 0; k < WIDE; k++) x[k] = sqrt(x[k]);
    return x;
}

/* Natural logarithm of positive normal numbers, within 2 units in the last place. */
INLINE D logarithm(D x) {
    const L bits = (L)x;
    const L half = (bits & 0x000fffffffffffffLL) | 0x3fe0000000000000LL; /* 0.5 <= m < 1 */
    D m = (D)half;
    /* the exponent as a number, by its bits in the mantissa of 2^52 */
    D e = (D)((bits >> 52) | 0x4330000000000000LL) - (4503599627370496.0 + 1022.0);
    const L low = m < 0.70710678118654752440;
    m = pick(low, m + m, m);
    e = pick(low, e - 1.0, e);
    const D f = m - 1.0, s = f / (2.0 + f), z = s * s, w = z * z;
    const D even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    const D odd = z * (6.666666666666735130e-01 +
                       w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    const D r = even + odd, square = 0.5 * f * f;
    return e * 6.93147180369123816490e-01 - ((square - (s * (square + r) + e * 1.90821492927058770002e-10)) - f);
}

typedef struct {
    D p[SPOTS], cdf[SPOTS], cdf_sum, spread, entropy, square; /* square: sum p^2 - 1/9; 0 marks constant windows */
    L point;                                                  /* all mass at one position */
} Windows;

/* The windows whose left upper corners are `first` and the ones to the right of it. */
INLINE void describe(const double *first, int64_t w, Windows *restrict out) {
    D least, most, sum = every(0), mean = every(0), second = every(0), powers = every(0), peak = every(0), run = every(0);
    for (int k = 0; k < SPOTS; k++) {
        memcpy(&out->p[k], first + k % 3 * w + k / 3, sizeof(D));
        least = k ? less(least, out->p[k]) : out->p[k];
        most = k ? more(most, out->p[k]) : out->p[k];
    }
    const L flat = most == least;
    for (int k = 0; k < SPOTS; k++) {
        out->p[k] = pick(flat, every(1), out->p[k] - least);
        sum += out->p[k];
    }
    out->entropy = out->cdf_sum = every(0);
    for (int k = 0; k < SPOTS; k++) {
        const D p = out->p[k] /= sum;
        run = k ? run + p : p;
        out->cdf[k] = run;
        out->cdf_sum += run;
        mean += (k + 1.0) * p;
        second += (k + 1.0) * (k + 1.0) * p;
        powers += p * p;
        peak = more(peak, p);
        out->entropy -= logarithm(p + TINY) * p;
    }
    out->spread = root(more(second - mean * mean, every(0)));
    out->square = pick(flat, every(0), powers - 1.0 / 9);
    out->point = peak == 1.0;
}

/* 2 I / (H_S + H_F) of each pair of windows; 1 if both are constant, 0 if both are single points. */
INLINE D score(const Windows *s, const Windows *f) {
    D dot = every(0), bound = every(0), terms = every(0), partner[SPOTS], rest[SPOTS], previous[SPOTS];
    for (int k = 0; k < SPOTS; k++) dot += s->p[k] * f->p[k];
    const D norm = root(s->square * f->square);
    const L alike = norm > 0.0;
    const D correlation = pick(alike, (dot - 1.0 / 9) / pick(alike, norm, every(1)), every(0));
    const L negative = correlation < 0.0;
    /* the lower bound max(F + S - 1, 0) is F - min(F, 1 - S): one minimum serves both bounds */
    for (int j = 0; j < SPOTS; j++) {
        partner[j] = pick(negative, 1.0 - s->cdf[j], s->cdf[j]);
        for (int k = 0; k < SPOTS; k++) bound += less(f->cdf[k], partner[j]);
    }
    bound = pick(negative, 9.0 * f->cdf_sum - bound, bound);
    const D covariance = bound - f->cdf_sum * s->cdf_sum;
    const L some = covariance != 0.0;
    const D weight = pick(some, correlation * (s->spread * f->spread) / pick(some, covariance, every(1)), every(0));
    const D sign = pick(negative, -weight, weight);
    for (int k = 0; k < SPOTS; k++) {
        rest[k] = f->p[k] * (1.0 - weight);
        previous[k] = pick(negative, f->cdf[k], every(0));
    }
    for (int j = 0; j < SPOTS; j++) {
        D before = every(0);
        for (int k = 0; k < SPOTS; k++) {
            const D current = less(f->cdf[k], partner[j]), step = current - previous[k];
            const D mass = (step - before) * sign + rest[k] * s->p[j];
            terms += logarithm((D)((L)mass & INT64_MAX) + TINY) * mass;
            before = step;
            previous[k] = current;
        }
    }
    const D marginal = s->entropy + f->entropy;
    const L point = s->point & f->point, flat = (s->square == 0.0) & (f->square == 0.0);
    const D found = pick(point, every(0), 2.0 * (marginal + terms) / pick(point, every(1), marginal));
    return pick(flat, every(1), found);
}

/* maps (1 + n, h, w), the fused one first -> scores (n, h-2, w-2), and whether both windows are single points. A row is
   worked on in steps of a vector; the last one of a row begins earlier. w - 2 at least one vector. */
API int NAME(mutual_scores)(const double *maps, int64_t n, int64_t h, int64_t w, double *scores, uint8_t *points,
                            int threads) {
    const int64_t rows = h - 2, columns = w - 2;
    if (columns < WIDE) return 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t y = 0; y < rows; y++)
        for (int64_t start = 0; start < columns; start += WIDE) {
            const int64_t x = start + WIDE > columns ? columns - WIDE : start;
            Windows fused, source;
            describe(maps + y * w + x, w, &fused);
            for (int64_t k = 0; k < n; k++) {
                const int64_t at = (k * rows + y) * columns + x;
                describe(maps + ((k + 1) * h + y) * w + x, w, &source);
                const D found = score(&source, &fused);
                const L both = source.point & fused.point;
                memcpy(scores + at, &found, sizeof found);
                for (int lane = 0; lane < WIDE; lane++) points[at + lane] = both[lane] != 0;
            }
        }
    return 0;
}

/* spectrum (n complex numbers), even and odd (n) -> spectrum * even and -i * spectrum * odd. */
API int NAME(phase_filter)(const double *restrict spectrum, const double *restrict even, const double *restrict odd,
                           int64_t n, double *restrict real, double *restrict imag, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const double x = spectrum[2 * i], y = spectrum[2 * i + 1];
        real[2 * i] = x * even[i];
        real[2 * i + 1] = y * even[i];
        imag[2 * i] = y * odd[i];
        imag[2 * i + 1] = -x * odd[i];
    }
    return 0;
}

#define STEP 512 /* pixels that stay in the cache */

/* Responses of one orientation, real and imag (scales, n), and settings: threshold of noise, cutoff, gain, epsilon, cosine
   and sine of the orientation -> added to sums (5, n): energy, amplitude, and the moments xx, yy, xy. */
API int NAME(phase_energy)(const double *real, const double *imag, int64_t scales, int64_t n, const double *settings,
                           double *sums, int threads) {
    const double threshold = settings[0], cutoff = settings[1], gain = settings[2], epsilon = settings[3];
    const double xx = settings[4] * settings[4], yy = settings[5] * settings[5], xy = settings[4] * settings[5];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t start = 0; start < n; start += STEP) {
        const int64_t count = n - start < STEP ? n - start : STEP;
        double total[STEP] = {0}, most[STEP] = {0}, even[STEP] = {0}, odd[STEP] = {0}, energy[STEP], spread[STEP];
        for (int64_t s = 0; s < scales; s++) {
            const double *a = real + s * n + start, *b = imag + s * n + start;
            for (int64_t i = 0; i < count; i++) {
                const double length = sqrt(a[i] * a[i] + b[i] * b[i]);
                total[i] += length;
                most[i] = length > most[i] ? length : most[i];
                even[i] += a[i];
                odd[i] += b[i];
            }
        }
        for (int64_t i = 0; i < count; i++) {
            const double square = even[i] * even[i] + odd[i] * odd[i], length = sqrt(square) + epsilon;
            even[i] /= length;
            odd[i] /= length;
            energy[i] = square / length - threshold;
            spread[i] = total[i] / ((most[i] + epsilon) * (double)scales);
        }
        for (int64_t s = 0; s < scales; s++) {
            const double *a = real + s * n + start, *b = imag + s * n + start;
            for (int64_t i = 0; i < count; i++) energy[i] -= fabs(a[i] * odd[i] - b[i] * even[i]);
        }
        for (int64_t i = 0; i < count; i++)
            energy[i] = energy[i] > 0 ? energy[i] / (exp(-gain * (spread[i] - cutoff)) + 1) : 0;
        double *out = sums + start;
        for (int64_t i = 0; i < count; i++) {
            const double share = energy[i] / total[i], square = share * share;
            out[i] += energy[i];
            out[n + i] += total[i];
            out[2 * n + i] += square * xx;
            out[3 * n + i] += square * yy;
            out[4 * n + i] += square * xy;
        }
    }
    return 0;
}

/* planes (n, h, w) -> out: correlated along both sides with `count` taps, an odd number up to 63; zeros beyond the
   border. */
API int NAME(smooth)(const double *x, int64_t n, int64_t h, int64_t w, const double *taps, int64_t count, double *out,
                     int threads) {
    const int64_t reach = count / 2;
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        double *line = calloc((size_t)(w + 2 * reach), sizeof *line);
        if (!line) failed = 1;
#pragma omp for schedule(static)
        for (int64_t row = 0; row < n * h; row++) {
            if (!line) continue;
            const int64_t y = row % h;
            double *restrict middle = line + reach, *restrict to = out + row * w;
            memset(middle, 0, (size_t)w * sizeof *middle);
            for (int64_t k = 0; k < count; k++) {
                const int64_t from = y + k - reach;
                if (from < 0 || from >= h) continue;
                const double *source = x + (row + k - reach) * w, tap = taps[k];
                for (int64_t i = 0; i < w; i++) middle[i] += source[i] * tap;
            }
            memset(to, 0, (size_t)w * sizeof *to);
            for (int64_t k = 0; k < count; k++) {
                const double *source = line + k, tap = taps[k];
                for (int64_t i = 0; i < w; i++) to[i] += source[i] * tap;
            }
        }
        free(line);
    }
    return failed;
}
