"""Building a DRAM behind its controller from a description (spec chapter 4).

`new_state` gives what the kernels of `kernels.dram.engine` work on. To drive a memory with arrays of accesses see
`dram_trace`, for what it counted `dram_statistics`; `place` tells where an address lives.
"""

from typing import NamedTuple

import numpy as np

from ..boards.dram_schema import DramDescription, TimingRow, checked
from ..boards.dram_timing import COMMANDS, LEVELS, OTHER_RANK, RANK_COMMANDS
from ..errors import EmuError, UsageError
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
_placed = [None]  # description of the last `place`: it need not be checked for each address
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
    """Find the place of the byte at `address` (0 <= address < 2^64).

    Raises
    ------
    UsageError
        An argument is of another type.
    EmuError
        The description, or the address, is none that a memory can have.
    """
    if description is not _placed[0]:
        _placed[0] = checked(description)
    if not isinstance(address, int | np.integer) or isinstance(address, bool):
        raise UsageError(f"address: found {type(address).__name__}, expected an integer from 0 to 2^64 - 1")
    if not 0 <= address < 1 << ADDRESS_BITS:
        found = f"{address:#x}" if abs(address) < 1 << 128 else f"an integer of {int(address).bit_length()} bits"
        raise EmuError(f"address: found {found}, expected an integer from 0 to 2^64 - 1")
    return _place(description, int(address))


def _place(description, address):
    """`place` of arguments that were checked."""
    fields = {field: 0 for field in ("column", *LEVELS)}
    for field in fields:
        for number, mask in enumerate(description.bit_masks(field)):
            fields[field] |= ((address & mask).bit_count() & 1) << number
    row = address >> description.mapping.row.first
    for number, bit in enumerate(description.mapping.row.xor):
        row ^= (address >> bit & 1) << number
    return Place(row=row, **fields)


def new_state(description: DramDescription, revision: str = "base") -> at.DramState:
    """Build the unused memory of a description in an ISA revision (`base` or `moe`), at clock 0.

    Raises
    ------
    UsageError
        `description` is none.
    EmuError
        The revision is unknown, or something in the description is wrong.
    """
    checked(description)
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
    cfg.latency = description.read_clocks
    cfg.interval = description.refresh_interval
    cfg.twins = twins(description)
    cfg.channels = description.organisation.channel // cfg.twins
    cfg.group_banks = description.organisation.bank
    cfg.ranks, cfg.rank_bits = description.organisation.rank, _rank_bits(description)
    cfg.part_bytes = description.transfer_bytes * cfg.twins
    cfg.parts = ACCESS_BYTES // cfg.part_bytes
    cfg.limit[:] = (description.queues.read, description.queues.write)
    cfg.direct = description.queues.read >= DIRECT_ACCESSES * cfg.parts
    cfg.enter, cfg.leave = description.write_mode.high_watermark, description.write_mode.low_watermark


def _fill_places(cfg, description):
    """Tables of the mapping (§4.2): it is linear, so an address's place is the exclusive or of its bits' places."""
    for bit in range(ADDRESS_BITS):
        table, half = cfg.place[bit // 8], 1 << bit % 8
        table[half : 2 * half] = table[:half] ^ _packed(cfg, _place(description, 1 << bit))
    for part in range(int(cfg.parts)):
        cfg.part_place[part] = _packed(cfg, _place(description, part * int(cfg.part_bytes)))


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
    parts = [_place(description, first) for first in range(0, ACCESS_BYTES, size)]
    alike = {part._replace(channel=0, column=0) for part in parts}
    aligned = sorted(part.channel for part in parts) == list(range(len(parts)))
    return len(parts) if aligned and len(alike) == 1 else 1


def _rank_bits(description):
    """Bits of a bank's number below its rank."""
    return (description.organisation.bankgroup * description.organisation.bank).bit_length() - 1


def _fill_rules(cfg, description, revision):
    """The timing table (§4.6) by the command that a row comes after."""
    together = _together(description.organisation)
    rows = _not_covered(description.timing_rows(revision))
    _fill_windows(cfg, [row for row in rows if row.window > 1], description.organisation)
    cfg.rank_by[:] = cfg.channel_by[:] = at.NO_RULE
    cfg.raise_by[:] = at.NO_RULE
    number = 0
    for command, name in enumerate(COMMANDS):
        cfg.longest[command] = max((row.clocks for row in rows if row.preceding == name), default=0)
        cfg.raise_at[command] = number
        some = [row for row in rows if row.preceding == name and row.window == 1]
        for following in BANK_COMMANDS:
            raised = [row for row in some if row.following == COMMANDS[following]]
            for row in raised:
                table, held = cfg.raise_by[number], together[row.level]
                table[held] = np.maximum(table[held], row.clocks)
            cfg.raised[number] = following
            number += bool(raised)
        for row in some:
            if row.following in RANK_COMMANDS:
                by = cfg.rank_by if row.level == "rank" else cfg.channel_by
                by[command, COMMANDS.index(row.following) - at.PREA] = row.clocks
    cfg.raise_at[len(COMMANDS)] = number


def _node_banks(org):
    """Banks of a node of each level; nodes are aligned ranges of bank numbers."""
    return dict(zip(LEVELS, (org.rank * org.bankgroup * org.bank, org.bankgroup * org.bank, org.bank, 1)))


def _together(org):
    """For each level bool[BANKS, BANKS]: whether a row of the level holds back the second bank after the first."""
    bank = np.arange(at.BANKS)
    same = {level: bank[:, None] // size == bank // size for level, size in _node_banks(org).items()}
    return {**same, OTHER_RANK: same["channel"] & ~same["rank"]}


def _fill_windows(cfg, rows, organisation):
    """Rules over a window of several commands."""
    size = _node_banks(organisation)
    for rule, row in zip(cfg.window, rows):
        rule[at.WIN_BANKS] = size[row.level]
        rule[at.WIN_AFTER], rule[at.WIN_BEFORE] = COMMANDS.index(row.preceding), COMMANDS.index(row.following)
        rule[at.WIN_CLOCKS], rule[at.WIN_LENGTH] = row.clocks, row.window


def _not_covered(rows: tuple[TimingRow, ...]) -> list[TimingRow]:
    """Rows without those that say nothing new: a row of a wider level holds back the same command as long."""
    within = {"channel": (*LEVELS[1:], OTHER_RANK), "rank": LEVELS[2:], "bankgroup": LEVELS[3:]}

    def covers(wide, row):
        return (
            (wide.preceding, wide.following, wide.window) == (row.preceding, row.following, row.window)
            and row.level in within.get(wide.level, ())
            and wide.clocks >= row.clocks
        )

    return [row for row in rows if not any(covers(wide, row) for wide in rows)]
