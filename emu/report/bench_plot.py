"""The plot of `plena-emu bench`; needs matplotlib, the optional extra `bench`."""

import importlib.util
import io
import os

from ..atomic_files import write_whole
from ..bench.record import BenchRecord
from ..errors import EmuError, UsageError

FORMATS = (".png", ".svg")


def check_plot(path: str) -> None:
    """Refuse, before anything is measured, a `path` to which no plot could be drawn."""
    if os.path.splitext(path)[1] not in FORMATS:
        raise UsageError(f"--plot {path}: expected a file name that ends in {' or '.join(FORMATS)}")
    try:
        missing = importlib.util.find_spec("matplotlib") is None
    except ValueError:  # a module that was put in place without a specification
        missing = True
    if missing:
        raise EmuError("--plot needs matplotlib, which is not installed: pip install matplotlib (the extra `bench`)")


def write_plot(record: BenchRecord, path: str) -> None:
    """Draw a panel for each mode to `path` (.png or .svg): speed-ups where there is a reference, else seconds."""
    check_plot(path)
    from matplotlib import rc_context

    figures = record.kernel + record.process
    compared = any(found.speedup is not None for found in figures)
    if compared:
        figures = [found for found in figures if found.speedup is not None]
    modes = list(dict.fromkeys(found.mode for found in figures))
    programs = list(dict.fromkeys(found.program for found in figures))
    with rc_context({"svg.hashsalt": "plena-emu", "text.parse_math": False}):  # the same file for the same record
        _write(record, path, figures, modes, programs, compared)


def _write(record, path, figures, modes, programs, compared):
    from matplotlib.figure import Figure

    plot = Figure(figsize=(4.5 * len(modes) + 2.5, 0.35 * len(programs) + 1.8), layout="constrained")
    panels = plot.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    for panel, mode in zip(panels, modes, strict=True):
        _draw(panel, [found for found in figures if found.mode == mode], programs, compared)
        panel.set_title(mode)
    panels[0].set_yticks(range(len(programs)), programs)
    panels[0].set_ylim(len(programs) - 0.5, -0.5)
    plot.suptitle(f"{record.machine.cpu}, medians of {record.runs} runs", fontsize="medium")
    data = io.BytesIO()
    plot.savefig(data, format=os.path.splitext(path)[1][1:], dpi=150,
                 metadata={"Date": None} if path.endswith(".svg") else None)
    write_whole(path, data.getvalue(), "plot")


def _draw(panel, figures, programs, compared):
    """Dots of one mode: a row a program, a colour and a marker a model."""
    from matplotlib.ticker import LogLocator

    panel.set_xscale("log")
    for model, marker in zip(dict.fromkeys(found.model for found in figures), "osD^vP*", strict=False):
        own = [found for found in figures if found.model == model]
        values = [found.speedup if compared else found.wall[found.headline].median_s for found in own]
        panel.plot(values, [programs.index(found.program) for found in own], marker, label=model)
    if compared:
        panel.axvline(1, color="grey", linewidth=1)
    panel.set_xlabel("times as fast as the reference" if compared else f"{figures[0].headline}, s")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
