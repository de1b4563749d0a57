"""The inputs of a build: token ids, embeddings or pixels out of files, seeded where there are none (spec §9.2)."""

from __future__ import annotations

import os
from tokenize import TokenError

import msgspec
import numpy as np

from plena_emu.errors import EmuError
from plena_emu.inputs.opening import open_input

from .configs import TextConfig, VisionConfig
from .forward.text import check_ids, embed
from .forward.vision import check_pixels, cut_patches
from .options import DEFAULT_PREFILL, CompileOptions
from .weights import NoWeights, Weights

_SEED = 0


class TextInputs(msgspec.Struct, frozen=True):
    """Tokens of a prefill, or of the step at `past`.

    `ids` is int64 `[batch, tokens]`, None where embeddings were given; `embeddings` is f32 `[batch, tokens, hidden]`,
    None without weights.
    """

    ids: np.ndarray | None
    embeddings: np.ndarray | None
    batch: int
    tokens: int
    past: int


class VisionInputs(msgspec.Struct, frozen=True):
    """An image: `pixels` is f32 `[1, channels, S, S]`, `patches` f32 `[1, patches, channels · patch · patch]`."""

    pixels: np.ndarray
    patches: np.ndarray


def text_inputs(config: TextConfig, weights: Weights, options: CompileOptions, past: int = 0,
                batch: int | None = None) -> TextInputs:
    """Read or make the tokens of a build.

    Parameters
    ----------
    config : TextConfig
    weights : Weights
        For the embedding table.
    options : CompileOptions
        `tokens` or `embeddings` decide over batch and length; else `batch` and `prefill`.
    past : int
        Tokens of the cache; 0 makes a prefill, more makes one step.
    batch : int or None
        Sequences of the cache, where there is one.

    Returns
    -------
    TextInputs

    Raises
    ------
    EmuError
        A file is unsound, an id outside the vocabulary, a shape not the one that was asked for, or the sequence longer
        than the model's.
    """
    if None not in (batch, options.batch) and batch != options.batch:
        raise EmuError(f"--batch {options.batch}: the cache holds {batch} sequences")
    count = 1 if past else options.prefill
    wanted = {"batch": batch or options.batch, "tokens": count}
    if options.embeddings is not None:
        values = read_array(options.embeddings)
        if values.ndim != 3 or values.shape[2] != config.hidden or not np.issubdtype(values.dtype, np.floating):
            raise EmuError(f"{options.embeddings}: found {values.dtype} of shape {list(values.shape)}, expected floats"
                           f" [batch, tokens, {config.hidden}]")
        if not values.size or not np.isfinite(values).all():
            raise EmuError(f"{options.embeddings}: is empty or holds a value that is infinite or no number")
        _check_shape(values.shape[:2], wanted, options.embeddings)
        config.check_length(past + values.shape[1])
        return TextInputs(None, values.astype(np.float32), values.shape[0], values.shape[1], past)
    ids = _ids(config, options, wanted, past)
    config.check_length(past + ids.shape[1])
    embeddings = None if isinstance(weights, NoWeights) else embed(weights, ids)
    return TextInputs(ids, embeddings, ids.shape[0], ids.shape[1], past)


def _ids(config, options, wanted, past):
    """Ids of the file, else seeded ones."""
    if options.tokens is None:
        shape = wanted["batch"] or 1, wanted["tokens"] or DEFAULT_PREFILL
        return np.random.default_rng([_SEED, past]).integers(0, config.vocab, shape)
    ids = read_array(options.tokens)
    check_ids(ids, config.vocab, options.tokens)
    _check_shape(ids.shape, wanted, options.tokens)
    return ids.astype(np.int64)


def _check_shape(shape, wanted, source):
    for found, (name, value) in zip(shape, wanted.items(), strict=True):
        if value is not None and found != value:
            raise EmuError(f"{source}: found {name} {found}, expected {value}")


def vision_inputs(config: VisionConfig, options: CompileOptions) -> VisionInputs:
    """Read or make the image of a build.

    Parameters
    ----------
    config : VisionConfig
    options : CompileOptions
        `pixels`, else seeded pixels of `image`, else of the model's own size.

    Returns
    -------
    VisionInputs

    Raises
    ------
    EmuError
        The file is unsound or no image of the model, or `image` is an impossible size.
    """
    if options.pixels is not None:
        pixels = read_array(options.pixels)
        check_pixels(config, pixels, options.pixels)
        if options.image not in (None, pixels.shape[2]):
            raise EmuError(f"{options.pixels}: found an image of {pixels.shape[2]} pixels, expected {options.image}")
    else:
        edge = config.patches_of(options.image) * config.patch
        pixels = np.random.default_rng(_SEED).standard_normal((1, config.channels, edge, edge), dtype=np.float32)
    pixels = pixels.astype(np.float32)
    return VisionInputs(pixels, cut_patches(config, pixels))


def read_array(path: str | os.PathLike) -> np.ndarray:
    """Read a `.npy` file.

    Returns
    -------
    array

    Raises
    ------
    EmuError
        It cannot be read or is none.
    """
    try:
        with open_input(path) as file:
            values = np.load(file, allow_pickle=False)
    except OSError as error:
        raise EmuError(f"{path}: cannot read: {error.strerror or error}") from None
    except (ValueError, EOFError, SyntaxError, TokenError):  # a header is read as Python's tokens
        raise EmuError(f"{path}: found no array, expected a .npy file") from None
    if not isinstance(values, np.ndarray):
        raise EmuError(f"{path}: found an archive of arrays, expected one array (.npy)")
    return values
