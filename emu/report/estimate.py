"""The table and the CSV of `plena-emu estimate`."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from .board_time import board_rows, limit_rows
from .quantities import duration, mib, size
from .table import Table, Title, pairs, render

if TYPE_CHECKING:
    from ..models.board_estimate import Estimate

_CSV = ("phase", "past", "tokens", "seconds", "serial_seconds", "exact", "compute_share", "instructions", "bytes_read",
        "bytes_written", "regime")


def estimate_text(found: Estimate, width: int | None = None) -> str:
    """Write the answer first, then where it comes from.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    memory = found.memory_model if found.regime in (None, found.memory_model) else f"auto: {found.regime}"
    capacity = "" if found.capacity_bytes is None else f", {size(found.capacity_bytes)}"
    sizes = found.footprint
    per_token, per_second = found.time_per_token, found.tokens_per_s
    where = f"on {found.board} at" if found.board else "at"
    timing = "" if found.timing == "serial" else f", timing {found.timing}"
    schedule = "" if found.schedule == "plain" else f", schedule {found.schedule}"
    blocks = [
        Title(f"{found.model} {where} {found.clock_mhz:g} MHz, {found.preset}, batch {found.batch}, memory"
              f" {memory}{capacity}{timing}{schedule}"),
        pairs((
            *(() if found.on_board is None else board_rows(found.on_board, on_board_time=True)),
            *limit_rows(found.limits),
            ("footprint", f"weights {mib(sizes.weight)}, cache {mib(sizes.kv)}, activations {mib(sizes.activation)}"),
            ("time to first token" if found.decode else "one denoising pass", duration(found.time_to_first_token)),
            ("time per output token", None if per_token is None else duration(per_token)),
            ("output", None if per_second is None else f"{per_second:,.3f} tokens/s"),
        ), indent=2),
        "",
        _steps(found),
        "",
        *_exactness(found),
        f"  not counted: {found.not_counted}",
        *(f"  warning: {warning}" for warning in found.warnings),
    ]
    return render(blocks, width)


def _steps(found):
    named = [(f"image of {found.image.tokens:,} tokens", found.image)] if found.image else []
    named += [(f"{'prefill of' if found.decode else 'pass over'} {found.prefill.tokens:,}", found.prefill)]
    named += [(f"decode at {step.past:,}", step) for step in found.decode if step.exact]
    serial = found.prefill.serial_seconds is not None
    rows = [(name, duration(step.seconds), *((duration(step.serial_seconds),) if serial else ()),
             f"{step.compute_share:.0%}", f"{step.instructions:,}", mib(step.bytes_read), mib(step.bytes_written))
            for name, step in named]
    titles = ("timed", "time", *(("serial",) if serial else ()), "compute", "instructions", "read", "written")
    return Table(rows, "l" + "r" * (len(titles) - 1), titles, indent=2)


def _exactness(found):
    positions = len(found.decode)
    exact = sum(step.exact for step in found.decode)
    if exact == positions:
        if positions:
            yield f"  every one of {positions} decode positions was timed"
        return
    yield f"  {exact} of {positions} decode positions were timed, the others interpolated by the key blocks they read"
    if found.held_out:
        held = found.held_out
        yield (f"  interpolation error {held.relative_error:.2%} at position {held.past}, the one that was held out;"
               " others may be further off")


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
    phases = [("image", found.image)] if found.image else []
    for phase, step in (*phases, ("prefill", found.prefill), *(("decode", step) for step in found.decode)):
        values = [getattr(step, name) for name in _CSV[1:]]
        writer.writerow([phase, *("" if value is None else value for value in values)])
    return text.getvalue()
