"""Figures of a sweep: curves with the edges of regimes, a heat map, a Pareto front, parallel coordinates."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..sweeping.keys import KEYS
from ..sweeping.results import Row, SweepResult
from .figures import LIGHT, REGIMES, WIDE, Theme, check_matplotlib, figure_style
from .sweeps import short_name, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("curve", "heat", "pareto", "parallel")
MOST_LINES = 12  # with a colour and a line of the legend each
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
# Okabe and Ito's, then greys: people with colour blindness can tell them apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#999933", "#882255",
            "#117733", "#44aa99", "#aa4499")
_MOST_WIDER = 3  # lines under which a line is made wider
_MOST_TIED = 3  # points of one place that are named
_FEW = 9  # values of a key, each of which gets a tick
_BYTES = ("ddr_capacity", "hbm_size")
_UNITS = {"time_ms": "time, ms", "board_time_ms": "board time, ms", "ddr_capacity": "DDR capacity",
          "host_bandwidth": "host link", "clock_mhz": "core clock, MHz"}


def choose_kind(result: SweepResult, columns: Sequence[str]) -> str:
    """Choose the kind of figure that shows most: by how many keys vary, and what is a number.

    Returns
    -------
    str
        One of `KINDS`.
    """
    numbers = [key for key in result.varying if _is_number(result.rows, key)]
    others = math.prod(len({row.get(key) for row in result.rows}) for key in result.varying if key not in numbers[:1])
    if numbers and others <= MOST_LINES:
        return "curve"
    return "heat" if len(result.varying) == 2 else "parallel"


def draw_sweep(result: SweepResult, kind: str, columns: Sequence[str], format: str, theme: Theme = LIGHT) -> bytes:
    """Draw a figure of a sweep; rows without figures are left out.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    columns : sequence of str
        `curve`: the key across and the figure; `heat`: down, across, figure; `pareto`: the two figures;
        `parallel`: every axis. Where none are named, those that vary, and `time_ms`.
    format : str
        `svg`, `png` or `pdf`.

    Returns
    -------
    bytes
        The same for the same rows.

    Raises
    ------
    UsageError
        There is nothing to draw, or the columns do not fit the kind.
    """
    check_matplotlib("a figure of a sweep")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    check_figure(result, kind, columns)
    rows = [row for row in result.rows if row.failure is None]
    if not rows:
        raise UsageError("--plot: no point has figures, so that there is nothing to draw")
    with rc_context(figure_style(theme, WIDE)):
        figure = Figure(figsize=(WIDE.width, 0.56 * WIDE.width), layout="constrained")
        axes = figure.add_subplot()
        _DRAWN[kind](axes, result, rows, list(columns), theme)
        data = io.BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format)
        figure.savefig(data, format=format, dpi=160, metadata=metadata)
    return data.getvalue()


def check_figure(result: SweepResult, kind: str, columns: Sequence[str]) -> None:
    """Refuse columns that do not fit a kind of figure; rows may have values alone, before they run.

    Raises
    ------
    UsageError
    """
    result.check_columns(name.removeprefix("-") for name in columns)
    most = {"curve": 2, "heat": 3, "pareto": 2}.get(kind, len(columns))
    if len(columns) > most:
        raise UsageError(f"--plot: found {len(columns)} columns, expected at most {most} for the kind {kind}")
    if kind == "curve":
        across = _across(result, columns)
        _check_numbers(result, columns[1:])
        if across not in result.keys:
            _check_numbers(result, [across])
    elif kind == "heat":
        keys = _heat_keys(result, columns)
        _check_numbers(result, columns[2:])
        if set(keys) <= set(result.keys):
            _check_cells(result, keys)
    elif kind == "pareto":
        if len(columns) != 2:
            raise UsageError("--plot: a Pareto front needs two columns: --pareto A,B")
        _check_numbers(result, columns)
    elif len(list(columns) or [*result.varying, "time_ms"]) < 2:
        raise UsageError("--plot: parallel coordinates need two columns or more")


def _check_numbers(result, columns):
    result.check_columns((name.removeprefix("-") for name in columns), numbers=True)


def _across(result, columns):
    """The key across a curve."""
    numbers = [key for key in result.varying if _is_number(result.rows, key)]
    across = columns[0] if columns else (numbers or [None])[0]
    if across is None or (across in result.keys and not _is_number(result.rows, across)):
        found = across if columns else ", ".join(result.varying) or "none that varies"
        raise UsageError(f"--plot: a curve needs a key of numbers that varies, found {found}")
    return across


def _heat_keys(result, columns):
    """The keys down and across a heat map."""
    keys = list(columns[:2]) if len(columns) >= 2 else result.varying
    if len(keys) != 2:
        then = "give the others one value, or draw another --kind" if len(keys) > 2 else "draw another --kind"
        raise UsageError(f"--plot: a heat map needs two keys that vary, found {', '.join(keys) or 'none'}: {then}")
    return keys


def _check_cells(result, keys):
    """Refuse two points in a cell of a heat map."""
    seen = set()
    for row in result.rows:
        place = tuple(row.get(key) for key in keys)
        if place in seen:
            cell = " and ".join(f"{key} {text_of(key, value)}" for key, value in zip(keys, place, strict=True))
            others = ", ".join(key for key in result.varying if key not in keys)
            raise UsageError(f"--plot: a heat map has one point a cell, found two with {cell}: {others} has to have one"
                             " value")
        seen.add(place)


def _is_number(rows, column):
    found = [row.get(column) for row in rows]
    return any(value is not None for value in found) and not any(isinstance(value, str | bool) for value in found)


def _label(column):
    return _UNITS.get(column, short_name(column))


def _scale(axis, column, values):
    """A logarithmic axis where values span much; sizes with their units, a tick for each of few values."""
    values = [value for value in values if value is not None]
    sizes = column in _BYTES
    if min(values) > 0 and max(values) / min(values) >= (4 if sizes else 8):
        (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)(
            "log", **({"base": 2} if sizes else {}))
    elif sizes and max(values) > min(values):
        from matplotlib.ticker import MultipleLocator

        axis.set_major_locator(MultipleLocator(2 ** math.ceil(math.log2((max(values) - min(values)) / 8))))
    if len(set(values)) <= _FEW and column in KEYS:
        axis.set_ticks(sorted(set(values)))
    axis.set_major_formatter(lambda value, place: _tick(column, value))
    axis.set_minor_formatter("")


def _tick(column, value):
    if column in (*_BYTES, "host_bandwidth", "bytes_read", "bytes_written") or column.endswith(("_bytes", "_per_s")):
        return text_of(column, round(value)) if value >= 1 else ""
    return f"{value:g}"


def _draw_curve(axes: Axes, result, rows, columns, theme):
    """A figure over a key, a line for each combination of the others; marks tell the regime, lines where it changes."""
    across = _across(result, columns)
    upward = columns[1] if len(columns) > 1 else "time_ms"
    others = [key for key in result.varying if key != across]
    lines: dict[tuple, list[Row]] = {}
    for row in rows:
        if row.get(across) is not None and row.get(upward) is not None:
            lines.setdefault(tuple(row.get(key) for key in others), []).append(row)
    regimes = [name for name in REGIMES if any(row.get("regime") == name for row in rows)]
    places = [{(row.get(across), row.get(upward)) for row in own} for own in lines.values()]
    colours = {}
    for number, (name, own) in enumerate(lines.items()):
        own.sort(key=lambda row: row.get(across))
        colour = colours[name] = _COLOURS[number % len(_COLOURS)]
        label = ", ".join(text_of(key, value) for key, value in zip(others, name, strict=True)) or None
        # Where later lines run over this one, it is seen on both sides of them.
        wider = min(_MOST_WIDER, sum(bool(places[number] & later) for later in places[number + 1 :]))
        axes.plot([row.get(across) for row in own], [row.get(upward) for row in own], color=colour,
                  linewidth=1.3 + 2.2 * wider, label=label if number < MOST_LINES else None)
        for regime in [*regimes, None]:
            found = [row for row in own if (row.get("regime") if row.get("regime") in regimes else None) == regime]
            mark = _MARKS[regimes.index(regime)] if regime else "."
            axes.plot([row.get(across) for row in found], [row.get(upward) for row in found], mark, color=colour,
                      markersize=5 + 3.5 * wider)
    failed = _mark_failures(axes, result, across, others, colours, theme)
    _scale(axes.xaxis, across, [row.get(across) for row in (*rows, *failed)])
    _scale(axes.yaxis, upward, [row.get(upward) for row in rows])
    axes.set_xlabel(_label(across))
    axes.set_ylabel(_label(upward))
    if across == "ddr_capacity":
        _mark_edges(axes, rows, theme)
    _legend(axes, lines, regimes, others, failed, theme)


def _mark_failures(axes, result, across, others, colours, theme):
    """Crosses above the axis where points failed, a row of them for each line; returns those rows."""
    failed = [row for row in result.failures if row.get(across) is not None]
    groups: dict[tuple, list[Any]] = {}
    for row in failed:
        groups.setdefault(tuple(row.get(key) for key in others), []).append(row.get(across))
    for number, (name, found) in enumerate(groups.items()):
        height = 0.02 + 0.025 * (number % MOST_LINES)
        axes.plot(found, [height] * len(found), "x", color=colours.get(name, theme.ink), markersize=5,
                  transform=axes.get_xaxis_transform())
    return failed


def _mark_edges(axes, rows, theme):
    """Lines where everything fits, and where the weights do; only where all points agree about them."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.12 if axes.get_yscale() == "log" else high + 0.12 * (high - low))
    edges = ("weight_bytes", "weights fit", "right"), ("footprint_bytes", "everything fits", "left")
    for column, name, side in edges:
        found = {row.get(column) for row in rows}
        if len(found) == 1 and (size := found.pop()) and axes.get_xlim()[0] < size < axes.get_xlim()[1]:
            axes.axvline(size, color=theme.ink, linewidth=0.8, linestyle="--")
            place, _ = axes.transAxes.inverted().transform(axes.transData.transform((size, low)))
            is_left = side == "right" or place > 0.7  # of a line far to the right the name is before it, a line lower
            axes.annotate(f"{name}: {text_of(column, size)}", (size, 0.98 if is_left == (side == "right") else 0.92),
                          xycoords=("data", "axes fraction"), ha="right" if is_left else "left", va="top",
                          xytext=(-4 if is_left else 4, 0), textcoords="offset points", color=theme.ink)


