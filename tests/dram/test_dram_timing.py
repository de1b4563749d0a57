"""Each row of the timing tables: the command is not ready one clock before, and ready at the clock (spec §4.6)."""

import dataclasses

import msgspec
import numpy as np
import pytest
from oracle import dram as oracle

from plena_emu.boards.dram_schema import Refresh, load_dram
from plena_emu.boards.dram_timing import COMMANDS, LEVELS
from plena_emu.kernels.dram import state as dram_state
from plena_emu.kernels.dram.channel import record, send, step
from plena_emu.memory.dram import new_state

REFERENCE = [("hbm2", "base"), ("hbm2", "moe"), ("ddr4", "base")]
PARTS = [(name, "base") for name in ("ddr3_800_x16", "ddr3_1600_x16", "hbm2e_3200", "hbm2_2000")]
MEMORIES = [*REFERENCE, *PARTS]
ORACLES = {"hbm2": oracle.hbm2, "ddr4": oracle.ddr4}
START = 1000  # clock of the first command
ROW, OTHER_ROW = 5, 6


def rows_of(name, revision):
    """Timing rows of a memory as test parameters."""
    for row in load_dram(name).timing_rows(revision):
        label = f"{name}-{revision}-{row.level}-{row.preceding}-{row.following}-{row.window}"
        yield pytest.param(name, revision, row, id=label)


ROWS = [row for memory in MEMORIES for row in rows_of(*memory)]


@dataclasses.dataclass
class Bench:
    """One channel of an unused memory; banks are (rank, bank group, bank)."""

    description: object
    revision: str = "base"

    def __post_init__(self):
        self.state = new_state(self.description, self.revision)
        self.cfg, self.ch = self.state.config[0], self.state.channels[0]

    def number(self, bank):
        """The kernel's number of a bank."""
        rank, group, inner = bank
        return np.int64(rank << int(self.cfg.rank_bits) | group * self.description.organisation.bank + inner)

    def command(self, name, bank, clk):
        """Let the channel have issued a command at a clock."""
        self.ch.clk = clk
        record(self.cfg, self.ch, np.int64(COMMANDS.index(name)), self.number(bank))

    def want(self, name, bank):
        """Make a command on a bank the only thing the channel has to do."""
        number, rank = self.number(bank), bank[0]
        if name in ("PREA", "REF"):
            self.ch.refresh_due, self.ch.refresh_rank = 1, rank
            self.ch.open_banks[rank] = 1 if name == "PREA" else 0
            return
        if name != "ACT":
            self.ch.open_row[number] = OTHER_ROW if name == "PRE" else ROW
            self.ch.open_banks[rank] = 1
        queue = dram_state.WRITE if name == "WR" else dram_state.READ
        place = np.int64(ROW << dram_state.PLACE_ROW | int(number))
        assert send(self.cfg, self.ch, queue, place, *np.zeros(4, np.int64)) == dram_state.QUEUED

    def issued(self, name, bank):
        """Whether the wanted command was issued."""
        number = self.number(bank)
        if name == "ACT":
            return self.ch.active == 1
        if name == "PRE":
            return self.ch.open_row[number] == dram_state.NONE
        if name == "PREA":
            return self.ch.open_banks[bank[0]] == 0
        if name == "REF":
            return self.ch.count[dram_state.REFRESHES] == 1
        return self.ch.queued[READ_OR_WRITE[name]] == 0

    def run_to(self, clk):
        """Ticks up to a clock."""
        while self.ch.clk < clk:
            step(self.cfg, self.ch, np.int64(clk))


READ_OR_WRITE = {"RD": int(dram_state.READ), "WR": int(dram_state.WRITE)}


def apart(level, organisation):
    """Two banks whose closest common node is on a level."""
    first = (0, 0, 0)
    other_group = (0, 1, 0) if organisation.bankgroup > 1 else (0, 0, 1)
    if level == "channel":
        return first, (1, 0, 0) if organisation.rank > 1 else other_group
    return first, {"rank": other_group, "bankgroup": (0, 0, 1), "bank": first}[level]


def common_levels(a, b):
    """Levels on which two banks have a node in common."""
    same = 0
    while same < len(a) and a[same] == b[same]:
        same += 1
    return LEVELS[: same + 1]


def earliest(rows, after, before, levels, clocks):
    """First clock at which `before` is allowed after commands `after` at `clocks`, by the table alone."""
    return max(
        clocks[-row.window] + row.clocks
        for row in rows
        if (row.preceding, row.following) == (after, before) and row.level in levels and row.window <= len(clocks)
    )


