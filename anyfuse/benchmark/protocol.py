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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..errors import FusionError
from ..io.atomic import write_whole

HEAD = "# anyfuse scores 1"


@dataclass(frozen=True)
class Protocol:
    """grey: the rule for luma. inputs: 'luma' (sources become 8-bit grey before the model, as papers do) or 'colour'
    (the model sees the files, the saved result becomes grey). saving: how results become 8 bits. metrics: name ->
    version of the definition. sources: sha256 over names and contents of all source files, whether they were fused or
    not. data: the data set's name.
    """

    data: str
    task: str
    sources: str
    grey: str = "opencv"
    inputs: str = "luma"
    saving: str = "8-bit, rounded half up, no stretch"
    metrics: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """Scores of one method on one image. origin: 'anyfuse' or 'given' (images of others), each with a hash; 'trivial';
    or a peer's own.
    """

    image: str
    method: str
    origin: str
    values: dict[str, float]


def differences(a: Protocol, b: Protocol) -> list[str]:
    """Why two tables cannot be compared, one sentence each; shared metrics must be of one version, others don't
    matter.
    """
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
    reasons = differences(a, b)
    if reasons:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise FusionError(f"{names[0]} and {names[1]} cannot be compared: {reasons[0]}{more}")


def hash_files(groups: dict[str, tuple[Path, ...]]) -> str:
    """sha256 over the stems and the contents of all files, in order."""
    digest = hashlib.sha256()
    for stem, paths in groups.items():
        digest.update(f"{stem} {' '.join(hashlib.sha256(p.read_bytes()).hexdigest() for p in paths)}\n".encode())
    return digest.hexdigest()


def write_scores(path: Path, protocol: Protocol, rows: Iterable[Row]) -> None:
    """The CSV with its head, all digits kept. NaN is written as nan, never left out."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    text = io.StringIO()
    text.write(f"{HEAD}\n# {json.dumps(asdict(protocol), sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "method", "origin", *names])
    for row in rows:
        cells = ["" if n not in row.values else repr(row.values[n]) for n in names]
        writer.writerow([row.image, row.method, row.origin, *cells])
    write_whole(path, [text.getvalue().encode(errors="backslashreplace")], overwrite=True)


def read_scores(path: Path) -> tuple[Protocol, list[Row]]:
    """Protocol and rows of a CSV that `write_scores` wrote; a FusionError says what is wrong with another file."""
    lines = _lines(path)
    if not lines or lines[0] != HEAD:
        raise FusionError(f"{path}: no protocol in its head, so nothing can be compared with it")
    try:
        protocol = _protocol(json.loads(lines[1].removeprefix("# ")))
        rows = []
        for record in csv.DictReader(lines[2:], strict=True):
            image, method, origin = record.pop("image"), record.pop("method"), record.pop("origin")
            rows.append(Row(image, method, origin, {k: float(v) for k, v in record.items() if v != ""}))
    except (IndexError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise FusionError(f"{path}: not a file of scores ({error})") from None
    unnamed = {name for row in rows for name in row.values} - protocol.metrics.keys()
    if unnamed:
        raise FusionError(f"{path}: no version of {', '.join(sorted(unnamed))} in its head; score the images again")
    return protocol, rows


def _protocol(content: object) -> Protocol:
    """The protocol of a head; a TypeError or ValueError where a field is missing, unknown or not text."""
    if not isinstance(content, dict):
        raise ValueError("its head is no JSON object")
    protocol = Protocol(**content)
    texts = [v for k, v in vars(protocol).items() if k != "metrics"]
    if not isinstance(protocol.metrics, dict):
        raise ValueError("'metrics' in its head must map names to versions")
    if not all(isinstance(v, str) for v in (*texts, *protocol.metrics.values())):
        raise ValueError("a field of its head is not text")
    return protocol


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except ValueError:
        raise FusionError(f"{path}: not a text file; give a CSV of scores") from None


PEER_COLUMNS = {
    "MI": "mi",
    "VIF": "vif",
    "Qabf": "qabf",
    "SSIM": "ssim",
    "CC": "cc",
    "PSNR": "psnr",
    "SCD": "scd",
    "EN": "en",
    "SD": "sd",
    "SF": "sf",
}
# AG is left out: such tables divide by H W, our `ag` as its reference by (H - 1)(W - 1).
PEER_TRIVIAL = {"Average": "average", "PixelMax": "maximum", "CopyA": "copy 1", "CopyB": "copy 2"}


def read_peers(path: Path, folder: str) -> list[Row]:
    """Rows of other methods on one data set, from a CSV with columns folder, name, method, origin and metrics (8-bit
    luma).
    """
    reader = csv.DictReader(_lines(path))
    needed = ("folder", "name", "method", "origin")
    missing = [c for c in needed if c not in (reader.fieldnames or ())]
    if missing:
        raise FusionError(f"{path}: not a file of peers' scores: no column {', '.join(missing)}")
    rows = []
    try:
        for record in reader:
            if None in record.values() or None in record:
                raise FusionError(f"{path}: line {reader.line_num} has another number of cells than the first line")
            if folder not in (record["folder"], record["folder"].rpartition("/")[2]):
                continue
            values = {PEER_COLUMNS[k]: float(v) for k, v in record.items() if k in PEER_COLUMNS and v != ""}
            rows.append(Row(record["name"], record["method"], record["origin"], values))
    except (ValueError, csv.Error) as error:
        if isinstance(error, FusionError):
            raise
        raise FusionError(f"{path}: line {reader.line_num}: {error}; give numbers") from None
    if not rows:
        raise FusionError(f"{path}: holds nothing for '{folder}'")
    return rows


def check_peers(path: Path, peers: list[Row], ours: list[Row]) -> list[Row]:
    """The peers' rows without trivial ones, with the metrics that could be tested, on our images.

    Such a file has no protocol, so it is put to the test: its trivial rows must equal ours on the same images within
    1e-3 relative.
    """
    mine = {(row.method, row.image): row.values for row in ours}
    tested: set[str] = set()
    for row in peers:
        own = mine.get((PEER_TRIVIAL.get(row.method, ""), row.image), {})
        for name in row.values.keys() & own.keys():
            a, b = row.values[name], own[name]
            if math.isfinite(a) and math.isfinite(b):
                tested.add(name)
                if abs(a - b) > 1e-3 * max(abs(a), abs(b)) + 1e-6:
                    raise FusionError(
                        f"{path}: another protocol: {name} of {row.method} on {row.image} is {a:.5g} there and "
                        f"{b:.5g} here"
                    )
    if not tested:
        raise FusionError(
            f"{path}: no trivial row (Average, PixelMax, CopyA, CopyB) of an image and a metric of ours, so the "
            "protocol cannot be checked"
        )
    images = {row.image for row in ours}
    return [
        replace(row, values={k: v for k, v in row.values.items() if k in tested})
        for row in peers
        if row.method not in PEER_TRIVIAL and row.image in images
    ]
