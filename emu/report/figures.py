"""The figures of `plena-emu plot` and `plena-emu report`; they need matplotlib, the optional extra `report`."""

from __future__ import annotations

import importlib.util
import io
import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import EmuError, UsageError
from ..result import RunResult
from .quantities import time_unit
from .stages import stages_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..running.capacity_curve import CapacityCurve

FORMATS = (".svg", ".png", ".pdf")
KINDS = ("stages", "roofline", "capacity", "timeline")
SIMPLE_CLOCK_PS = 1250  # the idealised banks take one 64-byte access a clock (§3.5)
REGIMES = ("resident", "kv-swap", "weight-stream")
MOST_OPERATORS = 16
MOST_LETTERS = 28  # of a name in a picture; tables have all of it


class Theme(NamedTuple):
    """Colours of a figure."""

    ground: str
    ink: str
    faint: str
    compute: str
    memory: str
    link: str
    marks: tuple[str, ...]


# Okabe and Ito's colours, which people with colour blindness can tell apart; lighter ones on the dark ground.
LIGHT = Theme("#ffffff", "#1a1a1a", "#c8c8c8", "#0072b2", "#e69f00", "#cc79a7", ("#009e73", "#e69f00", "#d55e00"))
DARK = Theme("#16181c", "#e6e6e6", "#4a4f57", "#56b4e9", "#f0b93a", "#e39ac4", ("#35c79b", "#f0b93a", "#ff8a47"))


class Size(NamedTuple):
    """Width of a figure in inches, and its font in points."""

    width: float
    font: float


WIDE, NARROW = Size(8.6, 9.5), Size(4.0, 8.0)


def picture_text(name: object, most: int = MOST_LETTERS) -> str:
    """Write a name from outside as text of a picture: one line, no control characters, cut with an ellipsis.

    Returns
    -------
    str
    """
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(name))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def check_matplotlib(what: str) -> None:
    """Raise `EmuError` where matplotlib is missing."""
    try:
        missing = importlib.util.find_spec("matplotlib") is None
    except ValueError:  # a module that was put in place without a specification
        missing = True
    if missing:
        raise EmuError(f"{what} needs matplotlib, which is not installed: pip install matplotlib (the extra `report`)")


def check_format(path: str) -> str:
    """Find the format of a figure by its file name; `UsageError` for any other."""
    extension = os.path.splitext(path)[1]
    if extension not in FORMATS:
        raise UsageError(f"-o {path}: expected a file name that ends in {', '.join(FORMATS)}")
    return extension[1:]


def draw(kind: str, result: RunResult, curve: CapacityCurve | None = None, theme: Theme = LIGHT, size: Size = WIDE,
         format: str = "svg") -> bytes:
    """Draw a figure.

    Parameters
    ----------
    kind : str
        One of `KINDS`; `capacity` needs `curve`, `timeline` a run that recorded one.
    format : str
        `svg`, `png` or `pdf`.

    Returns
    -------
    bytes
        The same for the same record.

    Raises
    ------
    EmuError
        The record lacks what the figure shows.
    """
    check_matplotlib("a figure")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = min(MOST_OPERATORS, len(result.stages.by("operator"))) if kind == "stages" and result.stages else 10
    height = 0.9 + 0.24 * rows * size.font / 9 if kind == "stages" else 0.55 * size.width + 0.6
    with rc_context(figure_style(theme, size)):
        figure = Figure(figsize=(size.width, height), layout="constrained")
        axes = figure.add_subplot()
        _DRAWN[kind](axes, result, curve, theme)
        if result.stopped_by_max_instructions and kind != "capacity":
            axes.set_title("stopped before its end", fontsize=size.font)
        data = io.BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format)
        figure.savefig(data, format=format, dpi=160, metadata=metadata)
    return data.getvalue()


def figure_style(theme: Theme, size: Size) -> dict:
    """Style of every figure, for matplotlib's `rc_context`."""
    return {
        "text.parse_math": False,  # names of operators and builds may hold a `$`
        "svg.hashsalt": "plena-emu", "svg.fonttype": "none", "font.size": size.font, "font.family": "sans-serif",
        "figure.facecolor": theme.ground, "axes.facecolor": theme.ground, "savefig.facecolor": theme.ground,
        "text.color": theme.ink, "axes.labelcolor": theme.ink, "axes.edgecolor": theme.faint,
        "xtick.color": theme.ink, "ytick.color": theme.ink, "grid.color": theme.faint, "axes.grid": True,
        "grid.alpha": 0.5, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "legend.frameon": False,
    }


