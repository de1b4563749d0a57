"""Online softmax over chunks of keys against numpy: causal, bidirectional, ragged, groups, parts, sequences, decode."""

import msgspec
import numpy as np
import pytest
from model_kernel import Kernel, attention_of, relative_error

from plena_emu.models.lowering.attention import Steps
from plena_emu.models.lowering.key_chunks import KeyChunks
from plena_emu.models.lowering.online_attention import OnlineAttention, online_attention
from plena_emu.models.lowering.online_packed import OnlinePacked, online_packed
from plena_emu.models.lowering.online_softmax import STATE_ROWS
from plena_emu.models.lowering.packed_attention import PackedAttention
from plena_emu.models.lowering.softmax import LOWEST
from plena_emu.models.machine import round_up

MLEN = {"m16b4": 16, "m16b8": 16, "m32b8": 32, "m64b4": 64, "m64b16": 64, "m128b64": 128}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """An attention of `tokens` queries, or with `decode` of one, over `tokens` keys."""

    preset: str
    tokens: int
    kv: int = 1
    group: int = 1
    dim: int = 16
    causal: bool = True
    sequences: int = 1
    chunk: int = 1
    shares: int = 1
    decode: bool = False


def run(case, tmp_path):
    """Relative error of the result, and what the run executed."""
    rng = np.random.default_rng(case.tokens)
    kernel = Kernel(case.preset, tmp_path, vector_rows=1 << 14)
    machine, mlen = kernel.machine, kernel.machine.mlen
    parts, heads = -(-case.dim // mlen), case.kv * case.group
    width, stored = parts * mlen, round_up(case.tokens, mlen)
    key_blocks = stored // mlen

    def cache():
        values = rng.standard_normal((case.sequences, case.kv, case.tokens, case.dim))
        padded = np.zeros((case.sequences, stored, case.kv, width))
        padded[:, : case.tokens, :, : case.dim] = values.swapaxes(1, 2)
        tensor, kept = kernel.tensor(padded.reshape(case.sequences * stored, -1))
        return tensor, kept.reshape(case.sequences, stored, case.kv, -1)[:, : case.tokens, :, : case.dim].swapaxes(1, 2)

    keys, k = cache()
    values, v = cache()
    queries = 1 if case.decode else case.tokens
    rows = 1 if case.decode else round_up(case.tokens, machine.blen)
    q_values = np.zeros((case.sequences, rows, heads, width))
    q_values[:, :queries, :, : case.dim] = rng.standard_normal((case.sequences, queries, heads, case.dim)) * 2
    q_values /= np.sqrt(case.dim)
    step = mlen * case.sequences * rows
    if case.decode:  # a row a head
        q_place = kernel.activation(q_values.reshape(case.sequences * heads, width))
        steps = {"sequence": heads * mlen, "kv_head": case.group * mlen, "head": mlen, "part": q_place.block_step}
    else:
        q_place = kernel.activation(q_values.reshape(case.sequences * rows, -1))
        steps = {"sequence": rows * mlen, "kv_head": case.group * parts * step, "head": parts * step, "part": step}
    out = kernel.activation(np.zeros((case.sequences * rows, heads * width)))
    out_steps = {"sequence": rows * mlen, "kv_head": case.group * parts * out.block_step,
                 "head": parts * out.block_step, "part": out.block_step}
    block = round_up(case.group, machine.blen) if case.decode else mlen
    query_blocks = 1 if case.decode else key_blocks
    state_rows = case.sequences * (case.kv if case.decode else heads) * query_blocks * block

    def room(count):
        return kernel.activation(np.full((count, mlen), np.nan)).address

    future = np.triu(np.full((mlen, mlen), LOWEST), 1)
    padding = np.where(np.arange(mlen) < case.tokens - (key_blocks - 1) * mlen, 0, LOWEST)[None]
    causal = case.causal and not case.decode
    mask = kernel.activation(future if causal else padding).address
    kernel.next_row += mlen  # the last block of queries is read as a whole
    online_attention(kernel.b, machine, kernel.fp, OnlineAttention(
        sequences=case.sequences, kv_heads=case.kv, shares=case.shares, parts=parts, head_dim=case.dim,
        heads=1 if case.decode else case.group // case.shares, rows=block, live=case.group if case.decode else mlen,
        chunks=KeyChunks(query_blocks=query_blocks, key_blocks=key_blocks, chunk=case.chunk, causal=causal),
        q=Steps(address=q_place.address, **steps), out=Steps(address=out.address, **out_steps),
        out_row=parts * out.block_step if case.decode else mlen, out_rows=case.group if case.decode else rows,
        out_group=case.group if case.decode else machine.blen, keys=keys, values=values, rows_per_sequence=stored,
        scores=room(block * case.chunk), partial=room(block * parts), scratch=room(2),
        state=room(STATE_ROWS * state_rows), sums=room(parts * state_rows),
        mask=mask if causal or case.tokens % mlen else None), 0)
    if case.decode:
        q = kernel.read(q_place, case.sequences * heads).reshape(case.sequences, heads, 1, width)[..., : case.dim]
    else:
        q = kernel.read(q_place, case.sequences * rows).reshape(case.sequences, rows, heads, width)
        q = q[:, :queries, :, : case.dim].swapaxes(1, 2)
    expected = attention_of(q, k.repeat(case.group, 1), v.repeat(case.group, 1), causal)
    result = kernel.run()
    found = kernel.read(out, case.sequences * rows).reshape(case.sequences, rows, heads, width)
    return relative_error(found[:, :queries, :, : case.dim].swapaxes(1, 2), expected), result


@pytest.mark.parametrize("case", [
    Case(preset="m16b4", tokens=1), Case(preset="m16b4", tokens=16), Case(preset="m16b4", tokens=17),
    Case(preset="m16b4", tokens=90, kv=2, group=3, chunk=2, sequences=2),
    Case(preset="m16b4", tokens=90, kv=1, group=2, chunk=4, dim=12),
    Case(preset="m16b4", tokens=75, group=2, chunk=3, dim=40),
    Case(preset="m16b4", tokens=61, kv=2, group=6, chunk=2, shares=3, sequences=2),
    Case(preset="m16b4", tokens=40, group=4, shares=4, causal=False, chunk=2),
    Case(preset="m16b4", tokens=80, kv=2, causal=False, chunk=5),
    Case(preset="m16b4", tokens=70, kv=2, causal=False, chunk=2, sequences=2, dim=32),
    Case(preset="m16b4", tokens=33, causal=False), Case(preset="m64b16", tokens=200, group=3, chunk=2, dim=64),
    Case(preset="m16b8", tokens=50, chunk=8), Case(preset="m32b8", tokens=33, group=2, dim=20),
    Case(preset="m64b4", tokens=129, kv=2, causal=False, dim=64, chunk=2),
    Case(preset="m128b64", tokens=130, chunk=2, dim=64),
    Case(preset="m16b4", tokens=100, kv=2, group=3, chunk=2, sequences=2, decode=True),
    Case(preset="m16b4", tokens=64, group=5, chunk=4, dim=24, decode=True),
    Case(preset="m64b16", tokens=257, kv=3, group=3, chunk=4, dim=64, decode=True),
], ids=str)
def test_online_attention(case, tmp_path):
    error, result = run(case, tmp_path)
    assert error < 0.012
    mlen = MLEN[case.preset]
    blocks, parts = -(-case.tokens // mlen), -(-case.dim // mlen)
    chunks, units = -(-blocks // case.chunk), case.sequences * case.kv
    if case.decode:
        steps = chunks
    else:  # query blocks that see a chunk
        steps = case.shares * sum(blocks - (chunk * case.chunk if case.causal else 0) for chunk in range(chunks))
    # Keys and values once for all heads of a group, and one block of each again in every other step of a chunk.
    assert result.instruction_counts["H_PREFETCH_M"] == 2 * parts * units * (blocks + steps - chunks)


def run_packed(case, tmp_path):
    """As `run`, four heads a row; the machine is m256b64."""
    rng = np.random.default_rng(case.tokens)
    kernel = Kernel("m256b64", tmp_path, vector_rows=1 << 15, hbm_size=1 << 22)
    machine, heads, sequences = kernel.machine, case.kv * case.group, case.sequences
    queries = 1 if case.decode else case.tokens
    rows, stored = 1 if case.decode else round_up(queries, 64), round_up(case.tokens, 256)
    key_blocks, row_heads = stored // 256, -(-heads // 4)

    def spread(values, height):
        """[sequences, tokens, heads, dim] to rows of packed heads."""
        wide = np.zeros((sequences, height, round_up(values.shape[2], 4), 64))
        wide[:, : values.shape[1], : values.shape[2], : case.dim] = values
        return wide.reshape(sequences * height, -1)

    def unspread(values, tokens, count):
        held = values.reshape(sequences, -1, values.shape[1] // 64, 64)
        return held[:, :tokens, :count, : case.dim].swapaxes(1, 2)

    keys, k = kernel.tensor(spread(rng.standard_normal((sequences, case.tokens, case.kv, case.dim)), stored))
    values, v = kernel.tensor(spread(rng.standard_normal((sequences, case.tokens, case.kv, case.dim)), stored))
    q_values = spread(rng.standard_normal((sequences, queries, heads, case.dim)) * 8 / np.sqrt(case.dim), rows)
    if case.decode:  # the rows of a token's heads follow one another
        q_place = kernel.activation(q_values.reshape(sequences * row_heads, 256))
        q_row, q_sequence = 256, row_heads * 256
    else:
        q_place = kernel.activation(q_values)
        q_row, q_sequence = q_place.block_step, rows * 256
    out = kernel.activation(np.full((sequences * rows, row_heads * 256), np.nan))
    block = 1 if case.decode else 256
    query_blocks = 1 if case.decode else key_blocks
    state_rows = sequences * row_heads * query_blocks * block

    def room(count):
        return kernel.activation(np.full((count, 256), np.nan)).address

    causal = case.causal and not case.decode
    future = np.triu(np.full((256, 256), LOWEST), 1)
    padding = np.where(np.arange(256) < case.tokens - (key_blocks - 1) * 256, 0, LOWEST)[None]
    mask = kernel.activation(future if causal else padding).address
    kernel.next_row += 256
    online_packed(kernel.b, machine, kernel.fp, OnlinePacked(
        packed=PackedAttention(
            sequences=sequences, sequence_rows=rows, tokens=queries, key_blocks=key_blocks, causal=causal, heads=heads,
            kv_heads=case.kv, slots=4, head_dim=case.dim, q=q_place.address, q_row=q_row, q_sequence=q_sequence,
            out=out.address, out_block=out.block_step, out_sequence=rows * 256, keys=keys, values=values,
            rows_per_sequence=stored, scores=room(4 * case.chunk * block), scratch=room(2), partial=room(block),
            mask=mask if causal or case.tokens % 256 else None, decode=case.decode),
        chunks=KeyChunks(query_blocks=query_blocks, key_blocks=key_blocks, chunk=case.chunk, causal=causal),
        rows=block, state=room(4 * STATE_ROWS * state_rows), sums=room(state_rows)), 0)
    if case.decode:
        q = kernel.read(q_place, sequences * row_heads).reshape(sequences, row_heads * 256)
    else:
        q = kernel.read(q_place, sequences * rows)
    expected = attention_of(unspread(q, queries, heads) / 4, unspread(k, case.tokens, case.kv).repeat(case.group, 1),
                            unspread(v, case.tokens, case.kv).repeat(case.group, 1), causal)
    result = kernel.run()
    found = kernel.read(out, sequences * rows)
    assert np.isfinite(found).all()  # padding lanes too: what follows multiplies them by 0
    return relative_error(unspread(found, queries, heads), expected), result


@pytest.mark.parametrize("case", [
    Case(preset="m256b64", tokens=3, dim=64), Case(preset="m256b64", tokens=64, kv=2, group=3, dim=64),
    Case(preset="m256b64", tokens=300, kv=4, causal=False, dim=64),
    Case(preset="m256b64", tokens=520, kv=3, group=2, dim=48, chunk=2),
    Case(preset="m256b64", tokens=270, kv=5, dim=64, chunk=2, sequences=2),
    Case(preset="m256b64", tokens=600, kv=1, group=4, dim=64, chunk=3, decode=True),
    Case(preset="m256b64", tokens=700, kv=5, group=3, dim=32, chunk=2, decode=True, sequences=2),
], ids=str)
def test_online_packed_attention(case, tmp_path):
    error, _ = run_packed(case, tmp_path)
    assert error < 0.012
