"""Milliseconds per metric for one triple of 640x480 on one thread, and for the whole set with shared work.

    python experiments/metrics_speed.py [--repeat 5] [--metrics mi,vif]

Alone: the metric in a fresh call, nothing shared. In set: what it adds in a call of all plain metrics in table order.
The columns to the right are single-thread times of the original MATLAB code under Octave and of public Python ports on
another, loaded machine (+-50 %; docs/metrics.md); Octave does not compile loops, so it is slower than MATLAB.
"""

from __future__ import annotations

import argparse
import time

import torch

from anyfuse.metrics import METRICS, PLAIN, Shared

# milliseconds: Octave .m, UniFusion (torch), CDDFuse, bfliu7
OTHERS: dict[str, tuple[float | None, float | None, float | None, float | None]] = {
    "en": (2027.5, 1.9, 0.8, 5.1),
    "ce": (4145.9, None, None, 12.4),
    "mi": (2486.7, 336.4, 146.9, None),
    "mi_vifb": (4688.9, None, None, None),
    "nmi": (3616.5, 331.3, None, None),
    "te": (3733.9, None, None, None),
    "ncie": (4995.5, None, None, None),
    "psnr": (2.5, 1.2, 0.7, 3.8),
    "ag": (13.9, 1.0, 1.0, 5.4),
    "ei": (3223.3, 34.9, None, 4.5),
    "sd": (2.0, 0.1, 0.3, None),
    "sf": (1232.5, 0.8, 0.4, None),
    "qabf": (19953.3, 60.7, 65.1, 341.0),
    "qg": (101.1, None, None, None),
    "nabf": (30352.2, 116.4, None, None),
    "qm": (25.9, None, None, None),
    "qp": (3258.1, None, None, None),
    "ssim": (115.6, 121.7, 46.6, None),
    "qs": (156.7, None, None, None),
    "qw_mefb": (354.0, None, None, None),
    "qc": (85.7, None, None, None),
    "qy": (125.6, 1363.3, None, None),
    "qcb": (1328.6, 11305.1, None, 128.2),
    "qcv": (483.1, None, None, None),
    "vif": (287.1, 393.4, 1354.1, None),
    "viff": (306.0, None, None, None),
    "cc": (7.7, 1.6, 2.2, None),
    "scd": (11.2, 1.2, 2.8, None),
}


def triple(height: int = 480, width: int = 640) -> tuple[torch.Tensor, torch.Tensor]:
    """Two smooth textured sources of 8-bit levels and their rounded average."""
    generator = torch.Generator().manual_seed(0)
    layers = torch.zeros(2, height, width, dtype=torch.float64)
    for cells in (4, 16, 64, 240):
        noise = torch.randn(2, 1, cells, cells, generator=generator, dtype=torch.float64)
        size = (height, width)
        layers += torch.nn.functional.interpolate(noise, size, mode="bicubic", align_corners=False)[:, 0] / cells**0.3
    sources = (128 + 45 * layers).round().clamp(0, 255)
    return sources.mean(0).round()[None], sources[None]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:9.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="best of this many runs (default 5)")
    parser.add_argument("--metrics", default=",".join(METRICS), help="comma-separated names (default all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fused, sources = triple()

    def alone(name: str) -> float:
        best = float("inf")
        for _ in range(arguments.repeat):
            start = time.perf_counter()
            METRICS[name].function(fused, sources)
            best = min(best, time.perf_counter() - start)
        return best

    added = dict.fromkeys(PLAIN, float("inf"))
    whole = whole_cpu = float("inf")
    with torch.no_grad():
        for _ in range(arguments.repeat):
            shared = Shared(fused, sources)
            begin, begin_cpu = time.perf_counter(), time.process_time()
            for name in PLAIN:
                start = time.perf_counter()
                METRICS[name].function(fused, sources, shared)
                added[name] = min(added[name], time.perf_counter() - start)
            whole = min(whole, time.perf_counter() - begin)
            whole_cpu = min(whole_cpu, time.process_time() - begin_cpu)
        print(f"{'ms':18} {'alone':>9} {'in set':>9} | {'Octave':>9} {'UniFusion':>9} {'CDDFuse':>9} {'bfliu7':>9}")
        for name in arguments.metrics.split(","):
            others = [f"{v:9.1f}" if v is not None else " " * 9 for v in OTHERS.get(name, (None,) * 4)]
            mine = milliseconds(added[name]) if name in added else " " * 9
            print(f"{name:18} {milliseconds(alone(name))} {mine} | {' '.join(others)}")
    print(
        f"whole set of {len(PLAIN)} plain metrics in one call: {whole:.3f} s ({whole_cpu:.3f} s of CPU); "
        f"{torch.get_num_threads()} thread"
    )


if __name__ == "__main__":
    main()
