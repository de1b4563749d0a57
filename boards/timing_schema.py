"""Timing files: typed schema, checks and loader (spec §7.6-§7.9).

A timing file says what instructions cost, which units they hold and what they wait for. `timing/rtl_v1.yaml` explains
every key. `load_timing` takes a name that ships or a path.
"""

import os
import pathlib
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plena_emu.errors import EmuError
from plena_emu.inputs.number_formats import parse_format
from plena_emu.inputs.words import shown

from .loader import _locate, _read_yaml
from .sections import Section, Text, made_of
from .timing_formula import GEOMETRY, SERVICE, FormulaError, parse

FORMATS = ("weight", "matrix_sram", "vector_sram", "scalar_fp")
STATUSES = ("full_machine_measured", "structural_extrapolation", "unsupported_rtl", "ramulator_observed")
MEASURED, EXTRAPOLATED, UNSUPPORTED, OBSERVED = STATUSES
RESERVED_REASONS = ("pipeline_recovery",)  # keys that reports have beside reasons (§7.11)
MAX_COPIES = 16
MAX_LATE_CLASSES = 8  # classes with `starts_after`: the kernel's record of late starts holds as many

_HERE = pathlib.Path(__file__).resolve().parent / "timing"
_RENAMED: dict[str, str] = {}

Formula = int | str
Until = Literal["result", "completion", "next"]


class Unit(Section, frozen=True):
    """Something an instruction can hold, in one or several copies."""

    copies: Annotated[int, Meta(ge=1, le=MAX_COPIES)] = 1


class Tracks(Section, frozen=True):
    """Dependences through storage that count."""

    matrix_sram: bool = True
    vector_sram: bool = True
    fp_registers: bool = True


class Measurement(Section, frozen=True):
    """Where figures were measured: all `formats`, one of `points`, and nothing above `at_most`."""

    formats: dict[str, Text] = {}
    points: tuple[dict[str, int | str], ...] = ()
    at_most: dict[str, int] = {}

    def holds(self, machine: dict[str, int | str]) -> bool:
        """Tell whether a machine (a value for each name of `GEOMETRY` and `FORMATS`) was measured."""
        return (
            all(machine[name] == value for name, value in self.formats.items())
            and (not self.points or any(all(machine[k] == v for k, v in point.items()) for point in self.points))
            and all(int(machine[name]) <= most for name, most in self.at_most.items())
        )


class Cost(Section, frozen=True):
    """Cycles of some operations and how far they can be trusted."""

    ops: tuple[Text, ...]
    weights: Literal["Fp", "Int"] | None = None
    cycles: Formula | None = None
    ready: Formula | None = None
    busy: Formula | None = None
    interval: Formula | None = None
    measured: Text | None = None
    status: Literal["full_machine_measured", "structural_extrapolation", "ramulator_observed"] | None = None
    supported: bool = True
    in_domain: bool | str = False

    @property
    def formulas(self) -> tuple[Formula | None, Formula | None, Formula | None]:
        """Formulas of ready, busy and interval; the checks of `load_timing` leave none out."""
        return (self.cycles,) * 3 if self.cycles is not None else (self.ready, self.busy, self.interval)


