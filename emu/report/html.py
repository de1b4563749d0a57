"""The page of `plena-emu report`: one file without scripts and without anything from elsewhere."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import EmuError
from ..inputs.schema import convert
from ..memory.dram_statistics import DramStatistics
from ..result import RunResult, escape, nanoseconds, scientific
from ..running.provenance import changed_since, file_hash, path_of
from . import figures as fg
from .board_time import laid_over_rows, link_busy, part_line, parts_of, stopped
from .dram import dram_rows
from .quantities import milliseconds, time_unit
from .stages import share_of_other, stages_of

if TYPE_CHECKING:
    from ..running.capacity_curve import CapacityCurve

_CSS = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1a1a1a;--faint:#c8c8c8;--compute:#0072b2;--memory:#e69f00;
--link:#cc79a7}
@media(prefers-color-scheme:dark){:root{--ground:#16181c;--ink:#e6e6e6;--faint:#4a4f57;--compute:#56b4e9;
--memory:#f0b93a;--link:#e39ac4}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:60rem;background:var(--ground);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.35rem;margin:.2rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--faint)}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
.figure{font-size:2rem;font-weight:600;margin:.3rem 0}
.note{opacity:.8;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.15rem .5rem;border-bottom:1px solid var(--faint);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.figure small{font-size:1rem;font-weight:400;display:inline-block;margin-left:.4rem}
table.parts{max-width:32rem}table.parts td:first-child{white-space:normal}
table.pairs td{text-align:left;white-space:normal;overflow-wrap:anywhere}
table.pairs td:first-child{opacity:.8;white-space:nowrap;vertical-align:top}
.stage{display:grid;grid-template-columns:9rem 1fr 7rem 3.5rem;gap:.6rem;align-items:center;margin:.15rem 0}
.stage .value{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.bar{display:flex;height:1rem}
.bar i{display:block;height:100%}
i.compute{background:var(--compute)}i.memory{background:var(--memory)}i.link{background:var(--link)}
.key i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 .8rem}
img{width:100%;height:auto;display:block}
@media(max-width:600px){.stage{grid-template-columns:1fr 6.2rem 3.5rem;gap:0 .4rem}
.stage .bar{grid-column:1/4;grid-row:2}
body{padding:.6rem}.figure{font-size:1.5rem}table{font-size:.87rem}th,td{padding:.15rem .3rem}}
"""
FIRST_REGIONS, MOST_REGIONS = 12, 200  # that are shown, and that can be unfolded
_FILES = ("settings", "hbm", "fpsram", "intsram", "vram", "weight_manifest", "board", "dram")  # of `Sources`
_DATA_FILES = ("hbm", "fpsram", "vram")  # which a run without data does not read


def report_html(results: Sequence[RunResult], curves: Sequence[CapacityCurve | None]) -> str:
    """Write the report of some runs as one HTML page.

    Parameters
    ----------
    results : sequence of RunResult
    curves : sequence of CapacityCurve or None
        Latency over capacity of each, None where nobody asked.

    Returns
    -------
    str

    Raises
    ------
    EmuError
        matplotlib is missing, or a record has no stages.
    """
    fg.check_matplotlib("report")
    parts = [_run(result, curve, number) for number, (result, curve) in enumerate(zip(results, curves, strict=True))]
    title = "PLENA run" if len(results) == 1 else f"{len(results)} PLENA runs"
    overview = _overview(results) if len(results) > 1 else ""
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
            f"<title>{title}</title>\n<style>{_CSS}</style></head>\n<body>\n{overview}{''.join(parts)}</body></html>\n")


def _overview(results):
    rows = [("run", "model", "latency", "compute", "memory")]
    for result in results:
        share = 100 * result.compute_ps / result.end_ps if result.end_ps else 0
        series = " in series" if result.timeline_ps else ""  # of the serial run, beside the timeline's latency
        rows.append((f"{_name(result)}{stopped(result)}", _model(result), f"{nanoseconds(result.latency_ps)} ns",
                     f"{share:.1f} %{series}", f"{100 - share:.1f} %{series}"))
    return f"<h1>{len(results)} runs</h1>{_table(rows)}"


def _name(result):
    folder = os.path.basename(os.path.dirname(os.path.abspath(result.program.path)))
    return folder if os.path.basename(result.program.path) == "generated_machine_code.mem" else result.program.path


def _model(result):
    return result.model if result.regime in (None, result.model) else f"{result.model} ({result.regime})"


