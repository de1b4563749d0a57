"""Remember what the lines of a DMA do to an idle DRAM, exactly (spec §7.3, §7.4).

`kernels.dram.memo` explains the method; the unit here is a DMA with both phases. The key is the pattern of its lines
(`kernels.dram.pattern`): those of a prefetch, or those that a store writes, with a bit for each that it reads before.
When the lines are submitted counts in ticks alone, so a key need not know the instant. As lists there, a DMA is
*pending* until the next one begins: only then is it known whether the memory is quiescent again.
"""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import kernel, small
from ...dram.channel import catch_up
from ...dram.memo import (
    DRAM_MEMO_WIDTH,
    END,
    LEARNING,
    NOTHING,
    PEND_BANKS,
    PEND_CLOCK,
    PEND_COUNT,
    PEND_END,
    PEND_HASH,
    PEND_NOW,
    PEND_OWNER,
    PEND_TICKS,
    PEND_TICKS_AFTER,
    PEND_VALUE,
    PEND_WORDS,
    PENDING,
    QUIESCENT,
    RECALLED,
    TICKS,
    apply_value,
    flush_latencies,
    insert_learned,
    is_hopeless,
    is_idle,
    leave_rows,
)
from ...dram.pattern import STORE, WIDEST, Pattern, pattern_of
from ...dram.row_ledger import charge_rows
from ...dram.state import COUNTS, READ, WRITE, DramState
from ...limits import OVERFLOW, TIME_LIMIT
from ...memory.memo_table import MEMO_ON, look_up
from .batch import first_tick, run_lines

# One slot more of `LineMemo.reg` than of `DramMemo.reg`, whose PEND_COUNT are the lines read.
PEND_WRITES = DRAM_MEMO_WIDTH  # lines that the pending DMA writes
LINE_MEMO_WIDTH = DRAM_MEMO_WIDTH + 1

FLAGS_A_WORD = 62


class LineMemo(NamedTuple):
    """Remembered DMAs of one memory.

    Attributes
    ----------
    reg : int64[LINE_MEMO_WIDTH]
    table, arena, pattern, counts_before
        As in `DramMemo`.
    reads, writes : int64[WIDEST]
        Lines of the pending DMA.
    """

    reg: np.ndarray
    table: np.ndarray
    arena: np.ndarray
    pattern: Pattern
    counts_before: np.ndarray
    reads: np.ndarray
    writes: np.ndarray


class LineRun(NamedTuple):
    """A DRAM with what a run of lines on it needs.

    Attributes
    ----------
    dram : DramState
    arrived : int64[SUB_REQUESTS]
        Room of `batch`.
    memo : LineMemo
    """

    dram: DramState
    arrived: np.ndarray
    memo: LineMemo


@kernel
def run_both(run, reads, read, writes, written, now):
    """Read `reads[:read]`, then write `writes[:written]`, from `now` on: the instant of the end, or `OVERFLOW`."""
    now = run_lines(run.dram, run.arrived, reads, read, READ, now)
    if written > 0 and now != OVERFLOW:
        now = run_lines(run.dram, run.arrived, writes, written, WRITE, now)
    return now


@kernel
def run_recalled(run):
    """Run the recalled DMA after all; the front end already counts it."""
    memo, front = run.memo, run.dram.front[0]
    reg = memo.reg
    front.ticks = reg[PEND_TICKS]
    front.reads -= reg[PEND_COUNT]
    front.writes -= reg[PEND_WRITES]
    run_both(run, memo.reads, reg[PEND_COUNT], memo.writes, reg[PEND_WRITES], reg[PEND_NOW])


@kernel
def finish_pending(run, ledger, now):
    """Finish the pending DMA when the next one begins, at `now`.

    Returns whether every channel is quiescent then; never without a memo.
    """
    memo, state = run.memo, run.dram
    reg = memo.reg
    if reg[MEMO_ON] == 0:
        return False
    clk = first_tick(state, now) - 1
    if reg[PENDING] == RECALLED:
        if reg[PEND_CLOCK] + memo.arena[reg[PEND_VALUE] + QUIESCENT] <= clk + 1:
            apply_value(memo, state, clk)
        else:
            run_recalled(run)
        charge_rows(state, ledger, reg[PEND_OWNER])
    catch_up(state, clk)
    idle = is_idle(state, clk)
    if reg[PENDING] == LEARNING and idle:
        insert_learned(memo, state)
    reg[PENDING] = NOTHING
    return idle


