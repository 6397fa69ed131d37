"""Slow re-implementations straight from the definitions: loops over pixels and windows, two sources, no code of
anyfuse.

They exist to check the golden values of the generated triples by a second, independent way.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def gaussian(size: int, sigma: float) -> Array:
    half = (size - 1) / 2
    w = np.array(
        [[math.exp(-((i - half) ** 2 + (j - half) ** 2) / (2 * sigma**2)) for j in range(size)] for i in range(size)]
    )
    return w / w.sum()


def windows(x: Array, size: int) -> list[Array]:
    return [x[i : i + size, j : j + size] for i in range(x.shape[0] - size + 1) for j in range(x.shape[1] - size + 1)]


def at(x: Array, i: int, j: int, border: str) -> float:
    height, width = x.shape
    if border == "zeros":
        return float(x[i, j]) if 0 <= i < height and 0 <= j < width else 0.0
    if border == "replicate":
        return float(x[min(max(i, 0), height - 1), min(max(j, 0), width - 1)])
    if border == "reflect":
        i = -i if i < 0 else 2 * height - 2 - i if i >= height else i
        j = -j if j < 0 else 2 * width - 2 - j if j >= width else j
        return float(x[i, j])
    raise KeyError(border)


def sobel(x: Array, border: str, smooth: tuple[int, int, int] = (1, 2, 1)) -> tuple[Array, Array]:
    gx, gy = np.zeros_like(x), np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            for k, w in zip((-1, 0, 1), smooth, strict=True):
                gx[i, j] += w * (at(x, i + k, j + 1, border) - at(x, i + k, j - 1, border))
                gy[i, j] += w * (at(x, i + 1, j + k, border) - at(x, i - 1, j + k, border))
    return gx, gy


# information


def joint(x: Array, y: Array) -> dict[tuple[int, int], float]:
    counts: dict[tuple[int, int], int] = {}
    for u, v in zip(x.astype(int).ravel(), y.astype(int).ravel(), strict=True):
        counts[(int(u), int(v))] = counts.get((int(u), int(v)), 0) + 1
    return {key: c / x.size for key, c in counts.items()}


def single(x: Array) -> dict[int, float]:
    return {u: p for (u, _), p in joint(x, x).items()}


def entropy(p: dict) -> float:
    return -sum(v * math.log2(v) for v in p.values())


def mutual(x: Array, y: Array) -> float:
    return entropy(single(x)) + entropy(single(y)) - entropy(joint(x, y))


def en(a: Array, b: Array, f: Array) -> float:
    return entropy(single(f))


def mi(a: Array, b: Array, f: Array) -> float:
    return mutual(a, f) + mutual(b, f)


def nmi(a: Array, b: Array, f: Array) -> float:
    return 2 * sum(mutual(s, f) / (entropy(single(s)) + entropy(single(f))) for s in (a, b))


def ce(a: Array, b: Array, f: Array) -> float:
    q = single(f)
    return 0.5 * sum(p * math.log2(p / q[u]) for s in (a, b) for u, p in single(s).items() if u in q)


def te(a: Array, b: Array, f: Array) -> float:
    def pair(s: Array) -> float:
        ps, pf, q = single(s), single(f), 1.85
        return (1 - sum(h**q / (ps[u] * pf[v]) ** (q - 1) for (u, v), h in joint(s, f).items())) / (1 - q)

    return pair(a) + pair(b)


def ncie(a: Array, b: Array, f: Array) -> float:
    images = (a, b, f)
    r = np.array([[1.0 if x is y else mutual(x, y) / 8 for y in images] for x in images])
    return 1 + sum(v / 3 * math.log(v / 3, 256) for v in np.linalg.eigvalsh(r))


def fmi_windows(a: Array, b: Array, f: Array) -> float:
    """Mean over windows and sources; identical windows 1, two single points else 0."""

    def distribution(w: Array) -> list[float]:
        v = [float(w[i, j]) for j in range(3) for i in range(3)]
        low, high = min(v), max(v)
        v = [(u - low) / (high - low) for u in v] if high > low else [1.0] * 9
        return [u / sum(v) for u in v]

    def h(p: list[float]) -> float:
        return -sum(v * math.log2(abs(v)) for v in p if v != 0)

    def pair(s: Array, g: Array) -> float:
        if (s == g).all():
            return 1.0
        p, q = distribution(s), distribution(g)
        if max(p) == 1 and max(q) == 1:
            return 0.0
        if min(p) == max(p) and min(q) == max(q):
            return 1.0
        cp = [sum(p[: k + 1]) for k in range(9)]
        cq = [sum(q[: k + 1]) for k in range(9)]
        mp, mq = (sum((k + 1) * v for k, v in enumerate(d)) for d in (p, q))
        sp, sq = (
            math.sqrt(max(0.0, sum((k + 1 - m) ** 2 * v for k, v in enumerate(d)))) for d, m in ((p, mp), (q, mq))
        )
        vp, vq = sum((v - 1 / 9) ** 2 for v in p), sum((v - 1 / 9) ** 2 for v in q)
        constant = min(p) == max(p) or min(q) == max(q)
        c = 0.0 if constant else sum((u - 1 / 9) * (v - 1 / 9) for u, v in zip(p, q, strict=True)) / math.sqrt(vp * vq)

        def bound(i: int, j: int) -> float:
            if i < 0 or j < 0:
                return 0.0
            return min(cq[i], cp[j]) if c >= 0 else max(cq[i] + cp[j] - 1, 0)

        covariance = sum(bound(i, j) - cq[i] * cp[j] for i in range(9) for j in range(9))
        phi = 0.0 if c == 0 or sp == 0 or sq == 0 else c / (covariance / (sp * sq))
        cells = [
            phi * (bound(i, j) - bound(i - 1, j) - bound(i, j - 1) + bound(i - 1, j - 1)) + (1 - phi) * q[i] * p[j]
            for i in range(9)
            for j in range(9)
        ]
        return 2 * (h(p) + h(q) - h(cells)) / (h(p) + h(q))

    pairs = [pair(s, g) for x in (a, b) for s, g in zip(windows(x, 3), windows(f, 3), strict=True)]
    return math.fsum(pairs) / len(pairs)


def fmi_gradient(a: Array, b: Array, f: Array) -> float:
    return fmi_windows(*(np.gradient(x, axis=1) for x in (a, b, f)))


def fmi_edge(a: Array, b: Array, f: Array) -> float:
    def edges(x: Array) -> Array:
        gx, gy = (abs(g) / 8 for g in sobel(x, "replicate"))
        square = gx * gx + gy * gy
        cut = 4 * square.mean()
        wide = np.pad(square, 1, constant_values=-1.0)
        out = np.zeros_like(x)
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                here = square[i, j]
                across = gx[i, j] >= gy[i, j] - 2.2e-14 and wide[i + 1, j] <= here > wide[i + 1, j + 2]
                down = gy[i, j] >= gx[i, j] - 2.2e-14 and wide[i, j + 1] <= here > wide[i + 2, j + 1]
                out[i, j] = here > cut and (across or down)
        return out

    return fmi_windows(edges(a), edges(b), edges(f))


def fmi_dct(a: Array, b: Array, f: Array) -> float:
    def matrix(n: int) -> Array:
        scale = [math.sqrt((1 if k == 0 else 2) / n) for k in range(n)]
        return np.array(
            [[scale[k] * math.cos(math.pi * k * (2 * i + 1) / (2 * n)) for i in range(n)] for k in range(n)]
        )

    return fmi_windows(*(matrix(x.shape[0]) @ x @ matrix(x.shape[1]).T for x in (a, b, f)))


# detail


def ag(a: Array, b: Array, f: Array) -> float:
    gy, gx = np.gradient(f)
    return float(np.sqrt((gx**2 + gy**2) / 2).sum()) / ((f.shape[0] - 1) * (f.shape[1] - 1))


def ei(a: Array, b: Array, f: Array) -> float:
    gx, gy = sobel(f, "replicate")
    return float(np.hypot(gx, gy).mean())


def sd(a: Array, b: Array, f: Array) -> float:
    return math.sqrt(math.fsum((v - f.mean()) ** 2 for v in f.ravel()) / f.size)


def sf(a: Array, b: Array, f: Array) -> float:
    return math.sqrt((np.diff(f, axis=0) ** 2).mean() + (np.diff(f, axis=1) ** 2).mean())


def qsf(a: Array, b: Array, f: Array) -> float:
    def frequency(images: list[Array]) -> float:
        total = 0.0
        for di, dj, w in ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.5**0.5), (1, -1, 0.5**0.5)):
            for i in range(f.shape[0] - di):
                for j in range(max(0, -dj), f.shape[1] - max(0, dj)):
                    total += w * max(abs(x[i + di, j + dj] - x[i, j]) for x in images) ** 2
        return math.sqrt(total / f.size)

    return frequency([f]) / frequency([a, b]) - 1


# edges


def angle(gx: float, gy: float) -> float:
    return math.pi / 2 if gx == 0 else math.atan(-gy / gx)


def qabf(a: Array, b: Array, f: Array) -> float:
    gradients = [sobel(x, "zeros") for x in (a, b, f)]
    top = bottom = 0.0
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            g = [math.hypot(gx[i, j], gy[i, j]) for gx, gy in gradients]
            t = [angle(gx[i, j], gy[i, j]) for gx, gy in gradients]
            for k in (0, 1):
                ratio = g[2] if g[k] == g[2] else min(g[k], g[2]) / max(g[k], g[2])
                turn = 1 - abs(t[k] - t[2]) / (math.pi / 2)
                q = 0.9994 / (1 + math.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + math.exp(-22 * (turn - 0.8)))
                top += q * g[k]
                bottom += g[k]
    return top / bottom


def petrovic(a: Array, b: Array, f: Array) -> tuple[float, float]:
    gradients = [tuple(g / 8 for g in sobel(x, "reflect")) for x in (a, b, f)]
    added = lost = total = 0.0
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            g = [math.hypot(gx[i, j], gy[i, j]) for gx, gy in gradients]
            t = [angle(gx[i, j], gy[i, j]) for gx, gy in gradients]
            missing = 0.0
            for k in (0, 1):
                ratio = 0.0 if 0 in (g[k], g[2]) else min(g[k], g[2]) / max(g[k], g[2])
                turn = abs(abs(t[k] - t[2]) - math.pi / 2) / (math.pi / 2)
                q = 0.9999 / (1 + math.exp(-19 * (ratio - 0.5))) * 0.9995 / (1 + math.exp(-22 * (turn - 0.5)))
                w = g[k] ** 1.5 if g[k] >= 2 else 0.001
                missing += (1 - math.sqrt(q)) * w
                total += w
            if g[2] > g[0] and g[2] > g[1]:
                added += missing
            else:
                lost += missing
    return added / total, lost / total


def nabf(a: Array, b: Array, f: Array) -> float:
    return petrovic(a, b, f)[0]


def labf(a: Array, b: Array, f: Array) -> float:
    return petrovic(a, b, f)[1]


def qm(a: Array, b: Array, f: Array) -> float:
    def haar(x: Array) -> tuple[Array, list[Array]]:
        bands = [np.zeros((x.shape[0] // 2, x.shape[1] // 2)) for _ in range(4)]
        for i in range(x.shape[0] // 2):
            for j in range(x.shape[1] // 2):
                p, q, r, s = x[2 * i, 2 * j], x[2 * i, 2 * j + 1], x[2 * i + 1, 2 * j], x[2 * i + 1, 2 * j + 1]
                for band, v in zip(bands, (p + q + r + s, p - q + r - s, p + q - r - s, p - q - r + s), strict=True):
                    band[i, j] = v / 2
        return bands[0], bands[1:]

    product, low = 1.0, [a, b, f]
    for power in (2 / 3, 1 / 3):
        levels = [haar(x) for x in low]
        low = [level[0] for level in levels]
        top = bottom = 0.0
        for k in (0, 1):
            kept = sum(np.exp(-abs(d - e)) for d, e in zip(levels[k][1], levels[2][1], strict=True))
            energy = sum(d * d for d in levels[k][1])
            top, bottom = top + float((kept * energy).sum()), bottom + float(energy.sum())
        product *= (top / bottom) ** power
    return product


# structure


def moments(x: Array, y: Array, w: Array) -> tuple[float, float, float, float, float]:
    mx, my = float((w * x).sum()), float((w * y).sum())
    vx, vy = float((w * (x - mx) ** 2).sum()), float((w * (y - my) ** 2).sum())
    return mx, my, vx, vy, float((w * (x - mx) * (y - my)).sum())


def similarity(x: Array, y: Array, w: Array, c1: float, c2: float) -> float:
    mx, my, vx, vy, cov = moments(x, y, w)
    return (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


C1, C2 = 2.55**2, 7.65**2


def local(a: Array, b: Array, f: Array, w: Array) -> list[tuple[Array, Array, Array]]:
    size = len(w)
    return list(zip(windows(a, size), windows(b, size), windows(f, size), strict=True))


def ssim(a: Array, b: Array, f: Array) -> float:
    w = gaussian(11, 1.5)
    return float(np.mean([similarity(s, z, w, C1, C2) for x, y, z in local(a, b, f, w) for s in (x, y)]))


def piella(a: Array, b: Array, f: Array) -> tuple[float, float]:
    w = gaussian(11, 1.5)
    qualities, saliencies = [], []
    for x, y, z in local(a, b, f, w):
        _, _, vx, vy, _ = moments(x, y, w)
        share = vx / (vx + vy)
        qualities.append(share * similarity(x, z, w, C1, C2) + (1 - share) * similarity(y, z, w, C1, C2))
        saliencies.append(max(vx, vy))
    q, s = np.array(qualities), np.array(saliencies)
    return float(q.mean()), float((q * s).sum() / s.sum())


def qs(a: Array, b: Array, f: Array) -> float:
    return piella(a, b, f)[0]


def qw(a: Array, b: Array, f: Array) -> float:
    return piella(a, b, f)[1]


def qe(a: Array, b: Array, f: Array) -> float:
    edges = [np.hypot(*sobel(x, "zeros", (1, 1, 1))) for x in (a, b, f)]
    return qw(a, b, f) * qw(*edges)


def qc(a: Array, b: Array, f: Array) -> float:
    w, values = gaussian(7, 1.5), []
    for x, y, z in local(a, b, f, w):
        ca, cb = moments(x, z, w)[4], moments(y, z, w)[4]
        share = min(max(ca / (ca + cb), 0.0), 1.0)
        values.append(share * similarity(x, z, w, 2e-16, 2e-16) + (1 - share) * similarity(y, z, w, 2e-16, 2e-16))
    return float(np.mean(values))


def qy(a: Array, b: Array, f: Array) -> float:
    w, values = gaussian(7, 1.5), []
    for x, y, z in local(a, b, f, w):
        _, _, vx, vy, _ = moments(x, y, w)
        sx, sy = similarity(x, z, w, 2e-16, 2e-16), similarity(y, z, w, 2e-16, 2e-16)
        share = vx / (vx + vy)
        values.append(share * sx + (1 - share) * sy if similarity(x, y, w, 2e-16, 2e-16) >= 0.75 else max(sx, sy))
    return float(np.mean(values))


def mef_ssim(a: Array, b: Array, f: Array) -> float:
    """Patch by patch, the ideal patch formed explicitly."""
    w, product, eps = gaussian(11, 1.5), 1.0, 2.0**-52
    weights = np.array((0.0448, 0.2856, 0.3001))
    for power in weights / weights.sum():
        values = []
        for x, y, z in local(a, b, f, w):
            parts = [x - x.mean(), y - y.mean()]
            strengths = [float(np.linalg.norm(p)) for p in parts]
            ratio = (np.linalg.norm(parts[0] + parts[1]) + eps) / (sum(strengths) + eps)
            ratio = min(max(float(ratio), eps), 1 - eps)
            p = min(math.tan(math.pi / 2 * ratio), 10.0)
            strengths = [s + 0.001 for s in strengths]
            shares = np.array([(s / 11) ** p + eps for s in strengths])
            shares /= shares.sum()
            ideal = sum(share * part / s for share, part, s in zip(shares, parts, strengths, strict=True))
            norm = float(np.linalg.norm(ideal))
            if norm > 0:
                ideal = ideal * max(strengths) / norm
            _, _, vi, vz, cov = moments(ideal, z, w)
            values.append((2 * cov + C2) / (vi + vz + C2))
        product *= float(np.mean(values)) ** power

        def half(x: Array) -> Array:
            x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2)), mode="symmetric")
            return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4

        a, b, f = half(a), half(b), half(f)
    return product


# perception


def vif_scales(s: Array, f: Array, noise: float) -> list[tuple[Array, Array, Array]]:
    """Per scale: gains, information of the fused image, information of the source (log10)."""
    out = []
    for scale, size in enumerate((17, 9, 5, 3)):
        w = gaussian(size, size / 5)
        if scale:
            shape = (s.shape[0] - size + 1, s.shape[1] - size + 1)
            s, f = (np.array([(w * p).sum() for p in windows(x, size)]).reshape(shape)[::2, ::2] for x in (s, f))
        rows = []
        for x, z in zip(windows(s, size), windows(f, size), strict=True):
            _, _, vx, vz, cov = moments(x, z, w)
            g = cov / (vx + 1e-10)
            rest = vz - g * cov
            if vx < 1e-10:
                g, rest, vx = 0.0, vz, 0.0
            if vz < 1e-10:
                g, rest = 0.0, 0.0
            if g < 0:
                g, rest = 0.0, vz
            rest = max(rest, 1e-10)
            rows.append((g, math.log10(1 + g * g * vx / (rest + noise)), math.log10(1 + vx / noise)))
        g, top, bottom = np.array(rows).T
        out.append((g, top, bottom))
    return out


def vif(a: Array, b: Array, f: Array) -> float:
    total = 0.0
    for s in (a, b):
        scales = vif_scales(s, f, 2.0)
        total += sum(t.sum() for _, t, _ in scales) / sum(d.sum() for _, _, d in scales)
    return total


def viff(a: Array, b: Array, f: Array) -> float:
    total = 0.0
    noise = 0.005 * 255 * 255
    for first, second, p in zip(vif_scales(a, f, noise), vif_scales(b, f, noise), (1, 0, 0.15, 1), strict=True):
        pick = first[0] < second[0]
        top, bottom = (np.where(pick, first[k], second[k]) + 1e-7 for k in (1, 2))
        total += p * top.sum() / bottom.sum()
    return total / 2.15


def stretched(x: Array) -> Array:
    return np.floor((x - x.min()) / (x.max() - x.min()) * 255 + 0.5)


def filtered(x: Array, divisor: float, response: Callable[[Array], Array]) -> Array:
    """Image through a radial frequency response, by the discrete Fourier sums as matrices."""
    height, width = x.shape

    def axis(n: int) -> Array:
        return np.array([(2 * k if k < (n + 1) // 2 else 2 * (k - n)) / n for k in range(n)])

    def dft(n: int) -> npt.NDArray[np.complex128]:
        return np.array(
            [[complex(math.cos(t), -math.sin(t)) for t in 2 * math.pi * k * np.arange(n) / n] for k in range(n)]
        )

    v, u = axis(height) * height / divisor, axis(width) * width / divisor
    r = np.sqrt(v[:, None] ** 2 + u[None] ** 2)
    rows, columns = dft(height), dft(width)
    spectrum = rows @ x @ columns.T * response(r)
    return (rows.conj().T @ spectrum @ columns.conj()).real / x.size


def qcb(a: Array, b: Array, f: Array) -> float:
    def masked(x: Array) -> Array:
        x = filtered(
            stretched(x / 255), 30, lambda r: np.exp(-((r / 15.387) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
        )
        out = np.zeros_like(x)
        wide = np.pad(x, 15)
        k = np.arange(-15, 16)
        kernels = [np.exp(-(k[:, None] ** 2 + k[None] ** 2) / (2 * s * s)) / (2 * math.pi * s * s) for s in (2.0, 4.0)]
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                part = wide[i : i + 31, j : j + 31]
                c = abs((kernels[0] * part).sum() / (kernels[1] * part).sum() - 1)
                out[i, j] = c**3 / (c**2 + 1e-4)
        return out

    ma, mb, mf = masked(a), masked(b), masked(f)
    quality = sum(m * m * np.minimum(m, mf) / np.maximum(m, mf) for m in (ma, mb)) / (ma**2 + mb**2)
    return float(quality.mean())


def qcv(a: Array, b: Array, f: Array) -> float:
    top = bottom = 0.0
    for s in (a, b):
        g = np.hypot(*sobel(stretched(s), "zeros"))

        def response(r: Array) -> Array:
            return 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1))

        d = filtered(stretched(s) - stretched(f), 8, response)
        for i in range(0, f.shape[0], 16):
            for j in range(0, f.shape[1], 16):
                weight = (g[i : i + 16, j : j + 16] ** 5).sum()
                top += weight * (d[i : i + 16, j : j + 16] ** 2).sum() / 256
                bottom += weight
    return top / bottom


# fidelity


def mse(a: Array, b: Array, f: Array) -> float:
    return float((((a - f) ** 2).mean() + ((b - f) ** 2).mean()) / 2)


def psnr(a: Array, b: Array, f: Array) -> float:
    return 10 * math.log10(255**2 / mse(a, b, f))


def pearson(x: Array, y: Array) -> float:
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


def cc(a: Array, b: Array, f: Array) -> float:
    return (pearson(a, f) + pearson(b, f)) / 2


def scd(a: Array, b: Array, f: Array) -> float:
    return pearson(f - b, a) + pearson(f - a, b)


def halo(a: Array, b: Array, f: Array) -> float:
    total = 0.0
    for s in (4, 8, 16):
        k = np.arange(-4 * s, 4 * s + 1)
        w = np.exp(-(k**2) / (2 * s * s))
        w /= w.sum()
        steep = []
        for x in (a, b, f):
            rows = np.array([np.convolve(row, w, "valid") for row in np.pad(x, 4 * s, mode="symmetric")])
            smooth = np.array([np.convolve(column, w, "valid") for column in rows.T]).T
            p = np.pad(smooth, 1, mode="edge")
            steep.append(np.hypot((p[1:-1, 2:] - p[1:-1, :-2]) / 2, (p[2:, 1:-1] - p[:-2, 1:-1]) / 2))
        most = np.maximum(steep[0], steep[1])
        total += np.maximum(0, steep[2] - most).sum() / most.sum()
    return float(total / 3)


LITERAL: dict[str, Callable[[Array, Array, Array], float]] = {
    "en": en,
    "ce": ce,
    "mi": mi,
    "nmi": nmi,
    "te": te,
    "ncie": ncie,
    "fmi_pixel": fmi_windows,
    "fmi_gradient": fmi_gradient,
    "fmi_edge": fmi_edge,
    "fmi_dct": fmi_dct,
    "ag": ag,
    "ei": ei,
    "sd": sd,
    "sf": sf,
    "qsf": qsf,
    "qabf": qabf,
    "nabf": nabf,
    "labf": labf,
    "qm": qm,
    "ssim": ssim,
    "qs": qs,
    "qw": qw,
    "qe": qe,
    "qc": qc,
    "qy": qy,
    "mef_ssim": mef_ssim,
    "vif": vif,
    "viff": viff,
    "qcb": qcb,
    "qcv": qcv,
    "mse": mse,
    "psnr": psnr,
    "cc": cc,
    "scd": scd,
    "halo": halo,
}
