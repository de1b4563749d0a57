"""Building a DRAM behind its controller from a description (spec chapter 4).

`new_state` gives what the kernels of `kernels.dram.engine` work on. To drive a memory with arrays of accesses see
`dram_trace`, for what it counted `dram_statistics`; `place` tells where an address lives.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from ..boards.dram_schema import DramDescription, TimingRow, checked
from ..boards.dram_timing import COMMANDS, LEVELS, OTHER_RANK, RANK_COMMANDS
from ..errors import EmuError, UsageError
from ..isa import REVISIONS
from ..kernels.compiler.placement import zeros_apart
from ..kernels.dram import event_queue, idle_reads, open_loop, read_lanes
from ..kernels.dram import memo as dram_memo
from ..kernels.dram import pattern as dram_pattern
from ..kernels.dram import state as dram_state
from ..kernels.memory import memo_table as mt
from .arrays import take_words

ACCESS_BYTES = 64
ADDRESS_BITS = 64
# The front end needs no event loop where a full queue holds so many accesses that a turn of the gather task never
# ends because all of them were polled (§4.10): it polls at most six.
DIRECT_ACCESSES = 8
MOST_CONFIGS = 32
_configs: dict[tuple[bytes, str], np.recarray] = {}  # of the last descriptions, by their content
# Description of the last `place`, and its masks: neither is checked or worked out for each address.
_placed: list[tuple[DramDescription | None, dict[str, list[int]]]] = [(None, {})]
BANK_COMMANDS = tuple(int(command) for command in (dram_state.ACT, dram_state.PRE, dram_state.RD, dram_state.WR))


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
    if description is None or description is not _placed[0][0]:
        _placed[0] = description, _masks(checked(description))
    if not isinstance(address, int | np.integer) or isinstance(address, bool):
        raise UsageError(f"address: found {type(address).__name__}, expected an integer from 0 to 2^64 - 1")
    if not 0 <= address < 1 << ADDRESS_BITS:
        found = f"{address:#x}" if abs(address) < 1 << 128 else f"an integer of {int(address).bit_length()} bits"
        raise EmuError(f"address: found {found}, expected an integer from 0 to 2^64 - 1")
    return _place(description, int(address), _placed[0][1])


def _masks(description):
    """Address-bit masks of each field of a place other than the row."""
    return {field: description.bit_masks(field) for field in ("column", *LEVELS)}


def _place(description, address, masks):
    """`place` of arguments that were checked; `masks` are those of `_masks`."""
    fields = {field: sum(((address & mask).bit_count() & 1) << number for number, mask in enumerate(found))
              for field, found in masks.items()}
    row = address >> description.mapping.row.first
    for number, bit in enumerate(description.mapping.row.xor):
        row ^= (address >> bit & 1) << number
    return Place(row=row, **fields)


def new_state(
    description: DramDescription, revision: str = "base", is_checked: bool = False
) -> dram_state.DramState:
    """Build the unused memory of a description in an ISA revision (`base` or `moe`), at clock 0.

    `is_checked` tells that the description comes from its file as it is, and was checked as that was read.

    Raises
    ------
    UsageError
        `description` is none.
    EmuError
        The revision is unknown, or something in the description is wrong.
    """
    if revision not in REVISIONS:
        checked(description)
        raise EmuError(f"DRAM revision: found {revision!r}, expected {' or '.join(REVISIONS)}")
    config = _config_of(description, revision, is_checked)
    channels = _records(config[0].channels, dram_state.STATE)
    channels.key = dram_state.EMPTY
    channels.slot_key = dram_state.EMPTY
    channels.open_row = dram_state.NONE
    channels.head = dram_state.NO_SLOT
    channels.free = np.arange(dram_state.SLOTS)
    channels.next_refresh = config[0].t_refi
    return dram_state.DramState(config, _records(1, dram_state.FRONT), channels, _records(0, dram_state.ACCESS))


def _config_of(description, revision, is_checked):
    """CONFIG record of a description; those of the last few are kept, because many runs may have the same memory."""
    try:
        key = msgspec.json.encode(description), revision
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):  # `checked` says what is wrong
        key = b"", revision
    if key not in _configs:
        if not is_checked:
            checked(description)
        config = _records(1, dram_state.CONFIG)
        _fill_config(config[0], description)
        _fill_places(config[0], description)
        _fill_rules(config[0], description, revision)
        if len(_configs) >= MOST_CONFIGS:
            _configs.clear()
        _configs[key] = config
    config = _records(1, dram_state.CONFIG)
    config[:] = _configs[key]
    return config


def new_run(state: dram_state.DramState, address: np.ndarray, batches: int = 1, waits: int = 0) -> event_queue.Run:
    """Make room for the events of accesses to `address` (int64[n]) in `batches` batches.

    At most `waits` of them wait for the host.

    A task is in the run queue at most three times, but for turns that end early: one for each two reads that the
    channels' queues take.
    """
    config, n = state.config[0], len(address)
    ready = 4 * batches + 256 * int(config.channels * config.lockstep_channels)
    run = event_queue.Run(
        loop=_records(1, event_queue.LOOP),
        address=address,
        access=_records(n, dram_state.ACCESS),
        sub_request=_records(int(config.sub_requests) * n, event_queue.SUB_REQUEST),
        task=_records(batches, event_queue.TASK),
        timer=np.zeros((waits + 8, 3), dtype=np.int64),
        ready=np.zeros(1 << max(6, (ready - 1).bit_length()), dtype=np.int32),
    )
    run.loop["first_attempt"] = run.task["front"] = dram_state.NONE
    run.loop["loaded"], run.loop["whole"] = batches, 1
    return run


def new_open_run(room: int) -> open_loop.OpenRun:
    """Make room for so many single accesses, none of them at hand."""
    ready = np.zeros(1 << max(6, (4 * room - 1).bit_length()), dtype=np.int32)
    time, address, accept, done = (np.zeros(room, dtype=np.int64) for _ in range(4))
    write, left = (np.zeros(room, dtype=np.uint8) for _ in range(2))
    return open_loop.OpenRun(_records(1, open_loop.OPEN), time, address, write, left, accept, done, ready)


def new_memo(state: dram_state.DramState, enabled: bool = True) -> dram_memo.DramMemo:
    """Build the empty memo of a memory; it is off with refresh, or where an access has several sub-requests.

    Refresh goes by the clock, and sub-requests in banks of their own are related to each other (`kernels.dram.memo`).
    Two threads may have a memo each, so that their arrays share no cache lines.
    """
    config = state.config[0]
    reg = zeros_apart(dram_memo.DRAM_MEMO_WIDTH)
    reg[mt.MEMO_ON] = enabled and config.t_refi == 0 and config.sub_requests == 1 and config.direct == 1
    return dram_memo.DramMemo(
        reg=reg,
        table=np.zeros((dram_memo.SLOTS, mt.ENTRY_WIDTH), dtype=np.int64),
        arena=take_words(dram_memo.ARENA),
        pattern=_new_pattern(int(config.channels) * dram_state.BANKS),
        address=np.zeros(dram_pattern.WIDEST, dtype=np.int64),
        nothing=np.zeros(dram_pattern.WIDEST, dtype=np.int64),
        counts_before=zeros_apart((int(config.channels), dram_state.COUNTS)),
        idle=_records(int(config.channels), idle_reads.IDLE),
        bins=np.zeros(dram_state.BINS, dtype=np.int64),
    )


def _none(shape):
    """NONE everywhere."""
    array = zeros_apart(shape)
    array[...] = dram_state.NONE
    return array


def _new_pattern(banks):
    """Room for the pattern of one list; nothing is touched yet."""
    width = dram_pattern.WIDEST
    key = zeros_apart(dram_pattern.KEY_WIDTH)
    return dram_pattern.Pattern(
        key=key,
        half=key.view(np.uint16),
        touched=zeros_apart(1),
        bank=zeros_apart(dram_pattern.TOUCHED + 1),
        first=zeros_apart(dram_pattern.TOUCHED),
        number=_none(banks),
        row=_none((banks, 2)),
        more=_none(banks),
        listed=zeros_apart((width, dram_pattern.ROW_WIDTH)),
        node=_none((dram_pattern.LEVELS, banks)),
        block=zeros_apart(width),
        latest_block=_none(banks),
        place=zeros_apart(width),
        left_bank=zeros_apart(dram_pattern.TOUCHED),
        left_row=zeros_apart(dram_pattern.TOUCHED),
    )


def _records(count, kind):
    """Zeroed records whose fields are attributes, as kernels that are not compiled need them.

    The first begins a cache line: a vector that crosses lines costs twice as much.
    """
    memory = np.zeros(int(count) * kind.itemsize + dram_state.LINE, dtype=np.uint8)
    first = -memory.ctypes.data % dram_state.LINE
    return memory[first : first + int(count) * kind.itemsize].view(kind).view(np.recarray)


def _fill_config(cfg, description):
    """Everything but the tables."""
    cfg.tck_ps = description.period_ps
    cfg.read_latency = description.read_clocks
    cfg.t_refi = description.refresh_interval
    cfg.lockstep_channels = lockstep_channels(description)
    cfg.channels = description.organisation.channel // cfg.lockstep_channels
    cfg.group_banks = description.organisation.bank
    cfg.ranks, cfg.rank_bits = description.organisation.rank, _rank_bits(description)
    cfg.sub_request_bytes = description.transfer_bytes * cfg.lockstep_channels
    cfg.sub_requests = ACCESS_BYTES // cfg.sub_request_bytes
    cfg.queue_capacity[:] = (description.queues.read, description.queues.write)
    cfg.direct = description.queues.read >= DIRECT_ACCESSES * cfg.sub_requests
    cfg.high_watermark, cfg.low_watermark = description.write_mode.high_watermark, description.write_mode.low_watermark


def _fill_places(cfg, description):
    """Tables of the mapping (§4.2): it is linear, so an address's place is the exclusive or of its bits' places."""
    masks = _masks(description)
    for bit in range(ADDRESS_BITS):
        table, half = cfg.place[bit // 8], 1 << bit % 8
        table[half : 2 * half] = table[:half] ^ _packed(cfg, _place(description, 1 << bit, masks))
    for sub_request in range(int(cfg.sub_requests)):
        first = sub_request * int(cfg.sub_request_bytes)
        cfg.sub_request_place[sub_request] = _packed(cfg, _place(description, first, masks))


def _packed(cfg, place):
    """A place as the kernels know it: the channel's record, the bank's number and the row in one integer."""
    bank = place.rank << int(cfg.rank_bits) | place.bankgroup * int(cfg.group_banks) | place.bank
    record = place.channel // int(cfg.lockstep_channels)
    return place.row << dram_state.PLACE_ROW | record << dram_state.PLACE_BANK_BITS | bank


def lockstep_channels(description: DramDescription) -> int:
    """Count the channels that are in the same state at all times, so that one record stands for them.

    Those are the channels that an access's bursts reach, where they are an aligned range and the bursts' places
    differ in nothing else. As lockstep channels are neighbours, channels wake accesses in the same order (§4.10).
    """
    size = description.transfer_bytes
    masks = _masks(description)
    bursts = [_place(description, first, masks) for first in range(0, ACCESS_BYTES, size)]
    alike = {burst._replace(channel=0, column=0) for burst in bursts}
    aligned = sorted(burst.channel for burst in bursts) == list(range(len(bursts)))
    return len(bursts) if aligned and len(alike) == 1 else 1


def _rank_bits(description):
    """Bits of a bank's number below its rank."""
    return (description.organisation.bankgroup * description.organisation.bank).bit_length() - 1


