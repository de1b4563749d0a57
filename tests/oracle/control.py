"""Plain-Python interpreter of the integer and control side of a program, written from spec chapter 1.

An oracle for the control pass and a source of memory events for the timing oracles. It executes integer
registers, loops and address registers one word at a time, checks every address rule of chapter 1, counts
instructions by mnemonic, adds up compute time and lists the memory instructions. It shares no table and no
code with the package: it imports nothing of it.
"""

import tomllib
from collections import Counter
from dataclasses import dataclass, field

U32 = (1 << 32) - 1
U64 = (1 << 64) - 1

_BASE = {
    0x01: "M_MM", 0x02: "M_TMM", 0x03: "M_BMM", 0x04: "M_BTMM", 0x05: "M_BMM_WO", 0x06: "M_MM_WO", 0x07: "M_MV",
    0x08: "M_TMV", 0x09: "M_BMV", 0x0A: "M_BTMV", 0x0B: "M_MV_WO", 0x0C: "M_BMV_WO", 0x0D: "V_ADD_VV",
    0x0E: "V_ADD_VF", 0x0F: "V_SUB_VV", 0x10: "V_SUB_VF", 0x11: "V_MUL_VV", 0x12: "V_MUL_VF", 0x13: "V_EXP_V",
    0x14: "V_RECI_V", 0x15: "V_RED_SUM", 0x16: "V_RED_MAX", 0x17: "S_ADD_FP", 0x18: "S_SUB_FP", 0x19: "S_MAX_FP",
    0x1A: "S_MUL_FP", 0x1B: "S_EXP_FP", 0x1C: "S_RECI_FP", 0x1D: "S_SQRT_FP", 0x1E: "S_LD_FP", 0x1F: "S_ST_FP",
    0x20: "S_MAP_V_FP", 0x21: "S_ADD_INT", 0x22: "S_ADDI_INT", 0x23: "S_SUB_INT", 0x24: "S_MUL_INT",
    0x25: "S_LUI_INT", 0x26: "S_LD_INT", 0x27: "S_ST_INT", 0x28: "H_PREFETCH_M", 0x29: "H_PREFETCH_V",
    0x2A: "H_STORE_V", 0x2B: "C_SET_ADDR_REG", 0x2C: "C_SET_SCALE_REG", 0x2D: "C_SET_STRIDE_REG",
    0x2E: "C_SET_V_MASK_REG", 0x2F: "C_LOOP_START", 0x30: "C_LOOP_END", 0x31: "V_SHIFT_V", 0x32: "C_BREAK",
}  # fmt: skip
_MOE = {code: name for code, name in _BASE.items() if code < 0x31} | {
    0x32: "V_SHIFT_V", 0x34: "C_BREAK", 0x35: "V_MAX_VF", 0x36: "V_MIN_VF", 0x37: "V_TOPK",
}  # fmt: skip
CODES = {"base": _BASE, "moe": _MOE}

_FP3 = ("S_ADD_FP", "S_SUB_FP", "S_MAX_FP", "S_MUL_FP")
_FP2 = ("S_EXP_FP", "S_RECI_FP", "S_SQRT_FP")
FREE_WHEN_RD_ZERO = _FP3 + _FP2 + ("V_RED_SUM", "V_RED_MAX")


class ProgramError(Exception):
    """A run-time or load error of chapter 1: `pc` is the word index, `kind` a short name of the rule."""

    def __init__(self, pc, kind, detail=""):
        super().__init__(f"pc={pc}: {kind} {detail}".rstrip())
        self.pc = pc
        self.kind = kind


