"""The report of the weight-manifest generator for people (spec §6.3 gives its form)."""

from ..manifests.generate import SIZE_SOURCES, Report
from ..manifests.schema import KINDS
from .quantities import mib
from .table import render

__all__ = ["report_text"]


def report_text(report: Report, path: str) -> str:
    """Write the report as the lines of §6.3; `path` is where the manifest was written.

    Returns
    -------
    str
    """
    capacity = mib(report.ddr_capacity_bytes)
    kinds = ", ".join(f"{report.regions[kind]} {kind}" for kind in KINDS)
    origins = ", ".join(f"{report.sizes_from[source]} from {source}" for source in SIZE_SOURCES)
    lines = [
        f"Wrote {path}",
        f"  board:    {report.board}  (DDR capacity {capacity})",
        f"  regions:  {sum(report.regions.values())}  ({kinds})",
        f"  sizes:    {origins}",
        *(f"  warning:  {warning}" for warning in report.warnings),
        *_footprint_lines(report.this_build, "this build", "", capacity),
    ]
    if report.projected:
        lines += _footprint_lines(report.projected, f"{report.projected.layers} layers", ", a floor", capacity)
    return render(lines)


def _footprint_lines(found, label, note, capacity):
    parts = " | ".join(f"{kind} {mib(getattr(found, kind))}" for kind in (*KINDS, "total"))
    return [f"  footprint ({label}{note}): {parts}", f"  regime @ {capacity} ({label}): {found.regime}"]
