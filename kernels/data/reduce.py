"""Reduce a row: sum in the reference's order (spec §2.6), maximum (§1.5), top-k (§1.8)."""

import math

import numpy as np

from plena_emu import isa

from ..compiler.jit import kernel
from ..layout import CFG_VLEN
from .numerics import round_bf16
from .reduce_lanes import PARTIALS, SIMD_WIDTH, add_groups, max_eights

FLUSH = 16  # groups after which the partials move to the second level
TOPK_LOGITS_0, TOPK_PICKS_0 = isa.TOPK_POLICIES[0]
TOPK_LOGITS_1, TOPK_PICKS_1 = isa.TOPK_POLICIES[1]


@kernel
def add_groups_in_levels(values, first, groups, partial_sums):
    """Run `add_groups` for long rows: the partial sums are flushed to a second level every FLUSH groups."""
    group_size = PARTIALS * SIMD_WIDTH
    for i in range(2 * group_size):
        partial_sums[i] = np.float32(0.0)
    for group in range(groups):
        at = first + group * group_size
        for i in range(group_size):
            partial_sums[i] += values[at + i]
        if (group + 1) % FLUSH == 0:
            for i in range(group_size):
                partial_sums[group_size + i] += partial_sums[i]
                partial_sums[i] = np.float32(0.0)
    for i in range(group_size):
        partial_sums[i] += partial_sums[group_size + i]


@kernel
def row_sum(values, first, n, partial_sums):
    """Sum `values[first : first + n]` in the order of §2.6.

    `partial_sums` is scratch of at least 64 f32: four partial vectors and their second level.
    """
    group_size = PARTIALS * SIMD_WIDTH
    groups = n // group_size
    if groups < FLUSH:
        add_groups(values, first, groups, partial_sums)
    else:
        add_groups_in_levels(values, first, groups, partial_sums)
    vectors = n // SIMD_WIDTH
    for vector in range(groups * PARTIALS, vectors):
        for i in range(SIMD_WIDTH):
            partial_sums[i] += values[first + vector * SIMD_WIDTH + i]
    total = np.float32(0.0)
    for i in range(vectors * SIMD_WIDTH, n):
        total += values[first + i]
    for i in range(SIMD_WIDTH):
        pair = partial_sums[i] + partial_sums[SIMD_WIDTH + i]
        total += (pair + partial_sums[2 * SIMD_WIDTH + i]) + partial_sums[3 * SIMD_WIDTH + i]
    return total


@kernel
def row_max(values, first, n):
    """Find the maximum of `values[first : first + n]`; a NaN wins, of equal values (zeros of both signs) the last."""
    best = values[first]
    for i in range(first + 1, first + n):
        x = values[i]
        if x >= best or x != x:
            best = x
        if best != best:
            return best
    return best


@kernel
def long_row_max(values, first, n, partial_sums):
    """Find `row_max` of a row of a multiple of eight values, eight at a time unless NaN or zeros decide."""
    max_eights(values, first, n // SIMD_WIDTH, partial_sums)
    best = partial_sums[0]
    odd = partial_sums[SIMD_WIDTH]
    for i in range(1, SIMD_WIDTH):
        best = partial_sums[i] if partial_sums[i] > best else best
        odd += partial_sums[SIMD_WIDTH + i]
    if odd != odd or best == np.float32(0.0):
        return row_max(values, first, n)
    return best


@kernel
def pick_largest(logits, count, order, picks):
    """Write the indices of the `picks` largest of `count` logits, ties by smaller index, to `order`."""
    for rank in range(picks):
        best = -1
        for i in range(count):
            taken = False
            for r in range(rank):
                taken = taken or order[r] == i
            if not taken and (best < 0 or logits[i] > logits[best]):
                best = i
        order[rank] = best


@kernel
def topk(cfg, rows, fp_sram, int_sram, work, partial_sums, weights_at, row, indices_at, policy):
    """Execute V_TOPK: softmax weights to the fp SRAM, indices to the int SRAM (§1.8)."""
    count = TOPK_LOGITS_0 if policy == 0 else TOPK_LOGITS_1
    picks = TOPK_PICKS_0 if policy == 0 else TOPK_PICKS_1
    first = row * cfg[CFG_VLEN]
    logits = work
    for i in range(count):
        x = rows[first + i]
        logits[i] = np.float32(-np.inf) if x != x else x
    order = int_sram[indices_at : indices_at + picks]
    pick_largest(logits, count, order, picks)
    largest = logits[order[0]]
    total = np.float32(0.0)
    for rank in range(picks):
        # Unlike V_EXP_V this exp is not clamped: far smaller logits weigh exactly 0.
        partial_sums[rank] = np.float32(math.exp(np.float64(logits[order[rank]] - largest)))
        total += partial_sums[rank]
    legal = total > np.float32(0.0) and total < np.float32(np.inf)
    for rank in range(picks):
        weight = partial_sums[rank] / total if legal else np.float32(0.0)
        fp_sram[weights_at + rank] = round_bf16(weight)
