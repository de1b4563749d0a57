"""The numbers a build is checked against (`references.npz`), computed when it is compiled (spec §9.7).

Each result has two references: `f32/<name>` of the exact forward, and `machine/<name>` of the forward with what the
machine can hold. Names and shapes are those of `results.json`. `rounding/<name>` are the relative RMS errors, against
machine and f32, of a third forward in numpy: that of the machine's types with every intermediate result rounded to
bf16, as rows and registers are. No program that works in rows can be expected to be much closer.

Both forwards with the machine's types read the same weights, so `weights/<tensor>` has each tensor's error against the
model's own, and the one its format guarantees (`weight_errors`). A decode step that starts from another build's cache
has `start/<name>`: the errors of what that run stored against that build's machine and f32, then those of rounding.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from plena_emu.errors import EmuError
from plena_emu.inputs.arguments import given_path
from plena_emu.inputs.opening import open_input

from .configs import TextConfig, VisionConfig
from .folding import FoldedWeights
from .forward.machine_types import HeldWeights, holder
from .forward.text import Cache, Logits, forward_text
from .forward.vision import forward_vision
from .number_formats import round_bf16
from .weight_errors import ComparedWeights
from .weights import Weights

if TYPE_CHECKING:
    from plena_emu.config.settings import Settings

FILE = "references.npz"
EXACT, MACHINE, ROUNDING, WEIGHTS, START = "f32", "machine", "rounding", "weights", "start"


class Caches(msgspec.Struct):
    """The caches a decode step starts from: `exact` of the f32 forward, `held` as the HBM holds it.

    `errors` has for K and V of each layer, by the name of the result, four numbers: the errors of `held` against the
    machine's types and f32, and those of rounding. It is empty where the cache is nobody's result.
    """

    exact: Cache
    held: Cache
    errors: dict[str, np.ndarray] = {}


def text_references(
    config: TextConfig,
    weights: Weights,
    embeddings: np.ndarray,
    settings: Settings,
    *,
    caches: Caches | None = None,
    logits: Logits = "last",
    held_weights: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Compute both references of a prefill or a decode step.

    Parameters
    ----------
    config : TextConfig
    weights : Weights
    embeddings : f32 array
        `[batch, tokens, hidden]`; the machine holds them in bf16.
    settings : Settings
        Of the build: weight and KV type.
    caches : Caches or None
        Of a decode step.
    logits : "last", "all" or "none"
    held_weights : Mapping or None
        What the machine holds, None: `HeldWeights` of the folded weights.

    Returns
    -------
    dict of str to f32 array
        `f32/hidden`, `machine/K_0` and so on, in the shapes of `results.json`.

    Raises
    ------
    EmuError
        As `forward_text`.
    """
    held_weights = _compared(held_weights, weights, settings)
    starts = (None, None) if caches is None else (caches.exact, caches.held)
    with _overflowing(config):
        exact = forward_text(config, weights, embeddings, starts[0], logits=logits)
    before = starts[1] and Cache([_twice(keys) for keys in starts[1].keys],
                                 [_twice(values) for values in starts[1].values])
    with _overflowing(config):
        both = forward_text(config, held_weights, _twice(round_bf16(embeddings)), before, logits=logits,
                            hold=holder(settings), row=_round_second_half)
    errors = {} if caches is None else caches.errors
    return (_named(_text_results(exact), _text_results(both), held_weights, config)
            | {f"{START}/{name}": numbers for name, numbers in errors.items()})


