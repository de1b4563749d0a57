"""Compares the results of a run with the references of its build (spec §9.7)."""

from __future__ import annotations

import math
import os
from typing import Literal

import msgspec
import numpy as np

from plena_emu.errors import EmuError
from plena_emu.inputs.arguments import given_path, path_of

from .references import EXACT, MACHINE, ROUNDING, START, WEIGHTS, load_references, relative_rms
from .results import HBM_RESULTS, VRAM_DUMP, load_results

# Largest relative RMS error against machine types and f32. That of the hidden states is §9.7's. The logits of a token
# have its own error, which varies around that of all tokens; stored K and V are rounded to 8 bits once more, and an
# element on the other side of a rounding boundary is a whole step off.
BARS = {"hidden": (0.03, 0.08), "connector": (0.03, 0.08), "logits": (0.06, 0.16), "K": (0.1, 0.16), "V": (0.1, 0.16)}
# From which margin of the first logit to the second, in standard deviations of the logits, the f32 forward's choice
# must be the machine's (§9.7).
MARGIN = 0.3
# How much further off than a numpy forward with the same roundings a program may be: the two round in other places, and
# where a stored K or V falls to the other side of a rounding boundary they part.
ROUNDING_SLACK = 1.5
# Rounding excuses at most so many times a bar in a shallow model; roundings of layers add up as their squares, and the
# bars are for models of two layers, so it is √(layers / 2) times from 8 layers on.
_LEAST_EXCUSE = 2.0
_BARRED_LAYERS = 2
# What a run reads: a dump that is older than one of these is of another program or other data.
_READ_BY_RUN = ("generated_machine_code.mem", "hbm_for_behave_sim.bin", "vram_preload.bin", "fp_sram.bin",
                "int_sram.bin", "plena_settings.toml")
Verdict = Literal["holds", "rounding", "broken"]


class ResultCheck(msgspec.Struct, frozen=True):
    """One result: its relative RMS errors against both references, and those that rounding alone makes.

    `verdict` is `holds` within `machine_bar` and `f32_bar`; `rounding` beyond them, but no further than
    `ROUNDING_SLACK` times what rounding alone makes, nor than depth explains; else `broken`.
    """

    name: str
    shape: tuple[int, ...]
    machine_error: float
    f32_error: float
    machine_rounding: float
    f32_rounding: float
    machine_bar: float
    f32_bar: float
    verdict: Verdict


class WeightCheck(msgspec.Struct, frozen=True):
    """The tensor, of `tensors`, whose error is the largest part of the `guaranteed` one of its format."""

    tensors: int
    name: str
    error: float
    guaranteed: float

    @property
    def ok(self) -> bool:
        """Whether the error, and with it that of every tensor, is within what the format guarantees."""
        return self.error <= self.guaranteed


class ChoiceCheck(msgspec.Struct, frozen=True):
    """Largest logits: of `tokens`, how many the f32 forward decides clearly, and how many of those agree."""

    tokens: int
    clear: int
    agree: int


