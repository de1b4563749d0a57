"""Each wait of spec §7.9 alone: a program of two or three instructions that stalls for exactly that reason, and its
like that does not. The expected cycles are worked out by hand from §7.7 and §7.9."""

import msgspec
import pytest
from scoreboard_streams import Instruction as I
from scoreboard_streams import events_of

from plena_emu.boards.timing_schema import Unit, load_timing
from plena_emu.kernels.hardware.scoreboard.layout import OPERAND_REASONS

ROW, TILE, CYCLE = 64, 4096, 1000


def prefetch_m(tile, cycles, rd=1):
    return I("H_PREFETCH_M", rd=rd, gp={"rd": tile * TILE}, took=cycles * CYCLE)


def prefetch_v(row, cycles):
    return I("H_PREFETCH_V", rd=1, gp={"rd": row * ROW}, took=cycles * CYCLE)


def store_v(row, cycles):
    return I("H_STORE_V", rd=1, gp={"rd": row * ROW}, took=cycles * CYCLE)


def m_mm(tile=0, row=0):
    return I("M_MM", rs1=1, rs2=2, gp={"rs1": tile * TILE, "rs2": row * ROW})


def m_mv(tile=0, row=0):
    return I("M_MV", rs1=1, rs2=2, gp={"rs1": tile * TILE, "rs2": row * ROW})


def write_out(row, op="M_MV_WO"):
    return I(op, rd=1, gp={"rd": row * ROW})


def two_rows(op, d, a, b):
    return I(op, rd=1, rs1=2, rs2=3, gp={"rd": d * ROW, "rs1": a * ROW, "rs2": b * ROW})


def with_fp(op, d, a, f):
    return I(op, rd=1, rs1=2, rs2=f, gp={"rd": d * ROW, "rs1": a * ROW, "rs2": 0 if f not in (1, 2) else
                                          (d if f == 1 else a) * ROW})


def reduce(op, f, a):
    return I(op, rd=f, rs1=8, gp={"rs1": a * ROW})


def fp(op, d, a, b=0):
    return I(op, rd=d, rs1=a, rs2=b)


def fp_memory(op, f):
    return I(op, rd=f, rs1=9, gp={})


def map_v(row):
    return I("S_MAP_V_FP", rd=9, rs1=0, gp={"rd": row * ROW})