@dataclass(frozen=True)
class MxType:
    """An HBM type as the DMA rules see it (§2.1, §3.2)."""

    bits: int
    block: int = 0
    scale_bits: int = 0

    @property
    def ratio(self):
        return self.bits * self.block // self.scale_bits if self.block else 1

    def row_bytes(self, n):
        return self.bits * n // 8

    def scale_bytes(self, n):
        return self.scale_bits * (n // self.block) // 8 if self.block else 0


def _data_bits(table):
    if table["type"] == "Int":
        return table["width"]
    return int(table["sign"]) + table["exponent"] + table["mantissa"]


def _hbm_type(table):
    if table["format"] == "Plain":
        return MxType(_data_bits(table["DATA_TYPE"]))
    return MxType(_data_bits(table["ELEM"]), table["block"], _data_bits(table["SCALE"]))


class Settings:
    """The keys of §5.3 that decide about addresses and time."""

    def __init__(self, tables):
        top = tables["TRANSACTIONAL"]
        config = {key: entry["value"] for key, entry in top["CONFIG"].items() if isinstance(entry, dict)}
        column = "dc_lib_en" if config["DC_EN"] else "dc_lib_dis"
        self.cycles = {key: entry[column] for key, entry in top["LATENCY"].items()}
        self.mlen, self.vlen, self.blen = config["MLEN"], config["VLEN"], config["BLEN"]
        self.hlen, self.broadcast = config["HLEN"], config["BROADCAST_AMOUNT"]
        self.hbm_size = config["HBM_SIZE"]
        self.tiles = config["MATRIX_SRAM_SIZE"] // self.mlen
        self.rows = config["VECTOR_SRAM_SIZE"]
        self.loop_limit = config["MAX_LOOP_INSTRUCTIONS"]
        amount = config["HBM_M_Prefetch_Amount"]
        self.pm = max(self.mlen, -(-amount // self.mlen) * self.mlen)
        self.pv, self.sv = config["HBM_V_Prefetch_Amount"], config["HBM_V_Writeback_Amount"]
        types = top["PRECISION"]
        self.types = {
            ("M", 0): _hbm_type(types["HBM_M_WEIGHT_TYPE"]),
            ("M", 1): _hbm_type(types["HBM_M_KV_TYPE"]),
            ("V", 0): _hbm_type(types["HBM_V_ACT_TYPE"]),
            ("V", 1): _hbm_type(types["HBM_V_KV_TYPE"]),
        }

    @classmethod
    def load(cls, path):
        with open(path, "rb") as file:
            return cls(tomllib.load(file))


@dataclass(frozen=True)
class Transfer:
    """One memory instruction as issued: `delta_ps` of compute passed since the one before."""

    delta_ps: int
    unit: str  # "M" or "V"
    store: bool
    kv: bool
    index: int
    scale_index: int
    step: int
    rows: int
    n: int
    type: MxType
    pc: int


@dataclass
class Outcome:
    """What the control side of a finished run leaves behind."""

    transfers: list = field(default_factory=list)
    tail_ps: int = 0  # compute after the last memory instruction
    compute_ps: int = 0
    counts: Counter = field(default_factory=Counter)
    gp: list = field(default_factory=list)
    int_sram: list = field(default_factory=list)
    dropped_rows: int = 0  # prefetched rows past the end of the vector SRAM


class Control:
    """Interpreter state of one run (§1.2); `run()` gives an `Outcome` or raises `ProgramError`."""

    def __init__(self, words, settings, isa="base", int_sram=(), topk=None):
        self.words = list(words)
        self.s = settings
        self.isa = isa
        self.gp = [0] * 16
        self.hbm = [0] * 16
        self.scale, self.stride, self.v_mask = 0, 1, 0
        self.int_sram = (list(int_sram) + [0] * 1024)[:1024]
        self.loops = []  # [start_pc, loop_reg, instruction_count], innermost last
        self.topk = topk  # callable for V_TOPK, whose indices need data
        self.pc = 0
        self.out = Outcome()
        self.pending_ps = 0
        for at, word in enumerate(self.words):
            if CODES[isa].get(word & 63) in ("M_BMM", "M_BTMM") and word >> 6 & 15:
                raise ProgramError(at, "load")

    def run(self, max_instructions=None):
        done = 0
        while self.pc < len(self.words):
            if max_instructions is not None and done >= max_instructions:
                break
            self.step()
            done += 1
        out = self.out
        out.tail_ps, out.gp, out.int_sram = self.pending_ps, self.gp, self.int_sram
        return out

    def step(self):
        for loop in self.loops:
            loop[2] += 1
            if loop[2] > self.s.loop_limit:
                raise ProgramError(self.pc, "loop-limit", f"loop at pc={loop[0]}, limit {self.s.loop_limit}")
        word = self.words[self.pc]
        name = CODES[self.isa].get(word & 63)
        if name is None:
            raise ProgramError(self.pc, "opcode", hex(word))
        self.name = name
        self.rd, self.rs1, self.rs2 = word >> 6 & 15, word >> 10 & 15, word >> 14 & 15
        self.rs3, self.funct1 = word >> 18 & 15, word >> 22 & 15
        self.imm22, self.imm18 = word >> 10, word >> 14
        self.out.counts[name] += 1
        self.next_pc = self.pc + 1
        if name in FREE_WHEN_RD_ZERO and self.rd == 0:
            cycles = 0
        else:
            execute = getattr(self, "_" + name.lower(), None) or self._family(name)
            cycles = execute()
        self.out.compute_ps += cycles * 1000
        self.pending_ps += cycles * 1000
        self.pc = self.next_pc

    # --- helpers ------------------------------------------------------------------------------
    def fail(self, kind, detail=""):
        raise ProgramError(self.pc, kind, detail)

    def fp(self, index):
        if index >= 8:
            self.fail("fp-index", f"f{index}")

    def row(self, address):
        if address % self.s.vlen or address // self.s.vlen >= self.s.rows:
            self.fail("vector-address", address)

    def tile(self, address):
        if address % self.s.mlen**2 or address // self.s.mlen**2 >= self.s.tiles:
            self.fail("matrix-address", address)

    def sram(self, length=1):
        at = self.gp[self.rs1] + self.imm18 & U32
        if at + length > 1024:
            self.fail("sram-address", at)
        return at

    def cost(self, key):
        return self.s.cycles[key]

    def _family(self, name):
        for prefix in ("V_", "S_", "H_"):
            if name.startswith(prefix):
                return {"V_": self._vector, "S_": self._scalar, "H_": self._dma}[prefix]
        raise NotImplementedError(name)

    # --- matrix (§1.4) ------------------------------------------------------------------------
    def _systolic(self):
        return self.cost("SYSTOLIC_PROCESSING_OVERHEAD")

    def _columns(self, address, transposed):
        """Tile and column offset of M_MM / M_TMM / M_MV."""
        mlen, blen = self.s.mlen, self.s.blen
        off = address % mlen**2
        if transposed:
            if off % mlen:
                self.fail("matrix-offset", address)
            off //= mlen
        if off % blen or off + blen > mlen:
            self.fail("matrix-offset", address)
        self.tile(address - address % mlen**2)

    def _block_rows(self, address):
        for i in range(self.s.blen):
            self.row(address + i * self.s.mlen)

    def _m_mm(self):
        self._columns(self.gp[self.rs1], self.isa == "moe")
        self._block_rows(self.gp[self.rs2])
        return self._systolic() + self.s.mlen

    def _m_tmm(self):
        self._columns(self.gp[self.rs2], True)
        self._block_rows(self.gp[self.rs1])
        return self._systolic() + self.s.mlen

    def _head(self, address, transposed):
        """Tile slice of the broadcast operations."""
        mlen, blen, hlen = self.s.mlen, self.s.blen, self.s.hlen
        if self.s.broadcast * hlen != mlen:
            self.fail("broadcast")
        o1 = address % (mlen**2 if transposed else mlen * blen)
        h = o1 % mlen
        o2 = o1 - h
        if o2 % blen or h % hlen or o2 + mlen > mlen or h + hlen > mlen:
            self.fail("matrix-offset", address)
        self.tile(address - o1)

    def _m_bmm(self, transposed=False):
        self._head(self.gp[self.rs1], transposed)
        for i in range(self.s.mlen):
            self.row(self.gp[self.rs2] + i * self.s.vlen)
        return self._systolic() + self.s.mlen

    def _m_btmm(self):
        return self._m_bmm(True)

    def _m_bmv(self, transposed=False):
        self._head(self.gp[self.rs1] + self.gp[self.rd] & U32, transposed)
        self.row(self.gp[self.rs2])
        return self._systolic() + 1

    def _m_btmv(self):
        return self._m_bmv(True)

    def _m_mv(self):
        self._columns(self.gp[self.rs1], False)
        self.row(self.gp[self.rs2])
        return self.s.mlen

    def _m_tmv(self):
        self.tile(self.gp[self.rs1])
        self.row(self.gp[self.rs2])
        return self.s.mlen

    def _write_out(self, rows, stride):
        address = self.gp[self.rd] + self.imm18 & U32
        off = address % self.s.mlen
        if off % self.s.blen or off + self.s.blen > self.s.mlen:
            self.fail("vector-address", address)
        for i in range(rows):
            self.row(address - off + i * self.s.mlen * stride)
        return 1

    def _m_mm_wo(self):
        return self._write_out(self.s.blen, self.gp[self.rs1] if self.rs1 else 1)

    def _m_mv_wo(self):
        return self._write_out(1, 1)

    def _heads_out(self, rows):
        address = self.gp[self.rd] + self.imm18 & U32
        if address % self.s.mlen:
            self.fail("vector-address", address)
        if self.s.broadcast * self.s.hlen != self.s.mlen:
            self.fail("broadcast")
        for i in range(self.s.broadcast * rows):
            self.row(address + i * self.s.mlen)
        return 1

    def _m_bmm_wo(self):
        return self._heads_out(self.s.mlen)

    def _m_bmv_wo(self):
        return self._heads_out(1)

    # --- vector (§1.5, §1.8) ------------------------------------------------------------------
    def _vector(self):
        name = self.name
        self.row(self.gp[self.rs1])
        if name.endswith("_VV"):
            self.row(self.gp[self.rs2])
        if name.endswith("_VF"):
            self.fp(self.rs2)
        if name.startswith("V_RED"):
            self.fp(self.rd)
        else:
            self.row(self.gp[self.rd])
        key = {
            "V_ADD": "ADD", "V_SUB": "ADD", "V_MUL": "MUL", "V_EXP": "EXP", "V_REC": "RECI", "V_SHI": "MUL",
            "V_MAX": "MAX", "V_MIN": "MAX", "V_RED": name[6:],
        }[name[:5]]  # fmt: skip
        return self.cost(f"VECTOR_{key}_CYCLES")

    def _v_topk(self):
        logits, chosen = {0: (32, 4), 1: (128, 8)}.get(self.rs3) or self.fail("policy", self.rs3)
        for i in range(-(-logits // self.s.vlen)):
            self.row(self.gp[self.rs1] + i * self.s.vlen)
        if self.gp[self.rd] + chosen > 1024 or self.gp[self.rs2] + chosen > 1024:
            self.fail("sram-address")
        self.int_sram[self.gp[self.rs2] : self.gp[self.rs2] + chosen] = self.topk(self)
        return self.cost("VECTOR_MAX_CYCLES") * logits

    # --- scalar (§1.6) ------------------------------------------------------------------------
    def _scalar(self):
        name, gp = self.name, self.gp
        if name in _FP3 or name in _FP2:
            for index in (self.rd, self.rs1) + ((self.rs2,) if name in _FP3 else ()):
                self.fp(index)
            unit = {"S_EXP_FP": "EXP", "S_RECI_FP": "RECI", "S_SQRT_FP": "SQRT"}.get(name, "BASIC")
            return self.cost(f"SCALAR_FP_{unit}_CYCLES")
        if name in ("S_LD_FP", "S_ST_FP"):
            self.fp(self.rd)
            self.sram()
            return 1
        if name == "S_MAP_V_FP":
            self.sram(self.s.vlen)
            self.row(gp[self.rd])
            return 2 * self.s.vlen
        if name == "S_ADD_INT":
            gp[self.rd] = gp[self.rs1] + gp[self.rs2] & U32
        elif name == "S_SUB_INT":
            gp[self.rd] = gp[self.rs1] - gp[self.rs2] & U32
        elif name == "S_MUL_INT":
            gp[self.rd] = gp[self.rs1] * gp[self.rs2] & U32
        elif name == "S_ADDI_INT":
            gp[self.rd] = gp[self.rs1] + self.imm18 & U32
        elif name == "S_LUI_INT":
            gp[self.rd] = self.imm22 << 12 & U32
        elif name == "S_LD_INT":
            gp[self.rd] = self.int_sram[self.sram()]
        else:
            self.int_sram[self.sram()] = gp[self.rd]
        return self.cost("SCALAR_INT_BASIC_CYCLES")

    # --- memory (§1.7, §3.2, §3.3) ------------------------------------------------------------
    def _dma(self):
        s = self.s
        store, matrix = self.name == "H_STORE_V", self.name == "H_PREFETCH_M"
        unit, n = ("M", s.mlen) if matrix else ("V", s.vlen)
        rows = s.pm if matrix else s.sv if store else s.pv
        kind = s.types[unit, int(self.funct1 != 0)]
        base, off, target = self.hbm[self.rs2], self.gp[self.rs1], self.gp[self.rd]
        step = self.stride if self.rs3 == 1 else n
        index = base + off & U64
        scale_index = base + self.scale + (off // kind.ratio if kind.block else 0) & U64
        kv = self.funct1 != 0
        transfer = Transfer(self.pending_ps, unit, store, kv, index, scale_index, step, rows, n, kind, self.pc)
        self._target(transfer, target)
        self.out.transfers.append(transfer)
        self.pending_ps = 0
        return 0

    def _target(self, transfer, target):
        s = self.s
        if transfer.unit == "M":
            self.tile(target + (transfer.rows // s.mlen - 1) * s.mlen**2)
        elif transfer.store:
            for i in range(transfer.rows):
                self.row(target + i * s.vlen)
            for first, length in store_spans(transfer):
                if first + length > s.hbm_size:
                    self.fail("hbm-address", first)
        else:
            if target % s.vlen:
                self.fail("vector-address", target)
            self.out.dropped_rows += max(0, min(transfer.rows, target // s.vlen + transfer.rows - s.rows))

    # --- control (§1.7) -----------------------------------------------------------------------
    def _c_set_addr_reg(self):
        self.hbm[self.rd] = self.gp[self.rs1] << 32 | self.gp[self.rs2]
        return 1

    def _c_set_scale_reg(self):
        self.scale = self.gp[self.rd]
        return 1

    def _c_set_stride_reg(self):
        self.stride = self.gp[self.rd]
        return 1

    def _c_set_v_mask_reg(self):
        self.v_mask = self.gp[self.rd]
        return 1

    def _c_loop_start(self):
        if self.imm22 == 0:
            self.fail("loop-count")
        self.gp[self.rd] = self.imm22
        self.loops.append([self.pc, self.rd, 0])
        return 1

    def _c_loop_end(self):
        for at in reversed(range(len(self.loops))):
            if self.loops[at][1] == self.rd:
                break
        else:
            self.fail("loop-end")
        if self.gp[self.rd] > 1:
            self.gp[self.rd] -= 1
            self.loops[at][2] = 0
            self.next_pc = self.loops[at][0] + 1
        else:
            self.gp[self.rd] = 0
            del self.loops[at]
        return 1

    def _c_break(self):
        if not self.loops:
            self.fail("break")
        self.gp[self.loops.pop()[1]] = 0
        return 1


def _f32(x):
    import numpy as np

    return np.float32(x)


def row_spans(transfer, row):
    """(element address, bytes) and (scale address, bytes) of one row (§3.2)."""
    kind = transfer.type
    element = transfer.index + (row * transfer.step & U32) & U64
    offset = int(_f32(row) * (_f32(transfer.step) / _f32(kind.ratio)))
    scale = transfer.scale_index + offset & U64
    return (element, kind.row_bytes(transfer.n)), (scale, kind.scale_bytes(transfer.n))


def blocks(first, length):
    """Addresses of the 64-byte blocks that [first, first + length) touches, ascending."""
    at = first - first % 64
    while at < first + length:
        yield at & U64
        at += 64


def access_list(transfer):
    """64-byte block addresses of a transfer in issue order: reads of a prefetch, read-write pairs of a store."""
    out = []
    for row in range(transfer.rows):
        (element, length), (scale, scale_length) = row_spans(transfer, row)
        out += blocks(element, length)
        if scale_length:
            out += blocks(scale, scale_length) if transfer.store else [scale - scale % 64]
    return out


def store_spans(transfer):
    """Byte ranges a store writes, in order (§3.3)."""
    for row in range(transfer.rows):
        yield from (span for span in row_spans(transfer, row) if span[1])


def read_words(path):
    """Words of a `.mem` file (§5.1)."""
    with open(path, encoding="ascii") as file:
        return [int(token, 16) for token in file.read().split()]


def read_ints(path):
    """u32 little-endian words of an integer SRAM preload."""
    with open(path, "rb") as file:
        data = file.read()
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data) - len(data) % 4, 4)]
