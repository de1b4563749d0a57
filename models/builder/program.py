"""The builder of a program: it allocates registers, keeps loops within MAX_LOOP_INSTRUCTIONS, and notes stages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from plena_emu.errors import EmuError

from .instructions import encode

REGISTERS = 16
IMMEDIATE = 1 << 18  # what S_ADDI_INT can add at once (§1.3)
_U32 = 0xFFFFFFFF


class Register(msgspec.Struct, frozen=True):
    """A gp register that the builder handed out."""

    number: int


class Stage(msgspec.Struct, frozen=True):
    """A part of the program: the words from `first_pc` to `last_pc`, both inclusive (§9.6)."""

    layer: int | None
    operator: str
    first_pc: int
    last_pc: int


class Program(msgspec.Struct, frozen=True):
    """A finished program: its words and the stages that cover them, in order."""

    words: list[int]
    stages: list[Stage]


class _Block:
    """Words under construction: those of the program, or of one loop body."""

    def __init__(self):
        self.words: list[int] = []
        self.stages: list[int] = []  # index of a stage, one a word
        self.dynamic = 0  # instructions that one pass executes

    def append(self, other: _Block, times: int = 1) -> None:
        self.words += other.words * times
        self.stages += other.stages * times
        self.dynamic += other.dynamic * times


class Builder:
    """Builds a program of the base revision instruction by instruction.

    gp0 always holds 0. A method takes registers as `Register` objects or as plain numbers; fp and address registers
    are plain numbers.

    Parameters
    ----------
    max_loop_instructions : int
        MAX_LOOP_INSTRUCTIONS of the settings: a loop whose iteration would execute more is written out (§9.4).

    Attributes
    ----------
    written_out : bool
        Whether that has happened.
    """

    def __init__(self, max_loop_instructions: int):
        self.max_loop_instructions = max_loop_instructions
        self.written_out = False
        self._blocks = [_Block()]
        self._free = list(range(REGISTERS - 1, 0, -1))
        self._spilled = 0  # words of the int SRAM in use
        self._stages: dict[tuple[int | None, str], int] = {(None, "embed"): 0}
        self._stage = 0

    # -- stages ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def stage(self, operator: str, layer: int | None = None) -> Iterator[None]:
        """Name what the words written inside belong to (§9.6)."""
        outer = self._stage
        self._stage = self._stages.setdefault((layer, operator), len(self._stages))
        yield
        self._stage = outer

    # -- instructions ----------------------------------------------------------------------------------------------

    def emit(self, mnemonic: str, *operands: int | Register) -> None:
        """Write one instruction; operands in the order of the assembly line (§1.9). Raises `EmuError`."""
        numbers = [operand.number if isinstance(operand, Register) else operand for operand in operands]
        self._write(encode(mnemonic, *numbers))

    def _write(self, word: int) -> None:
        block = self._blocks[-1]
        block.words.append(word)
        block.stages.append(self._stage)
        block.dynamic += 1

    # -- registers and constants -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def registers(self, count: int) -> Iterator[tuple[Register, ...]]:
        """Lend `count` gp registers for the block. Raises `EmuError` when too few are free."""
        if count > len(self._free):
            raise EmuError(f"builder: {count} registers wanted, {len(self._free)} of {REGISTERS - 1} are free")
        taken = [self._free.pop() for _ in range(count)]
        yield tuple(Register(number) for number in taken)
        self._free += reversed(taken)

    @contextlib.contextmanager
    def register(self, value: int | None = None) -> Iterator[Register]:
        """Lend one gp register, set to `value` if that is given."""
        with self.registers(1) as (register,):
            if value is not None:
                self.set(register, value)
            yield register

    @contextlib.contextmanager
    def spilled(self, *kept: Register) -> Iterator[None]:
        """Free every lent register but `kept` for the block: their values, loop counters too, wait in the int SRAM."""
        away = [number for number in range(1, REGISTERS) if number not in self._free]
        away = [number for number in away if Register(number) not in kept]
        first, before = self._spilled, self._free
        for place, number in enumerate(away, first):
            self.emit("S_ST_INT", number, 0, place)
        self._spilled += len(away)
        self._free = before + away[::-1]
        yield
        self._free = before
        self._spilled = first
        for place, number in enumerate(away, first):
            self.emit("S_LD_INT", number, 0, place)

    @contextlib.contextmanager
    def room(self, count: int, *kept: Register) -> Iterator[None]:
        """Make sure that `count` registers are free in the block; where they are not, spill all but `kept`."""
        with self.spilled(*kept) if count > len(self._free) else contextlib.nullcontext():
            yield

    @property
    def free_registers(self) -> int:
        """How many gp registers can be lent now."""
        return len(self._free)

    def set(self, register: Register, value: int | Register) -> None:
        """Load a u32 constant (one instruction, or S_LUI_INT and S_ADDI_INT), or copy a register."""
        if isinstance(value, Register):
            if value != register:
                self.emit("S_ADDI_INT", register, value, 0)
            return
        value &= _U32
        if value < IMMEDIATE:
            self.emit("S_ADDI_INT", register, 0, value)
            return
        self.emit("S_LUI_INT", register, value >> 12)
        if value & 0xFFF:
            self.emit("S_ADDI_INT", register, register, value & 0xFFF)

    @contextlib.contextmanager
    def step(self, delta: int) -> Iterator[int | Register]:
        """Prepare `delta` for `advance` in loops.

        Yields the number itself where S_ADDI_INT can add it, else a register that holds it modulo 2^32.
        """
        if 0 <= delta < IMMEDIATE:
            yield delta
        else:
            with self.register(delta) as register:
                yield register

    def advance(self, register: Register, step: int | Register, source: Register | None = None) -> None:
        """Set `register` to `source` (itself where absent) plus `step`: a number or what `step` yielded."""
        source = source or register
        if isinstance(step, Register):
            self.emit("S_ADD_INT", register, source, step)
        elif 0 <= step < IMMEDIATE:
            if step or source != register:
                self.emit("S_ADDI_INT", register, source, step)
        else:
            with self.step(step) as constant:
                self.emit("S_ADD_INT", register, source, constant)

    def set_address(self, address_register: int, address: int) -> None:
        """Point an HBM address register at a byte address of up to 64 bits."""
        with self.register() as low:
            self.set(low, address & _U32)
            if address >> 32:
                with self.register(address >> 32) as high:
                    self.emit("C_SET_ADDR_REG", address_register, high, low)
            else:
                self.emit("C_SET_ADDR_REG", address_register, 0, low)

    def set_transfer(self, address_register: int, address: int, scale: int, stride: int) -> None:
        """Prepare transfers of one HBM tensor: address register, scale offset and stride (§3.2)."""
        self.set_address(address_register, address)
        with self.register() as value:
            self.set(value, scale)
            self.emit("C_SET_SCALE_REG", value)
            self.set(value, stride)
            self.emit("C_SET_STRIDE_REG", value)

    # -- loops -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def loop(self, times: int, unroll: int = 1) -> Iterator[None]:
        """Execute the block `times` times.

        The block must do the same work in every iteration and move its registers itself. Where one iteration executes
        more than MAX_LOOP_INSTRUCTIONS the block is written `times` times instead. `unroll` writes the block so many
        times into each iteration, which saves C_LOOP_END cycles in short loops.
        """
        if times < 1:
            raise EmuError(f"builder: a loop of {times} iterations, expected at least 1")
        unroll = min(unroll, times)
        with contextlib.ExitStack() as stack:
            counter = stack.enter_context(self.register()) if times > unroll else None
            self._blocks.append(_Block())
            yield
            body = self._blocks.pop()
        self._close(body, counter, times, unroll)

    def _close(self, body, counter, times, unroll):
        """Write a loop, or its body as often as it runs."""
        out = self._blocks[-1]
        if times == 1 or body.dynamic + 1 > self.max_loop_instructions:
            self.written_out |= times > 1
            out.append(body, times)
            return
        if unroll > 1:
            wide = _Block()
            wide.append(body, unroll)
            self._close(wide, counter, times // unroll, 1)
            out.append(body, times % unroll)
            return
        self._write(encode("C_LOOP_START", counter.number, times))
        out.append(body)
        out.dynamic += (times - 1) * (body.dynamic + 1)
        self._write(encode("C_LOOP_END", counter.number))

    @contextlib.contextmanager
    def loop_short_of(self, most: int, shortfall: Register) -> Iterator[None]:
        """Execute the block `most` − `shortfall` times, at least once; `shortfall` is read once and becomes 0.

        Loop counts are immediates, but C_LOOP_END looks at the counter itself (§1.7): the first iteration takes the
        shortfall off it.

        Raises
        ------
        EmuError
            One iteration executes more than MAX_LOOP_INSTRUCTIONS.
        """
        with self._variable_loop(most) as counter:
            yield
            self.emit("S_SUB_INT", counter, counter, shortfall)
            self.emit("S_ADDI_INT", shortfall, 0, 0)

    @contextlib.contextmanager
    def loop_until(self, most: int, walk: Register, end: Register) -> Iterator[None]:
        """Execute the block at least once, at most `most` times, until `walk` has reached `end`.

        The block moves `walk` towards `end` in steps of at least 2. Costs an instruction an iteration.

        Raises
        ------
        EmuError
            As `loop_short_of`.
        """
        with self._variable_loop(most) as counter:
            yield
            self.emit("S_SUB_INT", counter, end, walk)  # C_LOOP_END goes on above 1

    @contextlib.contextmanager
    def _variable_loop(self, most: int) -> Iterator[Register]:
        """A loop whose block decides about its counter, which is lent."""
        with self.register() as counter:
            self._blocks.append(_Block())
            yield counter
            body = self._blocks.pop()
        if body.dynamic + 1 > self.max_loop_instructions:
            raise EmuError(f"builder: an iteration of {body.dynamic + 1} instructions in a loop of variable length,"
                           f" expected at most {self.max_loop_instructions}")
        self._write(encode("C_LOOP_START", counter.number, most))
        self._blocks[-1].append(body)
        self._blocks[-1].dynamic += (most - 1) * (body.dynamic + 1)
        self._write(encode("C_LOOP_END", counter.number))

    def is_zero(self, flag: Register, value: Register) -> None:
        """Set `flag` to 1 where `value`, any number below 2^32 − 1, is 0, else to 0; `value` is kept.

        There is no comparison, but a loop runs a second time only where its counter is above 1.
        """
        with self.registers(2) as (again, one):
            self.advance(again, 1, value)
            self.set(one, 1)
            self.set(flag, 2)
            with self._variable_loop(2) as counter:
                self.emit("S_SUB_INT", flag, flag, one)
                self.set(counter, again)
                self.set(again, 0)

    def advance_times(self, register: Register, count: Register, step: int) -> None:
        """Add `count` times `step`, any number, to `register`; `count` is kept."""
        if step == 0 or count == Register(0):
            return
        if step == 1:
            self.emit("S_ADD_INT", register, register, count)
            return
        with self.register(step) as product:
            self.emit("S_MUL_INT", product, product, count)
            self.emit("S_ADD_INT", register, register, product)

    # -- the end ---------------------------------------------------------------------------------------------------

    def finish(self) -> Program:
        """Close the program.

        Returns
        -------
        Program
            Words and stages; neighbouring words of one stage are one entry.
        """
        block = self._blocks[0]
        names = list(self._stages)
        stages: list[Stage] = []
        first = 0
        for pc in range(1, len(block.words) + 1):
            if pc == len(block.words) or block.stages[pc] != block.stages[first]:
                layer, operator = names[block.stages[first]]
                stages.append(Stage(layer, operator, first, pc - 1))
                first = pc
        return Program(block.words, stages)