# reason: (program whose last instruction stalls for it, cycles it was accepted after issue, program that does not)
ADD = two_rows("V_ADD_VV", 10, 20, 21)
CASES = {
    "matrix_sram_operand_not_ready": ([prefetch_m(0, 50), m_mv(0)], 50, [prefetch_m(1, 50), m_mv(0)]),
    "vector_sram_operand_not_ready": ([map_v(5), two_rows("V_ADD_VV", 10, 5, 6)], 67,
                                      [map_v(5), two_rows("V_ADD_VV", 10, 4, 6)]),
    "matrix_sram_write_collision": ([prefetch_m(0, 10), prefetch_m(0, 10)], None, [prefetch_m(0, 10)] * 1),
    "vector_sram_write_collision": ([map_v(5), two_rows("V_ADD_VV", 5, 20, 21)], 67,
                                    [map_v(5), two_rows("V_ADD_VV", 6, 20, 21)]),
    "hbm_request_port_busy": ([prefetch_m(0, 10), prefetch_m(1, 10)], 10, [prefetch_m(0, 1), prefetch_m(1, 10)]),
    "matrix_vector_sram_conflict": ([m_mv(), prefetch_v(40, 5)], 68, [write_out(3), prefetch_v(40, 5)]),
    "vector_sram_port_busy": ([reduce("V_RED_SUM", 1, 0), store_v(40, 5)], 54, [fp_memory("S_LD_FP", 1),
                                                                               store_v(40, 5)]),
    "matrix_mcu_active": ([m_mm(), m_mm()], 8, [m_mm(), fp_memory("S_LD_FP", 1)]),
    "matrix_writeout_active": ([write_out(3, "M_MM_WO"), write_out(7, "M_MM_WO")], 21, [write_out(3), ADD]),
    "matrix_result_not_ready": ([m_mm(), write_out(9)], None, [write_out(9)]),
    "vector_prefetch_in_progress": ([prefetch_v(40, 20), ADD], 20, [prefetch_m(0, 20), ADD]),
    "vector_store_in_progress": ([store_v(40, 20), ADD], 20, [prefetch_m(0, 20), ADD]),
    "vector_pipeline_busy": ([reduce("V_RED_MAX", 1, 0), ADD], 19, [ADD, two_rows("V_ADD_VV", 11, 22, 23)]),
    "vector_mixed_latency_in_order": ([ADD, two_rows("V_MUL_VV", 11, 22, 23)], 12,
                                      [ADD, two_rows("V_SUB_VV", 11, 22, 23)]),
    "scalar_fp_compute_in_progress": ([fp("S_EXP_FP", 1, 2), with_fp("V_MUL_VF", 10, 20, 5)], 20,
                                      [fp("S_EXP_FP", 1, 2), fp_memory("S_LD_FP", 3)]),
    "vector_reduction_result_not_ready": ([reduce("V_RED_SUM", 1, 0), fp_memory("S_LD_FP", 3)], 54,
                                          [reduce("V_RED_SUM", 1, 0), I("S_ADDI_INT", rd=3)]),
    "scalar_fp_sram_busy": ([map_v(5), fp_memory("S_LD_FP", 3)], 68, [map_v(5), fp("S_EXP_FP", 3, 4)]),
    "scalar_fp_operand_not_ready": ([fp("S_ADD_FP", 1, 2, 3), fp_memory("S_ST_FP", 1)], 9,
                                    [fp("S_ADD_FP", 1, 2, 3), fp_memory("S_ST_FP", 4)]),
    "scalar_fp_write_port_busy": ([fp("S_ADD_FP", 1, 2, 3), fp_memory("S_LD_FP", 1)], 9,
                                  [fp("S_ADD_FP", 1, 2, 3), fp_memory("S_LD_FP", 4)]),
}  # fmt: skip

# Every DMA waits for the port they share before it looks at its own unit, and holds both until the same cycle: these
# show only where there are more ports than one.
BEHIND_THE_PORT = {
    "matrix_dma_busy": ([prefetch_m(0, 10), prefetch_m(1, 10)], [prefetch_m(0, 10), prefetch_v(40, 5)]),
    "vector_dma_busy": ([prefetch_v(40, 10), prefetch_v(50, 10)], [prefetch_v(40, 10), prefetch_m(1, 10)]),
    "vector_store_busy": ([store_v(40, 10), store_v(50, 10)], [store_v(40, 10), prefetch_m(1, 10)]),
}


def test_every_reason_of_the_file_is_tested_or_never_shows():
    named = {*OPERAND_REASONS, *load_timing("rtl-v1").reasons()}
    assert named == {*CASES, *BEHIND_THE_PORT, "vector_sram_port_a_write"}


@pytest.mark.parametrize("reason", BEHIND_THE_PORT)
def test_a_wait_behind_the_port(reason):
    stalled, free = BEHIND_THE_PORT[reason]
    rtl = load_timing("rtl-v1")
    wide = msgspec.structs.replace(rtl, units=rtl.units | {"hbm_port": Unit(copies=2)})
    issue, accepted, recovery, *_, found, dependency = events_of(stalled, timing=wide)[-1]
    assert (issue, accepted, recovery, found, dependency) == (1, 11, 1, reason, 0)
    assert events_of(free, timing=wide)[-1][:3] == (1, 1, 0)
    assert events_of(stalled)[-1][6] == events_of(free)[-1][6] == "hbm_request_port_busy"


SIMPLE = [reason for reason, case in CASES.items() if case[1] is not None]


@pytest.mark.parametrize("reason", SIMPLE)
def test_a_wait_alone(reason):
    stalled, until, _ = CASES[reason]
    first, last = events_of(stalled)
    assert first[0] == 0 and first[6] == ""
    issue, accepted, recovery, *_, found, dependency = last
    assert (issue, accepted, recovery, found, dependency) == (1, until + 1, 1, reason, 0)


@pytest.mark.parametrize("reason", SIMPLE)
def test_no_wait_where_the_reason_is_taken_away(reason):
    last = events_of(CASES[reason][2])[-1]
    assert last[0] == last[1] and last[2] == 0 and last[6] == ""


