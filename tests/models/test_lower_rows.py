"""Row-wise operators against numpy: norms, activations, RoPE, biases, copies, q/k norm of packed heads."""

import numpy as np
import pytest
from model_kernel import Kernel, relative_error

from plena_emu.errors import EmuError
from plena_emu.models.forward.operators import gelu_tanh, silu
from plena_emu.models.forward.operators import layer_norm as layer_norm_reference
from plena_emu.models.forward.vision import pixel_shuffle as pixel_shuffle_reference
from plena_emu.models.head_plan import HeadPlan
from plena_emu.models.lowering.copies import copy_rows, pixel_shuffle
from plena_emu.models.lowering.elementwise import add, add_bias, swiglu
from plena_emu.models.lowering.gelu import gelu
from plena_emu.models.lowering.kv_store import store_rows
from plena_emu.models.lowering.layer_norm import layer_norm
from plena_emu.models.lowering.packed_head_norm import packed_head_norm
from plena_emu.models.lowering.rms_norm import rms_norm
from plena_emu.models.lowering.rope import RopeOrder, RopeTables, rope_by_halves, rope_by_product
from plena_emu.models.lowering.rows import EPSILON
from plena_emu.models.machine import HbmTensor
from plena_emu.models.number_formats import decode_region, round_stored

ROWS = (1, 3, 4, 17)
SHAPES = [(rows, columns) for rows in ROWS for columns in (16, 40, 16 * 9)]


@pytest.fixture
def kernel(tmp_path):
    return Kernel("m16b4", tmp_path)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rows, columns", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_rms_norm(kernel, rows, columns, weighted):
    x = kernel.activation(normal(rows, columns))
    out = kernel.activation(np.zeros((rows, columns)))
    weight = kernel.activation(1 + 0.1 * normal(1, columns), rows=1) if weighted else None
    scratch = kernel.activation(np.zeros((2, 1)))
    values = kernel.read(x, rows)
    expected = values / np.sqrt((values**2).sum(1, keepdims=True) + columns * 1e-5)
    if weighted:
        expected = expected * kernel.read(weight, 1)
    rms_norm(kernel.b, kernel.fp, x, out, rows=rows, width=columns, epsilon=1e-5, scratch=scratch.address,
             weight=weight)
    kernel.run()
    assert relative_error(kernel.read(out, rows), expected) < 0.006


@pytest.mark.parametrize("rows, columns", SHAPES)
def test_layer_norm(kernel, rows, columns):
    x = kernel.activation(normal(rows, columns) + 0.3)
    out = kernel.activation(np.zeros((rows, columns)))
    weight = kernel.activation((1 + 0.1 * normal(1, columns)) * np.sqrt(columns), rows=1)
    bias = kernel.activation(normal(1, columns, seed=1), rows=1)
    ones = kernel.activation((np.arange(16) < columns % 16)[None], rows=1) if columns % 16 else None
    scratch = kernel.activation(np.zeros((2, 1)))
    expected = layer_norm_reference(kernel.read(x, rows), kernel.read(weight, 1) / np.sqrt(columns),
                                    kernel.read(bias, 1), 1e-5)
    layer_norm(kernel.b, kernel.fp, x, out, rows=rows, width=columns, epsilon=1e-5, scratch=scratch.address,
               columns=ones, weight=weight, bias=bias)
    kernel.run()
    assert relative_error(kernel.read(out, rows), expected) < 0.01


@pytest.mark.parametrize("epsilon", [1e-6, 1e-8, 1e-12, 1e-20])
def test_small_epsilons(kernel, epsilon):
    """eps times the width is below what f16 keeps: it is loaded larger (spec §9.4). Rows as small as √eps show it."""
    rows, columns = 5, 6
    scratch = kernel.activation(np.zeros((2, 1)))
    x = kernel.activation(normal(rows, columns) * np.sqrt(epsilon))
    out, centred = (kernel.activation(np.zeros((rows, columns))) for _ in range(2))
    ones = kernel.activation((np.arange(16) < columns)[None], rows=1)
    values = kernel.read(x, rows)
    rms_norm(kernel.b, kernel.fp, x, out, rows=rows, width=columns, epsilon=epsilon, scratch=scratch.address)
    layer_norm(kernel.b, kernel.fp, x, centred, rows=rows, width=columns, epsilon=epsilon, scratch=scratch.address,
               columns=ones)
    kernel.run()
    expected = values / np.sqrt((values**2).sum(1, keepdims=True) + columns * epsilon)
    assert relative_error(kernel.read(out, rows), expected) < 0.006
    values = values - values.mean(1, keepdims=True)
    expected = values / np.sqrt((values**2).sum(1, keepdims=True) + columns * epsilon)
    assert relative_error(kernel.read(centred, rows), expected) < 0.01


