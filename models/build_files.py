"""The build directory: every file of spec §9.3, written beside its final name and moved there whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator

import msgspec
import numpy as np

from plena_emu.assembler import mem_text
from plena_emu.errors import EmuError
from plena_emu.interrupts import cleaning

from .builder import Program
from .graph import Graph
from .machine import Activation
from .passes.place import Placement
from .passes.stages import assembly_text, stages_json
from .results import FILE as RESULTS
from .results import Results, results_json

IMAGE = "hbm_for_behave_sim.bin"
PRELOAD = "vram_preload.bin"
_MARK = "model.json"  # a directory with it may be replaced


@contextlib.contextmanager
def replaced_directory(path: str, needed: int) -> Iterator[str]:
    """Lend a temporary directory beside `path` that takes its name at the end, or vanishes after an error.

    Raises
    ------
    EmuError
        `path` is there and no build of this compiler, or cannot be written, or fewer than `needed` bytes are free.
    """
    target = os.path.abspath(path)
    if os.path.lexists(target) and not (os.path.isdir(target) and _may_go(target)):
        raise EmuError(f"build directory {path}: exists and is no build of this compiler, expected a new name")
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        free = shutil.disk_usage(os.path.dirname(target)).free
        if free < needed:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise EmuError(f"build directory {path}: needs {needed} bytes, {free} are free on its disk") from full
        temporary = tempfile.mkdtemp(prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target))
    except OSError as error:
        raise EmuError(f"build directory {path}: cannot make: {error.strerror}") from None
    try:
        with cleaning(lambda: shutil.rmtree(temporary, ignore_errors=True)):
            yield temporary
            os.chmod(temporary, 0o755)
            if os.path.isdir(target):
                shutil.rmtree(target)
            os.rename(temporary, target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise EmuError(f"build directory {path}: cannot write: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _may_go(target):
    names = os.listdir(target)
    return not names or _MARK in names


def write_program(directory: str, program: Program, constants: bytes) -> None:
    """Write program text and words, stages, fp and int SRAM."""
    _write(directory, "generated_asm_code.asm", assembly_text(program).encode())
    _write(directory, "generated_machine_code.mem", mem_text(program.words).encode())
    _write(directory, "stages.json", stages_json(program))
    _write(directory, "fp_sram.bin", constants)
    _write(directory, "int_sram.bin", b"")


def write_tables(directory: str, graph: Graph, placement: Placement) -> None:
    """Write `hbm_addrs.json`, `hbm_sizes.json`, `tensor_layouts.json` and `hbm_size.txt`."""
    tensors = placement.tensors.values()
    tables = {
        "hbm_addrs.json": {tensor.name: tensor.address for tensor in tensors},
        "hbm_sizes.json": {tensor.name: tensor.size for tensor in tensors},
        "tensor_layouts.json": {
            tensor.name: {"storage_shape": [tensor.rows, tensor.columns], "kind": graph.tensors[tensor.name].kind}
            for tensor in tensors
        },
    }
    for name, table in tables.items():
        _write(directory, name, json.dumps(table, indent=1).encode() + b"\n")
    _write(directory, "hbm_size.txt", f"{placement.hbm_bytes}\n".encode())


def write_results(directory: str, results: Results) -> None:
    """Write `results.json`."""
    _write(directory, RESULTS, results_json(results))


def write_comparison(directory: str, hidden: Activation, *, batch: int, tokens: int, sequence_rows: int) -> None:
    """Write `comparison_params.json`: where upstream's testbench finds the final hidden states."""
    width = hidden.blocks * hidden.vlen
    params = {
        "start_row_idx": hidden.address // hidden.vlen, "num_rows": hidden.blocks * hidden.rows,
        "num_batches": batch * tokens, "elements_per_batch": width, "row_dim": hidden.vlen,
        "physical_rows": hidden.rows, "use_stride_mode": width > hidden.vlen,
    }  # fmt: skip
    if batch > 1:
        params |= {"rows_per_batch": sequence_rows, "active_seq_per_batch": tokens}
    _write(directory, "comparison_params.json", json.dumps(params, indent=1).encode() + b"\n")


def write_golden(directory: str, inputs: np.ndarray, hidden: np.ndarray, width: int) -> None:
    """Write `golden.npy` and `golden_result.txt`, the f32 reference of the final hidden states.

    The text has the rows as the vector SRAM holds them: `width` values a token, padding 0.
    """
    np.save(os.path.join(directory, "golden.npy"), hidden)
    rows = hidden.reshape(-1, hidden.shape[-1])
    padded = np.pad(rows, ((0, 0), (0, width - rows.shape[1])))
    with open(os.path.join(directory, "golden_result.txt"), "w") as file:
        for title, values in (("Input Tensor:", inputs), ("Original Output:", padded)):
            text = " ".join(f"{value:.9g}" for value in values.ravel().tolist())
            file.write(f"{title}\n[ {text} ]\n\n")


def write_json(directory: str, name: str, value: object) -> None:
    """Write a JSON file of structs and plain values."""
    _write(directory, name, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def _write(directory, name, data):
    with open(os.path.join(directory, name), "wb") as file:
        file.write(data)
