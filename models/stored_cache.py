"""The cache a decode step starts from: a build's stored rows byte for byte, or seeded ones (spec §9.2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import numpy as np

from plena_emu.errors import EmuError
from plena_emu.inputs.documents import parse_json
from plena_emu.inputs.schema import convert
from plena_emu.inputs.text import read_text

from .configs import TextConfig
from .forward.text import Cache
from .head_plan import HeadPlan
from .machine import BLOCK, HbmTensor
from .number_formats import check_mx, decode_mx, encode_stored
from .references import EXACT, MACHINE, ROUNDING, START, Caches, cache_of, load_references, relative_rms
from .results import HBM_RESULTS, load_results, read_results

if TYPE_CHECKING:
    from plena_emu.config.settings import Mx, Settings

_SEED = 0


class StoredCache(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of K and V of all layers.

    `codes[name]` is u8 `[batch, tokens, columns]` and `scales[name]` u8 `[batch, tokens, columns / 8]`, by the name of
    the stored tensor; `caches` is what they hold, for the references. `weights` is the digest of the weights they were
    made with, None where they are nobody's.
    """

    batch: int
    tokens: int
    codes: dict[str, np.ndarray]
    scales: dict[str, np.ndarray]
    caches: Caches | None
    weights: str | None = None

    def write(self, file: BinaryIO, tensor: HbmTensor, cache_rows: int) -> None:
        """Write a tensor's rows into an image whose sequences have `cache_rows` rows each."""
        for values, base, width in ((self.codes, tensor.address, tensor.columns),
                                    (self.scales, tensor.address + tensor.scale, tensor.columns // BLOCK)):
            for sequence, rows in enumerate(values[tensor.name]):
                file.seek(base + sequence * cache_rows * width)
                file.write(rows.tobytes())


def seeded_cache(config: TextConfig, plan: HeadPlan, settings: Settings, batch: int, tokens: int) -> StoredCache:
    """Make a cache of normal numbers; both references start from what the HBM holds of it.

    Returns
    -------
    StoredCache
    """
    generator = np.random.default_rng([_SEED, tokens])
    kind, _ = check_mx(settings.hbm_m_kv_type, "HBM_M_KV_TYPE")
    codes: dict[str, np.ndarray] = {}
    scales: dict[str, np.ndarray] = {}
    held = Cache([], [])
    for layer in range(config.layers):
        for name, kept in (("K", held.keys), ("V", held.values)):
            values = generator.standard_normal((batch, tokens, config.kv_heads * config.head_dim), dtype=np.float32)
            wide = plan.spread(values, config.kv_heads, 2)
            stored = f"{name}_stored_{layer}"
            codes[stored], scales[stored] = encode_stored(wide, settings.hbm_v_kv_type)
            kept.append(_values(codes[stored], scales[stored], config, plan, kind))
    return StoredCache(batch=batch, tokens=tokens, codes=codes, scales=scales, caches=Caches(exact=held, held=held))


def _values(codes, scales, config, plan, kind: Mx):
    """f32 [batch, KV heads, tokens, head_dim] of stored rows."""
    wide = decode_mx(codes, scales, kind)
    places = np.arange(config.kv_heads)[:, None] * plan.width + np.arange(config.head_dim)
    return np.ascontiguousarray(wide[..., places].swapaxes(1, 2))


def cache_length(build: str, past: int | None = None) -> tuple[int, int]:
    """Read how many sequences the cache of a build holds, and how many tokens to take of it: `past`, None: all.

    Returns
    -------
    tuple of int
        Batch and tokens.

    Raises
    ------
    EmuError
        The build has no cache, or a shorter one.
    """
    batch, tokens = read_results(build).cache_length()
    if past is not None and past > tokens:
        raise EmuError(f"{build}: its cache holds {tokens} tokens, --past asks for {past}")
    return batch, past or tokens


def cache_from(build: str, config: TextConfig, preset: str, tokens: int) -> StoredCache:
    """Read the cache that a run of a build left, and what it should be.

    Parameters
    ----------
    build : str
        A prefill or decode step of the same model and preset, which was run.
    config : TextConfig
    preset : str
    tokens : int
        The first so many tokens are taken.

    Returns
    -------
    StoredCache

    Raises
    ------
    EmuError
        The build is of another model or preset, or was not run.
    """
    weights = _check_same(build, config, preset)
    results = read_results(build)
    batch, _ = results.cache_length()
    path = os.path.join(build, HBM_RESULTS)
    expected = sum(region.bytes for region in results.regions)
    if not os.path.isfile(path) or os.path.getsize(path) != expected:
        raise EmuError(f"{path}: not found, or not the {expected} bytes of the cache; run the build first")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    codes: dict[str, np.ndarray] = {}
    scales: dict[str, np.ndarray] = {}
    start = 0
    for region in results.regions:
        count = region.rows * region.columns
        for kept, width, first in ((codes, region.columns, start), (scales, region.columns // BLOCK, start + count)):
            rows = data[first : first + region.rows * width].reshape(batch, -1, width)
            kept[region.name] = rows[:, :tokens]
        start += region.bytes
    references, found = load_references(build), load_results(build)
    errors = _start_errors(references, found, tokens, build)
    caches = Caches(exact=cache_of(references, f"{EXACT}/"), held=cache_of(found), errors=errors)
    for cache in (caches.exact, caches.held):
        cache.keys, cache.values = ([layer[:, :, :tokens] for layer in layers] for layers in (cache.keys, cache.values))
    return StoredCache(batch=batch, tokens=tokens, codes=codes, scales=scales, caches=caches, weights=weights)


def _start_errors(references, found, tokens, build):
    """Judge what a run stored by its build's references: `Caches.errors`.

    What that build itself started from counts too: its references begin with those rows, right or wrong.
    """
    errors = {}
    for name in (name for name in found if name.startswith(("K_", "V_"))):
        pairs = [references.get(f"{kind}/{name}") for kind in (MACHINE, EXACT)]
        rounding = references.get(f"{ROUNDING}/{name}")
        if rounding is None or any(pair is None or pair.shape != found[name].shape for pair in pairs):
            raise EmuError(f"{build}: references.npz does not fit result {name}; compile the model again")
        against = [relative_rms(found[name][:, :, :tokens], pair[:, :, :tokens]) for pair in pairs]
        before = references.get(f"{START}/{name}")
        if before is not None:
            against[0], rounding = max(against[0], float(before[0])), before[2:]
        errors[name] = np.array([*against, *rounding], dtype=np.float32)
    return errors


def _check_same(build, config, preset):
    """Refuse a build of another model, whatever its name, or preset; returns the digest of its weights."""
    path = os.path.join(build, "model.json")
    if not os.path.lexists(path):
        raise EmuError(f"{path}: not found, expected a build of this compiler")
    try:
        record = parse_json(read_text(path, "model config"), path)
        made = convert(record["config"], TextConfig, f"{path}: config"), record["preset"]["name"]
        weights = record["weights_sha256"]
    except (KeyError, TypeError):
        raise EmuError(f"{path}: expected config, preset and weights_sha256, as a build of this compiler has"
                       " them") from None
    if made[1] != preset:
        raise EmuError(f"{build}: was compiled for preset {made[1]}, expected {preset}")
    if msgspec.structs.replace(made[0], name=config.name) != config:
        raise EmuError(f"{build}: was compiled from another model: found {made[0].name} with {made[0].layers} layers,"
                       f" expected {config.name} with {config.layers}, and every other field of its config the same")
    if not isinstance(weights, str):
        raise EmuError(f"{path}: weights_sha256: found {weights!r}, expected text; the build has no weights")
    return weights
