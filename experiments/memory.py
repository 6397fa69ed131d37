"""Peak memory of the default model's two stages, to set `working_bytes` and `context_bytes`: python
experiments/memory.py [MODEL]
"""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource, sys, torch
from anyfuse.models import build_model
stage, model, n, planes, side = sys.argv[1], build_model(sys.argv[2]).eval(), *map(int, sys.argv[3:])
model.to(memory_format=torch.channels_last)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with torch.inference_mode():
    def run(side):
        x = torch.rand(1, n, planes, side, side)
        if model.context_scale is None: model(x); return
        r = model.reduce(x)
        if stage == "context": model.context(torch.rand(1, n, r.shape[2], side, side)); return
        model(x, model.context(r)); model.weights(x, model.context(r))
    run(64); before = peak(); run(side)
print((peak() - before) / side**2 / n)
"""


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "anyfuse"
    for stage, side in (("tile", 1024), ("context", 512)):
        for n, planes in ((2, 1), (2, 3), (4, 1), (8, 1)):
            command = [sys.executable, "-c", SCRIPT, stage, model, str(n), str(planes), str(side)]
            print(stage, f"n={n} planes={planes}", "bytes per pixel and source:", end=" ", flush=True)
            print(round(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)))


if __name__ == "__main__":
    main()
