"""The builder: words, loops within MAX_LOOP_INSTRUCTIONS, immediates, spilling, stages."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_kernel import Kernel

from plena_emu.assembler import assemble, disassemble
from plena_emu.errors import EmuError
from plena_emu.models.builder import Builder, Digit, encode, every_index
from plena_emu.models.builder.odometer import combinations


def executed(program, memory=None):
    """Integer registers after a program, by plain Python: S_*_INT and loops alone; `memory` gets the int SRAM."""
    gp, loops, pc = [0] * 16, [], 0
    memory = {} if memory is None else memory
    longest = 0
    lines = disassemble(program.words)
    while pc < len(lines):
        for loop in loops:
            loop[2] += 1
            longest = max(longest, loop[2])
        name, _, rest = lines[pc].partition(" ")
        n = [int(token.strip().lstrip("gpa")) for token in rest.split(",")] if rest else []
        if name == "S_ADDI_INT":
            gp[n[0]] = gp[n[1]] + n[2] & 0xFFFFFFFF
        elif name == "S_LUI_INT":
            gp[n[0]] = n[1] << 12 & 0xFFFFFFFF
        elif name == "S_ADD_INT":
            gp[n[0]] = gp[n[1]] + gp[n[2]] & 0xFFFFFFFF
        elif name == "S_SUB_INT":
            gp[n[0]] = gp[n[1]] - gp[n[2]] & 0xFFFFFFFF
        elif name == "S_MUL_INT":
            gp[n[0]] = gp[n[1]] * gp[n[2]] & 0xFFFFFFFF
        elif name == "S_ST_INT":
            memory[gp[n[1]] + n[2]] = gp[n[0]]
        elif name == "S_LD_INT":
            gp[n[0]] = memory[gp[n[1]] + n[2]]
        elif name == "C_LOOP_START":
            gp[n[0]] = n[1]
            loops.append([pc, n[0], 0])
        elif name == "C_LOOP_END":
            loop = next(loop for loop in reversed(loops) if loop[1] == n[0])
            if gp[n[0]] > 1:
                gp[n[0]] -= 1
                loop[2] = 0
                pc = loop[0]
            else:
                gp[n[0]] = 0
                loops.remove(loop)
        else:
            raise AssertionError(lines[pc])
        pc += 1
    return gp, longest


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_set_and_advance_reach_every_value(value, delta):
    b = Builder(100)
    with b.register(value) as register, b.step(delta) as step:
        b.advance(register, step)
        b.advance(register, delta)
    gp, _ = executed(b.finish())
    assert gp[register.number] == value + 2 * delta & 0xFFFFFFFF


@settings(max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 5), st.integers(20, 60))
def test_nested_loops_count_and_stay_below_the_limit(times, unroll, limit):
    b = Builder(limit)
    with b.register(0) as count:
        def nest(left):
            if not left:
                b.advance(count, 1)
                return
            with b.loop(left[0], unroll=unroll):
                nest(left[1:])
                b.advance(count, 0)
        nest(times)
        b.set(1, count)
    gp, longest = executed(b.finish())
    assert gp[1] == int(np.prod(times))
    assert longest <= limit


@given(st.integers(1, 12), st.data())
def test_loop_of_variable_length(most, data):
    missing = data.draw(st.integers(0, most - 1))
    b = Builder(1000)
    with b.register(0) as count, b.register(missing) as shortfall, b.loop_short_of(most, shortfall):
        b.advance(count, 1)
    gp, _ = executed(b.finish())
    assert gp[count.number] == most - missing
    assert gp[shortfall.number] == 0


@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 300_000))
def test_loop_until_an_address(most, wanted, step):
    wanted = min(wanted, most)
    b = Builder(1000)
    registers = b.register(7), b.register(7 + wanted * step), b.register(0)
    with registers[0] as walk, registers[1] as end, registers[2] as count, b.loop_until(most, walk, end):
        b.advance(walk, step)
        b.advance(count, 1)
    gp, _ = executed(b.finish())
    assert gp[count.number] == wanted


@given(st.sampled_from((0, 1, 2, 3, 1 << 18, (1 << 32) - 2)), st.integers(0, 9), st.integers(-(2**31), 2**31 - 1))
def test_is_zero_and_advance_times(value, count, step):
    b = Builder(1000)
    with b.register(value) as number, b.register() as flag, b.register(count) as times, b.register(5) as sum_:
        b.is_zero(flag, number)
        b.advance_times(sum_, times, step)
    gp, _ = executed(b.finish())
    assert gp[flag.number] == (value == 0) and gp[number.number] == value
    assert gp[sum_.number] == 5 + count * step & 0xFFFFFFFF


@st.composite
def digit_lists(draw):
    """Digits, the last one perhaps shorter for later values of one before it."""
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    digits = [Digit(count) for count in counts]
    if len(counts) > 1 and draw(st.booleans()):
        behind = draw(st.integers(1, min(2, len(counts) - 1)))
        less = draw(st.integers(1, 3))
        digits[-1] = Digit((counts[-1 - behind] - 1) * less + counts[-1], less, behind)
    return digits


@given(digit_lists())
def test_every_index(digits):
    """All combinations in order: each index is written as a figure of one number, the numbers go to the int SRAM."""
    expected = []
    for index in itertools.product(*(range(digit.count) for digit in digits)):
        digit = digits[-1]
        if index[-1] < digit.count - (digit.less * index[-1 - digit.behind] if digit.less else 0):
            expected.append(sum(value * 1000**place for place, value in enumerate(reversed(index))))
    assert combinations(digits) == len(expected)
    b = Builder(1000)
    with b.register(0) as place, every_index(b, *digits) as index, b.register() as number:
        b.set(number, 0)
        for weight, value in enumerate(reversed(index)):
            b.advance_times(number, value, 1000**weight)
        b.emit("S_ST_INT", number, place, 600)
        b.advance(place, 1)
    memory = {}
    executed(b.finish(), memory=memory)
    assert [memory[600 + place] for place in range(len(expected))] == expected and 600 + len(expected) not in memory


def test_spilled_registers_come_back_loop_counters_too():
    b = Builder(1000)
    with b.registers(13) as kept, b.register(0) as total:
        for number, register in enumerate(kept):
            b.set(register, 100 + number)
        with b.loop(3), b.spilled(total):
            assert b.free_registers == 14
            with b.registers(13) as others:
                for register in others:
                    b.set(register, 7)
            with b.spilled(total), b.register(1) as one:
                b.advance(total, one)
    gp, _ = executed(b.finish())
    assert [gp[register.number] for register in kept] == list(range(100, 113))
    assert gp[total.number] == 3


def test_stages_cover_every_word():
    b = Builder(8)
    with b.stage("norm", 0), b.loop(3):
        b.set(1, 5)
        with b.stage("residual", 0):
            b.set(2, 5)
    b.set(3, 1)
    program = b.finish()
    assert [stage.first_pc for stage in program.stages] == [0, *(stage.last_pc + 1 for stage in program.stages[:-1])]
    assert program.stages[-1].last_pc == len(program.words) - 1
    assert {(stage.layer, stage.operator) for stage in program.stages} == {(0, "norm"), (0, "residual"),
                                                                          (None, "embed")}


@pytest.mark.parametrize("line", [
    "M_MM 0, gp3, gp4", "M_MM_WO gp1, gp2, 262143", "M_BMM_WO gp1, 64", "V_ADD_VV gp1, gp2, gp3, 1",
    "V_SUB_VF gp1, gp2, f3, 1, 1", "S_LUI_INT gp9, 4194303", "H_STORE_V gp1, gp2, a15, 1, 1", "C_LOOP_START gp15, 9",
])
def test_words_are_those_of_the_assembler(line):
    name, _, rest = line.partition(" ")
    numbers = [int(token.strip().lstrip("gpfa")) for token in rest.split(",")]
    assert [encode(name, *numbers)] == assemble(line)


@pytest.mark.parametrize("name, operands, message", [
    ("V_MAX_VF", (1, 2, 3), "V_MAX_VF"), ("M_MM", (0, 1), "2 operands, expected 3"),
    ("S_ADDI_INT", (1, 0, 1 << 18), "imm18: found 262144, expected a number from 0 to 262143"),
    ("S_EXP_FP", (8, 1), "rd: found 8"),
])
def test_operands_that_do_not_fit(name, operands, message):
    with pytest.raises(EmuError, match=message.replace("(", r"\(")):
        encode(name, *operands)


def test_too_many_registers():
    b = Builder(100)
    with b.registers(15), pytest.raises(EmuError, match="1 registers wanted, 0 of 15"), b.register():
        pass


def test_addresses_of_64_bits(tmp_path):
    kernel = Kernel("m16b4", tmp_path)
    kernel.b.set_address(3, (5 << 32) + 12345678)
    assert disassemble(kernel.b.finish().words)[-1] == "C_SET_ADDR_REG a3, gp2, gp1"