def check_row(description, revision, row):
    """The row's command is not issued at t - 1 and is at t; returns t."""
    bench = Bench(description, revision)
    first, second = apart(row.level, description.organisation)
    clocks = [START + number for number in range(row.window)]
    for clk in clocks:
        bench.command(row.preceding, first, clk)
    bench.want(row.following, second)
    t = earliest(description.timing_rows(revision), row.preceding, row.following, common_levels(first, second), clocks)
    bench.run_to(t - 1)
    assert bench.ch.clk == t - 1
    assert not bench.issued(row.following, second), f"{row.following} already at {t - 1}"
    bench.run_to(t)
    assert bench.issued(row.following, second), f"{row.following} not at {t}"
    return t


@pytest.mark.parametrize("name, revision, row", ROWS)
def test_row_holds_back_and_lets_go(name, revision, row):
    check_row(load_dram(name), revision, row)


def with_rows(description, rows, **changes):
    """The description with explicit rows, whatever told its timing."""
    refresh = Refresh(interval=20_000) if description.refresh_interval else None
    return msgspec.structs.replace(description, timing=tuple(rows), read_latency=description.read_clocks,
                                   refresh=refresh, revisions={}, **changes)


@pytest.mark.parametrize("name, revision, row", [row for row in ROWS if row.values[1] == "base"])
def test_row_counts_with_another_number(name, revision, row):
    """With the row's figure raised above all others its command waits for just that figure."""
    description = load_dram(name)
    raised = msgspec.structs.replace(row, clocks=1500)
    rows = [raised if other == row else other for other in description.timing_rows("base")]
    t = check_row(with_rows(description, rows), revision, raised)
    assert t == START + 1500


@pytest.mark.parametrize("name, revision, row", ROWS)
def test_row_alone(name, revision, row):
    """The others are 0 (those of the data bus, of bursts of a clock, 1): not at t - 1, but at t."""
    if row.clocks == 0:
        return

    def alone(other):
        on_bus = {other.preceding, other.following} <= {"RD", "WR"}
        return other if other == row else msgspec.structs.replace(other, clocks=int(on_bus))

    description = load_dram(name)
    rows = [alone(other) for other in description.timing_rows(revision)]
    t = check_row(with_rows(description, rows, burst_clocks=1), "base", row)
    assert t == START + row.clocks


@pytest.mark.parametrize("name, revision", REFERENCE)
def test_rows_are_those_of_the_specification(name, revision):
    def known(row):
        return (oracle.CHANNEL, oracle.RANK, oracle.GROUP, oracle.BANK)[LEVELS.index(row.level)]

    rows = {(known(row), row.preceding, row.following, row.clocks, row.window)
            for row in load_dram(name).timing_rows(revision)}
    assert rows == set(ORACLES[name](revision).rows)


@pytest.mark.parametrize("revision", ["base", "moe"])
def test_other_nodes_are_not_held_back(revision):
    """ACT on one bank: a bank of another rank may have its ACT as soon as the channel's rows allow it."""
    description = load_dram("hbm2")
    bench = Bench(description, revision)
    bench.command("ACT", (0, 0, 0), START)
    bench.want("ACT", (1, 0, 0))
    rows = [row for row in description.timing_rows(revision) if row.level == "channel"]
    t = earliest(rows, "ACT", "ACT", ("channel",), [START])
    bench.run_to(t)
    assert bench.issued("ACT", (1, 0, 0))


def test_window_needs_all_its_commands():
    """Three ACTs do not fill a window of four."""
    description = load_dram("hbm2")
    bench = Bench(description)
    for clk in (START, START + 1, START + 2):
        bench.command("ACT", (0, 0, 0), clk)
    bench.want("ACT", (0, 1, 0))
    bench.run_to(START + 4)
    assert bench.issued("ACT", (0, 1, 0))


@pytest.mark.parametrize("level", ["rank", "bankgroup"])
def test_hit_behind_a_blocked_precharge_waits(level):
    """§4.5 d: a PRE that is ready but whose bank has an active request takes the tick from younger hits."""
    bench = Bench(load_dram("hbm2"))
    ch, bank = bench.ch, bench.number((0, 0, 0))
    ch.clk = START
    bench.want("PRE", (0, 0, 0))
    other = (0, 1, 0) if level == "rank" else (0, 0, 1)
    bench.want("RD", other)
    ch.active, ch.active_banks, ch.active_order[0] = 1, 1 << int(bank), bank
    ch.active_request[bank, dram_state.REQ_COMMAND] = dram_state.RD
    ch.active_request[bank, dram_state.REQ_ARRIVE] = START
    ch.reads_left += 1
    ch.ready[int(dram_state.RD), bank] = START + 20 - ch.epoch  # the active request itself is not ready before
    bench.run_to(START + 19)
    assert not bench.issued("PRE", (0, 0, 0))
    assert ch.queued[int(dram_state.READ)] == 2
    bench.run_to(START + 20)
    assert ch.active == 0
