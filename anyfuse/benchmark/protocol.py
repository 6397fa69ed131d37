"""What a table was made with, in the head of the table itself; tables of different protocols are not compared.

A score file is a CSV with one row per image and method. Its first lines start with '#' and hold the protocol as JSON.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import FusionError
from ..files import write_whole

HEAD = "# anyfuse scores 1"


@dataclass(frozen=True)
class Protocol:
    """grey: the rule for luma. inputs: 'luma' (sources become 8-bit grey before the model, as papers do) or 'colour' (the model sees the
    files, the saved result becomes grey). saving: how results become 8 bits. metrics: name -> version of the definition.
    sources: sha256 over names and contents of all source files. data: the data set's name."""

    data: str
    task: str
    sources: str
    grey: str = "opencv"
    inputs: str = "luma"
    saving: str = "8-bit, rounded half up, no stretch"
    metrics: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """Scores of one method on one image. origin: anyfuse, given (fused images of others), or the file a row was taken from."""

    image: str
    method: str
    origin: str
    values: dict[str, float]


def differences(a: Protocol, b: Protocol) -> list[str]:
    """Why two tables cannot be compared, one sentence each; shared metrics must be of one version, others don't matter."""
    out = []
    for name in ("data", "task", "sources", "grey", "inputs", "saving"):
        left, right = getattr(a, name), getattr(b, name)
        if left != right:
            out.append(f"{name} is '{_short(left)}' in one and '{_short(right)}' in the other")
    for name in sorted(a.metrics.keys() & b.metrics.keys()):
        if a.metrics[name] != b.metrics[name]:
            out.append(f"metric {name} has version {a.metrics[name]} in one and {b.metrics[name]} in the other")
    return out


def _short(text: str) -> str:
    return text if len(text) < 40 else text[:12] + "..."


def check_same(a: Protocol, b: Protocol, names: tuple[str, str]) -> None:
    """Raises FusionError that names the first difference."""
    found = differences(a, b)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise FusionError(f"{names[0]} and {names[1]} cannot be compared: {found[0]}{more}")


def hash_files(groups: dict[str, tuple[Path, ...]]) -> str:
    """sha256 over the stems and the contents of all files, in order."""
    digest = hashlib.sha256()
    for stem, paths in groups.items():
        digest.update(f"{stem} {' '.join(hashlib.sha256(p.read_bytes()).hexdigest() for p in paths)}\n".encode())
    return digest.hexdigest()


def write_scores(path: Path, protocol: Protocol, rows: Iterable[Row]) -> None:
    """The CSV with its head. NaN is written as nan, never left out."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    text = io.StringIO()
    text.write(f"{HEAD}\n# {json.dumps(asdict(protocol), sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "method", "origin", *names])
    for row in rows:
        cells = ["" if n not in row.values else format(row.values[n], ".10g") for n in names]
        writer.writerow([row.image, row.method, row.origin, *cells])
    write_whole(path, [text.getvalue().encode()], overwrite=True)


def read_scores(path: Path) -> tuple[Protocol, list[Row]]:
    """Protocol and rows of a CSV that `write_scores` wrote; a FusionError says what is wrong with another file."""
    try:
        lines = path.read_text().splitlines()
        if not lines or lines[0] != HEAD:
            raise FusionError(f"{path}: no protocol in its head, so nothing can be compared with it")
        protocol = Protocol(**json.loads(lines[1].removeprefix("# ")))
        rows = []
        for record in csv.DictReader(lines[2:]):
            image, method, origin = record.pop("image"), record.pop("method"), record.pop("origin")
            rows.append(Row(image, method, origin, {k: float(v) for k, v in record.items() if v != ""}))
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror})") from None
    except (IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, FusionError):
            raise
        raise FusionError(f"{path}: not a file of scores ({error})") from None
    return protocol, rows


PEER_COLUMNS = {
    "MI": "mi", "VIF": "vif", "Qabf": "qabf", "SSIM": "ssim", "CC": "cc", "PSNR": "psnr", "SCD": "scd", "EN": "en", "SD": "sd", "SF": "sf",
}  # fmt: skip
# AG is left out: such tables divide by H W, our `ag` as its reference by (H - 1)(W - 1).
PEER_TRIVIAL = {"Average": "average", "PixelMax": "maximum", "CopyA": "copy 1", "CopyB": "copy 2"}


def read_peers(path: Path, folder: str, ours: list[Row]) -> list[Row]:
    """Rows of other methods from a CSV with columns folder, name, method, origin and metrics (8-bit luma, two-source sums).

    Such a file has no protocol, so it is put to the test: its trivial rows must equal ours on the same images within 1e-3 relative.
    """
    try:
        records = [
            r
            for r in csv.DictReader(path.read_text().splitlines())
            if folder in (r["folder"], r["folder"].rpartition("/")[2])
        ]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise FusionError(f"{path}: not a file of peers' scores ({error})") from None
    if not records:
        raise FusionError(f"{path}: holds nothing for '{folder}'")
    mine = {(row.method, row.image): row.values for row in ours}
    tested = 0
    rows = []
    for record in records:
        values = {PEER_COLUMNS[k]: float(v) for k, v in record.items() if k in PEER_COLUMNS and v not in ("", None)}
        trivial = PEER_TRIVIAL.get(record["method"])
        if trivial is None:
            rows.append(Row(record["name"], record["method"], record["origin"], values))
            continue
        own = mine.get((trivial, record["name"]), {})
        for name in values.keys() & own.keys():
            a, b = values[name], own[name]
            if math.isfinite(a) and math.isfinite(b):
                tested += 1
                if abs(a - b) > 1e-3 * max(abs(a), abs(b)) + 1e-6:
                    raise FusionError(
                        f"{path}: another protocol: {name} of {record['method']} on {record['name']} is {a:.5g} there and {b:.5g} here"
                    )
    if not tested:
        raise FusionError(f"{path}: no image of '{folder}' is among ours, so the protocol cannot be checked")
    return rows