def _draw_stages(axes: Axes, result, curve, theme):
    """Time by operator: compute, waits for memory without the host link, the host link's part of them."""
    table = stages_of(result, "a figure of stages")
    rows = sorted(table.by("operator"), key=lambda row: row.figures.time_ps)[-MOST_OPERATORS:]
    names = [picture_text(row.key[0]) for row in rows]
    places = range(len(rows))  # names that are cut may be equal
    unit, scale = time_unit(result.end_ps)
    compute = [row.figures.compute_ps / scale for row in rows]
    link = [min(row.figures.link_ps, row.figures.memory_ps) / scale for row in rows]
    memory = [row.figures.memory_ps / scale - part for row, part in zip(rows, link, strict=True)]
    axes.barh(places, compute, color=theme.compute, label="compute")
    axes.barh(places, memory, left=compute, color=theme.memory, label="memory")
    if any(link):
        left = [sum(pair) for pair in zip(compute, memory, strict=True)]
        axes.barh(places, link, left=left, color=theme.link, label="host link")
    axes.set_yticks(places, names)
    axes.set_xlabel(f"simulated time, {unit}")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower right")


def bandwidth_roof(result: RunResult) -> float:
    """Find the bytes a second that the memory can deliver at best."""
    if result.dram_statistics:
        return float(result.dram_statistics["peak_bandwidth_bytes_per_s"])
    return 64 / (SIMPLE_CLOCK_PS / 1e12)