def test_epsilons_that_no_program_can_hold(kernel):
    for epsilon in (1e-45, 1e5):
        with pytest.raises(EmuError, match="rms_norm_eps or layer_norm_eps times the width: .* outside of what"):
            kernel.fp.load(kernel.b, 1, 2, epsilon, EPSILON)


@pytest.mark.parametrize("rows, columns", SHAPES)
def test_swiglu(kernel, rows, columns):
    gate, up = kernel.activation(-3 * normal(rows, columns)), kernel.activation(-normal(rows, columns, seed=1))
    scratch = kernel.activation(np.zeros((1, 1)))
    expected = silu(-kernel.read(gate, rows)) * -kernel.read(up, rows)
    swiglu(kernel.b, kernel.fp, gate, up, rows=rows, scratch=scratch.address)
    kernel.run()
    assert relative_error(kernel.read(gate, rows), expected) < 0.01


@pytest.mark.parametrize("rows, columns", SHAPES)
def test_gelu(kernel, rows, columns):
    x = kernel.activation(2 * normal(rows, columns))
    scratch = kernel.activation(np.zeros((1, 1)))
    expected = gelu_tanh(kernel.read(x, rows))
    gelu(kernel.b, kernel.fp, x, rows=rows, scratch=scratch.address)
    kernel.run()
    assert relative_error(kernel.read(x, rows), expected) < 0.01


@pytest.mark.parametrize("rows, columns", SHAPES)
def test_add_and_bias(kernel, rows, columns):
    x, y = kernel.activation(normal(rows, columns)), kernel.activation(normal(rows, columns, seed=1))
    bias = kernel.activation(normal(1, columns, seed=2), rows=1)
    expected = kernel.read(x, rows) + kernel.read(y, rows) + kernel.read(bias, 1)
    add(kernel.b, x, y, rows=rows)
    add_bias(kernel.b, x.address, bias.address, blocks=x.blocks, rows=rows, row_step=16, block_step=x.block_step,
             bias_step=16)
    kernel.run()
    assert relative_error(kernel.read(x, rows), expected) < 0.005


def rope_reference(values, cosine, sine):
    """[heads, tokens, dim] by [tokens, dim]."""
    half = values.shape[-1] // 2
    turned = np.concatenate((-values[..., half:], values[..., :half]), axis=-1)
    return values * cosine + turned * sine


@pytest.mark.parametrize("preset, dim", [("m16b4", 16), ("m16b4", 8), ("m16b4", 12), ("m16b4", 32), ("m16b4", 20),
                                         ("m64b16", 64), ("m256b64", 64)])
