"""Compares the results of a run with the references of its build (spec §9.7)."""

from __future__ import annotations

import os
from typing import Literal

import msgspec
import numpy as np

from plena_emu.errors import EmuError
from plena_emu.inputs.arguments import given_path, path_of

from .references import EXACT, MACHINE, ROUNDING, load_references, relative_rms
from .results import HBM_RESULTS, VRAM_DUMP, load_results

# Largest relative RMS error of the final hidden states against each reference; and from which margin of the first logit
# to the second, in standard deviations of the logits, the f32 forward's choice must be the machine's (§9.7).
BARS = {MACHINE: 0.03, EXACT: 0.08}
MARGIN = 0.3
# How much further off than a numpy forward with the same roundings a program may be: the two round in other places, and
# where a stored K or V falls to the other side of a rounding boundary they part.
ROUNDING_SLACK = 1.5
BARRED = ("hidden", "connector")
_PROGRAM = "generated_machine_code.mem"
Verdict = Literal["holds", "rounding", "broken"]


class ResultCheck(msgspec.Struct, frozen=True):
    """One result: its relative RMS errors against both references, and those that rounding alone makes.

    `verdict` is `holds` within the bars of §9.7; `rounding` beyond them, but no further than `ROUNDING_SLACK` times
    what rounding alone makes; else `broken`; None where no bar applies.
    """

    name: str
    shape: tuple[int, ...]
    machine_error: float
    f32_error: float
    machine_rounding: float
    f32_rounding: float
    verdict: Verdict | None


class ChoiceCheck(msgspec.Struct, frozen=True):
    """Largest logits: of `tokens`, how many the f32 forward decides clearly, and how many of those agree."""

    tokens: int
    clear: int
    agree: int


class CheckReport(msgspec.Struct, frozen=True):
    """Everything `plena-emu check` says of a build."""

    build: str
    machine_bar: float
    f32_bar: float
    results: tuple[ResultCheck, ...]
    choices: ChoiceCheck | None

    @property
    def ok(self) -> bool:
        """Whether the program is right: no bar is broken, and the machine chooses the f32 forward's clear tokens."""
        chosen = self.choices is None or self.choices.agree == self.choices.clear
        return chosen and all(result.verdict != "broken" for result in self.results)

    @property
    def holds(self) -> bool:
        """Whether that is so within the bars of §9.7."""
        return self.ok and all(result.verdict in ("holds", None) for result in self.results)


def check_build(build: str | os.PathLike, dump_dir: str | os.PathLike | None = None) -> CheckReport:
    """Compare the last run of a build with the numbers computed when it was compiled.

    Parameters
    ----------
    build : path
    dump_dir : path or None
        Where the dumps are; None: in the build directory.

    Returns
    -------
    CheckReport

    Raises
    ------
    EmuError
        A file is missing or unsound, a dump is older than the program, or a reference has another shape.
    """
    build, dump_dir = given_path("build", build), path_of("dump_dir", dump_dir)
    _check_dates(build, dump_dir or build)
    references = load_references(build)
    found = load_results(build, dump_dir)
    checks = [_checked(name, values, references, os.fspath(build)) for name, values in found.items()]
    choices = _choices(found["logits"], references[f"{EXACT}/logits"]) if "logits" in found else None
    return CheckReport(os.fspath(build), BARS[MACHINE], BARS[EXACT], tuple(checks), choices)


def _check_dates(build, dump_dir):
    """Refuse dumps that an earlier program left."""
    program = os.path.join(build, _PROGRAM)
    for name in (VRAM_DUMP, HBM_RESULTS):
        dump = os.path.join(dump_dir, name)
        if os.path.exists(dump) and os.path.exists(program) and os.stat(dump).st_mtime < os.stat(program).st_mtime:
            raise EmuError(f"{dump}: older than {program}; run the build again")


def _checked(name, values, references, build):
    errors = []
    for kind in (MACHINE, EXACT):
        reference = references.get(f"{kind}/{name}")
        if reference is None or reference.shape != values.shape:
            shape = "nothing" if reference is None else f"shape {list(reference.shape)}"
            raise EmuError(f"{build}: reference {kind}/{name}: found {shape}, expected shape {list(values.shape)}")
        errors.append(relative_rms(values, reference))
    rounding = references.get(f"{ROUNDING}/{name}")
    if rounding is None or rounding.shape != (2,):
        raise EmuError(f"{build}: reference {ROUNDING}/{name}: expected two numbers; compile the model again")
    rounding = [float(error) for error in rounding]
    verdict = _verdict(errors, rounding) if name in BARRED else None
    return ResultCheck(name, values.shape, *errors, *rounding, verdict)


def _verdict(errors, rounding):
    """Judge the errors against machine types and f32."""
    if all(error <= bar for error, bar in zip(errors, BARS.values(), strict=True)):
        return "holds"
    widened = (max(bar, ROUNDING_SLACK * alone) for bar, alone in zip(BARS.values(), rounding, strict=True))
    return "rounding" if all(error <= bar for error, bar in zip(errors, widened, strict=True)) else "broken"


def _choices(found, reference):
    """How often the largest logit is that of the f32 forward, where that one is clear."""
    found, reference = (array.reshape(-1, array.shape[-1]) for array in (found, reference))
    clear = clear_choices(reference)
    agree = clear & (found.argmax(axis=-1) == reference.argmax(axis=-1))
    return ChoiceCheck(len(reference), int(clear.sum()), int(agree.sum()))


def clear_choices(logits: np.ndarray) -> np.ndarray:
    """Tell where the largest logit leads the second by more than 30 % of the logits' standard deviation (§9.7).

    Parameters
    ----------
    logits : f32 array
        `[tokens, vocab]`.

    Returns
    -------
    bool array
        `[tokens]`.
    """
    if logits.shape[-1] < 2:
        return np.ones(len(logits), dtype=bool)
    first, second = np.partition(logits, -2, axis=-1)[:, [-1, -2]].T
    return first - second > MARGIN * logits.std(axis=-1)
