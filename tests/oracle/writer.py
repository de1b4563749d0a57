"""Writes random statements, each a few legal instructions, for `programs.generate`."""

import random

from plena_emu import isa

from .state import Settings

U32 = 0xFFFFFFFF
BUDGET = 3000  # instructions executed, roughly
HEAVY = 120  # broadcast products executed, each over all heads

# What `Writer.break_law` can do, and which revisions it is wrong in.
ILLEGAL = (
    "opcode", "fp register", "row misaligned", "row outside", "tile misaligned", "tile outside", "column", "write-out",
    "fp sram", "int sram", "map", "loop zero", "loop end", "break", "store outside", "loop limit", "prefetch tiles",
)  # fmt: skip
ILLEGAL_MOE = (*ILLEGAL, "topk policy")


def used_bits(op: isa.Op) -> int:
    """Bits of a word that mean something to an operation."""
    names = ["opcode", *(isa.FIELD_OF.get(name, name) for name in op.operands)]
    if op.id in isa.RD_MUST_BE_ZERO:
        names.append("rd")
    return sum(((1 << width) - 1) << shift for shift, width in map(isa.FIELDS.get, names))


class Writer:
    """A growing program.

    gp0 is 0, gp1-gp5 are set before each use, gp6-gp7 follow loops row by row, gp8-gp11 hold arbitrary numbers,
    gp12-gp15 count loops. Words INT_TABLE and up of the int SRAM hold a table of numbers that programs may load.
    """

    INT_TABLE = 512
    NOISE = (8, 9, 10, 11)

    def __init__(self, rng: random.Random, settings: Settings, revision: str):
        self.rng, self.cfg, self.revision = rng, settings, revision
        self.words: list[int] = []
        self.table: list[int] = [0]
        self.free = [1, 2, 3, 4, 5]  # address registers a statement may still take
        self.induction: list[tuple[int, int]] = []  # (register, last row it reaches)
        self.loops: list[tuple[int, int]] = []  # (register, iterations)
        self.times = 1  # how often the current statement executes
        self.executed = 0
        self.heavy = 0
        self.tiles = settings.matrix_sram // settings.mlen

    # --- words ------------------------------------------------------------------------------

    def emit(self, mnemonic: str, **operands: int) -> None:
        """Append one instruction; fields it does not use stay 0, now and then one holds garbage."""
        op = isa.BY_MNEMONIC[mnemonic]
        word = op.code(self.revision)
        for name, value in operands.items():
            shift, width = isa.FIELDS[isa.FIELD_OF.get(name, name)]
            assert name in op.operands and 0 <= value < 1 << width, (mnemonic, name, value)
            word |= value << shift
        if self.rng.random() < 0.02:
            word |= self.rng.randrange(1 << 32) & ~used_bits(op)
        self.words.append(word)
        self.executed += self.times

    def number(self, value: int, register: int | None = None) -> int:
        """Put a u32 into a register, in one of several ways; returns the register."""
        register = self.free.pop() if register is None else register
        way = self.rng.randrange(5)
        if way == 0 and len(self.table) < 400:
            self.table.append(value)
            self.emit("S_LD_INT", rd=register, rs1=0, imm18=self.INT_TABLE + len(self.table) - 1)
        elif value < 1 << 18 and way < 3:
            self.emit("S_ADDI_INT", rd=register, rs1=0, imm18=value)
        elif way == 3 and value % self.cfg.vlen == 0 and value // self.cfg.vlen < 1 << 18:
            self.emit("S_ADDI_INT", rd=8, rs1=0, imm18=self.cfg.vlen)
            self.emit("S_ADDI_INT", rd=register, rs1=0, imm18=value // self.cfg.vlen)
            self.emit("S_MUL_INT", rd=register, rs1=register, rs2=8)
        else:
            self.emit("S_LUI_INT", rd=register, imm22=value >> 12)
            self.emit("S_ADDI_INT", rd=register, rs1=register, imm18=value & 0xFFF)
        return register

    def row(self, count: int = 1, step: int = 1) -> int:
        """A register with the address of a row that has count - 1 rows, `step` apart, after it."""
        last = self.cfg.vector_sram - 1 - (count - 1) * step
        moving = [register for register, end in self.induction if end <= last]
        if moving and self.rng.random() < 0.5:
            return self.rng.choice(moving)
        counters = [register for register, n in self.loops if n <= last]
        if counters and self.rng.random() < 0.3:
            register = self.number(self.cfg.vlen)
            self.emit("S_MUL_INT", rd=register, rs1=register, rs2=self.rng.choice(counters))
            return register
        return self.number(self.rng.randint(0, last) * self.cfg.vlen)

    def tile(self, offset: int = 0, count: int = 1) -> int:
        """A register with the address of one of the tiles, plus an offset."""
        return self.number(self.rng.randint(0, self.tiles - count) * self.cfg.mlen**2 + offset)

    def fp(self) -> int:
        return self.rng.randrange(8)

    def mask(self) -> int:
        """The rmask field: mostly 0."""
        return self.rng.choice([0, 0, 0, 1, self.rng.randrange(16)])

    # --- statements -------------------------------------------------------------------------

    def body(self, statements: int) -> None:
        """Random statements, fewer when the program gets too long to execute."""
        kinds = [
            (self.vector, 10), (self.reduction, 4), (self.scalar, 5), (self.fp_memory, 4), (self.integer, 4),
            (self.registers, 3), (self.block_product, 5), (self.vector_product, 4), (self.write_out, 5),
            (self.broadcast_product, 2), (self.prefetch_m, 2), (self.prefetch_v, 4), (self.store_v, 4),
            (self.loop, 3), (self.broken_loop, 1),
        ]  # fmt: skip
        if self.revision == "moe":
            kinds += [(self.clamp, 3), (self.topk, 2)]
        functions, weights = zip(*kinds, strict=True)
        for _ in range(statements):
            if self.executed < BUDGET:
                self.rng.choices(functions, weights)[0]()
                self.free = [1, 2, 3, 4, 5]

    def vector(self) -> None:
        kind = self.rng.choice(["VV", "VF", "SUB_VF", "V", "SHIFT"])
        rd, rs1 = self.row(), self.row()
        if kind == "VV":
            name = self.rng.choice(["V_ADD_VV", "V_SUB_VV", "V_MUL_VV"])
            self.emit(name, rd=rd, rs1=rs1, rs2=self.row(), rmask=self.mask())
        elif kind == "VF":
            self.emit(self.rng.choice(["V_ADD_VF", "V_MUL_VF"]), rd=rd, rs1=rs1, rs2=self.fp(), rmask=self.mask())
        elif kind == "SUB_VF":
            order = self.rng.choice([0, 1, self.rng.randrange(16)])
            self.emit("V_SUB_VF", rd=rd, rs1=rs1, rs2=self.fp(), rmask=self.mask(), order=order)
        elif kind == "V":
            self.emit(self.rng.choice(["V_EXP_V", "V_RECI_V"]), rd=rd, rs1=rs1, rmask=self.mask())
        else:
            by = self.number(self.rng.randrange(self.cfg.vlen + 2)) if self.rng.random() < 0.8 else 9
            self.emit("V_SHIFT_V", rd=rd, rs1=rs1, rs2=by)

    def clamp(self) -> None:
        name = self.rng.choice(["V_MAX_VF", "V_MIN_VF"])
        self.emit(name, rd=self.row(), rs1=self.row(), rs2=self.fp(), rmask=self.mask())

    def reduction(self) -> None:
        if self.rng.random() < 0.5:
            self.emit("S_LD_FP", rd=self.fp(), rs1=0, imm18=self.rng.randrange(1024))
        name = self.rng.choice(["V_RED_SUM", "V_RED_MAX"])
        self.emit(name, rd=self.fp(), rs1=self.row(), rmask=self.mask())

    def topk(self) -> None:
        policy = self.rng.randrange(2)
        count, top = isa.TOPK_POLICIES[policy]
        weights = self.number(self.rng.randint(0, 1024 - top))
        indices = self.number(self.rng.randint(0, self.INT_TABLE - top))
        self.emit("V_TOPK", rd=weights, rs1=self.row(-(-count // self.cfg.vlen)), rs2=indices, policy=policy)

    def scalar(self) -> None:
        names = ["S_ADD_FP", "S_SUB_FP", "S_MUL_FP", "S_MAX_FP", "S_EXP_FP", "S_RECI_FP", "S_SQRT_FP"]
        for _ in range(self.rng.randint(1, 3)):
            name = self.rng.choice(names)
            operands = {"rd": self.fp(), "rs1": self.fp()}
            if "rs2" in isa.BY_MNEMONIC[name].operands:
                operands["rs2"] = self.fp()
            self.emit(name, **operands)

    def fp_memory(self) -> None:
        if self.rng.random() < 0.2:
            offset = self.rng.randrange(100)
            start = self.number(self.rng.randint(0, 1024 - self.cfg.vlen - offset))
            self.emit("S_MAP_V_FP", rd=self.row(), rs1=start, imm18=offset)
            return
        for _ in range(self.rng.randint(1, 3)):
            name = self.rng.choice(["S_LD_FP", "S_LD_FP", "S_ST_FP"])
            self.emit(name, rd=self.fp(), rs1=0, imm18=self.rng.randrange(1024))

    def integer(self) -> None:
        """Arbitrary numbers in the registers nothing depends on."""
        names = ["S_ADD_INT", "S_SUB_INT", "S_MUL_INT", "S_ADDI_INT", "S_LUI_INT", "S_LD_INT", "S_ST_INT"]
        for _ in range(self.rng.randint(1, 3)):
            rd, rs1, rs2 = (self.rng.choice(self.NOISE) for _ in range(3))
            name = self.rng.choice(names)
            if name == "S_LUI_INT":
                self.emit(name, rd=rd, imm22=self.rng.randrange(1 << 22))
            elif name == "S_ADDI_INT":
                self.emit(name, rd=rd, rs1=rs1, imm18=self.rng.randrange(1 << 18))
            elif name in ("S_LD_INT", "S_ST_INT"):
                self.emit(name, rd=rd, rs1=0, imm18=self.rng.randrange(self.INT_TABLE))
            else:
                self.emit(name, rd=rd, rs1=self.rng.randrange(16), rs2=rs2)

    def registers(self) -> None:
        name = self.rng.choice(["C_SET_SCALE_REG", "C_SET_STRIDE_REG", "C_SET_V_MASK_REG", "C_SET_V_MASK_REG"])
        if self.rng.random() < 0.5:
            self.emit(name, rd=self.rng.choice(self.NOISE))
        else:
            self.emit(name, rd=self.number(self.rng.randrange(1 << self.rng.randint(1, 32))))

    # --- matrix -----------------------------------------------------------------------------

    def block_product(self) -> None:
        m, b = self.cfg.mlen, self.cfg.blen
        column = self.rng.randrange(m // b) * b
        for _ in range(self.rng.randint(1, 2)):
            name = self.rng.choice(["M_MM", "M_TMM"])
            wide = name == "M_TMM" or self.revision == "moe"
            tile, rows = self.tile(column * m if wide else column), self.row(b)
            operands = (rows, tile) if name == "M_TMM" else (tile, rows)
            self.emit(name, rs1=operands[0], rs2=operands[1])
            self.free = [1, 2, 3, 4, 5]
        self._perhaps_write_out("M_MM_WO")

    def vector_product(self) -> None:
        if self.rng.random() < 0.4 and self._affordable():
            return self._broadcast_vector()
        column = self.rng.randrange(self.cfg.mlen // self.cfg.blen) * self.cfg.blen
        name = self.rng.choice(["M_MV", "M_TMV"])
        self.emit(name, rs1=self.tile(column if name == "M_MV" else 0), rs2=self.row())
        self._perhaps_write_out("M_MV_WO")
        return None

    def _head_tile(self) -> int:
        """Tile and head of a broadcast product; the other offset can only be 0."""
        return self.tile(self.rng.randrange(self.cfg.broadcast) * self.cfg.hlen)

    def _broadcast_vector(self) -> None:
        part = self.rng.randrange(self.cfg.mlen)
        tile = self._head_tile()
        extra = 0  # the address is gp[rs1] + gp[rd]
        if self.rng.random() < 0.5:
            extra = self.number(part)
            less = self.number(part)
            self.emit("S_SUB_INT", rd=tile, rs1=tile, rs2=less)
        self.emit(self.rng.choice(["M_BMV", "M_BTMV"]), rd=extra, rs1=tile, rs2=self.row())
        self._perhaps_write_out("M_BMV_WO")

    def _affordable(self) -> bool:
        """Whether one more broadcast operation fits; counts it if so."""
        cost = self.times * (1 if self.cfg.mlen <= 32 else 8 if self.cfg.mlen <= 64 else 40)
        if self.heavy + cost > HEAVY:
            return False
        self.heavy += cost
        return True

    def broadcast_product(self) -> None:
        if self._affordable():
            self.emit(self.rng.choice(["M_BMM", "M_BTMM"]), rs1=self._head_tile(), rs2=self.row(self.cfg.mlen))
            self._perhaps_write_out("M_BMM_WO")

    def _perhaps_write_out(self, name: str) -> None:
        """Write a fresh product out, so that it can be seen before others are added to it."""
        if self.rng.random() < 0.5:
            self.free = [1, 2, 3, 4, 5]
            self._write_out(name)

    def write_out(self) -> None:
        self._write_out(self.rng.choice(["M_MM_WO", "M_MM_WO", "M_MV_WO", "M_BMV_WO", "M_BMM_WO"]))

    def _write_out(self, name: str) -> None:
        m, b, heads = self.cfg.mlen, self.cfg.blen, self.cfg.broadcast
        if name == "M_BMM_WO" and not self._affordable():
            return
        column = self.rng.randrange(m // b) * b if name in ("M_MM_WO", "M_MV_WO") else 0
        operands = {"imm18": column}
        if name == "M_MM_WO":
            step = self.rng.choice([0, 1, 2, 3])
            step = min(step, (self.cfg.vector_sram - 1) // max(b - 1, 1))
            operands["rs1"] = self.number(step) if step != 1 else self.rng.choice([0, self.number(1)])
            operands["rd"] = self.row(b, step)
        else:
            operands["rd"] = self.row({"M_MV_WO": 1, "M_BMV_WO": heads, "M_BMM_WO": heads * m}[name])
        self.emit(name, **operands)

    # --- memory -----------------------------------------------------------------------------

    def _address_register(self, base: int) -> int:
        register = self.rng.randrange(16)
        low = self.number(base & U32)
        self.emit("C_SET_ADDR_REG", rd=register, rs1=self.number(base >> 32) if base >> 32 else 0, rs2=low)
        self.free += [low]
        return register

    def _set(self, name: str, value: int) -> None:
        register = self.number(value)
        self.emit(name, rd=register)
        self.free.append(register)

    def _transfer(self, name: str, fmt, n: int, rows: int, target: int) -> None:
        """One transfer of `rows` rows of n elements that stays inside the HBM."""
        length = fmt.elem.bits * n // 8
        room = self.cfg.hbm_size - length
        step = self.rng.choice([n, length, self.rng.randrange(2 * n)])
        if (rows - 1) * step > room or (rows - 1) * n > room:
            return
        strided = step != n or self.rng.random() < 0.2
        if strided:
            self._set("C_SET_STRIDE_REG", step)
        start = self.rng.randint(0, room - (rows - 1) * step)
        start -= start % self.rng.choice([1, 8, 64]) if self.rng.random() < 0.7 else 0
        offset = self.rng.choice([0, start, self.rng.randint(0, start)])
        base = start - offset
        if fmt.scale is not None:
            span = -(-((rows - 1) * step) // fmt.ratio) + n // fmt.block + 1
            scales_from = self.cfg.hbm_size * 3 // 4
            first = self.rng.randint(min(scales_from, self.cfg.hbm_size - span), self.cfg.hbm_size - span)
            self._set("C_SET_SCALE_REG", (first - base - offset // fmt.ratio) % (1 << 32))
            if first - base - offset // fmt.ratio < 0:
                return  # the sum would not wrap
        address = self._address_register(base)
        stride_field = 1 if strided else self.rng.choice([0, 0, 2, 15])
        precision = 1 if fmt in (self.cfg.m_kv, self.cfg.v_kv) and self._is_kv else 0
        self.emit(name, rd=target, rs1=self.number(offset), rs2=address, rstride=stride_field, precision=precision)

    def _wild_prefetch(self, name: str, target: int) -> None:
        """A prefetch from anywhere; what lies outside the HBM reads as 0."""
        for register in ("C_SET_STRIDE_REG", "C_SET_SCALE_REG"):
            if self.rng.random() < 0.5:
                self._set(register, self.rng.randrange(1 << self.rng.randint(1, 32)))
        address = self._address_register(self.rng.randrange(1 << self.rng.choice([8, 14, 16, 20, 48])))
        offset = self.number(self.rng.randrange(1 << self.rng.choice([6, 10, 16, 32])))
        operands = {"rstride": self.rng.randrange(3), "precision": self.rng.randrange(3)}
        self.emit(name, rd=target, rs1=offset, rs2=address, **operands)

    def _choose_kv(self) -> bool:
        self._is_kv = self.rng.random() < 0.5
        return self._is_kv

    def fill_tiles(self) -> None:
        """Something other than 0 in every tile."""
        count = self.cfg.pm // self.cfg.mlen
        for first in range(0, self.tiles - count + 1, count):
            fmt = self.cfg.m_kv if self._choose_kv() else self.cfg.m_weight
            target = self.number(first * self.cfg.mlen**2)
            self._transfer("H_PREFETCH_M", fmt, self.cfg.mlen, self.cfg.pm, target)
            self.free = [1, 2, 3, 4, 5]

    def prefetch_m(self) -> None:
        target = self.tile(count=self.cfg.pm // self.cfg.mlen)
        if self.rng.random() < 0.2:
            return self._wild_prefetch("H_PREFETCH_M", target)
        fmt = self.cfg.m_kv if self._choose_kv() else self.cfg.m_weight
        self._transfer("H_PREFETCH_M", fmt, self.cfg.mlen, self.cfg.pm, target)
        return None

    def prefetch_v(self) -> None:
        target = self.row()  # the last rows may be dropped
        if self.rng.random() < 0.2:
            return self._wild_prefetch("H_PREFETCH_V", target)
        fmt = self.cfg.v_kv if self._choose_kv() else self.cfg.v_act
        self._transfer("H_PREFETCH_V", fmt, self.cfg.vlen, self.cfg.prefetch_v, target)
        return None

    def store_v(self) -> None:
        source = self.row(self.cfg.store_v)
        fmt = self.cfg.v_kv if self._choose_kv() else self.cfg.v_act
        self._transfer("H_STORE_V", fmt, self.cfg.vlen, self.cfg.store_v, source)

    # --- control ----------------------------------------------------------------------------

    def loop(self) -> None:
        depth = len(self.loops)
        count = self.rng.randint(1, 5)
        if depth == 3 or self.times * count > 40:
            return
        counter = 12 + depth
        moving = [register for register in (6, 7) if register not in [r for r, _ in self.induction]]
        follow = moving[0] if moving and self.rng.random() < 0.7 else None
        if follow:
            first = self.rng.randint(0, self.cfg.vector_sram - count)
            self.number(first * self.cfg.vlen, follow)
        self.emit("C_LOOP_START", rd=counter, imm22=count)
        saved = self.times, list(self.induction)
        self.times *= count
        self.loops.append((counter, count))
        if follow:
            self.induction.append((follow, first + count - 1))
        self.body(self.rng.randint(1, 6))
        if follow:
            self.emit("S_ADDI_INT", rd=follow, rs1=follow, imm18=self.cfg.vlen)
        self.emit("C_LOOP_END", rd=counter)
        self.loops.pop()
        self.times, self.induction = saved

    def broken_loop(self) -> None:
        """A loop that C_BREAK drops after its first pass."""
        if len(self.loops) == 3:
            return
        counter = 12 + len(self.loops)
        count = self.rng.randint(1, 9)
        self.emit("C_LOOP_START", rd=counter, imm22=count)
        self.body(self.rng.randint(0, 2))
        self.emit("C_BREAK")

    def finish(self) -> None:
        """Ends of programs: sometimes a loop that is never closed."""
        if self.rng.random() < 0.2:
            self.emit("C_LOOP_START", rd=15, imm22=3)
            self.body(1)

    # --- errors -----------------------------------------------------------------------------

    def break_law(self, kind: str) -> None:
        """One statement that stops the run."""
        cfg = self.cfg
        outside = cfg.vector_sram * cfg.vlen
        if kind == "opcode":
            self.words.append(self.rng.choice([0x00, 0x38, 0x3F]) | self.rng.randrange(1 << 26) << 6)
        elif kind == "fp register":
            self.emit("S_LD_FP", rd=self.rng.randint(8, 15), rs1=0, imm18=0)
        elif kind == "row misaligned":
            self.emit("V_EXP_V", rd=self.row(), rs1=self.number(self.rng.randint(1, cfg.vlen - 1)))
        elif kind == "row outside":
            self.emit("V_EXP_V", rd=self.number(outside + cfg.vlen * self.rng.choice([0, 1, 1000])), rs1=self.row())
        elif kind == "tile misaligned":
            self.emit("M_TMV", rs1=self.tile(1 if cfg.mlen > 1 else 0), rs2=self.row())
        elif kind == "tile outside":
            self.emit("M_TMV", rs1=self.number(self.tiles * cfg.mlen**2), rs2=self.row())
        elif kind == "column":
            self.emit("M_MV", rs1=self.tile(1), rs2=self.row())
        elif kind == "write-out":
            self.emit("M_BMV_WO", rd=self.row(cfg.broadcast), imm18=1)
        elif kind == "fp sram":
            self.emit("S_LD_FP", rd=1, rs1=self.number(1000), imm18=24)
        elif kind == "int sram":
            self.emit("S_ST_INT", rd=1, rs1=self.number(1 << 20), imm18=0)
        elif kind == "map":
            self.emit("S_MAP_V_FP", rd=self.row(), rs1=0, imm18=1025 - cfg.vlen)
        elif kind == "loop zero":
            self.emit("C_LOOP_START", rd=12, imm22=0)
        elif kind == "loop end":
            self.emit("C_LOOP_END", rd=11)
        elif kind == "break":
            self.emit("C_BREAK")
        elif kind == "topk policy":
            self.emit("V_TOPK", rd=0, rs1=self.row(), rs2=0, policy=self.rng.randint(2, 15))
        elif kind == "store outside":
            address = self._address_register(cfg.hbm_size - 1)
            self.emit("H_STORE_V", rd=self.row(cfg.store_v), rs1=0, rs2=address, rstride=0, precision=0)
        elif kind == "prefetch tiles":
            self.emit("H_PREFETCH_M", rd=self.number(self.tiles * cfg.mlen**2), rs1=0, rs2=0, rstride=0, precision=0)
        elif kind == "loop limit":
            self._endless()
        else:
            raise ValueError(kind)
        self.free = [1, 2, 3, 4, 5]

    def _endless(self) -> None:
        """An outer loop that exceeds the limit while an inner one starts over again and again."""
        self.emit("C_LOOP_START", rd=12, imm22=2)
        self.emit("C_LOOP_START", rd=13, imm22=self.cfg.max_loop)
        self.emit("C_LOOP_END", rd=13)
        self.emit("C_LOOP_END", rd=12)
