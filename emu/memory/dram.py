"""Building a DRAM behind its controller from a description (spec chapter 4).

`new_state` gives what the kernels of `kernels.dram.engine` work on. To drive a memory with arrays of accesses see
`dram_trace`, for what it counted `dram_statistics`; `place` tells where an address lives.
"""

from typing import NamedTuple

import numpy as np

from ..boards.dram_schema import COMMANDS, LEVELS, RANK_COMMANDS, DramDescription, TimingRow
from ..errors import EmuError
from ..isa import REVISIONS
from ..kernels.dram import event_queue as lp
from ..kernels.dram import memo as dm
from ..kernels.dram import pattern as dp
from ..kernels.dram import state as at
from ..kernels.memory import memo_table as mt

ACCESS_BYTES = 64
ADDRESS_BITS = 64
# The front end needs no event loop where a full queue holds so many accesses that a turn of the gather task never
# ends because all of them were polled (§4.10): it polls at most six.
DIRECT_ACCESSES = 8
BANK_COMMANDS = tuple(int(command) for command in (at.ACT, at.PRE, at.RD, at.WR))


class Place(NamedTuple):
    """Where a transfer lives (spec §4.2); `rank` is a pseudo-channel of hbm2, `column` counts transfers."""

    channel: int
    rank: int
    bankgroup: int
    bank: int
    row: int
    column: int


def place(description: DramDescription, address: int) -> Place:
    """Place of the byte at `address` (0 <= address < 2^64)."""
    fields = {field: 0 for field in ("column", *LEVELS)}
    for field in fields:
        for number, mask in enumerate(description.bit_masks(field)):
            fields[field] |= ((address & mask).bit_count() & 1) << number
    row = address >> description.mapping.row.first
    for number, bit in enumerate(description.mapping.row.xor):
        row ^= (address >> bit & 1) << number
    return Place(row=row, **fields)


def new_state(description: DramDescription, revision: str = "base") -> at.DramState:
    """Unused memory of a description in an ISA revision (`base` or `moe`), at clock 0.

    Raises
    ------
    EmuError
        The revision is unknown.
    """
    if revision not in REVISIONS:
        raise EmuError(f"DRAM revision: found {revision!r}, expected {' or '.join(REVISIONS)}")
    config = _records(1, at.CONFIG)
    _fill_config(config[0], description)
    _fill_places(config[0], description)
    _fill_rules(config[0], description, revision)
    channels = _records(config[0].channels, at.STATE)
    channels.key = at.EMPTY
    channels.slot_key = at.EMPTY
    channels.open_row = at.NONE
    channels.head = at.NO_SLOT
    channels.free = np.arange(at.SLOTS)
    channels.next_refresh = config[0].interval
    return at.DramState(config, _records(1, at.FRONT), channels, _records(0, at.ACCESS))


def new_run(state: at.DramState, address: np.ndarray, batches: int = 1, waits: int = 0) -> lp.Run:
    """Room for the events of accesses to `address` (int64[n]) in so many batches, `waits` waiting for the host at most.

    A task is in the run queue at most three times, but for turns that end early: one for each two reads that the
    channels' queues take.
    """
    config, n = state.config[0], len(address)
    ready = 4 * batches + 256 * int(config.channels * config.twins)
    run = lp.Run(
        loop=_records(1, lp.LOOP),
        address=address,
        access=_records(n, at.ACCESS),
        part=_records(int(config.parts) * n, lp.PART),
        task=_records(batches, lp.TASK),
        timer=np.zeros((waits + 8, 3), dtype=np.int64),
        ready=np.zeros(1 << max(6, (ready - 1).bit_length()), dtype=np.int32),
    )
    run.loop.first_attempt = run.task.front = at.NONE
    return run


def new_memo(state: at.DramState, enabled: bool = True) -> dm.DramMemo:
    """Empty memo of a memory; off where there is refresh, or an access has several requests (see `dram_memo`)."""
    config = state.config[0]
    reg = np.zeros(dm.DRAM_MEMO_WIDTH, dtype=np.int64)
    reg[mt.MEMO_ON] = enabled and config.interval == 0 and config.parts == 1 and config.direct == 1
    pattern = dp.Pattern(
        key=np.zeros(2 * dp.WIDEST + dp.TOUCHED + 1, dtype=np.int64),
        node=np.full((dp.LEVELS, int(config.channels) * at.BANKS), at.NONE),
        bank=np.zeros(dp.TOUCHED, dtype=np.int64),
        first=np.zeros(dp.TOUCHED, dtype=np.int64),
        latest=np.zeros(dp.TOUCHED, dtype=np.int64),
        row=np.zeros((dp.WIDEST + dp.TOUCHED, dp.ROW_WIDTH), dtype=np.int64),
    )
    return dm.DramMemo(
        reg=reg,
        table=np.zeros((dm.SLOTS, mt.ENTRY_WIDTH), dtype=np.int64),
        pool=np.zeros(dm.POOL, dtype=np.int64),
        pattern=pattern,
        address=np.zeros(dp.WIDEST, dtype=np.int64),
        nothing=np.zeros(dp.WIDEST, dtype=np.int64),
        before=np.zeros((int(config.channels), at.COUNTS), dtype=np.int64),
    )