class Wait(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Wait for a unit, for a reason; `other_latency`: only after a result of another latency."""

    unit: str
    reason: Text
    condition: Literal["other_latency"] | None = None


class StartsAfter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Start when a unit is free, accepted or not."""

    unit: str
    reason: Text


class OpClass(Section, frozen=True):
    """Operations that wait for and hold the same units."""

    ops: tuple[Text, ...]
    waits: tuple[Wait, ...] = ()
    holds: dict[str, Until] = {}
    starts_after: StartsAfter | None = None
    stalls_on_port_a: bool = False
    writes_port_a: bool = False


class TimingFile(Section, frozen=True):
    """The keys of a timing file."""

    name: Text
    description: Text
    units: dict[str, Unit]
    costs: tuple[Cost, ...]
    classes: dict[str, OpClass]
    origin: str = ""
    tracks: Tracks = Tracks()
    recovery_cycles: Annotated[int, Meta(ge=0, le=1000)] = 1
    measurements: dict[str, Measurement] = {}


class Timing(TimingFile, frozen=True, kw_only=True):
    """A loaded and checked timing file; `source` is its file."""

    source: str

    def class_of(self, op: str) -> OpClass | None:
        """Class of an operation, None for one that waits for nothing."""
        return next((some for some in self.classes.values() if op in some.ops), None)

    def cost_of(self, op: str, weights: str) -> Cost | None:
        """Cost entry of an operation for weights of a kind (`Fp`, `Int`)."""
        return next((cost for cost in self.costs if op in cost.ops and cost.weights in (None, weights)), None)

    def reasons(self) -> list[str]:
        """Reasons of stalls that the file names, in its order, each once."""
        found: dict[str, None] = {}
        for some in self.classes.values():
            for wait in (*some.waits, *((some.starts_after,) if some.starts_after else ())):
                found.setdefault(wait.reason)
        return list(found)


def timing_names() -> list[str]:
    """Names of the timing files that ship, sorted; `rtl-v1` is `timing/rtl_v1.yaml`."""
    return sorted(path.stem.replace("_", "-") for path in _HERE.glob("*.yaml"))


def load_timing(name_or_path: str | os.PathLike) -> Timing:
    """Load a timing file by name (`rtl-v1`) or path (`./mine.yaml`).

    Raises
    ------
    UsageError
        The name is none that ships.
    EmuError
        The file cannot be read, or something in it is wrong: file and dotted key are named.
    """
    source = _locate(name_or_path, "timing", _HERE, timing_names(), _RENAMED)
    if isinstance(source, pathlib.Path):
        source = source.with_name(source.name.replace("-", "_"))
    return to_timing(_read_yaml(source, "timing"), os.fspath(source))


def to_timing(data: object, source: str) -> Timing:
    """Build a `Timing` from the parsed YAML of `source`; raises `EmuError`."""
    what = f"timing {source}"
    file = made_of(data, TimingFile, what)
    for name, measurement in file.measurements.items():
        _check_measurement(measurement, f"{what}: measurements.{name}")
    for number, cost in enumerate(file.costs):
        _check_cost(cost, file, f"{what}: costs[{number}]")
    _check_costs_apart(file, what)
    _check_classes(file, what)
    return Timing(**{name: getattr(file, name) for name in file.__struct_fields__}, source=source)


def _known(key, names, where):
    if key not in names:
        raise EmuError(f"{where}: found {shown(key)}, expected one of {', '.join(names)}")


def _check_measurement(measurement, where):
    for key, value in measurement.formats.items():
        _known(key, FORMATS, f"{where}.formats")
        _check_value(key, value, f"{where}.formats")
    for key, value in measurement.at_most.items():
        _known(key, GEOMETRY, f"{where}.at_most")
        _check_value(key, value, f"{where}.at_most")
    for number, point in enumerate(measurement.points):
        for key, value in point.items():
            _known(key, (*GEOMETRY, *FORMATS), f"{where}.points[{number}]")
            _check_value(key, value, f"{where}.points[{number}]")


def _check_value(key, value, where):
    """A figure or a format that some machine can have: others would never be met, and say so nowhere."""
    if key in GEOMETRY:
        fits, expected = isinstance(value, int) and value >= 1, "a number, at least 1"
    else:
        fits = isinstance(value, str) and parse_format(value) is not None
        expected = "a format such as e4m3 or int8"
    if not fits:
        raise EmuError(f"{where}.{key}: found {shown(value)}, expected {expected}")


def _check_reason(reason, where):
    if not re.fullmatch("[a-z][a-z0-9_]{0,63}", reason):
        raise EmuError(f"{where}: reason: found {shown(reason)}, expected at most 64 small letters, digits and _, a"
                       " letter first")
    if reason in RESERVED_REASONS:
        raise EmuError(f"{where}: reason: found {shown(reason)}, which reports use for something else, expected another"
                       " name")


def _check_cost(cost, file, where):
    parts = {name: getattr(cost, name) for name in ("ready", "busy", "interval")}
    given = [name for name, value in parts.items() if value is not None]
    if (cost.cycles is None) != (len(given) == 3) or cost.cycles is not None and given:
        raise EmuError(f"{where}: found {', '.join(given) or 'no cycles'}, expected cycles alone, or ready, busy and"
                       " interval")
    for formula in cost.formulas:
        if formula != SERVICE:
            try:
                parse(formula)
            except FormulaError as error:
                raise EmuError(f"{where}: {error}") from None
        elif cost.cycles != SERVICE:
            raise EmuError(f"{where}: {SERVICE} is expected as `cycles`")
    if not cost.supported and (cost.measured or cost.status or cost.in_domain is not False):
        raise EmuError(f"{where}: an unsupported operation has no measured, status or in_domain")
    if cost.measured and cost.status:
        raise EmuError(f"{where}: found measured and status, expected one of them")
    for key, name in (("measured", cost.measured), ("in_domain", cost.in_domain)):
        if isinstance(name, str):
            _known(name, tuple(file.measurements), f"{where}.{key}")


def _check_costs_apart(file, what):
    """No operation has two costs for the same weights."""
    seen: dict[tuple[str, str], int] = {}
    for number, cost in enumerate(file.costs):
        for op in cost.ops:
            for weights in (cost.weights,) if cost.weights else ("Fp", "Int"):
                if (op, weights) in seen:
                    raise EmuError(f"{what}: costs[{number}]: {op} has a cost for {weights} weights already, in"
                                   f" costs[{seen[op, weights]}]")
                seen[op, weights] = number


def _check_classes(file, what):
    owner: dict[str, str] = {}
    late: dict[str, str] = {}
    for name, some in file.classes.items():
        where = f"{what}: classes.{name}"
        for op in some.ops:
            if op in owner:
                raise EmuError(f"{where}: {op} is in classes.{owner[op]} already")
            owner[op] = name
        for unit in (*(wait.unit for wait in some.waits), *some.holds):
            _known(unit, tuple(file.units), where)
        for wait in (*some.waits, *((some.starts_after,) if some.starts_after else ())):
            _check_reason(wait.reason, where)
        if some.starts_after is not None:
            _known(some.starts_after.unit, tuple(file.units), f"{where}.starts_after")
            _check_late(name, some, file, late, where)
    if len(late) > MAX_LATE_CLASSES:
        raise EmuError(f"{what}: found {len(late)} units of classes with starts_after, expected at most"
                       f" {MAX_LATE_CLASSES}")


def _check_late(name, some, file, late, where):
    """Of instructions that start late at most one a unit is under way, or the order of starts would be lost."""
    own = [wait.unit for wait in some.waits if wait.condition is None and some.holds.get(wait.unit) == "completion"
           and file.units[wait.unit].copies == 1]
    if not own:
        raise EmuError(f"{where}: starts_after needs a unit of one copy that the class waits for and holds until"
                       " completion")
    late.setdefault(own[0], name)