def _draw_roofline(axes: Axes, result, curve, theme):
    """Multiply-adds a second over multiply-adds a byte, under the roofs of matrix unit and memory."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    table = stages_of(result, "a roofline")
    rows = [row for row in table.by("operator")
            if row.figures.multiply_adds and row.figures.bytes_read + row.figures.bytes_written]
    peak, bandwidth = table.array_size * 1e3 / table.core_period_ps, bandwidth_roof(result) / 1e9
    roofs = [(peak, "matrix unit", "-")]
    if table.total.broadcast_multiply_adds:  # broadcast products have a roof of their own (§9.4)
        roofs.append((table.broadcast_size * 1e3 / table.core_period_ps, "broadcast products", ":"))
    found = [(row.figures.multiply_adds / (row.figures.bytes_read + row.figures.bytes_written),
              row.figures.multiply_adds / (row.figures.time_ps / 1e3), picture_text(row.key[0])) for row in rows]
    edges = [peak / bandwidth, *(intensity for intensity, _, _ in found)]
    low, high = min(edges) / 4, max(edges) * 8
    axes.set_xscale("log")
    axes.set_yscale("log")
    for roof, name, line in roofs:
        axes.plot([low, roof / bandwidth, max(high, roof / bandwidth)], [low * bandwidth, roof, roof], line,
                  color=theme.ink, linewidth=1.2)
        axes.annotate(f"{name} {roof:,.4g} G/s", (high, min(roof, high * bandwidth)), ha="right", va="bottom",
                      color=theme.ink)
    axes.annotate(f"memory {bandwidth:,.4g} GB/s", (low, low * bandwidth), ha="left", va="top",
                  color=theme.ink, xytext=(8, -2), textcoords="offset points")
    rates = [*(min(roof, high * bandwidth) for roof, _, _ in roofs), *(rate for _, rate, _ in found)]
    axes.set_xlim(low, high)
    axes.set_ylim(min(rates) / 4, max(rates) * 3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.set_xlabel("multiply-adds a byte from or to memory")
    axes.set_ylabel(f"10⁹ multiply-adds a second (cycle = {table.core_period_ps / 1000:g} ns)")
    assert isinstance(axes.figure, Figure)
    axes.figure.draw_without_rendering()  # where points are is known once the layout is
    _name_points(axes, found, theme)


def _name_points(axes, points, theme):
    """Mark points and write their names beside them.

    Names that would overlap are moved apart up and down, into a column to the right of the points they belong to.
    """
    line = 1.2 * axes.xaxis.label.get_fontsize()  # points between two lines of text
    scale = 72 / axes.figure.dpi
    points = sorted(points, key=lambda point: point[1])
    at = [axes.transData.transform((x, y)) * scale for x, y, _ in points]
    places = _apart([height for _, height in at], line)
    column: dict[int, float] = {}
    for (across, _), (_, group) in zip(at, places, strict=True):
        column[group] = max(across, column.get(group, 0.0))
    for (x, y, name), (across, height), (place, group) in zip(points, at, places, strict=True):
        axes.plot(x, y, "o", color=theme.compute)
        shift = 14 + column[group] - across, place - height
        is_moved = shift != (14, 0)
        axes.annotate(name, (x, y), xytext=shift, textcoords="offset points", color=theme.ink, va="center",
                      arrowprops={"arrowstyle": "-", "color": theme.faint, "shrinkA": 0, "shrinkB": 2,
                                  "relpos": (0, 0.5)} if is_moved else None)


def _apart(heights, least):
    """Move ascending heights apart to `least` at least; a group that collides stays around its middle.

    Gives (height, number of its group) of each.
    """
    groups: list[list[float]] = []  # (middle, members)
    for height in heights:
        groups.append([height, 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < least * (groups[-1][1] + groups[-2][1]) / 2:
            (middle, size), (before, more) = groups.pop(), groups.pop()
            groups.append([(middle * size + before * more) / (size + more), size + more])
    return [(middle + least * (at - (size - 1) / 2), number)
            for number, (middle, size) in enumerate(groups) for at in range(int(size))]


def _draw_capacity(axes: Axes, result, curve, theme):
    """Latency over DDR capacity, a colour a regime, the edges marked."""
    if curve is None:
        raise EmuError("a capacity figure needs a capacity curve")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sizes = [point.capacity_bytes / 2**20 for point in curve.points]
    axes.plot(sizes, [point.latency_ps / 1e9 for point in curve.points], color=theme.faint, linewidth=1)
    for regime, colour in zip(REGIMES, theme.marks, strict=True):
        own = [point for point in curve.points if point.regime == regime]
        axes.plot([point.capacity_bytes / 2**20 for point in own], [point.latency_ps / 1e9 for point in own], "o",
                  color=colour, label=regime)
    own_size = result.limits and result.limits.ddr_capacity_bytes
    if own_size and not result.stopped_by_max_instructions:
        place = min(own_size / 2**20, 1.5 * sizes[-1])  # the curve is flat beyond
        beyond = "" if place == own_size / 2**20 else ", far right"
        axes.plot(place, result.latency_ps / 1e9, "D", markersize=9, fillstyle="none", color=theme.ink,
                  label=f"this run ({own_size / 2**20:g} MiB{beyond})", linestyle="")
    edges = (curve.weight_bytes, "weights fit", "right"), (curve.total_bytes, "everything fits", "left")
    for size, name, side in edges:
        if size:
            axes.axvline(size / 2**20, color=theme.ink, linewidth=0.8, linestyle="--")
            axes.annotate(name, (size / 2**20, 0.98), xycoords=("data", "axes fraction"), ha=side, va="top",
                          xytext=(-4 if side == "right" else 4, 0), textcoords="offset points", color=theme.ink)
    axes.set_ylim(min(point.latency_ps for point in curve.points) / 2e9,
                  max(point.latency_ps for point in curve.points) / 0.5e9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}" if axis is axes.yaxis else "")
    axes.set_xlabel("DDR capacity, MiB")
    axes.set_ylabel("latency, ms")
    axes.legend(loc="lower left")


def _draw_timeline(axes: Axes, result, curve, theme):
    """Bandwidth over simulated time."""
    if result.timeline is None or not result.timeline.bandwidth:
        raise EmuError("the run has no timeline: a figure of it needs a record of plena-emu run --timeline FILE --json")
    samples = result.timeline.bandwidth
    unit, scale = time_unit(result.end_ps)
    times = [*(instant / scale for instant, _ in samples), result.end_ps / scale]
    rates = [rate / 1e9 for _, rate in samples]
    axes.stairs(rates, times, fill=True, color=theme.memory)
    axes.set_xlim(0, times[-1])
    axes.set_ylim(0)
    axes.set_xlabel(f"simulated time, {unit}")
    axes.set_ylabel("memory bandwidth, GB/s")


_DRAWN = {"stages": _draw_stages, "roofline": _draw_roofline, "capacity": _draw_capacity, "timeline": _draw_timeline}