def _run(result, curve, number):
    sections = [
        ("headline", None, _headline(result)),
        ("stages", "Stages", _stages(result)),
        ("roofline", "Roofline of operators", _picture("roofline", result, curve)),
        ("bandwidth", "Bandwidth over time", _picture("timeline", result, curve)),
        ("capacity", "Latency over DDR capacity", _picture("capacity", result, curve) + _curve_note(result, curve)),
        ("regions", "HBM regions", _regions(result)),
        ("memory", "Memory", _memory(result)),
        ("provenance", "Provenance", _provenance(result)),
    ]
    return "".join(f'<section id="{name}-{number}">{f"<h2>{title}</h2>" if title else ""}{body}</section>\n'
                   for name, title, body in sections if body)


def _headline(result):
    """The latency, what it is made of, and the basis of both (§10.1)."""
    board = result.board
    where = "" if board is None else f"on {board.name} at {board.clock_mhz:g} MHz"
    if board is not None and result.board_time_ps is None:
        where = f"with {board.name}'s latencies, in the reference's time"
    where = f"{where}{stopped(result)}".removeprefix(", ")
    shares = result.latency_ps and not result.timeline_ps  # with a timeline the parts overlap
    rows = [("part", "time", "share" if shares else "")]
    rows += [(name, milliseconds(part), f"{100 * part / result.latency_ps:.1f} %" if shares else "")
             for name, part in parts_of(result)]
    if link_busy(result) is not None:
        rows.append(("host link busy", milliseconds(result.link_busy_ps), "beside them"))
    cycle = result.latency_ps / result.cycles / 1000 if result.cycles else 1.0
    serial = ""
    if result.hardware is not None and result.hardware.timeline is not None:
        serial = (f'<p class="note">Units overlap ({escape(result.hardware.timing)}). Figures by stage are those of the'
                  f" serial run, {milliseconds(result.hardware.serial_latency_ps)}.</p>")
    warnings = "".join(f'<p class="note">Warning: {escape(line)}</p>' for line in result.warnings)
    figure = f'<p class="figure">{milliseconds(result.latency_ps)}<small>{escape(where)}</small></p>'
    return (f"<h1>{escape(_name(result))}</h1>{figure}{_table(rows, 'parts')}"
            f"<p>{result.cycles:,.3f} cycles of {cycle:g} ns. Memory model {escape(_model(result))}."
            f" {result.instructions:,} instructions.</p>{serial}{warnings}")


def _stages(result):
    """Bars of operators, then a table by layer and operator."""
    table = stages_of(result, "report")
    rows = sorted(table.by("operator"), key=lambda row: -row.figures.time_ps)
    longest = max((row.figures.time_ps for row in rows), default=0) or 1
    unit, scale = time_unit(result.end_ps)
    bars = "".join(_bar(row, longest, result.end_ps) for row in rows)
    key = ('<p class="key"><i class="compute"></i>compute<i class="memory"></i>memory<i class="link"></i>'
           "host link (part of the wait)</p>")
    note = (f'<p class="note">Stages from {escape(table.source)}; {100 * share_of_other(table):.2f} % of the time is'
            " other.</p>")
    lines = [("layer, operator", f"time {unit}", "compute", "memory", "bytes read", "written", "multiply-adds",
              "array %")]
    for row in table.stages:
        f, layer = row.figures, row.key[0]
        lines.append((row.key[1] if layer is None else f"{layer}, {row.key[1]}", f"{f.time_ps / scale:,.3f}",
                      f"{f.compute_ps / scale:,.3f}", f"{f.memory_ps / scale:,.3f}", f"{f.bytes_read:,}",
                      f"{f.bytes_written:,}", f"{f.multiply_adds:,}",
                      f"{100 * table.array_utilization(f):.1f}" if f.multiply_adds else ""))
    return f"{bars}{key}{note}<details><summary>By layer and operator</summary>{_table(lines)}</details>"


def _bar(row, longest, whole):
    f = row.figures
    link = min(f.link_ps, f.memory_ps)
    pieces = (("compute", f.compute_ps), ("memory", f.memory_ps - link), ("link", link))
    widths = "".join(f'<i class="{name}" style="width:{100 * value / longest:.3f}%"></i>' for name, value in pieces)
    share = 100 * f.time_ps / whole if whole else 0.0
    unit, scale = time_unit(whole)
    digits = 3 if unit == "ms" else 1
    time = f"{f.time_ps / scale:,.{digits}f} {unit}"
    return (f'<div class="stage"><span>{escape(str(row.key[0]))}</span><span class="bar">{widths}</span>'
            f'<span class="value">{time}</span><span class="value">{share:.1f} %</span></div>')