def _records(count, kind):
    """Zeroed records whose fields are attributes, as kernels that are not compiled need them."""
    return np.zeros(count, kind).view(np.recarray)


def _fill_config(cfg, description):
    """Everything but the tables."""
    cfg.period = description.period_ps
    cfg.latency = description.read_latency
    cfg.interval = description.refresh.interval if description.refresh else 0
    cfg.twins = twins(description)
    cfg.channels = description.organisation.channel // cfg.twins
    cfg.group_banks = description.organisation.bank
    cfg.ranks, cfg.rank_bits = description.organisation.rank, _rank_bits(description)
    cfg.part_bytes = description.transfer_bytes * cfg.twins
    cfg.parts = ACCESS_BYTES // cfg.part_bytes
    cfg.limit[:] = (description.queues.read, description.queues.write)
    cfg.direct = description.queues.read >= DIRECT_ACCESSES * cfg.parts
    cfg.enter, cfg.leave = description.write_mode.enter, description.write_mode.leave


def _fill_places(cfg, description):
    """Tables of the mapping (§4.2): it is linear, so an address's place is the exclusive or of its bits' places."""
    for bit in range(ADDRESS_BITS):
        table, half = cfg.place[bit // 8], 1 << bit % 8
        table[half : 2 * half] = table[:half] ^ _packed(cfg, place(description, 1 << bit))
    for part in range(int(cfg.parts)):
        cfg.part_place[part] = _packed(cfg, place(description, part * int(cfg.part_bytes)))


def _packed(cfg, place):
    """A place as the kernels know it: the channel's record, the bank's number and the row in one integer."""
    bank = place.rank << int(cfg.rank_bits) | place.bankgroup * int(cfg.group_banks) | place.bank
    return place.row << at.PLACE_ROW | place.channel // int(cfg.twins) << at.PLACE_BANK_BITS | bank


def twins(description: DramDescription) -> int:
    """Channels in the same state at all times, so that one record stands for them.

    Those are the channels that an access's transfers reach, where they are an aligned range and the transfers' places
    differ in nothing else; twins that are neighbours keep the order in which channels wake accesses (§4.10).
    """
    size = description.transfer_bytes
    parts = [place(description, first) for first in range(0, ACCESS_BYTES, size)]
    alike = {part._replace(channel=0, column=0) for part in parts}
    aligned = sorted(part.channel for part in parts) == list(range(len(parts)))
    return len(parts) if aligned and len(alike) == 1 else 1


def _rank_bits(description):
    """Bits of a bank's number below its rank."""
    return (description.organisation.bankgroup * description.organisation.bank).bit_length() - 1


def _fill_rules(cfg, description, revision):
    """The timing table (§4.6) by the command that a row comes after."""
    org = description.organisation
    # Banks of a node of each level; nodes are aligned ranges of bank numbers.
    size = dict(zip(LEVELS, (org.rank * org.bankgroup * org.bank, org.bankgroup * org.bank, org.bank, 1)))
    rows = _not_covered(description.timing_rows(revision))
    _fill_windows(cfg, [row for row in rows if row.window > 1], size)
    cfg.rank_by[:] = cfg.channel_by[:] = at.NO_RULE
    cfg.raise_by[:] = at.NO_RULE
    number, bank = 0, np.arange(at.BANKS)
    for command, name in enumerate(COMMANDS):
        cfg.longest[command] = max((row.clocks for row in rows if row.after == name), default=0)
        cfg.raise_at[command] = number
        after = [row for row in rows if row.after == name and row.window == 1]
        for before in BANK_COMMANDS:
            some = [row for row in after if row.before == COMMANDS[before]]
            for row in some:
                together = bank[:, None] // size[row.level] == bank // size[row.level]
                table = cfg.raise_by[number]
                table[together] = np.maximum(table[together], row.clocks)
            cfg.raised[number] = before
            number += bool(some)
        for row in after:
            if row.before in RANK_COMMANDS:
                by = cfg.rank_by if row.level == "rank" else cfg.channel_by
                by[command, COMMANDS.index(row.before) - at.PREA] = row.clocks
    cfg.raise_at[len(COMMANDS)] = number


def _fill_windows(cfg, rows, size):
    """Rules over a window of several commands."""
    for rule, row in zip(cfg.window, rows):
        rule[at.WIN_BANKS] = size[row.level]
        rule[at.WIN_AFTER], rule[at.WIN_BEFORE] = COMMANDS.index(row.after), COMMANDS.index(row.before)
        rule[at.WIN_CLOCKS], rule[at.WIN_LENGTH] = row.clocks, row.window


def _not_covered(rows: tuple[TimingRow, ...]) -> list[TimingRow]:
    """Rows without those that say nothing new: a row of a wider level holds back the same command as long."""

    def covers(wide, row):
        return (
            (wide.after, wide.before, wide.window) == (row.after, row.before, row.window)
            and LEVELS.index(wide.level) < LEVELS.index(row.level)
            and wide.clocks >= row.clocks
        )

    return [row for row in rows if not any(covers(wide, row) for wide in rows)]
