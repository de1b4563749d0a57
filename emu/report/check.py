"""The table of `plena-emu check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from .console import print_tables

if TYPE_CHECKING:
    from ..models.check import CheckReport


def print_check(report: CheckReport, per_layer: bool, stream) -> None:
    """Write the errors of each result; of the cached K and V only the worst unless `per_layer`."""
    table = Table(title=f"Check of {report.build}", title_justify="left", box=box.SIMPLE_HEAD)
    for title in ("result", "shape"):
        table.add_column(title)
    for title in ("machine types", "f32", f"bars {report.machine_bar:.3g}, {report.f32_bar:.3g}"):
        table.add_column(title, justify="right")
    shown = report.results if per_layer else [*_named(report), *_worst(report)]
    for result in shown:
        bar = {None: "", True: "hold", False: "BROKEN"}[result.ok]
        table.add_row(result.name, " x ".join(map(str, result.shape)), f"{result.machine_error:.4f}",
                      f"{result.f32_error:.4f}", bar)
    print_tables([table], stream)
    if report.choices:
        choices = report.choices
        tokens = f"{choices.tokens} token{'' if choices.tokens == 1 else 's'}"
        stream.write(f"  largest logit: of {tokens} the f32 forward is clear about {choices.clear}, the machine agrees"
                     f" on {choices.agree} of those\n")
    stream.write("  columns: RMS of the difference / RMS of the reference, for the reference with what the machine can"
                 " hold and the f32 one\n")
    stream.write(f"  {'every bar holds' if report.ok else 'A BAR IS BROKEN'}\n")


def _is_cache(result):
    return result.name.startswith(("K_", "V_"))


def _named(report):
    return [result for result in report.results if not _is_cache(result)]


def _worst(report):
    """The cached K and the cached V that are furthest from what the machine can hold."""
    for kind in "KV":
        of_kind = [result for result in report.results if result.name.startswith(f"{kind}_")]
        if of_kind:
            yield max(of_kind, key=lambda result: result.machine_error)
