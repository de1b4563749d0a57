"""The text of `plena-emu diff`."""

from ..result import nanoseconds
from ..running.attribution.differences import Change, Differences
from .table import Table, Title, render

SHOWN = 20  # rows of a table


def differences_text(found: Differences, width: int | None = None, every: bool = False) -> str:
    """Write what two runs differ in: latency first, then tables, largest change first.

    Parameters
    ----------
    every : bool
        Whether to show all rows instead of the first `SHOWN`.

    Returns
    -------
    str
    """
    latency = found.latency
    change = f"{100 * found.slower_by:+.3f} %" if latency.before != latency.after else "unchanged"
    blocks: list = [f"latency {nanoseconds(latency.before)} ns -> {nanoseconds(latency.after)} ns ({change})"]
    blocks += [f"note: {line}" for line in found.remarks]
    if not (found.totals or found.stages or found.regions or found.inputs or found.remarks):
        blocks.append("nothing else differs")
    for title, changes in (("Totals", found.totals), ("Stages", found.stages), ("HBM regions", found.regions)):
        if changes:
            blocks += ["", Title(title), _table(changes, every)]
    if found.inputs:
        rows = [(one.key, one.before or "-", one.after or "-") for one in found.inputs]
        blocks += ["", Title("Settings and inputs"), Table(rows, "lll", ("key", "before", "after"))]
    return render(blocks, width)


def _table(changes, every):
    shown = changes if every else changes[:SHOWN]
    rows = [(change.of, change.figure, f"{change.before:,}", f"{change.after:,}",
             f"{change.after - change.before:+,}", _percent(change)) for change in shown]
    if len(shown) < len(changes):
        rows.append((f"{len(changes) - len(shown)} more (--all shows them)", "", "", "", "", ""))
    return Table(rows, "llrrrr", ("of", "figure", "before", "after", "change", "%"))


def _percent(change: Change) -> str:
    return f"{100 * (change.ratio - 1):+.2f}" if change.before else "new"
