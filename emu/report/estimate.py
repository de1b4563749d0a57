"""The table and the CSV of `plena-emu estimate`."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from ..manifests.generate import mib
from .console import print_tables

if TYPE_CHECKING:
    from ..models.board_estimate import Estimate

_CSV = ("phase", "past", "tokens", "seconds", "exact", "compute_share", "instructions", "bytes_read", "bytes_written",
        "regime")


def print_estimate(found: Estimate, stream) -> None:
    """Write the answer first, then where it comes from."""
    memory = found.memory_model if found.regime in (None, found.memory_model) else f"auto: {found.regime}"
    capacity = "" if found.capacity_bytes is None else f", {mib(found.capacity_bytes)}"
    sizes = found.footprint
    stream.write(f"{found.model} on {found.board} at {found.clock_mhz:g} MHz, {found.preset}, batch {found.batch},"
                 f" memory {memory}{capacity}\n")
    stream.write(f"  footprint             weights {mib(sizes.weight)}, cache {mib(sizes.kv)}, activations"
                 f" {mib(sizes.activation)}\n")
    stream.write(f"  time to first token   {_time(found.time_to_first_token)}\n")
    if found.time_per_token is not None:
        stream.write(f"  time per output token {_time(found.time_per_token)}\n")
        stream.write(f"  output                {found.tokens_per_s:,.3f} tokens/s\n")
    print_tables([_steps(found)], stream)
    _say_exactness(found, stream)
    stream.write(f"  not counted: {found.not_counted}\n")
    for warning in found.warnings:
        stream.write(f"  warning: {warning}\n")


def _steps(found):
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("timed", "time", "compute", "instructions", "read", "written"):
        table.add_column(title, justify="left" if title == "timed" else "right", no_wrap=True)
    named = [(f"prefill of {found.prefill.tokens:,}", found.prefill)]
    named += [(f"decode at {step.past:,}", step) for step in found.decode if step.exact]
    for name, step in named:
        table.add_row(name, _time(step.seconds), f"{step.compute_share:.0%}", f"{step.instructions:,}",
                      mib(step.bytes_read), mib(step.bytes_written))
    return table


def _say_exactness(found, stream):
    positions = len(found.decode)
    exact = sum(step.exact for step in found.decode)
    if positions == 0:
        return
    if exact == positions:
        stream.write(f"  every one of {positions} decode positions was timed\n")
        return
    stream.write(f"  {exact} of {positions} decode positions were timed, the others interpolated by the key blocks they"
                 " read\n")
    if found.held_out:
        held = found.held_out
        stream.write(f"  interpolation error {held.relative_error:.2%} at position {held.past}, which was held out\n")


def _time(seconds):
    """Milliseconds below a second, else seconds."""
    return f"{seconds * 1e3:,.3f} ms" if seconds < 1 else f"{seconds:,.3f} s"


def estimate_csv(found: Estimate) -> str:
    """Write one line a program or decode position.

    Returns
    -------
    str
        With a header; figures that an interpolated position lacks are empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for phase, step in (("prefill", found.prefill), *(("decode", step) for step in found.decode)):
        values = {name: getattr(step, name) for name in _CSV[1:]}
        writer.writerow([phase, *("" if value is None else value for value in values.values())])
    return text.getvalue()