def _fill_rules(cfg, description, revision):
    """The timing table (§4.6) by the command that a row comes after."""
    together = _together(description.organisation)
    rows = _not_covered(description.timing_rows(revision))
    cfg.rank_by[:] = cfg.channel_by[:] = dram_state.NO_RULE
    cfg.raise_by[:] = dram_state.NO_RULE
    _fill_windows(cfg, [row for row in rows if row.window > 1], description.organisation, together)
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
                by[command, COMMANDS.index(row.following) - dram_state.PREA] = row.clocks
    cfg.raise_at[len(COMMANDS)] = number
    cfg.lane[:] = np.where(np.eye(dram_state.BANKS), read_lanes.EMPTY, 0)
    for command in range(dram_state.KINDS):
        for at in range(int(cfg.raise_at[command]), int(cfg.raise_at[command + 1])):
            if cfg.raised[at] < dram_state.KINDS:
                cfg.read_raise_by[command, :, cfg.raised[at]] = np.maximum(cfg.raise_by[at], 0)


def _node_banks(org):
    """Banks of a node of each level; nodes are aligned ranges of bank numbers."""
    return dict(zip(LEVELS, (org.rank * org.bankgroup * org.bank, org.bankgroup * org.bank, org.bank, 1), strict=True))


def _together(org):
    """For each level bool[BANKS, BANKS]: whether a row of the level holds back the second bank after the first."""
    bank = np.arange(dram_state.BANKS)
    same = {level: bank[:, None] // size == bank // size for level, size in _node_banks(org).items()}
    return {**same, OTHER_RANK: same["channel"] & ~same["rank"]}


def _fill_windows(cfg, rows, organisation, together):
    """Rules over a window of several commands."""
    size = _node_banks(organisation)
    for rule, lanes, row in zip(cfg.window, cfg.window_lanes, rows, strict=False):
        rule[dram_state.WIN_BANKS] = size[row.level]
        rule[dram_state.WIN_PRECEDING] = COMMANDS.index(row.preceding)
        rule[dram_state.WIN_FOLLOWING] = COMMANDS.index(row.following)
        rule[dram_state.WIN_CLOCKS], rule[dram_state.WIN_LENGTH] = row.clocks, row.window
        lanes[together[row.level]] = read_lanes.EMPTY


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
