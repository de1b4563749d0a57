"""Long idle times, closed loops and interrupts of a replay (spec §4.7, §4.9, §4.11)."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import dram as oracle

from plena_emu.boards.dram_schema import load_dram
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.kernels.dram import state as dram_state
from plena_emu.kernels.dram.channel import catch_up
from plena_emu.kernels.dram.front_end import read_alone, write_alone
from plena_emu.memory import dram_replay
from plena_emu.memory.dram import new_state
from plena_emu.memory.dram_replay import replay, replay_batches

REFRESHED = ["ddr4", "ddr3_800_x16", "ddr3_1600_x16", "hbm2_2000", "hbm2e_3200"]
INTERVAL_PS = {name: load_dram(name).refresh_interval * load_dram(name).period_ps for name in REFRESHED}


def test_two_reads_53_days_apart(tmp_path, capsys):
    """At once, and each refresh is counted; the second read waits for just what its distance from the last asks for."""
    path = tmp_path / "t.csv"
    path.write_text("0,read,0\n4611686018427387904,read,0\n")
    assert main(["dram", str(path), "--dram", "ddr4", "-o", "-"]) == 0
    done = [int(row.split(",")[-1]) for row in capsys.readouterr().out.splitlines()[1:]]
    found = replay("ddr4", [0, 1 << 62], [0, 0], [False, False])
    assert found.done_ps.tolist() == done
    assert found.statistics.refreshes == (1 << 62) // INTERVAL_PS["ddr4"]
    phase = (1 << 62) % INTERVAL_PS["ddr4"]  # the same as after that much of the third interval
    short = replay("ddr4", [0, 3 * INTERVAL_PS["ddr4"] + phase], [0, 0], [False, False])
    assert done[1] - (1 << 62) == short.done_ps[1] - 3 * INTERVAL_PS["ddr4"] - phase


def traffic(rng, state, now):
    """Some reads and writes of a memory from `now` on: the instant at which the core goes on."""
    for _ in range(int(rng.integers(1, 4))):
        address = rng.integers(0, 1 << 14, int(rng.integers(1, 60))) * 64
        now = int(read_alone(state, address, 0, len(address), np.int64(now), state.unasked))
        for block in rng.integers(0, 1 << 14, int(rng.integers(0, 40))) * 64:
            now = int(write_alone(state, np.int64(block), np.int64(now)))
    return now


def registers(state):
    """All that decides about the future, clocks of the past all alike; and the statistics."""
    channels = state.channels
    clk = channels["clk"]
    lanes = np.maximum(channels["ready"].astype(np.int64) + channels["epoch"][:, None, None], clk[:, None, None] + 1)
    rank_ready = np.maximum(channels["rank_ready"], clk[:, None, None] + 1)
    names = ("clk", "write_mode", "next_refresh", "refresh_due", "refresh_rank", "open_row", "open_banks", "count",
             "queued", "active", "quiescent_at", "last_return")
    return [lanes, rank_ready, *(channels[name].copy() for name in names)]


@pytest.mark.parametrize("name", REFRESHED)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32), intervals=st.integers(2, 40), phase=st.integers(0, 1 << 20))
def test_closed_form_is_what_simulation_gives(name, seed, intervals, phase):
    """One memory passes over idle time in one go, the other in steps that are too short for the closed form."""
    description = load_dram(name)
    found = []
    for step in (1 << 40, description.refresh_interval // 3):
        rng = np.random.default_rng(seed)
        state = new_state(description)
        now = traffic(rng, state, int(rng.integers(0, 1 << 22)))
        clk = int(state.front[0].ticks)
        end = clk + intervals * description.refresh_interval + phase % description.refresh_interval
        while clk < end:
            clk = min(clk + step, end)
            catch_up(state, np.int64(clk))
        before = registers(state)
        now = traffic(rng, state, max(now, end * description.period_ps))
        found.append([now, *before, *registers(state)])
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(gaps=st.lists(st.integers(0, 60_000_000), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_idle_times_against_the_tick_by_tick_model(gaps, seed):
    """Gaps of up to seven refresh intervals of ddr4."""
    rng = np.random.default_rng(seed)
    kinds, batch = ["G"] * len(gaps), np.repeat(np.arange(len(gaps)), 5)
    op, address = rng.integers(0, 2, len(batch)), rng.integers(0, 1 << 12, len(batch)) * 64
    found = replay_batches("ddr4", kinds, gaps, batch, op, address)
    front, issue, accept, done = oracle.replay(oracle.ddr4(), kinds, gaps, batch, op, address)
    assert (found.issue_ps.tolist(), found.accept_ps.tolist(), found.done_ps.tolist()) == (issue, accept, done)
    assert found.statistics.refreshes == sum(channel.refreshes for channel in front.channels)


# --- closed loops -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hbm2", "ddr4"])
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32), outstanding=st.sampled_from([1, 2, 5, 33, 200]),
       writes=st.sampled_from([0, 0.4, 1]))
def test_closed_loop_against_the_tick_by_tick_model(name, seed, outstanding, writes):
    rng = np.random.default_rng(seed)
    address, op = rng.integers(0, 1 << 10, 150) * 64, (rng.random(150) < writes).astype(int)
    found = replay(name, None, address, op, outstanding=outstanding)
    config = {"hbm2": oracle.hbm2, "ddr4": oracle.ddr4}[name]()
    kinds, room = ["C"] * 150, [outstanding] * 150
    _, issue, accept, done = oracle.replay(config, kinds, room, range(150), op, address)
    assert (found.issue_ps.tolist(), found.accept_ps.tolist(), found.done_ps.tolist()) == (issue, accept, done)


@pytest.mark.parametrize("name", ["hbm2", "ddr4", "ddr3_800_x16", "hbm2e_3200"])
@pytest.mark.parametrize("outstanding", [1, 3, 64])
def test_closed_loop_keeps_its_bound_and_its_order(name, outstanding):
    rng = np.random.default_rng(1)
    address, op = rng.integers(0, 1 << 16, 2000) * 64, (rng.random(2000) < 0.3).astype(int)
    found = replay(name, None, address, op, outstanding=outstanding)
    assert (np.diff(found.issue_ps) >= 0).all()
    for index in range(outstanding, 2000):
        # It began when the (outstanding)-th last completion of those before it freed a place, or with those before.
        ends = np.sort(found.done_ps[:index])
        assert found.issue_ps[index] == max(ends[index - outstanding], found.issue_ps[index - 1])
    assert found.statistics.reads == 2000 - op.sum()


def test_one_outstanding_is_one_after_the_other():
    address, op = np.arange(200) * 4096, [0] * 200
    closed = replay("ddr4", None, address, op, outstanding=1)
    serial = replay_batches("ddr4", ["I"], [0], [0] * 200, op, address)
    assert closed.done_ps.tolist() == serial.done_ps.tolist()


@pytest.mark.parametrize("outstanding, time_ps, message", [
    (0, None, "outstanding: found 0, expected an integer from 1 to 1048576"),
    (1 << 21, None, "outstanding: found 2097152, expected"),
    (2.0, None, "outstanding: found 2.0, expected"),
    (True, None, "outstanding: found true, expected"),
    (4, [0], "time_ps: found times beside outstanding, expected None"),
])  # fmt: skip
def test_closed_loops_that_are_none(outstanding, time_ps, message):
    with pytest.raises(EmuError) as error:
        replay("hbm2", time_ps, [0], [0], outstanding=outstanding)
    assert message in str(error.value)
    assert isinstance(error.value, UsageError) or "found" in message


@pytest.mark.parametrize("text", ["LD 0x0\nST 64\nLD 0x40\n", "0x0 R\n0x40 W\n0x40 R\n"])
def test_closed_loop_by_the_command(tmp_path, capsys, text):
    path = tmp_path / "t.trace"
    path.write_text(text)
    assert main(["dram", str(path), "--outstanding", "2", "-o", "-"]) == 0
    done = [int(row.split(",")[-1]) for row in capsys.readouterr().out.splitlines()[1:]]
    assert done == replay("hbm2", None, [0, 64, 64], [0, 1, 0], outstanding=2).done_ps.tolist()


# --- slices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hbm2", "ddr4", "ddr3_800_x16"])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_slices_change_nothing(monkeypatch, name, size):
    """Groups that need the event loop and groups that do not, cut anywhere."""
    rng = np.random.default_rng(size)
    kinds = [*"GIGSSGGIS" * 4, "G"]
    sizes = rng.integers(0, 90, len(kinds))
    batch = np.repeat(np.arange(len(kinds)), sizes)
    serial = np.array([kind == "I" for kind in kinds])
    mixed = rng.random(len(kinds)) < 0.4
    op = (rng.random(len(batch)) < 0.4) & (serial | mixed)[batch]
    times = [(1 << 20) * number if kind == "S" else 5000 for number, kind in enumerate(kinds)]
    address = rng.integers(0, 1 << 12, len(batch)) * 64
    whole = replay_batches(name, kinds, times, batch, op, address)
    monkeypatch.setattr(dram_replay, "SLICE", size)
    cut = replay_batches(name, kinds, times, batch, op, address)
    assert whole.statistics == cut.statistics
    for attribute in ("issue_ps", "accept_ps", "done_ps"):
        assert (getattr(whole, attribute) == getattr(cut, attribute)).all()


def test_an_interrupt_is_heard_between_slices(monkeypatch):
    """No slice is more than so many accesses; what comes in between ends the replay."""
    calls = []

    def kernel(state, run, budget):
        calls.append(budget)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(dram_replay, "replay_open", kernel)
    with pytest.raises(KeyboardInterrupt):
        replay("hbm2", [0], [0], [0])
    assert calls == [dram_replay.SLICE] * 3


def test_state_has_room_for_the_parts():
    """Every shipped part fits the fixed sizes of the records."""
    for name in REFRESHED:
        config = new_state(load_dram(name)).config[0]
        assert config.sub_requests * config.sub_request_bytes == 64
        assert config.ranks << config.rank_bits <= dram_state.BANKS and config.channels <= dram_state.CHANNELS
