"""Weights of a model by canonical name, one tensor at a time: from safetensors, seeded, or none (spec §9.1)."""

import functools
import os
import re
import zlib

import numpy as np

from plena_emu.errors import EmuError, UsageError

from .configs import TextConfig, VisionConfig
from .weight_mapping import Weights

NONE = "none"
RANDOM = "random:"
_CHUNK = 256  # rows that one seed makes, so that a few rows of a large table cost little
_SPREAD = 0.1  # of norm weights around 1, and of biases around 0


class SeededWeights(Weights):
    """Weights with the spread of trained ones (§9.8): linears N(0, 1/√in), norms 1 ± 0.1, embeddings N(0, 1).

    The bytes follow from seed, name and shape alone.
    """

    def __init__(self, seed: int, config: TextConfig | VisionConfig):
        super().__init__(f"{RANDOM}{seed}", config)
        self.seed = seed

    def _rows(self, name, index):
        if name == "lm_head" and isinstance(self.config, TextConfig) and self.config.tied:
            return np.ascontiguousarray(self._tied_table.T[index])
        shape = self.shapes[name]
        wanted = np.arange(shape[0])[index]
        values = np.empty((len(wanted), *shape[1:]), dtype=np.float32)
        chunks = wanted // _CHUNK if len(shape) > 1 else np.zeros_like(wanted)
        for chunk in np.unique(chunks).tolist():
            values[chunks == chunk] = self._chunk(name, shape, chunk)[wanted[chunks == chunk] - chunk * _CHUNK]
        return values

    @functools.cached_property
    def _tied_table(self):
        """The embedding, kept: the rows of a tied head are its columns, and each would make it anew."""
        return self["embed"]

    def _chunk(self, name, shape, chunk):
        """Rows from `chunk · _CHUNK` on; all of a vector."""
        rows = min(_CHUNK, shape[0] - chunk * _CHUNK) if len(shape) > 1 else shape[0]
        generator = np.random.default_rng([self.seed, zlib.crc32(name.encode()), chunk])
        values = generator.standard_normal((rows, *shape[1:]), dtype=np.float32)
        if len(shape) == 1:
            return values * np.float32(_SPREAD) + np.float32(0 if name.endswith("bias") else 1)
        if name == "embed":
            return values
        return values * np.float32(1 / np.sqrt(shape[1] if name == "positions" else shape[0]))


class NoWeights(Weights):
    """Shapes without values (`--weights none`): every access is an error."""

    def __init__(self, config: TextConfig | VisionConfig):
        super().__init__(NONE, config)

    def _rows(self, name, index):
        raise EmuError(f"tensor {name}: the model was opened without weights")


def has_weights(directory: str | os.PathLike) -> bool:
    """Tell whether a directory holds safetensors files or their index.

    Returns
    -------
    bool
    """
    return any(name.endswith((".safetensors", ".safetensors.index.json")) for name in os.listdir(directory))


def open_weights(source: str | os.PathLike, config: TextConfig | VisionConfig) -> Weights:
    """Open the weights of a model part.

    Parameters
    ----------
    source : str or path
        A directory with `*.safetensors`, `random:SEED` or `none`.
    config : TextConfig or VisionConfig
        Decides which tensors are needed and their shapes; fewer layers than the files hold are fine.

    Returns
    -------
    Weights

    Raises
    ------
    EmuError
        A file is missing or corrupt, a tensor is missing, misshapen or of a type that is not supported.
    """
    text = os.fspath(source)
    if text == NONE:
        return NoWeights(config)
    if text.startswith(RANDOM):
        if not re.fullmatch(r"[0-9]{1,18}", text[len(RANDOM):]):
            raise UsageError(f"weights {text!r}: expected random:SEED with a whole number")
        return SeededWeights(int(text[len(RANDOM):]), config)
    from .safetensors_files import StoredWeights

    return StoredWeights(text, config)