class CheckReport(msgspec.Struct, frozen=True):
    """Everything `plena-emu check` says of a build.

    `starts` are the K and V that a decode step took from another build, as that build's references judge them.
    """

    build: str
    machine_bar: float
    f32_bar: float
    results: tuple[ResultCheck, ...]
    starts: tuple[ResultCheck, ...]
    weights: WeightCheck
    choices: ChoiceCheck | None

    @property
    def ok(self) -> bool:
        """Whether the program is right.

        No bar is broken, the weights are what their formats guarantee, and the machine chooses the f32 forward's clear
        tokens.
        """
        chosen = self.choices is None or self.choices.agree == self.choices.clear
        judged = (*self.results, *self.starts)
        return chosen and self.weights.ok and all(result.verdict != "broken" for result in judged)

    @property
    def holds(self) -> bool:
        """Whether that is so within every bar."""
        return self.ok and all(result.verdict == "holds" for result in (*self.results, *self.starts))


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
        A file is missing or unsound, a dump is older than what the run read, or a reference has another shape.
    """
    build, dump_dir = given_path("build", build), path_of("dump_dir", dump_dir)
    _check_dates(build, dump_dir or build)
    references = load_references(build)
    found = load_results(build, dump_dir)
    layers = sum(name.startswith("K_") for name in found)
    checks = [_checked(name, values, references, layers, os.fspath(build)) for name, values in found.items()]
    starts = [_started(name, values.shape, references, build) for name, values in found.items()
              if f"{START}/{name}" in references]
    choices = _choices(found["logits"], references[f"{EXACT}/logits"]) if "logits" in found else None
    return CheckReport(os.fspath(build), *BARS["hidden"], tuple(checks), tuple(starts), _weights(references, build),
                       choices)


def _check_dates(build, dump_dir):
    """Refuse dumps that an earlier program, or one with other data, left."""
    for name in (VRAM_DUMP, HBM_RESULTS):
        dump = os.path.join(dump_dir, name)
        for read in (os.path.join(build, name) for name in _READ_BY_RUN):
            if os.path.exists(dump) and os.path.exists(read) and os.stat(dump).st_mtime_ns < os.stat(read).st_mtime_ns:
                raise EmuError(f"{dump}: older than {read}; run the build again")


def _numbers(references, name, count, build):
    """Some numbers that the compiler wrote."""
    values = references.get(name)
    if values is None or values.shape != (count,):
        raise EmuError(f"{build}: reference {name}: expected {count} numbers; compile the model again")
    return [float(value) for value in values]


def _checked(name, values, references, layers, build):
    errors = []
    for kind in (MACHINE, EXACT):
        reference = references.get(f"{kind}/{name}")
        if reference is None or reference.shape != values.shape:
            shape = "nothing" if reference is None else f"shape {list(reference.shape)}"
            raise EmuError(f"{build}: reference {kind}/{name}: found {shape}, expected shape {list(values.shape)}")
        errors.append(relative_rms(values, reference))
    return _judged(name, values.shape, errors, _numbers(references, f"{ROUNDING}/{name}", 2, build), layers)


def _started(name, shape, references, build):
    """Judge K or V of a layer that a decode step starts from: all tokens but its own."""
    numbers = _numbers(references, f"{START}/{name}", 4, build)
    return _judged(name, (*shape[:2], shape[2] - 1, shape[3]), numbers[:2], numbers[2:], 0)


def _judged(name, shape, errors, rounding, layers):
    kind, _, layer = name.partition("_")
    bars = BARS[kind]
    depth = int(layer) + 1 if layer else layers
    verdict = _verdict(errors, bars, rounding, max(_LEAST_EXCUSE, math.sqrt(depth / _BARRED_LAYERS)))
    return ResultCheck(name, tuple(shape), *errors, *rounding, *bars, verdict)


def _verdict(errors, bars, rounding, excuse):
    """Judge the errors against machine types and f32; `excuse` bounds what rounding explains, in bars."""
    if all(error <= bar for error, bar in zip(errors, bars, strict=True)):
        return "holds"
    widened = (max(bar, min(excuse * bar, ROUNDING_SLACK * alone)) for bar, alone in zip(bars, rounding, strict=True))
    return "rounding" if all(error <= bar for error, bar in zip(errors, widened, strict=True)) else "broken"


def _weights(references, build):
    """The worst tensor."""
    errors = {name: _numbers(references, name, 2, build) for name in references if name.startswith(f"{WEIGHTS}/")}
    if not errors or not all(guaranteed > 0 for _, guaranteed in errors.values()):
        raise EmuError(f"{build}: references.npz has no sound errors of weights; compile the model again")
    worst = max(errors, key=lambda name: errors[name][0] / errors[name][1])
    return WeightCheck(len(errors), worst.removeprefix(f"{WEIGHTS}/"), *errors[worst])


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
