"""Compute cycles of every operation (spec §1.4 - §1.8), in one place for decoder and profiler.

A cost depends on the operation, a latency mapping (the names of `plena_emu.config.settings.Latency`), MLEN and
VLEN, and for few operations on fields of the word. Memory operations take the time of their transfers:
their cost here is 0. No numpy is needed: columns and plain integers both work.
"""

from collections.abc import Mapping

from .. import isa

PS_PER_CYCLE = 1000


def class_cycles(latency: Mapping[str, int], mlen: int, vlen: int) -> dict[str, int]:
    """Work out the cycles of each cost class of `isa.Op.cost`; `topk` is cycles a logit.

    Returns
    -------
    dict of str to int
    """
    return {
        "systolic_mlen": latency["systolic"] + mlen,
        "systolic_1": latency["systolic"] + 1,
        "mlen": mlen,
        "one": 1,
        "v_add": latency["v_add"],
        "v_mul": latency["v_mul"],
        "v_exp": latency["v_exp"],
        "v_reci": latency["v_reci"],
        "v_max": latency["v_max"],
        "v_sum": latency["v_sum"],
        "fp_basic": latency["fp_basic"],
        "fp_exp": latency["fp_exp"],
        "fp_reci": latency["fp_reci"],
        "fp_sqrt": latency["fp_sqrt"],
        "two_vlen": 2 * vlen,
        "int": latency["int_basic"],
        "memory": 0,
        "topk": latency["v_max"],
    }


def op_cycles(latency: Mapping[str, int], mlen: int, vlen: int) -> list[int]:
    """Work out the cycles by op id, before the rules that look at fields; entry 0 (INVALID) is 0.

    Returns
    -------
    list of int
    """
    by_class = class_cycles(latency, mlen, vlen)
    return [0] + [by_class[op.cost] for op in isa.OPS]


def cycles(op_id: int, rd: int, rs3: int, latency: Mapping[str, int], mlen: int, vlen: int) -> int:
    """Work out the compute cycles of one word: `rd` = 0 makes some operations free, V_TOPK counts its logits.

    V_TOPK with a policy that does not exist costs 0: executing it is an error.

    Returns
    -------
    int
    """
    if op_id in isa.FREE_WHEN_RD_ZERO and rd == 0:
        return 0
    base = op_cycles(latency, mlen, vlen)[op_id]
    return base * isa.TOPK_POLICIES.get(rs3, (0, 0))[0] if op_id == isa.V_TOPK else base


def column_cycles(op_id, rd, rs3, latency: Mapping[str, int], mlen: int, vlen: int):
    """Work out `cycles` for whole columns, three int64[n] arrays.

    Returns
    -------
    int64[n]
    """
    import numpy as np

    cost = np.array(op_cycles(latency, mlen, vlen), dtype=np.int64)[op_id]
    free = np.zeros(isa.NUM_OPS, dtype=bool)
    free[list(isa.FREE_WHEN_RD_ZERO)] = True
    cost[free[op_id] & (rd == 0)] = 0
    topk = op_id == isa.V_TOPK
    if topk.any():
        logits = np.array([isa.TOPK_POLICIES.get(policy, (0, 0))[0] for policy in range(16)], dtype=np.int64)
        cost[topk] *= logits[rs3[topk]]
    return cost