def _legend(axes, lines, regimes, others, failed, theme):
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    if len(lines) > MOST_LINES:
        handles.append(Line2D([], [], linestyle=""))
        labels.append(f"and {len(lines) - MOST_LINES} more")
    for regime in regimes:
        handles.append(Line2D([], [], marker=_MARKS[regimes.index(regime)], linestyle="", color=theme.ink))
        labels.append(regime)
    if failed:
        handles.append(Line2D([], [], marker="x", linestyle="", color=theme.ink))
        labels.append("failed")
    if handles:
        axes.figure.legend(handles, labels, title=", ".join(map(short_name, others)) or None, loc="outside right upper")


def _draw_heat(axes: Axes, result, rows, columns, theme):
    """A figure over two keys, as colours with their values."""
    keys = _heat_keys(result, columns)
    column = columns[2] if len(columns) > 2 else "time_ms"
    pivot = result.pivot(keys[0], keys[1], column)
    values = [[math.nan if cell is None else float(cell) for cell in cells] for cells in pivot.cells]
    found = [value for cells in values for value in cells if not math.isnan(value)]
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import LogLocator

    low, high = min(found), max(found)
    norm = LogNorm(low, high) if low > 0 and high / low > 8 else Normalize(low, high)
    image = axes.imshow(values, aspect="auto", cmap="cividis", norm=norm, origin="lower")
    axes.set_yticks(range(len(pivot.rows)), [text_of(keys[0], value) for value in pivot.rows])
    axes.set_xticks(range(len(pivot.columns)), [text_of(keys[1], value) for value in pivot.columns],
                    rotation=0 if len(pivot.columns) <= 8 else 60)
    axes.set_ylabel(_label(keys[0]))
    axes.set_xlabel(_label(keys[1]))
    axes.grid(visible=False)
    if len(found) <= 80:
        for y, cells in enumerate(values):
            for x, value in enumerate(cells):
                if not math.isnan(value):
                    dark = float(norm(value)) < 0.55
                    axes.annotate(_short(column, value), (x, y), ha="center", va="center", fontsize=7.5,
                                  color="white" if dark else "black")
    for row in result.failures:
        place = pivot.columns.index(row.get(keys[1])), pivot.rows.index(row.get(keys[0]))
        axes.annotate("failed", place, ha="center", va="center", fontsize=7.5, color=theme.ink)
    bar = axes.figure.colorbar(image, ax=axes, label=_label(column), format=lambda value, place: _tick(column, value),
                               ticks=LogLocator(subs=(1, 2, 5)) if isinstance(norm, LogNorm) else None)
    bar.minorticks_off()


