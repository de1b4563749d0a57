"""What two runs differ in: latency, stages, regions, bytes, settings and inputs (`plena-emu diff`)."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ...result import Figures, Row, RunResult

# Totals of a run that are compared, and figures of a stage or a region.
TOTALS = ("latency_ps", "compute_ps", "memory_ps", "instructions", "bytes_read", "bytes_written")
OF_STAGE = ("time_ps", "bytes_read", "bytes_written", "link_bytes")
OF_REGION = ("memory_ps", "bytes_read", "bytes_written", "link_bytes")

# Parts of a record that say what was run; everything else follows from them.
INPUTS = ("isa", "program", "sources", "geometry", "model", "regime", "limits", "board", "time_basis",
          "timing_only", "versions")
_OF_HARDWARE = ("timing", "timing_file", "dma", "clock_period_ps", "hbm_channels")


class Change(msgspec.Struct, kw_only=True):
    """A figure that changed: what it is of, its name, before and after. A part that is missing counts 0."""

    of: str
    figure: str
    before: int
    after: int

    @property
    def ratio(self) -> float:
        """After over before; infinite where there was nothing before."""
        return self.after / self.before if self.before else float("inf")

    @property
    def size(self) -> int:
        """How far apart the two are."""
        return abs(self.after - self.before)


class Different(msgspec.Struct, kw_only=True):
    """An input or setting that differs, as JSON text; None where one side has none."""

    key: str
    before: str | None
    after: str | None


class Differences(msgspec.Struct, kw_only=True):
    """What two runs differ in.

    Attributes
    ----------
    latency : Change
        Also where it did not change.
    totals, stages, regions : list of Change
        In each list the largest change comes first.
    inputs : list of Different
    remarks : list of str
        What could not be compared.
    """

    latency: Change
    totals: list[Change]
    stages: list[Change]
    regions: list[Change]
    inputs: list[Different]
    remarks: list[str]

    @property
    def slower_by(self) -> float:
        """Share by which the latency grew; negative where it shrank."""
        before, after = self.latency.before, self.latency.after
        return (after - before) / before if before else (float("inf") if after else 0.0)


def differences(before: RunResult, after: RunResult) -> Differences:
    """Compare two runs.

    Returns
    -------
    Differences
    """
    remarks = [f"{name} run has no stages: they are not compared"
               for name, result in (("the first", before), ("the second", after)) if result.stages is None]
    remarks += [f"{name} run was stopped before its end: its figures are not the program's"
                for name, result in (("the first", before), ("the second", after))
                if result.stopped_by_max_instructions]
    if before.time_basis != after.time_basis:
        times = {"board": "its board's time", "reference": "the reference's time"}
        remarks.insert(0, f"the first run tells {times[before.time_basis]}, the second {times[after.time_basis]}"
                          " (§10.1): what differs in time is not only the program's")
    stages: list[Change] = []
    regions: list[Change] = []
    if before.stages is not None and after.stages is not None:
        stages = _sorted(_by_key(before.stages.stages, after.stages.stages, OF_STAGE))
        regions = _sorted(_by_key(before.stages.regions, after.stages.regions, OF_REGION))
    return Differences(
        latency=Change(of="run", figure="latency_ps", before=before.latency_ps, after=after.latency_ps),
        totals=_sorted(_changes("run", TOTALS, before, after)),
        stages=stages,
        regions=regions,
        inputs=_inputs(before, after),
        remarks=remarks,
    )


def _changes(of, figures, before, after):
    for figure in figures:
        pair = getattr(before, figure), getattr(after, figure)
        if pair[0] != pair[1]:
            yield Change(of=of, figure=figure, before=pair[0], after=pair[1])


def _by_key(before: list[Row], after: list[Row], figures):
    """Changes of the rows of two tables."""
    first, second = ({row.key: row.figures for row in rows} for rows in (before, after))
    for key in dict.fromkeys([*first, *second]):
        yield from _changes(name_of(key), figures, first.get(key, Figures()), second.get(key, Figures()))


def name_of(key: tuple) -> str:
    """Name a row of a table: `layer 0 attn.qkv`, `norm`, a region."""
    if len(key) == 2:
        return key[1] if key[0] is None else f"layer {key[0]} {key[1]}"
    return str(key[0])


def _sorted(changes) -> list[Change]:
    return sorted(changes, key=lambda change: (-change.size if change.figure.endswith("_ps") else 1, -change.size))


def _inputs(before, after):
    first, second = (_flat(msgspec.to_builtins(_inputs_of(result))) for result in (before, after))
    return [Different(key=key, before=first.get(key), after=second.get(key))
            for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]


def _inputs_of(result):
    """Parts of a record that say what was run, by name."""
    hardware = result.hardware and {name: getattr(result.hardware, name) for name in _OF_HARDWARE}
    return {name: getattr(result, name) for name in INPUTS} | {"hardware": hardware}


def _flat(value: Any, key: str = "") -> dict[str, str]:
    """Leaves of a tree by dotted key, as JSON text; None is no leaf."""
    if isinstance(value, dict):
        return {path: text for name, part in value.items()
                for path, text in _flat(part, f"{key}.{name}" if key else name).items()}
    return {} if value is None else {key: json.dumps(value)}