@small
def write_flags(key, words, reads, read, writes, written):
    """Append a bit for each line written, 1 where it is read before (both lists ascend).

    Returns the words of the key.
    """
    at = 0
    for first in range(0, written, FLAGS_A_WORD):
        flags = 0
        for i in range(first, min(written, first + FLAGS_A_WORD)):
            if at < read and reads[at] == writes[i]:
                flags |= 1 << (i - first)
                at += 1
        key[words] = flags
        words += 1
    return words


@kernel
def key_of_lines(run, reads, read, writes, written, aligned):
    """Write the key of a DMA that finds the memory idle; `aligned`: submitted at the instant of the tick that sees it.

    Returns (words of the key, banks touched); no words if it touches too many banks.
    """
    pattern = run.memo.pattern
    if written == 0:
        return pattern_of(run.dram, pattern, reads, read, False, aligned)
    words, banks = pattern_of(run.dram, pattern, writes, written, False, aligned)
    if words > 0:
        pattern.key[0] |= STORE
        words = write_flags(pattern.key, words, reads, read, writes, written)
    return words, banks


@small
def recall(run, reads, read, writes, written, value):
    """Take the end of the present DMA from its value; the DMA becomes pending.

    Returns the instant of its end, or `OVERFLOW`.
    """
    memo, front = run.memo, run.dram.front[0]
    reg = memo.reg
    leave_rows(memo, value)
    reg[PENDING], reg[PEND_VALUE], reg[PEND_TICKS] = RECALLED, value, front.ticks
    for i in range(read):
        memo.reads[i] = reads[i]
    for i in range(written):
        memo.writes[i] = writes[i]
    end = reg[PEND_CLOCK] * run.dram.config[0].tck_ps + memo.arena[value + END]
    front.ticks = reg[PEND_CLOCK] + memo.arena[value + TICKS]
    front.last_event = max(front.last_event, end)
    front.reads += read
    front.writes += written
    return end if end <= TIME_LIMIT else OVERFLOW


@small
def begin_learning(memo, state, words, key_hash):
    """Get ready to watch the present DMA; it becomes pending."""
    reg = memo.reg
    flush_latencies(state)
    for number in range(state.config[0].channels):
        for k in range(COUNTS):
            memo.counts_before[number, k] = state.channels[number].count[k]
    reg[PENDING], reg[PEND_WORDS], reg[PEND_HASH] = LEARNING, words, key_hash


@small
def look_up_lines(run, owner, reads, read, writes, written, clk, now):
    """Look the present DMA up, which finds the memory idle after tick `clk`; one that is not known is to be learned.

    Returns the first word of its value in the arena, 0 without one.
    """
    memo, state = run.memo, run.dram
    reg = memo.reg
    # Latencies count from the last whole clock before `now`: the tick before the first that sees it, or one earlier.
    aligned = (clk + 1) * state.config[0].tck_ps == now
    words, banks = key_of_lines(run, reads, read, writes, written, aligned)
    if words == 0:
        return 0
    reg[PEND_COUNT], reg[PEND_WRITES], reg[PEND_NOW] = read, written, now
    reg[PEND_CLOCK], reg[PEND_BANKS], reg[PEND_OWNER] = clk, banks, owner
    key_hash, value = look_up(memo, memo.pattern.key, words)
    if value == 0:
        begin_learning(memo, state, words, key_hash)
    return value


@kernel
def remember_lines(run, idle, owner, reads, read, writes, written, now):
    """Read `reads[:read]`, then write `writes[:written]`, submitted at `now`; through the memo if the memory is `idle`.

    `owner` is charged for their row hits. No line waits for the host.

    Returns the instant of the end, ps, or `OVERFLOW`.
    """
    reg = run.memo.reg
    if idle and 0 < max(read, written) <= WIDEST and not is_hopeless(reg):
        clk = first_tick(run.dram, now) - 1
        value = look_up_lines(run, owner, reads, read, writes, written, clk, now)
        if value > 0:
            return recall(run, reads, read, writes, written, value)
    end = run_both(run, reads, read, writes, written, now)
    reg[PEND_END], reg[PEND_TICKS_AFTER] = end, run.dram.front[0].ticks
    return end


@small
def finish_recalled(run, ledger):
    """Run a recalled DMA at the end of a slice: channels and statistics become those of this instant."""
    reg = run.memo.reg
    if reg[PENDING] == RECALLED:
        run_recalled(run)
        charge_rows(run.dram, ledger, reg[PEND_OWNER])
        reg[PENDING] = NOTHING