def _short(column, value):
    return text_of(column, round(value)) if column.endswith("_bytes") else f"{value:.4g}"


def _draw_pareto(axes: Axes, result, rows, columns, theme):
    """Two figures of every point, and the front of those that no other beats."""
    names = [column.removeprefix("-") for column in columns]
    result.check_columns(names, numbers=True)
    shown = [row for row in rows if None not in [row.get(name) for name in names]]
    front = SweepResult(shown, result.keys, result.varying).pareto(*columns).rows
    axes.plot([row.get(names[0]) for row in shown], [row.get(names[1]) for row in shown], "o", color=theme.faint,
              markersize=4, label=f"{len(shown)} points")
    axes.plot([row.get(names[0]) for row in front], [row.get(names[1]) for row in front], "o-", color=theme.compute,
              drawstyle="steps-post", markersize=5, label="no point beats these")
    _scale(axes.xaxis, names[0], [row.get(names[0]) for row in shown])
    _scale(axes.yaxis, names[1], [row.get(names[1]) for row in shown])
    axes.set_xlabel(_label(names[0]))
    axes.set_ylabel(_label(names[1]))
    _name_front(axes, result, front, names, theme)
    axes.legend(loc="best")


def _name_front(axes, result, front, names, theme):
    """Name the points of a front by their keys, those of one place together; names that would meet are left out."""
    keys = [key for key in result.varying if key not in names]
    places: dict[tuple, list[str]] = {}
    for row in front:
        text = ", ".join(f"{short_name(key)} {text_of(key, row.get(key))}" for key in keys)
        places.setdefault((row.get(names[0]), row.get(names[1])), []).append(text)
    width, height = axes.figure.get_size_inches() * axes.figure.dpi
    taken: list[tuple[float, float, int]] = []  # x, y, lines of a name
    for place, texts in places.items() if keys else ():
        shown = texts[:_MOST_TIED] + ([f"and {len(texts) - _MOST_TIED} more"] if len(texts) > _MOST_TIED else [])
        x, y = axes.transData.transform(place)
        if any(abs(x - other) < 0.35 * width and -0.04 * height * len(shown) < other_y - y < 0.04 * height * lines
               for other, other_y, lines in taken):
            continue
        taken.append((x, y, len(shown)))
        is_right = x > 0.7 * width
        axes.annotate("\n".join(shown), place, xytext=(-6 if is_right else 6, 6), textcoords="offset points",
                      ha="right" if is_right else "left", fontsize=7, color=theme.ink)