def vision_references(
    config: VisionConfig,
    weights: Weights,
    patches: np.ndarray,
    settings: Settings,
    *,
    held_weights: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Compute both references of an image; `patches` of `cut_patches`, the rest as `text_references`.

    Returns
    -------
    dict of str to f32 array
        `f32/hidden`, `f32/connector`, `machine/K_0` and so on.
    """
    held_weights = _compared(held_weights, weights, settings)
    with _overflowing(config):
        exact = forward_vision(config, weights, patches)
        both = forward_vision(config, held_weights, _twice(round_bf16(patches)), hold=holder(settings),
                              row=_round_second_half)
    return _named(_vision_results(exact), _vision_results(both), held_weights, config)


@contextlib.contextmanager
def _overflowing(config):
    """Turn an overflow of an intermediate result into an error: a norm would make finite zeros of it."""
    try:
        with np.errstate(over="raise", invalid="ignore"):
            yield
    except FloatingPointError as error:
        raise _no_reference(config, error) from None


def _no_reference(config, why):
    return EmuError(f"model {config.name}: its forward in f32 leaves the finite numbers ({why}), so there is nothing to"
                    " check a run against")


def _twice(values):
    """One batch as two, so that two forwards read each weight once."""
    return np.concatenate([values, values])


def _round_second_half(values):
    """Leave the first of two batches exact, and round the second as rows are."""
    half = len(values) // 2
    return np.concatenate([values[:half], round_bf16(values[half:])])


def _compared(held_weights, weights, settings):
    """What the machine holds, compared with the model's own weights while it is read."""
    held_weights = held_weights or HeldWeights(FoldedWeights(weights), settings)
    return ComparedWeights(held_weights, weights, settings.hbm_m_weight_type)


def _named(exact, both, weights, config):
    """The contents of `references.npz`; `both` are results with the machine's types, exact and rounded."""
    held = {name: values[: len(exact[name])] for name, values in both.items()}
    found = {f"{kind}/{name}": values for kind, results in ((EXACT, exact), (MACHINE, held))
             for name, values in results.items()}
    for name, values in (*exact.items(), *both.items()):
        if not np.isfinite(values).all():
            raise _no_reference(config, name)
    for name, values in both.items():
        rounded = values[len(exact[name]) :]
        errors = [relative_rms(rounded, results[name]) for results in (held, exact)]
        found[f"{ROUNDING}/{name}"] = np.array(errors, dtype=np.float32)
    return found | {f"{WEIGHTS}/{name}": np.array(pair, dtype=np.float32) for name, pair in weights.errors.items()}


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


def _text_results(output):
    logits = {} if output.logits is None else {"logits": output.logits}
    return {"hidden": output.hidden} | logits | _cache_results(output.cache.keys, output.cache.values)


def _vision_results(output):
    return {"hidden": output.hidden, "connector": output.connector} | _cache_results(output.keys, output.values)


def _cache_results(keys, values):
    return ({f"K_{layer}": array for layer, array in enumerate(keys)}
            | {f"V_{layer}": array for layer, array in enumerate(values)})


def cache_of(results: Mapping[str, np.ndarray], prefix: str = "") -> Cache:
    """Collect `K_<layer>` and `V_<layer>` of results or, with a `prefix` such as `f32/`, of references.

    Returns
    -------
    Cache
        Layers in order; empty where there are none.
    """
    layers = sum(name.startswith(f"{prefix}K_") for name in results)
    return Cache([results[f"{prefix}K_{layer}"] for layer in range(layers)],
                 [results[f"{prefix}V_{layer}"] for layer in range(layers)])


def references_bytes(references: Mapping[str, np.ndarray]) -> bytes:
    """Write `references.npz`; the same references give the same bytes.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **references)
    return buffer.getvalue()


def load_references(build: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read `references.npz` of a build.

    Returns
    -------
    dict of str to f32 array

    Raises
    ------
    EmuError
        The file is missing or unsound.
    """
    path = os.path.join(given_path("build", build), FILE)
    try:
        with open_input(path) as file, np.load(file, allow_pickle=False) as held:
            return dict(held)
    except FileNotFoundError:
        raise EmuError(f"{path}: not found; a build that was compiled without weights has no references") from None
    except OSError as error:
        raise EmuError(f"{path}: cannot read: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise EmuError(f"{path}: found no readable arrays, expected a .npz file") from None
