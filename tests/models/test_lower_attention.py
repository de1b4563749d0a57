"""Attention over a stored cache: causal, bidirectional, ragged lengths, parts, groups, sequences."""

import numpy as np
import pytest
from model_kernel import Kernel, relative_error

from plena_emu.models.lowering.attention import Attention, Steps, attention
from plena_emu.models.lowering.score_rows import ScoreRows
from plena_emu.models.lowering.softmax import LOWEST
from plena_emu.models.machine import round_up


def reference(q, k, v, causal):
    """[heads, tokens, dim] each."""
    scores = q @ k.swapaxes(-1, -2)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize("preset, tokens, kv, group, dim, causal, sequences", [
    ("m16b4", 1, 1, 1, 16, True, 1), ("m16b4", 16, 1, 2, 16, True, 2), ("m16b4", 37, 2, 2, 16, True, 1),
    ("m16b4", 37, 2, 1, 12, False, 1), ("m16b4", 50, 1, 3, 32, True, 2), ("m64b16", 65, 1, 2, 64, True, 1),
    ("m16b4", 32, 2, 1, 40, False, 1),
])
def test_attention(preset, tokens, kv, group, dim, causal, sequences, tmp_path):
    rng = np.random.default_rng(tokens)
    kernel = Kernel(preset, tmp_path)
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
    steps = dict(sequence=rows * mlen, kv_head=group * parts * step, head=parts * step, part=step)
    attention(kernel.b, kernel.machine, kernel.fp, Attention(
        sequences=sequences, kv_heads=kv, heads=group, parts=parts, head_dim=dim, shape=shape,
        q=Steps(address=q_place.address, **steps), out=Steps(address=out.address, **steps), stride=1, keys=keys,
        values=values, rows_per_sequence=stored, scores=scores.address, scratch=scratch.address,
        partial=partial.address, mask=mask.address), 0)
    q = kernel.read(q_place, sequences * rows).reshape(sequences, rows, heads, width)[:, :tokens, :, :dim].swapaxes(1, 2)
    expected = reference(q, k.repeat(group, 1), v.repeat(group, 1), causal)
    result = kernel.run()
    found = kernel.read(out, sequences * rows).reshape(sequences, rows, heads, width)[:, :tokens, :, :dim].swapaxes(1, 2)
    assert relative_error(found, expected) < 0.01
    assert result.instruction_counts["H_PREFETCH_M"] == 2 * sequences * kv * key_blocks * parts
