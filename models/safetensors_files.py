"""Weights in safetensors files, memory-mapped: one file, or several with an index (spec §9.1)."""

import json
import os
import re

import msgspec
import numpy as np

from plena_emu.errors import EmuError
from plena_emu.inputs.documents import parse_json
from plena_emu.inputs.opening import open_input
from plena_emu.inputs.schema import convert
from plena_emu.inputs.text import read_text

from .tensor_names import tensors_of
from .weight_mapping import Weights

try:
    from safetensors import SafetensorError, safe_open
except ImportError:
    raise EmuError("reading weights needs the package safetensors: pip install 'plena-emu[models]'") from None

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LAYER = re.compile(r".*?\b(layers|blocks)\.[0-9]+\.")
_TABLES = (".inv_freq", ".position_ids", ".masked_bias", ".causal_mask")  # of what follows from the config
# Name of a type in the file -> numpy type of its bytes; numpy has no bf16.
_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class StoredWeights(Weights):
    """Weights of the safetensors files of a directory; names and shapes are checked at once, bytes read when asked for.

    Raises `EmuError` as `open_weights` says.
    """

    def __init__(self, directory: str, config):
        super().__init__(directory, config)
        files = _weight_files(directory)
        views = {name: file.view(name) for file in files for name in file.names}
        wanted = tensors_of(config)
        self._views = {name: _found(directory, views, tensor) for name, tensor in wanted.items()}
        self._names = {name: _name(views, tensor) for name, tensor in wanted.items()}
        self.unused = _unused(views, wanted)

    def stored_name(self, name: str) -> str:
        """Tell the name of a tensor in the files.

        Returns
        -------
        str
        """
        return self._names[name]

    def _rows(self, name, index):
        values = self._views[name][index]
        if values.dtype == np.uint16:  # bf16: the upper half of an f32
            return (values.astype(np.uint32, order="C") << np.uint32(16)).view(np.float32)
        return values.astype(np.float32, order="C")


def _name(views, tensor):
    """The name under which files hold a tensor, None where they do not."""
    return next((name for name in tensor.stored if name in views), None)


def _unused(views, wanted):
    """Tensors beside those that are read: in the same layers, or of the same modules (as the bias of a weight)."""
    known = {name for tensor in wanted.values() for name in tensor.stored}
    layers = {match[0] for name in known if (match := _LAYER.match(name))}
    modules = {name.rpartition(".")[0] for name in known}
    return tuple(name for name in views if name not in known and not name.endswith(_TABLES) and (
        name.rpartition(".")[0] in modules or ((match := _LAYER.match(name)) and match[0] in layers)))


def _found(directory, views, tensor):
    """View of a tensor in its canonical shape."""
    name = _name(views, tensor)
    if name is None:
        raise EmuError(f"{directory}: tensor {tensor.stored[0]} not found in the safetensors files")
    view = views[name]
    if isinstance(view, EmuError):
        raise view
    stored = tensor.shape[::-1] if tensor.transposed else tensor.shape
    flat = view.reshape(view.shape[0], -1) if view.ndim == 4 else view
    if flat.shape != stored:
        raise EmuError(f"{directory}: tensor {name} has shape {list(view.shape)}, expected {list(stored)}")
    return flat.T if tensor.transposed else flat


def _weight_files(directory):
    """The files of a model, opened: those of the index, else the single file, else all there are."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".safetensors"))
    except OSError as error:
        raise EmuError(f"weights {directory}: cannot read: {error.strerror}") from None
    index = os.path.join(directory, INDEX)
    if os.path.lexists(index):
        names = _indexed(index)
    elif SINGLE in names:
        names = [SINGLE]
    if not names:
        raise EmuError(f"weights {directory}: found no *.safetensors; --weights random:SEED makes some")
    return [_File(os.path.join(directory, name)) for name in names]


def _indexed(path):
    where = f"weight index {path}"
    index = convert(parse_json(read_text(path, "weight index"), where), _Index, where)
    names = sorted(set(index.weight_map.values()))
    if not all(os.path.basename(name) == name for name in names):
        raise EmuError(f"{where}: weight_map: expected names of files beside it")
    return names


class _Index(msgspec.Struct):
    """What counts of an index: the file of each tensor."""

    weight_map: dict[str, str]


class _File:
    """One safetensors file; the library checks header, offsets and size."""

    def __init__(self, path):
        self.path = path
        try:
            open_input(path).close()  # the library would wait for the writer of a pipe
            with safe_open(path, "numpy") as file:
                self.names = list(file.keys())
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                self._header = json.loads(file.read(length))
            self._start = 8 + length
            self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        except FileNotFoundError:
            raise EmuError(f"{path}: not found") from None
        except OSError as error:
            raise EmuError(f"{path}: cannot read: {error.strerror or error}") from None
        except SafetensorError as error:
            raise EmuError(f"{path}: not a sound safetensors file: {' '.join(str(error).split())}") from None

    def view(self, name):
        """Array on the file's bytes, bf16 as u16; an `EmuError`, not raised, for a type that is not supported."""
        entry = self._header[name]
        if entry["dtype"] not in _TYPES:
            return EmuError(f"{self.path}: tensor {name} is {entry['dtype']}, expected one of {', '.join(_TYPES)}")
        begin, end = entry["data_offsets"]
        return self._bytes[self._start + begin : self._start + end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
