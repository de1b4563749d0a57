"""Does the linked loop stack do what a list of loops does (spec §1.7), and does it use slots again?"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from plena_emu.kernels import layout
from plena_emu.kernels import status as st
from plena_emu.kernels.control.loops import check_limit, loop_drop, loop_end, loop_start, loops_full

ROOM = 40
MAX_LOOP = 30
STEPS = some.lists(
    some.one_of(
        some.tuples(some.just("start"), some.integers(0, 3), some.integers(1, 3)),
        some.tuples(some.just("end"), some.integers(0, 3), some.just(0)),
        some.tuples(some.just("break"), some.just(0), some.just(0)),
        some.tuples(some.just("other"), some.just(0), some.just(0)),
    ), max_size=120,
)  # fmt: skip


class Machine:
    """The kernels' stack, and beside it a list of [word, register, instruction count], innermost last."""

    def __init__(self):
        self.ctl = np.zeros(layout.CTL_WIDTH, dtype=np.int64)
        self.ctl[layout.CFG_MAX_LOOP] = MAX_LOOP
        self.ctl[layout.CTL_LIMIT_AT] = np.iinfo(np.int64).max
        self.loops = np.zeros((ROOM + 1, layout.LOOP_WIDTH), dtype=np.int64)
        self.gp = [0] * 4
        self.plain = []
        self.deepest = 0

    def step(self, pc, kind, reg, count):
        """One instruction in both; False where it ends the program."""
        ctl, loops = self.ctl, self.loops
        ctl[layout.CTL_EXECUTED] += 1
        for loop in self.plain:
            loop[2] += 1
        over = next((loop[0] for loop in self.plain if loop[2] > MAX_LOOP), None)
        if ctl[layout.CTL_EXECUTED] >= ctl[layout.CTL_LIMIT_AT]:
            status = check_limit(ctl, loops)
            assert status == (st.OK if over is None else st.LOOP_LIMIT)
            assert over is None or ctl[layout.CTL_ERR_A] == over
        else:
            assert over is None
        if over is not None:
            return False
        return {"start": self.start, "end": self.end, "break": self.leave, "other": lambda *_: True}[kind](
            pc, reg, count)

    def start(self, pc, reg, count):
        assert loops_full(self.ctl, self.loops) == (len(self.plain) == ROOM)
        if len(self.plain) == ROOM:
            return False
        assert loop_start(self.ctl, self.loops, pc, reg, count) == st.OK
        self.plain.append([pc, reg, 0])
        self.gp[reg] = count
        self.deepest = max(self.deepest, len(self.plain))
        return True

    def end(self, pc, reg, _):
        found = next((at for at in reversed(range(len(self.plain))) if self.plain[at][1] == reg), None)
        following = loop_end(self.ctl, self.loops, pc, reg)
        if found is None:
            assert following == -1
            return False
        if self.gp[reg] > 1:
            self.gp[reg] -= 1
            self.plain[found][2] = 0
            assert following == self.plain[found][0] + 1
        else:
            self.gp[reg] = 0
            del self.plain[found]
            assert following == pc + 1
        return True

    def leave(self, *_):
        top = int(self.ctl[layout.CTL_TOP_LOOP])
        assert (top != layout.NO_LOOP) == bool(self.plain)
        if self.plain:
            reg = self.plain.pop()[1]
            assert self.loops[top, layout.LOOP_REG] == reg
            loop_drop(self.ctl, self.loops, top)
        return bool(self.plain)

    def listed(self):
        """Words of the active loops by the links, innermost last."""
        found, slot = [], int(self.ctl[layout.CTL_TOP_LOOP])
        while slot != layout.NO_LOOP:
            found.append([int(self.loops[slot, column]) for column in (layout.LOOP_PC, layout.LOOP_REG)])
            slot = int(self.loops[slot, layout.LOOP_BELOW])
        return found[::-1]


@settings(deadline=None)  # the first example compiles
@given(STEPS)
def test_the_stack_is_that_of_a_list(steps):
    machine = Machine()
    for pc, step in enumerate(steps):
        if not machine.step(pc, *step):
            break
        assert machine.listed() == [loop[:2] for loop in machine.plain]
        assert machine.ctl[layout.CTL_GP : layout.CTL_GP + 4].tolist() == machine.gp
        assert machine.ctl[layout.CTL_LOOP_SLOTS] == machine.deepest


def test_loops_that_overlap_for_ever_need_two_slots():
    """Each ends below one that began after it."""
    machine = Machine()
    assert machine.step(0, "start", 0, 1)
    for pc in range(1, 4000, 2):
        reg = pc // 2 % 2
        assert machine.step(pc, "start", 1 - reg, 1) and machine.step(pc + 1, "end", reg, 0)
    assert machine.ctl[layout.CTL_LOOP_SLOTS] == 2