def _draw_parallel(axes: Axes, result, rows, columns, theme):
    """A line a point across an axis for each column; the colour tells the last column."""
    names = list(columns) or [*result.varying, "time_ms"]
    from matplotlib import colormaps

    shown = [row for row in rows if row.get(names[-1]) is not None]
    places = [_places([row.get(name) for row in shown]) for name in names]
    order = sorted(range(len(shown)), key=lambda number: -places[-1][number])  # the best on top
    for number in order:
        axes.plot(range(len(names)), [column[number] for column in places],
                  color=colormaps["viridis"](places[-1][number] * 0.92), linewidth=0.9,
                  alpha=max(0.25, min(1.0, 60 / len(shown))))
    axes.set_xticks(range(len(names)), [_label(name) for name in names])
    axes.set_yticks([])
    axes.set_ylim(-0.09, 1.09)
    axes.set_xlim(-0.35, len(names) - 0.65)
    for x, name in enumerate(names):
        axes.axvline(x, color=theme.ink, linewidth=0.8)
        found = dict(zip(places[x], [row.get(name) for row in shown], strict=True))
        ticks = sorted(found) if len(found) <= _FEW else [min(found), max(found)]
        for place in ticks:
            axes.annotate(_tick_text(name, found[place]), (x, place), xytext=(4, 0), textcoords="offset points",
                          fontsize=7, va="center", color=theme.ink,
                          bbox={"facecolor": theme.ground, "edgecolor": "none", "pad": 0.8, "alpha": 0.8})
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _tick_text(column, value):
    return text_of(column, value) if not isinstance(value, float) else f"{value:.4g}"


def _places(values: Sequence[Any]) -> list[float]:
    """Places from 0 to 1 on an axis: by rank where values are text or few, else by logarithm or value."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, str | bool) for value in known) or len(set(known)) <= _FEW:
        ranks = {value: rank for rank, value in enumerate(sorted(set(known), key=lambda v: (isinstance(v, str), v)))}
        most = max(len(ranks) - 1, 1)
        return [0.0 if value is None else ranks[value] / most if len(ranks) > 1 else 0.5 for value in values]
    low, high = min(known), max(known)
    if low > 0 and high / low > 8:
        span = math.log(high / low)
        return [0.0 if value is None else math.log(value / low) / span for value in values]
    return [0.0 if value is None else (value - low) / (high - low) for value in values]


_DRAWN = {"curve": _draw_curve, "heat": _draw_heat, "pareto": _draw_pareto, "parallel": _draw_parallel}
