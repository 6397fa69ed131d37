"""Seconds of TITA's per-pixel attention as written here and as a direct reading of the paper: python
experiments/tita_ipa.py [--side 128]

Direct: two keys for every pixel through nn.MultiheadAttention, with height times width as its batch. Both have the same
weights, and the largest difference of their results is printed. One thread unless OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from anyfuse.models.tita.tita import IPA, TITAConfig
from anyfuse.runtime import keep_memory


def direct(ipa: IPA, config: TITAConfig) -> Callable[[Tensor, Tensor], list[Tensor]]:
    heads = []
    for source in ipa.attend:
        mha = nn.MultiheadAttention(config.channels, config.heads).eval()
        mha.load_state_dict(source.state_dict())
        heads.append(mha)

    def run(x: Tensor, y: Tensor) -> list[Tensor]:
        out = []
        for i, (own, other) in enumerate(((x, y), (y, x))):
            phi = ipa.gate(torch.cat([own, other], -1)).softmax(-1)
            keys = torch.stack([ipa.noise_k[i] + own - own * phi, ipa.noise_v[i] + own + own * phi])
            found = heads[i](own[None], keys, torch.stack([own, other]), need_weights=False)[0]
            out.append(own + found[0])
        return out

    return run


def seconds(run: Callable[[Tensor, Tensor], object], x: Tensor, y: Tensor, repeats: int) -> float:
    run(x, y)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(x, y)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=128, help="pixels of height and width")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    keep_memory()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for channels in (60, 24):
        config = TITAConfig(channels=channels)
        ipa = IPA(config).eval()
        naive = direct(ipa, config)
        x, y = torch.randn(2, args.side**2, channels).unbind(0)
        apart = max(float((a - b).abs().max()) for a, b in zip(ipa(x, y), naive(x, y), strict=True))
        ours, theirs = seconds(ipa, x, y, args.repeats), seconds(naive, x, y, args.repeats)
        print(
            f"C={channels} {args.side}x{args.side}: {ours:.4f} s, direct {theirs:.4f} s, "
            f"{theirs / ours:.1f} times as long, largest difference {apart:.1e}"
        )


if __name__ == "__main__":
    main()
