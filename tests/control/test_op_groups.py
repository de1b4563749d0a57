"""Does every operation reach its own kernel, in control and in data, and every other op id an error?"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from plena_emu import isa
from plena_emu.config.settings import default_settings, with_hbm_size
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.kernels import status as st
from plena_emu.kernels.control.control import control_slice
from plena_emu.kernels.control.loops import loop_start
from plena_emu.kernels.data.data import data_slice
from plena_emu.kernels.data.plan import ALONE, NO_PLAN
from plena_emu.machine.core import Machine
from plena_emu.program.decode import decode
from plena_emu.running.run_errors import data_error
from plena_emu.running.simulation import Simulation

STRANGERS = (isa.NUM_OPS, isa.NUM_OPS + 1, 63, 64, 1 << 20, -1)

# Which function of a pass takes an operation, said once more: by the sections of the specification.
ELEMENTWISE = ("V_ADD_VV V_ADD_VF V_SUB_VV V_SUB_VF V_MUL_VV V_MUL_VF V_EXP_V V_RECI_V V_SHIFT_V V_MAX_VF V_MIN_VF")
FP = "S_ADD_FP S_SUB_FP S_MAX_FP S_MUL_FP S_EXP_FP S_RECI_FP S_SQRT_FP S_LD_FP S_ST_FP S_MAP_V_FP"
CONTROL = {
    "resolve_matrix": "M_MM M_TMM M_BMM M_BTMM M_MV M_TMV M_BMV M_BTMV",
    "resolve_write_out": "M_MM_WO M_MV_WO M_BMM_WO M_BMV_WO",
    "resolve_vector": f"{ELEMENTWISE} V_RED_SUM V_RED_MAX V_TOPK",
    "resolve_fp": FP,
    "resolve_memory": "H_PREFETCH_M H_PREFETCH_V H_STORE_V",
}
DATA = {
    "m_mm": "M_MM", "m_tmm": "M_TMM", "m_bmm": "M_BMM M_BTMM", "m_bmv": "M_BMV M_BTMV", "m_mv": "M_MV M_TMV",
    "write_out": "M_MM_WO M_MV_WO M_BMM_WO M_BMV_WO", "reduction": "V_RED_SUM V_RED_MAX", "topk": "V_TOPK",
    "prefetch": "H_PREFETCH_M H_PREFETCH_V", "store_rows": "H_STORE_V", "scalar_fp": FP, "elementwise": ELEMENTWISE,
}
IN_CONTROL_ALONE = (
    "S_ADD_INT S_ADDI_INT S_SUB_INT S_MUL_INT S_LUI_INT S_LD_INT S_ST_INT C_SET_ADDR_REG C_SET_SCALE_REG"
    " C_SET_STRIDE_REG C_SET_V_MASK_REG C_LOOP_START C_LOOP_END C_BREAK"
)

# In a process of its own, because only kernels that are not compiled can be replaced by ones that write down who
# was called. Prints, for control and for data, the function that every op id of the table reaches.
WATCH = """
import json
import numpy as np
from plena_emu import isa
from plena_emu.config.settings import default_settings, with_hbm_size
from plena_emu.kernels import layout, status
from plena_emu.kernels.control import control
from plena_emu.kernels.data import data, plan
from plena_emu.machine.core import Machine

called = []


def watch(module, names, result):
    for name in names:
        assert hasattr(module, name)
        setattr(module, name, lambda *args, name=name: called.append(name) or result)


machine = Machine(with_hbm_size(default_settings(), 1 << 16), "base")
watch(control, CONTROL_NAMES, status.OK)
watch(data, [*DATA_NAMES, "mark_tiles", "finish_rows"], None)
found = {"control": {}, "data": {}}
for op in range(isa.NUM_OPS):
    called.clear()
    got = control.resolve(op, *[0] * 6, machine.descriptors, machine.control.ctl, None, None)
    assert (got == status.UNHANDLED_OPERATION) == (called == [])
    found["control"][op] = called[:]
    called.clear()
    done = data.data_slice(np.array([[op, 0, 0, 0, 0, 0]]), 0, 1, plan.ALONE, plan.NO_PLAN, machine.data)
    assert done == len(called[:1])
    found["data"][op] = called[:1]
