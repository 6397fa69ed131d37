"""A benchmark for a paper: a table in LaTeX, figures in PDF, references in BibTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FusionError
from ..io.atomic import write_whole
from ..io.read import read_image
from .citations import Credit, bibtex, citation_text, credits_of, key_of
from .datasets import DATASETS
from .run import Bench, is_trivial
from .stats import Table, mean_of

COLUMNS = 8
"""Metrics side by side; more are set below one another."""
ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "none": ""}
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"})


def check_paper() -> None:
    """Raises FusionError where the figures cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise FusionError("--paper draws with matplotlib: pip install 'anyfuse[paper]'")


def escape(text: str) -> str:
    """Plain text for LaTeX."""
    return r"\textbackslash{}".join(part.translate(_SPECIAL) for part in text.split("\\"))


def column(table: Table, metric: str) -> tuple[dict[str, float], int]:
    """Means of a metric by method over the images that all ranked methods have a value for, and how many these are.
    Methods without a value are left out.
    """
    methods, images = table.defined(metric)
    means = (
        {m: mean_of([table.by_method[m][i][metric] for i in images], draws=1).value for m in methods} if images else {}
    )
    return means, len(images)


def places(means: dict[str, float], better: str) -> dict[str, str]:
    """Method -> 'best' or 'second', without trivial rows; equal values as they are printed share a place."""
    if better == "none":
        return {}
    shown = {m: float(text) for m, text in printed(means).items() if not is_trivial(m) and math.isfinite(means[m])}
    values = sorted(set(shown.values()), reverse=better == "higher")
    words = dict(zip(values, ("best", "second"), strict=False))
    return {m: words[value] for m, value in shown.items() if value in words}


def printed(means: dict[str, float]) -> dict[str, str]:
    """Values with the same number of decimals, four digits for the largest."""
    largest = max((abs(v) for v in means.values() if math.isfinite(v)), default=1.0)
    decimals = min(4, max(1, 3 - math.floor(math.log10(largest)))) if largest > 0 else 1
    return {m: f"{v:.{decimals}f}" if math.isfinite(v) else str(v) for m, v in means.items()}


