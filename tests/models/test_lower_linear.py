"""linear: ragged rows, one, two and many tiles deep, deeper than the matrix SRAM, ragged columns."""

import msgspec
import numpy as np
import pytest
from model_kernel import Kernel, relative_error

from plena_emu.models.lowering.linear import TileRun, linear, plain_runs
from plena_emu.models.machine import ceil_div, round_up


@pytest.mark.parametrize("preset, rows, depth, columns", [
    ("m16b4", 1, 16, 16), ("m16b4", 3, 32, 20), ("m16b4", 17, 112, 56), ("m16b4", 4, 16 * 300, 40),
    ("m16b4", 3, 16 * 9, 16 * 6), ("m16b4", 9, 16 * 9, 16 * 7), ("m16b4", 5, 40, 16 * 12),
    ("m64b16", 65, 130, 200), ("m64b16", 16, 64 * 22, 64), ("m256b64", 3, 300, 384),
])
def test_product(preset, rows, depth, columns, tmp_path):
    rng = np.random.default_rng(rows + depth)
    kernel = Kernel(preset, tmp_path, hbm_size=1 << 21, vector_rows=8192)
    x = kernel.activation(rng.standard_normal((rows, depth)))
    weight, values = kernel.tensor(rng.standard_normal((depth, columns)) / np.sqrt(depth))
    y = kernel.activation(np.zeros((rows, columns)))
    scratch = kernel.activation(np.zeros((x.rows, 1)))
    expected = kernel.read(x, rows) @ values
    groups = ceil_div(rows, kernel.machine.blen)
    linear(kernel.b, kernel.machine, x, weight, plain_runs(kernel.machine, columns, y), groups=groups,
           partial=scratch.address)
    result = kernel.run()
    assert relative_error(kernel.read(y, rows), expected) < 0.006
    tiles = round_up(depth, kernel.machine.mlen) * round_up(columns, kernel.machine.mlen) // kernel.machine.tile
    assert result.instruction_counts["H_PREFETCH_M"] == tiles
    blocks = groups * ceil_div(columns, kernel.machine.blen) * ceil_div(depth, kernel.machine.mlen)
    assert result.instruction_counts["M_MM"] == blocks


@pytest.mark.parametrize("rows, depth, limit", [(5, 48, 100_000), (40, 48, 600), (5, 16 * 260, 100_000)])
def test_parts_of_heads_in_one_loop(rows, depth, limit, tmp_path):
    """Three heads of 5 parts: part by part of all heads, whose rows follow one another in the result."""
    rng = np.random.default_rng(rows + depth)
    kernel, heads, parts = Kernel("m16b4", tmp_path, hbm_size=1 << 21, vector_rows=8192), 3, 5
    kernel.b.max_loop_instructions = limit
    machine = msgspec.structs.replace(kernel.machine, max_loop_instructions=limit)
    x = kernel.activation(rng.standard_normal((rows, depth)))
    weight, values = kernel.tensor(rng.standard_normal((depth, heads * parts * 16)) / np.sqrt(depth))
    y = kernel.activation(np.zeros((heads * x.rows, parts * 16)))
    scratch = kernel.activation(np.zeros((x.rows, 1)))
    expected = (kernel.read(x, rows) @ values).reshape(rows, heads, -1).swapaxes(0, 1)
    run = TileRun(count=heads, column=0, column_step=parts * 16, blocks=4, out=y.address, out_step=x.rows * 16,
                  parts=parts, part_column=16, part_out=y.block_step)
    assert len(run.single()) == parts and run.single()[1].column == 16
    linear(kernel.b, machine, x, weight, [run], groups=ceil_div(rows, 4), partial=scratch.address)
    assert not kernel.b.written_out
    kernel.run()
    found = kernel.read(y, heads * x.rows).reshape(heads, x.rows, -1)[:, :rows]
    assert relative_error(found, expected) < 0.006


@pytest.mark.parametrize("preset, rows, depth, columns, limit", [
    ("m16b4", 90, 48, 40, 600), ("m16b4", 96, 48, 40, 600), ("m16b4", 60, 16 * 260, 20, 5000),
    ("m64b16", 200, 128, 70, 300),
])
def test_rows_in_pieces(preset, rows, depth, columns, limit, tmp_path):
    """More rows than one iteration may do: pieces of rows, and no loop is written out."""
    rng = np.random.default_rng(rows + depth)
    kernel = Kernel(preset, tmp_path, hbm_size=1 << 21, vector_rows=1 << 15)
    kernel.b.max_loop_instructions = limit
    machine = msgspec.structs.replace(kernel.machine, max_loop_instructions=limit)
    x = kernel.activation(rng.standard_normal((rows, depth)))
    weight, values = kernel.tensor(rng.standard_normal((depth, columns)) / np.sqrt(depth))
    y = kernel.activation(np.zeros((rows, columns)))
    scratch = kernel.activation(np.zeros((x.rows, 1)))
    expected = kernel.read(x, rows) @ values
    groups = ceil_div(rows, machine.blen)
    linear(kernel.b, machine, x, weight, plain_runs(machine, columns, y), groups=groups, partial=scratch.address)
    assert not kernel.b.written_out
    result = kernel.run()
    assert relative_error(kernel.read(y, rows), expected) < 0.006
    assert result.instruction_counts["M_MM"] == (
        groups * ceil_div(columns, machine.blen) * ceil_div(depth, machine.mlen))