def _picture(kind, result, curve):
    """A figure in two sizes and two themes, of which the browser takes one; a note where there is nothing to draw."""
    if kind == "capacity" and curve is None:
        return '<p class="note">Not computed: add --capacity-curve.</p>'
    if kind == "timeline" and (result.timeline is None or not result.timeline.bandwidth):
        return '<p class="note">Not recorded: run with --timeline.</p>'
    sources = []
    for media, theme, size in (
        ("(max-width:600px) and (prefers-color-scheme:dark)", fg.DARK, fg.NARROW),
        ("(max-width:600px)", fg.LIGHT, fg.NARROW),
        ("(prefers-color-scheme:dark)", fg.DARK, fg.WIDE),
    ):
        sources.append(f'<source media="{media}" srcset="{_data(kind, result, curve, theme, size)}">')
    last = _data(kind, result, curve, fg.LIGHT, fg.WIDE)
    return f'<picture>{"".join(sources)}<img alt="{kind}" src="{last}"></picture>'


def _curve_note(result, curve):
    """Say where a curve is of other files than the run's: it is computed when the page is made."""
    changed = changed_since(result) if curve is not None else []
    if not changed:
        return ""
    return (f'<p class="note">Changed since the run: {escape(", ".join(changed))}. The curve is that of the files as'
            " they are now.</p>")


def _data(kind, result, curve, theme, size):
    drawn = fg.draw(kind, result, curve, theme, size)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}"


def _regions(result):
    if not result.stages.regions:
        return ""
    unit, scale = time_unit(result.end_ps)
    head = ("region", f"time {unit}", "transfers", "bytes read", "written", "over link", "swaps")
    rows = []
    for row in sorted(result.stages.regions, key=lambda row: -row.figures.memory_ps):
        f = row.figures
        rows.append((str(row.key[0]), f"{f.memory_ps / scale:,.3f}", f"{f.transfers:,}", f"{f.bytes_read:,}",
                     f"{f.bytes_written:,}", f"{f.link_bytes:,}", f"{f.swaps:,}"))
    more = rows[FIRST_REGIONS:MOST_REGIONS]
    left = f", of {len(rows)}" if len(rows) > MOST_REGIONS else ""
    return _table([head, *rows[:FIRST_REGIONS]]) + (
        f"<details><summary>{len(more)} more{left}</summary>{_table([head, *more])}</details>" if more else "")


def _memory(result):
    rows = [("bytes read", f"{result.bytes_read:,}"), ("bytes written", f"{result.bytes_written:,}"),
            ("utilization", f"{scientific(result.utilization_bytes_per_s)} bytes/s"), ("model", result.model_line)]
    if result.board:
        part = result.board.part
        rows += [("memory part", part_line(part) if part or result.board_time_ps is not None else None),
                 *laid_over_rows(result.board.laid_over)]
    if result.limits:
        limits = result.limits
        rows += [("DDR capacity", _of_limit(limits.ddr_capacity_bytes, "bytes", limits.ddr_capacity_from)),
                 ("host link", _of_limit(limits.host_bandwidth_bytes_per_s, "bytes/s", limits.host_bandwidth_from))]
    if result.dram_statistics:
        rows += dram_rows(convert(result.dram_statistics, DramStatistics, "statistics of the DRAM controller"))
    return _pairs(rows)


def _of_limit(value, unit, named_by):
    return None if value is None else f"{value:,} {unit} ({named_by})"


def _provenance(result):
    """Say what was run with what; hashes are those of the run, and a file that is another one now is named."""
    sources, hashes = result.sources, result.sources.sha256
    rows = [("command", " ".join(result.command) or "Python"), ("words", f"{result.program.words:,}"),
            ("revision", result.isa), ("data", "left out" if result.timing_only else "computed")]
    unread = _DATA_FILES if result.timing_only else ()
    shown = {"program": result.program.path} | {name: getattr(sources, name) for name in _FILES if name not in unread}
    for name, path in shown.items():
        if path is not None:
            title = name.replace("_", " ")
            now = _hash(path_of(result, name), hashes[name]) if name in hashes else None
            rows += [(title, path), (f"SHA-256 of {title}", now)]
    rows += [(name, version) for name, version in result.versions.items()]
    note = ("Hashes are those of the files that the run read." if hashes
            else "The record holds no hashes: plena-emu run --json writes them.")
    return _pairs(rows) + f'<p class="note">{note}</p>'


def _hash(path, then):
    """The hash of a file of the run, and whether the file is still the same one."""
    try:
        now = file_hash(path)
    except EmuError:
        return f"{then}; not there any more"
    return then if now == then else f"{then}; changed since the run"


def _pairs(rows):
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
                    for name, value in rows if value is not None)
    return f'<table class="pairs">{cells}</table>'


def _table(rows, kind=""):
    head, *body = rows
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f'<div class="wide"><table class="{kind}"><tr>{titles}</tr>{lines}</table></div>'