@pytest.mark.parametrize("tokens, sequences", [(4, 1), (3, 2)])
@pytest.mark.parametrize("single", [False, True])
def test_rope(tmp_path, preset, dim, tokens, sequences, single):
    kernel = Kernel(preset, tmp_path)
    machine, plan, heads = kernel.machine, HeadPlan.of(kernel.machine, dim), 3
    count, rows = heads * plan.slots, heads * tokens * sequences
    values = normal(rows, plan.slots * dim).reshape(rows, plan.slots * dim)
    x = kernel.activation(plan.spread(values, plan.slots, 1))
    rotated = kernel.activation(np.ones((rows, x.columns)))
    angles = np.linspace(0, 3, (1 if single else tokens) * (dim // 2)).reshape(-1, dim // 2)
    tables = [np.tile(function(angles), 2 * plan.slots) for function in (np.cos, np.sin)]
    cos, sin = (kernel.activation(plan.spread(table, plan.slots, 1), rows=len(table)) for table in tables)
    scratch = kernel.activation(np.zeros((max(2, x.rows), 1)))
    order = RopeOrder(heads=heads, tokens=tokens, sequences=sequences, head_step=tokens * sequences, token_step=1,
                      single=single)
    before = kernel.read(x, rows)[:, np.arange(plan.slots)[:, None] * plan.width + np.arange(dim)]
    if plan.rotates_by_halves:
        rope_by_halves(kernel.b, x, RopeTables(cos, sin), order, scratch=scratch.address)
    else:
        rotation, _ = kernel.tensor(plan.rotation())
        half = dim // 2 if plan.parts == plan.slots == 1 else None
        rope_by_product(kernel.b, machine, x, rotated, rotation, RopeTables(cos, sin), order, partial=scratch.address,
                        half=half)
    kernel.run()
    shape = (heads, sequences, tokens, plan.slots, dim)
    expected = rope_reference(before.reshape(shape), *(table[:, None, :dim] for table in tables))
    found = kernel.read(x, rows)[:, np.arange(plan.slots)[:, None] * plan.width + np.arange(dim)]
    assert count and relative_error(found.reshape(shape), expected) < 0.006


@pytest.mark.parametrize("epsilon", [1e-5, 1e-8])
def test_norm_of_packed_heads(tmp_path, epsilon):
    kernel = Kernel("m256b64", tmp_path)
    plan, rows, dim = HeadPlan.of(kernel.machine, 48), 5, 48
    values = normal(rows, 4 * dim) * np.repeat([0.01, 1, 10, 3], dim)
    x = kernel.activation(plan.spread(values, 4, 1))
    sections = kernel.activation(np.repeat(np.eye(4), 64, axis=1), rows=4)
    weight = kernel.activation(plan.spread(np.tile(1 + 0.1 * normal(dim), 4), 4, 0)[None], rows=1)
    scratch = kernel.activation(np.zeros((2, 1)))
    held = kernel.read(x, rows).reshape(rows, 4, 64)
    expected = held / np.sqrt((held**2).sum(2, keepdims=True) + dim * epsilon)
    expected = expected * kernel.read(weight, 1).reshape(1, 4, 64)
    packed_head_norm(kernel.b, kernel.fp, x, sections, weight, rows=rows, slots=4, width=dim, epsilon=epsilon,
                     scratch=scratch.address)
    kernel.run()
    assert relative_error(kernel.read(x, rows).reshape(expected.shape), expected) < 0.006


def test_copies(kernel):
    x = kernel.activation(normal(20, 40))
    out = kernel.activation(np.zeros((3, 40)))
    copy_rows(kernel.b, x, out, first_row=2, step=7, count=3)
    kernel.run()
    np.testing.assert_array_equal(kernel.read(out, 3), kernel.read(x, 20)[2::7])


@pytest.mark.parametrize("side, scale", [(4, 2), (6, 3), (4, 4), (2, 1)])
def test_pixel_shuffle(kernel, side, scale):
    x = kernel.activation(normal(side * side, 32))
    tokens = (side // scale) ** 2
    out = kernel.activation(np.zeros((tokens, 32 * scale**2)))
    pixel_shuffle(kernel.b, x, out, side=side, scale=scale)
    kernel.run()
    expected = pixel_shuffle_reference(kernel.read(x, side * side)[None], scale)[0]
    np.testing.assert_array_equal(kernel.read(out, tokens), expected)


@pytest.mark.parametrize("rows, first_row", [(1, 5), (3, 0), (4, 0), (9, 2)])
def test_stored_rows(kernel, rows, first_row):
    heads, sequences, per_sequence = 3, 2, 16
    x = kernel.activation(normal(sequences * 12, heads * 16))
    cache = HbmTensor("K", 64, sequences * per_sequence, heads * 16)
    store_rows(kernel.b, kernel.machine, cache, source=x.address, sequences=sequences, sequence_step=12 * 16,
               blocks=heads, block_step=x.block_step, column=0, column_step=16, rows=rows, first_row=first_row,
               rows_per_sequence=per_sequence)
    result = kernel.run()
    data = kernel.hbm[cache.address : cache.address + cache.size]
    stored = decode_region(data, cache.rows, cache.columns, kernel.mx).reshape(sequences, per_sequence, -1)
    values = kernel.read(x, sequences * 12).reshape(sequences, 12, -1)[:, :rows]
    np.testing.assert_array_equal(stored[:, first_row : first_row + rows], round_stored(values, kernel.mx))
    assert not stored[:, :first_row].any()
    assert result.instruction_counts["H_STORE_V"] == sequences * heads * -(-rows // 4)
