"""One HTML file with everything in it: protocol, means with intervals, ranks, win rates, plots, pictures to
zoom into.
"""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from ..io.atomic import write_whole
from ..io.read import read_image
from ..metrics import METRICS
from .protocol import Protocol, Row
from .run import Bench, is_trivial, ranked_groups, sparse_metrics
from .stats import Mean, Table

PNG_BYTES = 1_500_000
ARROW = {"higher": "↑", "lower": "↓", "none": "·"}

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:min(96vw,2400px);padding:0 1rem;color:#222;
background:#fff}
h1{font-size:1.5rem}
h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:.25rem .55rem;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
td small{color:#777}
tr.trivial td{color:#888;font-style:italic}
td.best{font-weight:700;background:#e9f5ec}
td.second{background:#f5faf6}
td.beaten,b.beaten{font-weight:400;background:#eee}
.scroll{overflow-x:auto;scrollbar-width:auto;scrollbar-color:#888 #eee}
.scroll td:first-child,.scroll th:first-child{position:sticky;left:0;background:#fff}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:10px}
figure{margin:0;overflow:hidden}
figure div{overflow:hidden}
figure img{width:100%;display:block;cursor:zoom-in;image-rendering:auto}
.zoomed img{cursor:zoom-out;image-rendering:pixelated}
figcaption{font-size:12px;color:#555}
pre{background:#f6f6f6;padding:.7rem;overflow:auto;font-size:12px}
.note{color:#555;max-width:70rem}
"""

SCRIPT = """
document.querySelectorAll('.pictures').forEach(box=>{let on=false;
 const move=e=>{const r=e.currentTarget.getBoundingClientRect();
  const x=(e.clientX-r.left)/r.width*100,y=(e.clientY-r.top)/r.height*100;
  if(on)box.querySelectorAll('img').forEach(i=>{i.style.transformOrigin=x+'% '+y+'%';i.style.transform='scale(4)'})};
 box.querySelectorAll('figure div').forEach(d=>{d.onmousemove=move;
 d.onclick=e=>{on=!on;box.classList.toggle('zoomed',on);
  if(on)move(e);else box.querySelectorAll('img').forEach(i=>i.style.transform='')}})});
"""

LEGEND = (
    "<b>Bold on green</b>: the best method of the column, trivial rows not counted; light green: the second best. "
    "<b class='beaten'>Grey instead of green</b>: the best method, but a trivial row is better still, so it does not "
    "win the column."
)


def number(value: float) -> str:
    """Two decimals from 10 on, four below, and powers of ten below 1e-3; NaN and infinity say so."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    if 0 < abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _places(table: Table, metric: str, means: dict[str, Mean]) -> dict[str, str]:
    """Method -> 'best' ('beaten' where a trivial row is better) and 'second', of the ranked methods that are not
    trivial.
    """
    if table.better[metric] == "none":
        return {}
    sign = -1 if table.better[metric] == "higher" else 1
    key = {m: sign * v.value for m, v in means.items() if not math.isnan(v.value)}
    order = sorted((m for m in key if m in table.ranked and not is_trivial(m)), key=key.__getitem__)
    if not order:
        return {}
    beaten = any(key[m] < key[order[0]] for m in key if is_trivial(m))
    return dict(zip(order[:2], ("beaten" if beaten else "best", "second"), strict=False))


def means_table(table: Table, task: str = "") -> str:
    """Methods by metrics, best first by mean rank; the two best non-trivial of each column are marked."""
    groups = ranked_groups(table.metrics, task)
    ranks = {heading: table.mean_ranks(names) for heading, names in groups.items()}
    order = sorted(table.methods, key=lambda m: ranks["rank"].get(m, math.inf))
    columns = {m: table.means(m) for m in table.metrics}
    places = {(method, m): place for m in table.metrics for method, place in _places(table, m, columns[m]).items()}
    head = "".join(f"<th>{m} {ARROW[table.better[m]]}</th>" for m in table.metrics)
    body = []
    for method in order:
        cells = []
        for metric in table.metrics:
            mean = columns[metric].get(method)
            if mean is None:
                cells.append("<td>–</td>")
                continue
            missing = f" <small>{mean.missing} NaN</small>" if mean.missing else ""
            interval = f"<br><small>{number(mean.low)}–{number(mean.high)}</small>" if not math.isnan(mean.low) else ""
            cells.append(f'<td class="{places.get((method, metric), "")}">{number(mean.value)}{missing}{interval}</td>')
        count = len(table.by_method[method])
        rank = "".join(f"<td>{number(of[method]) if method in of else '–'}</td>" for of in ranks.values())
        origin = "given" if table.origin[method].startswith("given") else table.origin[method]
        name = f"{html.escape(method)} <small>{html.escape(origin)}, {count}</small>"
        body.append(f'<tr class="{"trivial" if is_trivial(method) else ""}"><td>{name}</td>{rank}{"".join(cells)}</tr>')
    titles = "".join(
        f"<th>{'mean rank' if heading == 'rank' else 'rank by what people look at'}</th>" for heading in groups
    )
    return f'<div class="scroll"><table><tr><th>method</th>{titles}{head}</tr>{"".join(body)}</table></div>'


def wins_table(table: Table, ranked: list[str]) -> str:
    """Row beats column in this share of all (image, metric) cases."""
    ranks = table.mean_ranks(ranked)
    order = sorted(table.methods, key=lambda m: ranks.get(m, math.inf))[:16]
    rows = []
    for a in order:
        cells = "".join("<td></td>" if a == b else f"<td>{100 * table.win_rate(a, b, ranked):.0f}</td>" for b in order)
        rows.append(f"<tr><td>{html.escape(a)}</td>{cells}</tr>")
    head = "".join(f"<th>{html.escape(m)}</th>" for m in order)
    return f'<div class="scroll"><table><tr><th>% won</th>{head}</tr>{"".join(rows)}</table></div>'


def plot(table: Table, metric: str, width: int = 430) -> str:
    """Means and intervals of one metric as an SVG."""
    means = {m: v for m, v in table.means(metric).items() if math.isfinite(v.value)}
    order = sorted(means, key=lambda m: means[m].value, reverse=table.better[metric] != "lower")[:18]
    if not order:
        return ""
    low = min(means[m].low for m in order)
    high = max(means[m].high for m in order)
    span = (high - low) or 1.0
    left, step = 150, 18

    def x(value: float) -> float:
        return left + (value - low) / span * (width - left - 20)

    parts = [f'<text x="0" y="12" font-weight="700">{metric} {ARROW[table.better[metric]]}</text>']
    for index, method in enumerate(order):
        y, mean = 30 + index * step, means[method]
        colour = (
            "#999" if is_trivial(method) else "#1b7f4b" if table.origin[method].startswith("anyfuse") else "#2d5fa8"
        )
        parts.append(f'<text x="0" y="{y + 4}" fill="{colour}">{html.escape(method)}</text>')
        parts.append(
            f'<line x1="{x(mean.low):.1f}" x2="{x(mean.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        parts.append(f'<circle cx="{x(mean.value):.1f}" cy="{y}" r="4" fill="{colour}"/>')
    height = 40 + len(order) * step
    parts.append(f'<text x="{left}" y="{height - 2}" fill="#777">{number(low)}</text>')
    parts.append(f'<text x="{width - 60}" y="{height - 2}" fill="#777">{number(high)}</text>')
    head = f'<svg style="vertical-align:top" width="{width}" height="{height}" font-size="12" font-family="sans-serif">'
    return f"{head}{''.join(parts)}</svg>"


def data_uri(path: Path) -> str:
    """The image inside the page: a PNG, or where that exceeds 1.5 MB a JPEG of quality 92."""
    frame = read_image(path)
    pixels = (frame.read() * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]))
    kind, buffer = "png", io.BytesIO()
    image.save(buffer, "PNG")
    if buffer.tell() > PNG_BYTES:
        kind, buffer = "jpeg", io.BytesIO()
        image.save(buffer, "JPEG", quality=92)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def pictures(result: Bench, count: int) -> str:
    """Inputs and results of `count` images spread over the set; click zooms all of a row at once."""
    stems = [s for s in result.groups if any(s in files for files in result.fused.values())]
    chosen = stems[:: max(1, len(stems) // max(1, count))][:count]
    out = []
    for stem in chosen:
        figures = [(f"source {k + 1}", p) for k, p in enumerate(result.groups[stem])]
        figures += [(method, files[stem]) for method, files in result.fused.items() if stem in files]
        inner = "".join(
            f'<figure><div><img src="{data_uri(p)}" '
            f'alt="{html.escape(n)}"></div><figcaption>{html.escape(n)}</figcaption></figure>'
            for n, p in figures
        )
        out.append(f'<h3>{html.escape(stem)}</h3><div class="pictures">{inner}</div>')
    return "".join(out)


def timing_table(result: Bench) -> str:
    """Median, smallest and largest seconds an image of each method that fused in this run."""
    rows = "".join(
        f"<tr><td>{html.escape(m)}</td><td>{np.median(t):.4f}</td><td>{min(t):.4f}</td><td>{max(t):.4f}</td></tr>"
        for m, t in result.seconds.items()
        if t
    )
    if not rows:
        return '<p class="note">Nothing was fused in this run: all results were there already.</p>'
    return f"<table><tr><th>method</th><th>median s</th><th>min</th><th>max</th></tr>{rows}</table>"


def write_report(path: Path, result: Bench, rows: list[Row], images: int = 4) -> Table:
    """Writes the page and returns the table it shows. `rows` may hold peers' rows beside the run's own."""
    table = Table(rows, {name: metric.better for name, metric in METRICS.items()}, sparse_metrics())
    groups = ranked_groups(table.metrics, result.protocol.task)
    ranked, salient = groups["rank"], groups.get("seen", [])
    protocol: Protocol = result.protocol
    left_out = {**result.skipped, **result.failures}
    failures = "".join(f"<li>{html.escape(k)}: {html.escape(v)}</li>" for k, v in left_out.items())
    definitions = "".join(
        f"<tr><td>{m}</td><td>{ARROW[table.better[m]]}</td><td "
        f"style='text-align:left'>{html.escape(METRICS[m].source)}</td></tr>"
        for m in table.metrics
    )
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>anyfuse benchmark: {html.escape(protocol.data)}</title>
<style>{STYLE}</style><h1>anyfuse benchmark: {html.escape(protocol.data)}, {html.escape(protocol.task)}</h1>
<p class="note">{len(table.images)} images, {len(table.methods)} methods; ranks are over the {len(table.common)} images
common to the methods that have at least half of them.
Trivial rows (grey, italic) are always shown, because several metrics reward them: a copy of one source wins mutual
information and VIF, an average wins PSNR and CC.
Small numbers: 95 % bootstrap interval over images; NaN values are counted, not averaged.</p>
<h2>Means</h2>{means_table(table, protocol.task)}
<p class="note">Mean rank over {", ".join(table.counted(ranked)) or "no metric: none was scored for all methods"}.
{html.escape(" ".join(table.rank_notes(ranked)))}</p>
{_salient_note(table, salient)}
<p class="note">{LEGEND}</p>
<h2>Win rates</h2>
<p class="note">Share of (image, metric) cases in which the row is better than the column, in per cent,
over {", ".join(ranked)}.</p>
{wins_table(table, ranked)}
{_salient_wins(table, salient)}
<h2>Plots</h2>{"".join(plot(table, m) for m in table.metrics)}
<h2>Pictures</h2>
<p class="note">Click to zoom all pictures of a row to 400 % at the same place.</p>{pictures(result, images)}
<h2>Time</h2>
<p class="note">Seconds an image, without reading and writing, {result.threads} thread(s); peak memory of the process
{result.peak_mib:.0f} MiB, scoring included.</p>{timing_table(result)}
<h2>Protocol</h2><pre>{html.escape(_json(protocol))}</pre>
<table><tr><th>metric</th><th></th><th style="text-align:left">definition</th></tr>{definitions}</table>
{f"<h2>Left out</h2><ul>{failures}</ul>" if failures else ""}<script>{SCRIPT}</script></html>"""
    write_whole(path, [page.encode(errors="backslashreplace")], overwrite=True)
    return table


def _salient_note(table: Table, salient: list[str]) -> str:
    """What the rank by what people look at is over."""
    if not salient:
        return ""
    return (
        f'<p class="note">Rank by what people look at: over {", ".join(table.counted(salient)) or "no metric"}. '
        f"{html.escape(' '.join(table.rank_notes(salient)))}</p>"
    )


def _salient_wins(table: Table, salient: list[str]) -> str:
    if not salient:
        return ""
    return f'<p class="note">The same over {", ".join(salient)}: what people look at.</p>{wins_table(table, salient)}'


def _json(protocol: Protocol) -> str:
    import json
    from dataclasses import asdict

    return json.dumps(asdict(protocol), indent=1)