print(json.dumps(found))
"""


def expected(table):
    """Function of every op id, `[]` where the pass has none."""
    by_name = {name: function for function, names in table.items() for name in names.split()}
    return {str(op.id): [by_name[op.mnemonic]] if op.mnemonic in by_name else [] for op in isa.OPS} | {"0": []}


def test_every_operation_reaches_its_kernel():
    names = f"CONTROL_NAMES, DATA_NAMES = {list(CONTROL)!r}, {list(DATA)!r}\n"
    process = subprocess.run(
        [sys.executable, "-c", names + WATCH], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == {"control": expected(CONTROL), "data": expected(DATA)}


def test_what_never_becomes_an_event_is_executed_by_control():
    events = {name for names in CONTROL.values() for name in names.split()}
    assert events == {name for names in DATA.values() for name in names.split()}
    assert events | set(IN_CONTROL_ALONE.split()) == {op.mnemonic for op in isa.OPS}


def machine_of(revision):
    return Machine(with_hbm_size(default_settings(), 1 << 20), revision)


def execute(machine, op):
    """Status of a program of one instruction without operands, inside a loop."""
    table = np.zeros((1, layout.OP_WIDTH), dtype=np.int64)
    table[0, layout.OP_ID], table[0, layout.OP_IMM] = op, 1
    if op in (isa.M_MM_WO, isa.M_MV_WO):
        table[0, layout.OP_IMM] = 0
    if op == isa.C_LOOP_END or op == isa.C_BREAK:
        loop_start(machine.control.ctl, machine.control.loops, 0, 0, 1)
    machine.count_words(len(table))
    events, mem_events = np.zeros((1, layout.EV_WIDTH), np.int64), np.zeros((1, layout.MEV_WIDTH), np.int64)
    return control_slice(table, machine.cfg, machine.descriptors, machine.control, events, mem_events, 1)


@pytest.mark.parametrize("revision", isa.REVISIONS)
def test_control_handles_every_operation_of_a_revision(revision):
    for code, op in isa.codes(revision).items():
        status = execute(machine_of(revision), op.id)
        assert status not in (st.UNHANDLED_OPERATION, st.INVALID_OPCODE), f"{op} ({code:#x})"


@pytest.mark.parametrize("op", STRANGERS)
def test_an_unknown_operation_is_an_error_of_control(op):
    machine = machine_of("base")
    assert execute(machine, op) == st.UNHANDLED_OPERATION
    assert machine.control.ctl[layout.CTL_ERR_A] == op and machine.control.ctl[layout.CTL_EVENTS] == 0


@pytest.mark.parametrize("op", [*STRANGERS, isa.INVALID, isa.S_ADD_INT, isa.C_BREAK])
def test_an_unknown_operation_ends_the_data_pass(op):
    """Events before it are executed, itself and those behind it are not."""
    machine = machine_of("base")
    machine.data.fp[1] = 3.0
    move = [isa.S_ADD_FP, 2, 1, 0, 0, 0]
    events = np.array([move, [op, 0, 0, 0, 0, 0], [isa.S_ADD_FP, 3, 1, 0, 0, 0]])
    assert data_slice(events, 0, 3, ALONE, NO_PLAN, machine.data) == 1
    assert machine.data.fp.tolist() == [0, 3, 3, 0, 0, 0, 0, 0]


def test_the_error_is_one_line_that_names_the_operation():
    for op, name in ((isa.C_BREAK, "C_BREAK"), (isa.NUM_OPS, "no operation"), (-1, "no operation")):
        error = data_error(op)
        assert isinstance(error, EmuError) and "\n" not in str(error)
        assert str(error).startswith(f"op id {op} ({name}): found no kernel in the data pass")


def test_groups_are_those_of_the_table():
    """Each group holds operations of one type, and together they hold all, in order."""
    firsts = {name[6:]: value for name, value in vars(isa).items() if name.startswith("FIRST_")}
    ranges = sorted((first, getattr(isa, f"LAST_{name}")) for name, first in firsts.items())
    assert [op for first, last in ranges for op in range(first, last + 1)] == list(range(1, isa.NUM_OPS))
    for first, last in ranges:
        assert len({isa.BY_ID[op].type for op in range(first, last + 1)}) == 1


def test_a_run_with_such_an_event_ends_with_that_line():
    machine = machine_of("base")
    program = decode(np.zeros(0, dtype=np.uint32), "base", machine.settings)
    simulation = Simulation(program, machine, memory=None)
    simulation._solo.events[0] = [isa.C_BREAK, 0, 0, 0, 0, 0]
    with pytest.raises(EmuError, match=r"^op id 50 \(C_BREAK\): found no kernel in the data pass"):
        simulation._solo.run(1)
