"""The table of `plena-emu check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .table import Block, Table, Title, render

if TYPE_CHECKING:
    from ..models.check import CheckReport

_MARKS = {"holds": "hold", "rounding": "above, by rounding", "broken": "BROKEN"}


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
    shown = report.results if per_layer else [*_named(report), *_worst(report.results)]
    starts = report.starts if per_layer else [*_worst(report.starts)]
    head = ("result", "shape", "machine types", "rounding", "f32", "rounding", "bars", "")
    rows = [_row(result, "") for result in shown] + [_row(result, "start ") for result in starts]
    blocks: list[Block] = [Title(f"Check of {report.build}"), Table(rows, "llrrrrll", head, indent=2)]
    weights = report.weights
    blocks.append(f"  weights: of {weights.tensors} tensors {weights.name} is the worst, {weights.error:.4f} from the"
                  f" model's own; its format guarantees {weights.guaranteed:.4f}")
    if report.choices:
        choices = report.choices
        tokens = f"{choices.tokens} token{'' if choices.tokens == 1 else 's'}"
        blocks.append(f"  largest logit: of {tokens} the f32 forward is clear about {choices.clear}, the machine agrees"
                      f" on {choices.agree} of those")
    blocks.append("  errors: RMS of the difference / RMS of the reference, for what the machine's types allow and f32")
    blocks.append("  rounding: the same of a forward in numpy that rounds as the machine's rows and registers do")
    if starts:
        blocks.append("  start: the cache that this step took from another build, by that build's references")
    blocks.append(f"  {_verdict(report)}")
    return render(blocks, width)


def _row(result, prefix):
    return (prefix + result.name, " x ".join(map(str, result.shape)), f"{result.machine_error:.4f}",
            f"{result.machine_rounding:.4f}", f"{result.f32_error:.4f}", f"{result.f32_rounding:.4f}",
            f"{result.machine_bar:.3g}, {result.f32_bar:.3g}", _MARKS[result.verdict])


def _verdict(report):
    """The last line."""
    if report.holds:
        return "every bar holds"
    if not report.weights.ok:
        return "THE WEIGHTS ARE WRONG: further from the model's own than their format explains"
    broken = [result for result in report.starts if result.verdict == "broken"]
    if broken:
        worst = max(broken, key=lambda result: result.f32_error)
        return f"A BAR IS BROKEN: the cache it starts from is off by {worst.f32_error:.4f} ({worst.name})"
    if not report.ok:
        return "A BAR IS BROKEN"
    return ("not every bar holds; no error is much above that of rounding alone, so it is the formats, not the"
            " program")


def _named(report):
    return [result for result in report.results if not result.name.startswith(("K_", "V_"))]


def _worst(results):
    """The cached K and the cached V that are worst: by verdict, then by how far from what the machine can hold."""
    for kind in "KV":
        of_kind = [result for result in results if result.name.startswith(f"{kind}_")]
        if of_kind:
            yield max(of_kind, key=lambda result: (result.verdict == "broken", result.machine_error))