def test_a_collision_of_matrix_writes_is_seen_before_the_port():
    (*_, reason, dependency) = events_of([prefetch_m(0, 10), prefetch_m(0, 10)])[-1]
    assert (reason, dependency) == ("matrix_sram_write_collision", 0)
    (*_, reason, dependency) = events_of([prefetch_m(0, 10), prefetch_m(1, 10)])[-1]
    assert (reason, dependency) == ("hbm_request_port_busy", 0)


def test_a_write_out_starts_when_the_array_is_done():
    issue, accepted, recovery, start, ready, completion, reason, dependency = events_of([m_mm(), write_out(9)])[-1]
    assert (issue, accepted, recovery, start, completion) == (1, 1, 0, 8, 12)
    assert (reason, dependency) == ("matrix_result_not_ready", 0)


def test_results_go_through_port_a():
    adds = [two_rows("V_ADD_VV", 10 + k, 40, 41) for k in range(13)]
    issue, accepted, *_, reason, dependency = events_of(adds)[-1]
    assert (issue, accepted, reason, dependency) == (12, 25, "vector_sram_port_a_write", 11)
    assert events_of(adds[:12])[-1][:2] == (11, 11)


def test_the_port_is_looked_at_before_the_units():
    """A pulse that a unit's wait moves the instruction onto is not seen again (§7.9, steps 3 and 4)."""
    program = [fp("S_SQRT_FP", 1, 2), two_rows("V_RECI_V", 10, 20, 0), with_fp("V_MUL_VF", 11, 21, 5)]
    first, second, third = events_of(program)
    assert second[4] == 12  # its result is written in cycle 12
    assert third[1] == 7 and third[6] == "scalar_fp_compute_in_progress"


# The examples of §7.10: issue, accepted, start, completion of the last instruction.
EXAMPLES = {
    "write-out of a product, then a reader": (
        [m_mm(), I("M_MM_WO", rd=1, gp={"rd": 30 * ROW}), two_rows("V_ADD_VV", 50, 30, 31)], (2, 30, 30, 42)),
    "reduction, then a load": ([reduce("V_RED_SUM", 1, 0), fp_memory("S_LD_FP", 3)], (1, 55, 55, 56)),
    "exponential, then a vector with another register": (
        [fp("S_EXP_FP", 1, 2), with_fp("V_MUL_VF", 10, 20, 5)], (1, 21, 21, 32)),
    "vector prefetch, then a vector": ([prefetch_v(40, 20), ADD], (1, 21, 21, 33)),
    "a result that is used at once": ([ADD, two_rows("V_ADD_VV", 11, 10, 23)], (1, 14, 14, 26)),
    "another latency": ([ADD, two_rows("V_MUL_VV", 11, 22, 23)], (1, 13, 13, 23)),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_of_the_specification(name):
    program, expected = EXAMPLES[name]
    issue, accepted, _, start, _, completion, *_ = events_of(program)[-1]
    assert (issue, accepted, start, completion) == expected


def test_fp0_is_never_waited_for():
    assert events_of([fp("S_ADD_FP", 0, 1, 2), fp_memory("S_ST_FP", 0)])[-1][2] == 0


def test_reductions_into_fp0_cost_their_full_price():
    issue, accepted, *_ = events_of([reduce("V_RED_MAX", 0, 0), fp_memory("S_LD_FP", 3)])[-1]
    assert accepted == 20


def test_a_break_waits_for_the_vector_dma_only():
    assert events_of([prefetch_v(0, 9), I("C_BREAK")])[-1][6] == "vector_prefetch_in_progress"
    assert events_of([prefetch_m(0, 9), I("C_BREAK")])[-1][6] == ""
    assert events_of([prefetch_v(0, 9), I("C_LOOP_END")])[-1][6] == ""


def test_service_cycles_are_rounded_up_and_at_least_one():
    for took, cycles in (0, 1), (1, 1), (1000, 1), (1001, 2):
        event = events_of([I("H_PREFETCH_M", rd=1, gp={"rd": 0}, took=took)])[0]
        assert event[5] - event[3] == cycles