def _panel(table: Table, metrics: Sequence[str], methods: dict[str, str]) -> list[str]:
    """Rows of one tabular. methods: name -> label in LaTeX."""
    columns = {m: column(table, m)[0] for m in metrics}
    shown = {m: printed(means) for m, means in columns.items()}
    marks = {m: places(means, table.better[m]) for m, means in columns.items()}
    heads = " & ".join(f"{escape(m)}\\,{ARROWS[table.better[m]]}" for m in metrics)
    lines = [rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}", r"\toprule", rf"Method & {heads} \\", r"\midrule"]
    ordered = [m for m in methods if not is_trivial(m)], [m for m in methods if is_trivial(m)]
    for group, names in enumerate(ordered):
        if group and names and ordered[0]:
            lines.append(r"\midrule")
        for name in names:
            cells = []
            for metric in metrics:
                text = shown[metric].get(name, "--").replace("inf", r"$\infty$")
                wrap = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}.get(marks[metric].get(name, ""), "%s")
                cells.append(wrap % text)
            lines.append(rf"{methods[name]} & {' & '.join(cells)} \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def latex_table(table: Table, result: Bench) -> str:
    """A table* with booktabs: means, the best in bold, the second underlined; trivial rows stand below, unmarked."""
    methods = {}
    for name in table.ranked:
        system = result.systems.get(name, "")
        cited = [c for c in credits_of([], {name: system}, "", "") if c.what == "method" and c.papers]
        cite = rf"~\cite{{{','.join(key_of(p) for p in cited[0].papers)}}}" if cited else ""
        methods[name] = rf"\textit{{{escape(name)}}}" if is_trivial(name) else escape(name) + cite
    metrics = [m for m in table.metrics if column(table, m)[0]]
    fewer = [f"{escape(m)} on {column(table, m)[1]}" for m in metrics if column(table, m)[1] < len(table.common)]
    on_fewer = f" ({', '.join(fewer)})" if fewer else ""
    caption = (
        f"Means over {len(table.common)} images of {escape(result.protocol.data)}"
        f"{on_fewer}. "
        r"Best in \textbf{bold}, second \underline{underlined}; simple rows (italic) are not marked."
    )
    lines = [
        "% Needs \\usepackage{booktabs}. Protocol: "
        f"task {result.protocol.task}, grey {result.protocol.grey}, inputs {result.protocol.inputs}, "
        f"saving {result.protocol.saving}.",
        r"\begin{table*}[t]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{re.sub(r'[^a-z0-9]+', '-', result.protocol.data.lower())}}}",
    ]
    for start in range(0, len(metrics), COLUMNS):
        lines += [r"\par\medskip"] if start else []
        lines += _panel(table, metrics[start : start + COLUMNS], methods)
    return "\n".join([*lines, r"\end{table*}", ""])


def _sentence(given: Sequence[Credit]) -> str:
    """Names every metric and the data set with its reference."""
    parts = [
        escape(c.name) + (rf"~\cite{{{','.join(key_of(p) for p in c.papers)}}}" if c.papers else "")
        for c in given
        if c.what != "method"
    ]
    return f"Metrics: {', '.join(parts[:-1])}. Data: {parts[-1]}.\n"


def _document(result: Bench, given: Sequence[Credit], figures: Sequence[str]) -> str:
    """A page that shows all of it."""
    parts = [
        r"\documentclass[10pt,twocolumn]{article}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{booktabs,graphicx}",
        r"\begin{document}",
        _sentence(given),
        r"\input{table}",
    ]
    texts = {
        "pictures": "Sources and results; the framed part of each image is shown enlarged below it.",
        "scores": "Means with 95\\,\\% bootstrap intervals over images.",
    }
    for name in figures:
        parts += [
            r"\begin{figure*}[t]\centering",
            rf"\includegraphics[width=\linewidth]{{{name}}}",
            rf"\caption{{{escape(result.protocol.data)}: {texts[name]}}}",
            r"\end{figure*}",
        ]
    return "\n".join([*parts, r"\bibliographystyle{plain}", r"\bibliography{references}", r"\end{document}", ""])


def write_paper(folder: Path, result: Bench, table: Table, images: int = 2) -> list[Path]:
    """Writes table.tex, references.bib, CITATIONS.txt, scores.pdf, pictures.pdf and paper.tex, which shows them.

    Args:
        folder: to write into; earlier files are replaced.
        result: the run.
        table: its rows, and those of others.
        images: sets in pictures.pdf.

    Returns:
        The files.

    Raises:
        FusionError: matplotlib is missing, no metric has a value, or a file cannot be written.
    """
    check_paper()
    shown = [metric for metric in table.metrics if column(table, metric)[0]]
    if not shown:
        raise FusionError("--paper: no metric has a value, so there is nothing to show; give other --metrics")
    known = DATASETS.get(result.protocol.data.lower())
    terms = f"{known.where}; {known.licence}" if known else ""
    systems = {m: result.systems.get(m, "") for m in table.ranked if not is_trivial(m)}
    given = credits_of(shown, systems, result.protocol.data, terms)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"scores.pdf": _scores_figure(table)}
    drawn = _pictures_figure(result, table, images)
    if drawn is not None:
        figures = {"pictures.pdf": drawn, **figures}
    else:
        (folder / "pictures.pdf").unlink(missing_ok=True)  # of an earlier run
    texts = {
        "table.tex": latex_table(table, result),
        "references.bib": bibtex(given),
        "CITATIONS.txt": citation_text(given),
        "paper.tex": _document(result, given, [name.removesuffix(".pdf") for name in figures]),
    }
    contents = {name: text.encode(errors="backslashreplace") for name, text in texts.items()} | figures
    for name, content in contents.items():
        write_whole(folder / name, [content], overwrite=True)
    return [folder / name for name in contents]


# ---------------------------------------------------------------------- figures


