"""Attention over a stored cache: causal, bidirectional, ragged lengths, parts, groups, sequences."""

import msgspec
import numpy as np
import pytest
from model_kernel import Kernel, attention_of, relative_error

from plena_emu.models.lowering.attention import Attention, Steps, attention
from plena_emu.models.lowering.packed_attention import PackedAttention, packed_attention, pair_rows, pairs_of
from plena_emu.models.lowering.score_rows import ScoreRows
from plena_emu.models.lowering.softmax import LOWEST
from plena_emu.models.machine import round_up


@pytest.mark.parametrize("preset, tokens, kv, group, dim, causal, sequences, tiles", [
    ("m16b4", 1, 1, 1, 16, True, 1, None), ("m16b4", 16, 1, 2, 16, True, 2, None),
    ("m16b4", 37, 2, 2, 16, True, 1, None), ("m16b4", 37, 2, 1, 12, False, 1, None),
    ("m16b4", 50, 1, 3, 32, True, 2, None), ("m64b16", 65, 1, 2, 64, True, 1, None),
    ("m16b4", 32, 2, 1, 40, False, 1, None), ("m16b4", 90, 1, 2, 16, True, 1, 1), ("m16b4", 90, 1, 2, 16, True, 1, 2),
    ("m16b4", 80, 1, 1, 32, True, 2, 6), ("m16b4", 85, 2, 1, 16, False, 1, 2), ("m16b4", 70, 1, 1, 32, False, 1, 2),
])
def test_attention(preset, tokens, kv, group, dim, causal, sequences, tiles, tmp_path):
    """`tiles`: of the matrix SRAM, where it is to hold a part of the keys only."""
    rng = np.random.default_rng(tokens)
    kernel = Kernel(preset, tmp_path)
    machine = msgspec.structs.replace(kernel.machine, tiles=tiles or kernel.machine.tiles)
    mlen = kernel.machine.mlen
    parts = -(-dim // mlen)
    rows = round_up(tokens, kernel.machine.blen)
    heads = kv * group
    stored = round_up(tokens, mlen)

    def cache():
        values = rng.standard_normal((sequences, kv, tokens, dim))
        padded = np.zeros((sequences, stored, kv, parts * mlen))
        padded[:, :tokens, :, :dim] = values.swapaxes(1, 2)
        tensor, kept = kernel.tensor(padded.reshape(sequences * stored, -1))
        return tensor, kept.reshape(sequences, stored, kv, -1)[:, :tokens, :, :dim].swapaxes(1, 2)

    keys, k = cache()
    values, v = cache()
    width = parts * mlen
    q_values = np.zeros((sequences, rows, heads, width))
    q_values[:, :tokens, :, :dim] = rng.standard_normal((sequences, tokens, heads, dim)) / np.sqrt(dim)
    q_place = kernel.activation(q_values.reshape(sequences * rows, -1))
    out = kernel.activation(np.zeros((sequences * rows, heads * width)))
    key_blocks = -(-tokens // mlen)
    scores = kernel.activation(np.zeros((rows, group * key_blocks * mlen)))
    scratch = kernel.activation(np.zeros((1, 1)))
    partial = kernel.activation(np.zeros((rows, 1)))
    future = np.triu(np.full((mlen, mlen), LOWEST), 1)
    padding = np.where(np.arange(mlen) < tokens - (key_blocks - 1) * mlen, 0, LOWEST)[None]
    mask = kernel.activation(future if causal else padding)
    step = q_place.block_step
    shape = ScoreRows(rows=rows, real_rows=tokens, key_blocks=key_blocks, causal=causal, block_step=rows * mlen,
                      query_step=mlen * mlen)
    steps = {"sequence": rows * mlen, "kv_head": group * parts * step, "head": parts * step, "part": step}
    attention(kernel.b, machine, kernel.fp, Attention(
        sequences=sequences, kv_heads=kv, heads=group, parts=parts, head_dim=dim, shape=shape,
        q=Steps(address=q_place.address, **steps), out=Steps(address=out.address, **steps), stride=1, keys=keys,
        values=values, rows_per_sequence=stored, scores=scores.address, scratch=scratch.address,
        partial=partial.address, mask=mask.address), 0)

    def heads_of(place):
        """[sequences, heads, tokens, dim]."""
        held = kernel.read(place, sequences * rows).reshape(sequences, rows, heads, width)
        return held[:, :tokens, :, :dim].swapaxes(1, 2)

    q = heads_of(q_place)
    expected = attention_of(q, k.repeat(group, 1), v.repeat(group, 1), causal)
    result = kernel.run()
    assert relative_error(heads_of(out), expected) < 0.01
    assert result.instruction_counts["H_PREFETCH_M"] == 2 * sequences * kv * key_blocks * parts


@pytest.mark.parametrize("tokens, kv, group, dim, causal, tiles", [
    (3, 1, 1, 64, True, None), (64, 2, 3, 64, True, None), (300, 4, 1, 64, False, None), (257, 3, 2, 48, True, None),
    (520, 2, 3, 64, True, 1), (700, 1, 4, 64, True, 2), (600, 5, 1, 64, False, 1), (520, 1, 2, 64, False, 2),
])
def test_packed_attention(tokens, kv, group, dim, causal, tiles, tmp_path):
    rng = np.random.default_rng(tokens)
    kernel = Kernel("m256b64", tmp_path, vector_rows=1 << 17, hbm_size=1 << 22)
    machine = msgspec.structs.replace(kernel.machine, tiles=tiles or kernel.machine.tiles)
    heads, rows, stored, key_blocks = kv * group, round_up(tokens, 64), round_up(tokens, 256), -(-tokens // 256)

    def spread(values, height):
        """[tokens, heads, dim] to rows of packed heads."""
        wide = np.zeros((height, round_up(values.shape[1], 4), 64))
        wide[:tokens, : values.shape[1], :dim] = values
        return wide.reshape(height, -1)

    def unspread(values, count):
        return values.reshape(len(values), -1, 64)[:tokens, :count, :dim].swapaxes(0, 1)

    keys, k = kernel.tensor(spread(rng.standard_normal((tokens, kv, dim)), stored))
    values, v = kernel.tensor(spread(rng.standard_normal((tokens, kv, dim)), stored))
    q_place = kernel.activation(spread(rng.standard_normal((tokens, heads, dim)) / np.sqrt(dim) * 4, rows))
    out = kernel.activation(np.zeros((rows, q_place.columns)))
    pairs = len(pairs_of(min(kv, 4), group, 4))
    scores = kernel.activation(np.zeros((1, 1)), rows=pairs * pair_rows(machine, rows, key_blocks, 4, False))
    scratch, partial = kernel.activation(np.zeros((1, 1))), kernel.activation(np.zeros((rows, 1)))
    future = np.triu(np.full((256, 256), LOWEST), 1)
    padding = np.where(np.arange(256) < tokens - (key_blocks - 1) * 256, 0, LOWEST)[None]
    mask = kernel.activation(future if causal else padding)
    packed_attention(kernel.b, machine, kernel.fp, PackedAttention(
        sequences=1, sequence_rows=rows, tokens=tokens, key_blocks=key_blocks, causal=causal, heads=heads,
        kv_heads=kv, slots=4, head_dim=dim, q=q_place.address, q_row=q_place.block_step, q_sequence=0,
        out=out.address, out_block=out.block_step, out_sequence=0, keys=keys, values=values,
        rows_per_sequence=stored, scores=scores.address, scratch=scratch.address, partial=partial.address,
        mask=mask.address, decode=False), 0)
    q = unspread(kernel.read(q_place, rows), heads) / 4
    expected = attention_of(q, unspread(k, kv).repeat(group, 0), unspread(v, kv).repeat(group, 0), causal)
    result = kernel.run()
    assert relative_error(unspread(kernel.read(out, rows), heads), expected) < 0.01
    assert result.instruction_counts["H_PREFETCH_M"] == 2 * key_blocks * -(-kv // 4)
