"""Compares the results of a run with the references of its build (spec §9.7)."""

from __future__ import annotations

import os

import msgspec
import numpy as np

from plena_emu.errors import EmuError

from .references import EXACT, MACHINE, load_references
from .results import HBM_RESULTS, VRAM_DUMP, load_results

# Largest relative RMS error of the final hidden states against each reference, for models of two or three layers; and
# from which margin of the first logit to the second, in standard deviations of the logits, the f32 forward's choice
# must be the machine's (§9.7).
BARS = {MACHINE: 0.03, EXACT: 0.08}
BAR_LAYERS = 3
MARGIN = 0.3
BARRED = ("hidden", "connector")
_PROGRAM = "generated_machine_code.mem"


class ResultCheck(msgspec.Struct, frozen=True):
    """One result: its relative RMS errors against both references; `ok` is None where no bar applies."""

    name: str
    shape: tuple[int, ...]
    machine_error: float
    f32_error: float
    ok: bool | None


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
        """Whether every bar holds."""
        chosen = self.choices is None or self.choices.agree == self.choices.clear
        return chosen and all(result.ok is not False for result in self.results)


def bars_of(layers: int) -> dict[str, float]:
    """Compute the bars of a model: those of §9.7, which growing depth raises.

    Every layer adds errors of its own that do not depend on the others', so their squares add up.

    Returns
    -------
    dict of str to float
        By the kind of reference.
    """
    return {kind: bar * max(1.0, layers / BAR_LAYERS) ** 0.5 for kind, bar in BARS.items()}


def relative_rms(found: np.ndarray, reference: np.ndarray) -> float:
    """Compute the RMS of the difference divided by the RMS of the reference (§9.7).

    Returns
    -------
    float
        NaN where `found` holds one; 0 where both are zero.
    """
    difference = np.sqrt(np.mean(np.square(found.astype(np.float64) - reference)))
    size = np.sqrt(np.mean(np.square(reference.astype(np.float64))))
    if size == 0:
        return 0.0 if difference == 0 else float("inf")
    return float(difference / size)


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
    _check_dates(build, dump_dir or build)
    references = load_references(build)
    found = load_results(build, dump_dir)
    bars = bars_of(sum(name.startswith("K_") for name in found))
    checks = [_checked(name, values, references, bars, os.fspath(build)) for name, values in found.items()]
    choices = _choices(found["logits"], references[f"{EXACT}/logits"]) if "logits" in found else None
    return CheckReport(os.fspath(build), bars[MACHINE], bars[EXACT], tuple(checks), choices)


def _check_dates(build, dump_dir):
    """Refuse dumps that an earlier program left."""
    program = os.path.join(build, _PROGRAM)
    for name in (VRAM_DUMP, HBM_RESULTS):
        dump = os.path.join(dump_dir, name)
        if os.path.exists(dump) and os.path.exists(program) and os.stat(dump).st_mtime < os.stat(program).st_mtime:
            raise EmuError(f"{dump}: older than {program}; run the build again")


def _checked(name, values, references, bars, build):
    pair = []
    for kind in (MACHINE, EXACT):
        reference = references.get(f"{kind}/{name}")
        if reference is None or reference.shape != values.shape:
            shape = "nothing" if reference is None else f"shape {list(reference.shape)}"
            raise EmuError(f"{build}: reference {kind}/{name}: found {shape}, expected shape {list(values.shape)}")
        pair.append(relative_rms(values, reference))
    ok = None
    if name in BARRED:
        ok = pair[0] <= bars[MACHINE] and pair[1] <= bars[EXACT]
    return ResultCheck(name, values.shape, pair[0], pair[1], ok)


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
