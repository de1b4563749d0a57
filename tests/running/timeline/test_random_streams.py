"""Random instruction streams: the scoreboard kernel against the oracle of spec §7.6-§7.11, event by event."""

import math

from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st
from oracle.hardware import reports as oracle_reports
from scoreboard_streams import PERIOD, Instruction, events_of, oracle_timeline, place, settings

from plena_emu import isa
from plena_emu.inputs.number_formats import Fp, Int
from plena_emu.running.timeline.reports import timeline_report

OPS = [op.mnemonic for op in isa.OPS if op.base is not None]
ROWS, TILES = 12, 3


def some_machine(draw):
    mlen = draw(st.sampled_from([16, 64]))
    weight = draw(st.sampled_from([Fp(True, 4, 3), Fp(True, 5, 2), Int(4)]))
    return settings(mlen, draw(st.sampled_from([4, 8, 16])), mlen // 4, draw(st.integers(1, 4)),
                    mlen * draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)), weight)


@st.composite
def streams(draw):
    """(settings, instructions): few rows, tiles and registers, so that nearly everything depends on something."""
    machine = some_machine(draw)
    edge = machine.mlen
    address = st.one_of(
        st.integers(0, ROWS).map(lambda row: row * edge), st.integers(0, TILES).map(lambda tile: tile * edge * edge),
        st.integers(0, 2 * edge * edge), st.integers(2**32 - 2 * edge, 2**32 - 1), st.integers(0, 3),
    )
    instructions = []
    for op in draw(st.lists(st.sampled_from(OPS), min_size=1, max_size=40)):
        registers = draw(st.lists(address, min_size=16, max_size=16))
        numbers = {name: draw(st.integers(0, 7)) for name in ("rd", "rs1", "rs2")}
        imm = draw(st.sampled_from([0, edge, 3 * edge])) if "imm18" in isa.BY_MNEMONIC[op].operands else 0
        took = draw(st.integers(0, 60 * PERIOD)) if op.startswith("H_") else 0
        gp = {name: registers[number] for name, number in numbers.items()}
        instructions.append(Instruction(op, **numbers, imm=imm, gp=gp, took=took))
    return machine, instructions


@given(streams())
@configure(max_examples=150, deadline=None)
def test_every_event_is_that_of_the_oracle(stream):
    machine, instructions = stream
    expected = oracle_timeline(instructions, machine).events
    found = events_of(instructions, machine, pending=2)
    for event, row in zip(expected, found, strict=True):
        assert row == (event.issue, event.accepted, event.recovery, event.start, event.ready, event.completion,
                       event.reason, event.dependency)


@given(streams())
@configure(max_examples=100, deadline=None)
def test_reports_are_those_of_the_list_of_events(stream):
    machine, instructions = stream
    timeline = oracle_timeline(instructions, machine)
    expected = oracle_reports.timeline_report(timeline.events, timeline.makespan, PERIOD)
    rules, state, _ = place(instructions, machine)
    found = timeline_report(state, rules)
    assert list(found) == list(expected)
    for key, value in expected.items():
        if isinstance(value, float):
            assert math.isclose(found[key], value, rel_tol=1e-12)
        elif key == "resource_utilization":
            assert list(found[key]) == list(value)
            assert all(math.isclose(found[key][name], value[name], rel_tol=1e-12) for name in value)
        else:
            assert found[key] == value, key
    assert sum(found["critical_path_cycles"].values()) == timeline.makespan
