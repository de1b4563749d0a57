"""The table of `plena-emu check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .table import Block, Table, Title, render

if TYPE_CHECKING:
    from ..models.check import CheckReport

_MARKS = {None: "", "holds": "hold", "rounding": "above, by rounding", "broken": "BROKEN"}


def check_text(report: CheckReport, per_layer: bool, width: int | None = None) -> str:
    """Write the errors of each result; of the cached K and V only the worst unless `per_layer`.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    shown = report.results if per_layer else [*_named(report), *_worst(report)]
    bars = f"{report.machine_bar:.3g}, {report.f32_bar:.3g}"
    head = ("result", "shape", "machine types", "rounding", "f32", "rounding", f"bars {bars}")
    rows = [(result.name, " x ".join(map(str, result.shape)), f"{result.machine_error:.4f}",
             f"{result.machine_rounding:.4f}", f"{result.f32_error:.4f}", f"{result.f32_rounding:.4f}",
             _MARKS[result.verdict]) for result in shown]
    blocks: list[Block] = [Title(f"Check of {report.build}"), Table(rows, "llrrrrl", head, indent=2)]
    if report.choices:
        choices = report.choices
        tokens = f"{choices.tokens} token{'' if choices.tokens == 1 else 's'}"
        blocks.append(f"  largest logit: of {tokens} the f32 forward is clear about {choices.clear}, the machine agrees"
                      f" on {choices.agree} of those")
    blocks.append("  errors: RMS of the difference / RMS of the reference, for what the machine's types allow and f32")
    blocks.append("  rounding: the same of a forward in numpy that rounds as the machine's rows and registers do")
    blocks.append(f"  {_verdict(report, bars)}")
    return render(blocks, width)


def _verdict(report, bars):
    """The last line."""
    if report.holds:
        return "every bar holds"
    if not report.ok:
        return "A BAR IS BROKEN"
    return (f"the bars {bars} do not hold; no error is much above that of rounding alone, so it is the formats, not the"
            " program")


def _named(report):
    return [result for result in report.results if not result.name.startswith(("K_", "V_"))]


def _worst(report):
    """The cached K and the cached V that are furthest from what the machine can hold."""
    for kind in "KV":
        of_kind = [result for result in report.results if result.name.startswith(f"{kind}_")]
        if of_kind:
            yield max(of_kind, key=lambda result: result.machine_error)
