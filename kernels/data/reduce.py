"""Reductions of a row: sum in the reference's order (spec §2.6), maximum (§1.5), top-k (§1.8)."""

import math

import numpy as np
from plena_emu import isa

from ..compiler.jit import kernel
from ..layout import CFG_VLEN
from .numerics import round_bf16
from .reduce_lanes import LANES, PARTIALS, add_groups, max_eights

WIDTH = LANES  # lanes of a vector (AVX2 build of the reference)
FLUSH = 16  # groups after which the partials move to the second level
TOPK_LOGITS_0, TOPK_PICKS_0 = isa.TOPK_POLICIES[0]
TOPK_LOGITS_1, TOPK_PICKS_1 = isa.TOPK_POLICIES[1]


@kernel
def add_groups_in_levels(values, first, groups, part):
    """`add_groups` for long rows: the partials are flushed to a second level every FLUSH groups."""
    lanes = PARTIALS * WIDTH
    for i in range(2 * lanes):
        part[i] = np.float32(0.0)
    for group in range(groups):
        at = first + group * lanes
        for i in range(lanes):
            part[i] += values[at + i]
        if (group + 1) % FLUSH == 0:
            for i in range(lanes):
                part[lanes + i] += part[i]
                part[i] = np.float32(0.0)
    for i in range(lanes):
        part[i] += part[lanes + i]


@kernel
def row_sum(values, first, n, part):
    """Sum of `values[first : first + n]` in the order of §2.6.

    `part` is scratch of at least 64 f32: four partial vectors and their second level.
    """
    lanes = PARTIALS * WIDTH
    groups = n // lanes
    if groups < FLUSH:
        add_groups(values, first, groups, part)
    else:
        add_groups_in_levels(values, first, groups, part)
    vectors = n // WIDTH
    for vector in range(groups * PARTIALS, vectors):
        for i in range(WIDTH):
            part[i] += values[first + vector * WIDTH + i]
    total = np.float32(0.0)
    for i in range(vectors * WIDTH, n):
        total += values[first + i]
    for i in range(WIDTH):
        total += ((part[i] + part[WIDTH + i]) + part[2 * WIDTH + i]) + part[3 * WIDTH + i]
    return total


@kernel
def row_max(values, first, n):
    """Maximum of `values[first : first + n]`; a NaN wins, and of equal values (zeros of both signs) the last."""
    best = values[first]
    for i in range(first + 1, first + n):
        x = values[i]
        if x >= best or x != x:
            best = x
        if best != best:
            return best
    return best


@kernel
def long_row_max(values, first, n, part):
    """`row_max` of a row of a multiple of eight values: lane by lane, as long as neither NaN nor zeros decide."""
    max_eights(values, first, n // WIDTH, part)
    best = part[0]
    odd = part[WIDTH]
    for i in range(1, WIDTH):
        best = part[i] if part[i] > best else best
        odd += part[WIDTH + i]
    if odd != odd or best == np.float32(0.0):
        return row_max(values, first, n)
    return best


@kernel
def pick_largest(logits, count, order, picks):
    """Indices of the `picks` largest of `count` logits, ties by smaller index, into `order`."""
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
def topk(cfg, rows, fp_sram, int_sram, work, part, weights_at, row, indices_at, policy):
    """V_TOPK: softmax weights to the fp SRAM, indices to the int SRAM (§1.8)."""
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
        part[rank] = np.float32(math.exp(np.float64(logits[order[rank]] - largest)))
        total += part[rank]
    legal = total > np.float32(0.0) and total < np.float32(np.inf)
    for rank in range(picks):
        weight = part[rank] / total if legal else np.float32(0.0)
        fp_sram[weights_at + rank] = round_bf16(weight)
