"""Light and contrast as asked, of smaller images and with other steps than `anyfuse bench --section control`, which
says what is measured:

    python experiments/control.py --model ditfuse-tiny --data DATA/test --pairs 30 --size 256 --steps 4 --out
    control.jsonl

To reach: sign 0.98, order 0.95, kept 0.85. Seven results a pair, so --pairs, --size and --steps decide on the time. Run
again with the same --out, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyfuse.benchmark.tone_control import load, run_tones


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="preset or folder of a trained DiTFuse")
    parser.add_argument("--data", required=True, type=Path, help="folder with ivif-roadscene, mef-mefb, mff-mfifb")
    parser.add_argument("--pairs", type=int, default=0, help="of all folders together, spread over them; 0: all")
    parser.add_argument("--size", type=int, default=0, help="pixels of the longer side; 0: as the files are")
    parser.add_argument("--steps", type=int, default=0, help="Euler steps; 0: the model's own")
    parser.add_argument("--branches", type=int, default=0, help="1, 2 or 3; 0: the model's own")
    parser.add_argument(
        "--untold", action="store_true", help="ask for the tone alone, without saying what the images are"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="file for the numbers of each pair, and to go on from")
    args = parser.parse_args(argv)
    fuser = load(args.model, args.device, args.steps, args.branches)
    rows, lines = run_tones(fuser, args.data, args.out, pairs=args.pairs, size=args.size, without_task=args.untold)
    print(*lines, sep="\n")
    return rows


if __name__ == "__main__":
    main()
