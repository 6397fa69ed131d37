"""How well faults are found in images of other data sets than those of training.

    python experiments/estimate.py TEST

TEST holds the data sets of the recipe of degraded pairs (docs/degradations.md). Of all their pairs, as they are: alarms
per image and tasks guessed right. Of the recipe's cases: of each operation alone, how often it is found where it is,
and how often something is assumed that is not there. The estimator gets the pair and nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from anyfuse.benchmark.datasets import find_groups
from anyfuse.benchmark.degraded.cases import BUILT_IN, SETS, clean_frames, degraded_frames, read_recipe
from anyfuse.degradation.estimator import estimate_stack
from anyfuse.degradation.plan import FAULT_OF
from anyfuse.image.stack import Stack
from anyfuse.io.read import read_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| clean pairs | images | with an alarm | task right |\n| --- | ---: | ---: | ---: |")
    groups = {name: find_groups(given.data / name, task)[0] for name, task in SETS.items()}
    for name, task in SETS.items():
        alarms, right, kinds = 0, 0, []
        for paths in groups[name].values():
            found = estimate_stack(Stack(tuple(read_image(path) for path in paths)))
            alarms += sum(any(fault.assumed for fault in faults.values()) for faults in found.images)
            kinds += [one["fault"] for one in found.assumed()]
            right += found.task == task
        count = len(groups[name])
        listed = ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(set(kinds)))
        print(f"| {name} | {2 * count} | {alarms} {f'({listed})' if listed else ''} | {right} of {count} |", flush=True)
    recipe = read_recipe(BUILT_IN)
    table: dict[str, list[int]] = {}
    for case in recipe.cases:
        clean = clean_frames(case, groups[case.data][case.pair], recipe)
        found = estimate_stack(Stack(degraded_frames(case, clean)[0]))
        row = table.setdefault(case.kind, [0, 0, 0, 0])
        row[3] += found.task == case.task
        row.append(1)
        said = {(one["image"], one["fault"]) for one in found.assumed()}
        present = {(k, FAULT_OF.get(step.op, step.op)) for k, plan in enumerate(case.plans) for step in plan}
        for at, value in enumerate((len(present), len(said & present), len(said - present))):
            row[at] += value
    print("\n| recipe | there | found | assumed, but not there | task right |\n| --- | ---: | ---: | ---: | ---: |")
    for kind, (there_n, hit, wrong, right, *cases) in table.items():
        print(f"| {kind} | {there_n} | {hit} | {wrong} | {right} of {len(cases)} |")


if __name__ == "__main__":
    main()