def _figure(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Any, np.ndarray]:
    """A figure of matplotlib, in inches, and its axes (rows, columns); no window is opened."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasPdf(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _pdf(figure: Any) -> bytes:
    """The bytes of the PDF, without a date, so that equal runs give equal files; texts stay texts."""
    import io

    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"pdf.fonttype": 42, "font.size": 7}):
        figure.savefig(buffer, format="pdf", dpi=300, metadata={"CreationDate": None})
    return buffer.getvalue()


def _scores_figure(table: Table) -> bytes:
    """A panel for each metric: the mean of each method and its interval, in one order of methods."""
    metrics = [m for m in table.metrics if column(table, m)[0]]
    order = list(reversed([*table.mean_ranks(metrics)])) or list(reversed(table.ranked))
    across = min(4, len(metrics))
    rows = -(-len(metrics) // across)
    figure, axes = _figure(7.1, rows * (0.5 + 0.16 * len(order)), rows, across, sharey=True)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        methods, images = table.defined(metric)
        for y, method in enumerate(order):
            if method not in methods:
                continue
            mean = mean_of([table.by_method[method][i][metric] for i in images])
            if not math.isfinite(mean.value):
                continue
            colour = "0.6" if is_trivial(method) else "#1b5e8c"
            if math.isfinite(mean.low):
                axis.plot([mean.low, mean.high], [y, y], color=colour, linewidth=1)
            axis.plot(mean.value, y, "o", color=colour, markersize=3)
        arrow = {"higher": " ↑", "lower": " ↓", "none": ""}[table.better[metric]]
        axis.set_title(metric + arrow, fontsize=8)
        axis.set_yticks(range(len(order)), order, fontsize=7)
        axis.tick_params(axis="x", labelsize=6)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in list(axes.flat)[len(metrics) :]:
        axis.set_visible(False)
    return _pdf(figure)


def _pixels(path: Path) -> np.ndarray:
    """(H, W, 3) in [0, 1]."""
    pixels = read_image(path).read().permute(1, 2, 0).numpy()
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels[..., :3]


def crop_box(images: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a quarter of the image where the images (H, W, 3) differ most in detail."""
    luma = np.stack([image.mean(2) for image in images])
    height, width = (max(8, side // 4) for side in luma.shape[1:])
    height, width = min(height, luma.shape[1]), min(width, luma.shape[2])
    detail = luma.std(0) + np.abs(np.diff(luma.mean(0), axis=0, append=luma.mean(0)[-1:]))
    sums = np.pad(detail, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return int(top), int(left), height, width


def _pictures_figure(result: Bench, table: Table, count: int) -> bytes | None:
    """Sources and results of some sets, with the same crop of each below it; None where nothing was fused."""
    stems = [s for s in result.groups if any(s in files for files in result.fused.values())]
    chosen = stems[:: max(1, len(stems) // max(1, count))][:count]
    rows: list[list[tuple[str, np.ndarray]]] = []
    for stem in chosen:
        row = [(f"source {k + 1}", _pixels(p)) for k, p in enumerate(result.groups[stem])]
        row += [(m, _pixels(files[stem])) for m, files in result.fused.items() if stem in files and m in table.ranked]
        rows.append([(name, image) for name, image in row if image.shape == row[0][1].shape])
    if not rows:
        return None
    across = min(6, max(map(len, rows)))
    lines = [row[k : k + across] for row in rows for k in range(0, len(row), across)]
    boxes = [crop_box([image for _, image in row]) for row in rows for _ in range(0, len(row), across)]
    shape = lines[0][0][1].shape
    height = len(lines) * (2 * 7.1 / across * shape[0] / shape[1] + 0.2)
    figure, axes = _figure(7.1, min(height, 9.5), 2 * len(lines), across)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, (pictures, (top, left, tall, wide)) in enumerate(zip(lines, boxes, strict=True)):
        for k, (name, image) in enumerate(pictures):
            whole, part = axes[2 * line, k], axes[2 * line + 1, k]
            whole.imshow(image.clip(0, 1), interpolation="nearest")
            frame = [left - 0.5, left + wide - 0.5], [top - 0.5, top + tall - 0.5]
            whole.plot(np.take(frame[0], [0, 1, 1, 0, 0]), np.take(frame[1], [0, 0, 1, 1, 0]), "r", linewidth=0.7)
            whole.set_title(name, fontsize=7, pad=2)
            part.imshow(image[top : top + tall, left : left + wide].clip(0, 1), interpolation="nearest")
    return _pdf(figure)
