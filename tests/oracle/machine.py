"""The whole machine as an interpreter, one method an instruction (spec chapters 1 and 2, §3.2, §3.3).

Only data: nothing here knows about time. The vector SRAM and the HBM are kept as sparse
dictionaries, so that the stock sizes cost nothing.
"""

import numpy as np

from plena_emu import isa

from . import numerics as nm
from . import products as pr
from .state import U64, Hbm, OracleError, Settings, Violation

F32 = np.float32
U32 = 0xFFFFFFFF
BMM_SCALE = F32(0.25)
SRAM_WORDS = 1024  # of the integer and of the fp SRAM


def split(address: int, unit: int) -> tuple[int, int]:
    """(largest multiple of unit not above the address, the rest)."""
    return address - address % unit, address % unit


def clamped_exp(values: np.ndarray) -> np.ndarray:
    """exp of float32 values, rounded once; arguments are already clamped."""
    return np.exp(values.astype(np.float64)).astype(F32)


class Machine:
    """State and instructions of one machine. Dumps are what §2.7 says, as bytes without trailing zeros."""

    def __init__(
        self,
        settings: Settings,
        revision: str = "base",
        hbm: bytes = b"",
        fpsram: bytes = b"",
        intsram: bytes = b"",
        vram: bytes = b"",
    ):
        self.cfg, self.revision = settings, revision
        self.pc = 0
        self.executed = 0
        self.gp = [0] * 16
        self.fp = [F32(0)] * 8
        self.addr = [0] * 16
        self.scale, self.stride, self.v_mask = 0, 1, 0
        self.loops: list[list[int]] = []  # [start_pc, loop_reg, instruction_count]
        m, b, heads = settings.mlen, settings.blen, settings.broadcast
        self.m_accum = np.zeros((b, b), dtype=F32)
        self.hm_accum = np.zeros((heads, m, m), dtype=F32)
        self.hv_accum = np.zeros((heads, m), dtype=F32)
        self.v_accum = np.zeros((1, b), dtype=F32)
        self.tiles: dict[int, np.ndarray] = {}
        self.rows: dict[int, np.ndarray] = {}
        self.hbm = Hbm(settings.hbm_size, hbm)
        self.int_sram = self._preload_words(intsram, "<u4", "int").astype(np.int64)
        halves = self._preload_words(fpsram, "<f2", "fp").astype(F32)
        self.fp_sram = np.array([nm.to_bf16(v) for v in halves], dtype=F32)
        self._preload_rows(vram)

    @staticmethod
    def _preload_words(raw: bytes, dtype: str, name: str) -> np.ndarray:
        size = np.dtype(dtype).itemsize
        count = len(raw) // size
        if count > SRAM_WORDS:
            raise OracleError(f"{name} SRAM preload of {count} values, at most {SRAM_WORDS}")
        words = np.zeros(SRAM_WORDS, dtype=dtype)
        words[:count] = np.frombuffer(raw[: count * size], dtype=dtype)
        return words

    def _preload_rows(self, raw: bytes) -> None:
        elem = self.cfg.vector_type.elem
        row_bytes = self.cfg.vlen * elem.bits // 8
        count = -(-len(raw) // row_bytes)
        if count > self.cfg.vector_sram:
            raise OracleError(f"vector SRAM preload of {count} rows, SRAM has {self.cfg.vector_sram}")
        for r in range(count):
            part = raw[r * row_bytes : (r + 1) * row_bytes]
            self.rows[r] = nm.decode(elem, nm.unpack_codes(part, elem.bits, self.cfg.vlen))

    # --- running ----------------------------------------------------------------------------

    def run(self, words: list[int], max_instructions: int | None = None) -> "Machine":
        """Run a program to its end; raises OracleError."""
        codes = isa.codes(self.revision)
        ops = [codes.get(isa.field(word, "opcode")) for word in words]
        fields = [{name: isa.field(word, name) for name in isa.FIELDS} for word in words]
        for pc, op in enumerate(ops):
            if op is not None and op.id in isa.RD_MUST_BE_ZERO and fields[pc]["rd"] != 0:
                raise OracleError(f"{op.mnemonic} with rd={fields[pc]['rd']}, must be 0", pc)
        with np.errstate(all="ignore"):
            while self.pc < len(words):
                if self.executed == max_instructions:
                    raise OracleError(f"more than {max_instructions} instructions", self.pc)
                self._step(ops[self.pc], fields[self.pc])
        return self

    def _step(self, op: isa.Op | None, f: dict) -> None:
        pc = self.pc
        try:
            for loop in self.loops:
                loop[2] += 1
                if loop[2] > self.cfg.max_loop:
                    raise Violation(f"loop at pc={loop[0]} ran more than {self.cfg.max_loop} instructions")
            if op is None:
                raise Violation("invalid instruction")
            self.pc = pc + 1
            if not (op.id in isa.FREE_WHEN_RD_ZERO and f["rd"] == 0):
                getattr(self, op.mnemonic.lower())(f)
        except Violation as error:
            raise OracleError(f"{op.mnemonic if op else '?'}: {error}", pc) from None
        self.executed += 1

    # --- state access -----------------------------------------------------------------------

    def get_fp(self, index: int) -> np.float32:
        if index >= 8:
            raise Violation(f"fp register {index}, there are 8")
        return self.fp[index]

    def set_fp(self, index: int, value) -> None:
        self.get_fp(index)
        self.fp[index] = nm.to_bf16(value)

    def _row_index(self, address: int) -> int:
        row, rest = divmod(address, self.cfg.vlen)
        if rest or row >= self.cfg.vector_sram:
            raise Violation(f"vector row address {address}")
        return row

    def row(self, address: int) -> np.ndarray:
        return self.rows.get(self._row_index(address), np.zeros(self.cfg.vlen, dtype=F32))

    def set_row(self, address: int, values: np.ndarray) -> None:
        self.rows[self._row_index(address)] = nm.round_plain(self.cfg.vector_type.elem, values)

    def patch_row(self, address: int, offset: int, values: np.ndarray) -> None:
        """Replace part of a row; the rest keeps its bits."""
        row = self.row(address).copy()
        if offset + len(values) > self.cfg.vlen:
            raise Violation(f"elements {offset}+{len(values)} run past a row of {self.cfg.vlen}")
        row[offset : offset + len(values)] = values
        self.set_row(address, row)

    def _tile_index(self, address: int) -> int:
        index, rest = divmod(address, self.cfg.mlen**2)
        if rest or index >= self.cfg.matrix_sram // self.cfg.mlen:
            raise Violation(f"matrix tile address {address}")
        return index

    def tile(self, address: int) -> np.ndarray:
        m = self.cfg.mlen
        return self.tiles.get(self._tile_index(address), np.zeros((m, m), dtype=F32))

    def _sram(self, base: int, imm: int, count: int = 1) -> int:
        address = (self.gp[base] + imm) & U32
        if address + count > SRAM_WORDS:
            raise Violation(f"SRAM address {address}, {count} words, the SRAM has {SRAM_WORDS}")
        return address

    # --- matrix (§1.4) ----------------------------------------------------------------------

    @property
    def _fused(self) -> bool:
        """Whether M_MM, M_TMM, M_MV and M_TMV round once a term (§2.5)."""
        return self.cfg.blen > 8

    def _block_rows(self, v: int) -> np.ndarray:
        return np.stack([self.row(v + i * self.cfg.mlen) for i in range(self.cfg.blen)])

    def _column(self, offset: int, multiple_of: int) -> int:
        if offset % multiple_of or offset + self.cfg.blen > self.cfg.mlen:
            raise Violation(f"tile column {offset}")
        return offset

    def m_mm(self, f: dict) -> None:
        m, b = self.cfg.mlen, self.cfg.blen
        base, off = split(self.gp[f["rs1"]], m * m)
        if self.revision == "moe":
            if off % m:
                raise Violation(f"tile offset {off} is not a multiple of {m}")
            off //= m
        c = self._column(off, b)
        a, tile = self._block_rows(self.gp[f["rs2"]]), self.tile(base)
        order = pr.chunked if self._fused else pr.sequential
        self.m_accum = self.m_accum + order(a, tile[:, c : c + b], self._fused)

    def m_tmm(self, f: dict) -> None:
        m, b = self.cfg.mlen, self.cfg.blen
        base, off = split(self.gp[f["rs2"]], m * m)
        if off % m:
            raise Violation(f"tile offset {off} is not a multiple of {m}")
        c = self._column(off // m, b)
        a, tile = self._block_rows(self.gp[f["rs1"]]), self.tile(base)
        order = pr.chunked if self._fused else pr.four_lanes
        self.m_accum = self.m_accum + order(a, tile.T[:, c : c + b], self._fused)

    def m_mv(self, f: dict) -> None:
        m, b = self.cfg.mlen, self.cfg.blen
        base, off = split(self.gp[f["rs1"]], m * m)
        c = self._column(off, b)
        row, tile = self.row(self.gp[f["rs2"]]), self.tile(base)
        self.v_accum = self.v_accum + pr.sequential(row[None], tile[:, c : c + b], self._fused)

    def m_tmv(self, f: dict) -> None:
        row, tile = self.row(self.gp[f["rs2"]]), self.tile(self.gp[f["rs1"]])
        self.v_accum = self.v_accum + pr.four_lanes_with_head(row[None], tile.T[:, : self.cfg.blen], self._fused)

    def _head_slice(self, address: int, transposed: bool) -> np.ndarray:
        """The operand S of a broadcast product as [HLEN, MLEN]."""
        m, b, head = self.cfg.mlen, self.cfg.blen, self.cfg.hlen
        if self.cfg.broadcast * head != m:
            raise Violation(f"BROADCAST_AMOUNT {self.cfg.broadcast} is not {m}/{head}")
        base, rest = split(address, m * m if transposed else m * b)
        o2, h = split(rest, m)
        if o2 % b or h % head or o2 + m > m or h + head > m:
            raise Violation(f"tile slice {o2}, {h}")
        tile = self.tile(base)
        return tile[o2 : o2 + m, h : h + head].T if transposed else tile[h : h + head, o2 : o2 + m]

    def _head(self, rows: np.ndarray, i: int, transposed: bool) -> np.ndarray:
        """V_i as [rows, HLEN]."""
        if transposed:
            return rows[:, i * self.cfg.hlen : (i + 1) * self.cfg.hlen]
        return rows[:, i :: self.cfg.broadcast]

    def _broadcast_matrix(self, f: dict, transposed: bool) -> None:
        s = self._head_slice(self.gp[f["rs1"]], transposed)
        v = self.gp[f["rs2"]]
        rows = np.stack([self.row(v + r * self.cfg.mlen) for r in range(self.cfg.mlen)])
        for i in range(self.cfg.broadcast):
            product = pr.chunked(self._head(rows, i, transposed), s, True)
            self.hm_accum[i] = self.hm_accum[i] + product * BMM_SCALE

    def m_bmm(self, f: dict) -> None:
        self._broadcast_matrix(f, False)

    def m_btmm(self, f: dict) -> None:
        self._broadcast_matrix(f, True)

    def _broadcast_vector(self, f: dict, transposed: bool) -> None:
        s = self._head_slice((self.gp[f["rs1"]] + self.gp[f["rd"]]) & U32, transposed)
        row = self.row(self.gp[f["rs2"]])[None]
        order = pr.four_lanes_with_head if transposed else pr.sequential
        for i in range(self.cfg.broadcast):
            product = order(self._head(row, i, transposed), s, True)[0]
            self.hv_accum[i] = self.hv_accum[i] + product * BMM_SCALE

    def m_bmv(self, f: dict) -> None:
        self._broadcast_vector(f, False)

    def m_btmv(self, f: dict) -> None:
        self._broadcast_vector(f, True)

    def _write_out_address(self, f: dict) -> int:
        return (self.gp[f["rd"]] + f["imm18"]) & U32

    def _block_address(self, f: dict) -> tuple[int, int]:
        base, off = split(self._write_out_address(f), self.cfg.mlen)
        if off % self.cfg.blen:
            raise Violation(f"row offset {off} is not a multiple of {self.cfg.blen}")
        return base, off

    def m_mm_wo(self, f: dict) -> None:
        base, off = self._block_address(f)
        stride = self.gp[f["rs1"]] if f["rs1"] else 1
        for i in range(self.cfg.blen):
            self.patch_row(base + i * self.cfg.mlen * stride, off, self.m_accum[i])
        self.m_accum = np.zeros_like(self.m_accum)

    def m_mv_wo(self, f: dict) -> None:
        base, off = self._block_address(f)
        self.patch_row(base, off, self.v_accum[0])
        self.v_accum = np.zeros_like(self.v_accum)

    def m_bmm_wo(self, f: dict) -> None:
        a, m = self._write_out_address(f), self.cfg.mlen
        for j in range(self.cfg.broadcast):
            for i in range(m):
                self.set_row(a + (j * m + i) * m, self.hm_accum[j, i])
        self.hm_accum = np.zeros_like(self.hm_accum)

    def m_bmv_wo(self, f: dict) -> None:
        a, m = self._write_out_address(f), self.cfg.mlen
        for j in range(self.cfg.broadcast):
            self.set_row(a + j * m, self.hv_accum[j])
        self.hv_accum = np.zeros_like(self.hv_accum)

    # --- vector (§1.5) ----------------------------------------------------------------------

    def _selected(self, f: dict) -> np.ndarray:
        """Which elements an instruction works on."""
        if f["rs3"] == 0:
            return np.ones(self.cfg.vlen, dtype=bool)
        element = np.arange(self.cfg.vlen)
        section = element // self.cfg.hlen
        bits = np.array([(self.v_mask >> int(h)) & 1 if h < 32 else 0 for h in section], dtype=bool)
        return bits & (section < self.cfg.vlen // self.cfg.hlen)

    def _write_masked(self, f: dict, result: np.ndarray, other: np.ndarray) -> None:
        self.set_row(self.gp[f["rd"]], np.where(self._selected(f), result, other))

    def _vector_vector(self, f: dict, function) -> None:
        a, b = self.row(self.gp[f["rs1"]]), self.row(self.gp[f["rs2"]])
        self._write_masked(f, function(a, b), a)

    def _vector_scalar(self, f: dict, function) -> None:
        a, s = self.row(self.gp[f["rs1"]]), self.get_fp(f["rs2"])
        self._write_masked(f, function(a, s), a)

    def v_add_vv(self, f: dict) -> None:
        self._vector_vector(f, np.add)

    def v_sub_vv(self, f: dict) -> None:
        self._vector_vector(f, np.subtract)

    def v_mul_vv(self, f: dict) -> None:
        self._vector_vector(f, np.multiply)

    def v_add_vf(self, f: dict) -> None:
        self._vector_scalar(f, np.add)

    def v_mul_vf(self, f: dict) -> None:
        self._vector_scalar(f, np.multiply)

    def v_sub_vf(self, f: dict) -> None:
        self._vector_scalar(f, (lambda a, s: -(a - s)) if f["funct1"] else np.subtract)

    def v_max_vf(self, f: dict) -> None:
        self._vector_scalar(f, lambda a, s: np.where(np.isnan(a) | np.isnan(s), F32(np.nan), np.where(a < s, s, a)))

    def v_min_vf(self, f: dict) -> None:
        self._vector_scalar(f, lambda a, s: np.where(np.isnan(a) | np.isnan(s), F32(np.nan), np.where(a > s, s, a)))

    def v_exp_v(self, f: dict) -> None:
        a = np.clip(self.row(self.gp[f["rs1"]]), F32(-88), F32(88))
        self._write_masked(f, clamped_exp(a), a)

    def v_reci_v(self, f: dict) -> None:
        a = self.row(self.gp[f["rs1"]])
        self._write_masked(f, F32(1) / a, a)

    def v_shift_v(self, f: dict) -> None:
        a, shift = self.row(self.gp[f["rs1"]]), min(self.gp[f["rs2"]], self.cfg.vlen)
        self.set_row(self.gp[f["rd"]], np.concatenate([np.zeros(shift, dtype=F32), a[: self.cfg.vlen - shift]]))

    def _reduced(self, f: dict, function) -> np.float32:
        """Row reduction, with every selected section first overwritten by its own result."""
        a = self.row(self.gp[f["rs1"]]).copy()
        if f["rs3"]:
            n, selected = self.cfg.hlen, self._selected(f)
            for start in range(0, self.cfg.vlen // n * n, n):
                if selected[start]:
                    a[start : start + n] = function(a[start : start + n])
        return function(a)

    def v_red_sum(self, f: dict) -> None:
        self.get_fp(f["rd"])
        self.set_fp(f["rd"], self.fp[f["rd"]] + self._reduced(f, pr.row_sum))

    def v_red_max(self, f: dict) -> None:
        old, peak = self.get_fp(f["rd"]), self._reduced(f, pr.row_max)
        if np.isnan(old) or peak >= old:  # an equal row maximum is taken: the sign of a zero changes
            self.set_fp(f["rd"], peak)

    def v_topk(self, f: dict) -> None:
        if f["rs3"] not in isa.TOPK_POLICIES:
            raise Violation(f"V_TOPK policy {f['rs3']}")
        count, top = isa.TOPK_POLICIES[f["rs3"]]
        rows = range(-(-count // self.cfg.vlen))
        logits = np.concatenate([self.row(self.gp[f["rs1"]] + r * self.cfg.vlen) for r in rows])[:count]
        logits = np.where(np.isnan(logits), F32(-np.inf), logits)
        chosen = np.argsort(-logits, kind="stable")[:top]
        powers = clamped_exp(logits[chosen] - logits[chosen[0]])
        total = F32(0)
        for power in powers:
            total = total + power
        usable = np.isfinite(total) and total > 0
        weights = powers / total if usable else np.zeros(top, dtype=F32)
        at_fp, at_int = self._sram(f["rd"], 0, top), self._sram(f["rs2"], 0, top)
        self.fp_sram[at_fp : at_fp + top] = [nm.to_bf16(w) for w in weights]
        self.int_sram[at_int : at_int + top] = chosen

    # --- scalar (§1.6) ----------------------------------------------------------------------

    def _fp2(self, f: dict, function) -> None:
        self.set_fp(f["rd"], function(self.get_fp(f["rs1"]), self.get_fp(f["rs2"])))

    def s_add_fp(self, f: dict) -> None:
        self._fp2(f, np.add)

    def s_sub_fp(self, f: dict) -> None:
        self._fp2(f, np.subtract)

    def s_mul_fp(self, f: dict) -> None:
        self._fp2(f, np.multiply)

    def s_max_fp(self, f: dict) -> None:
        self._fp2(f, lambda a, b: b if b > a else a)

    def s_exp_fp(self, f: dict) -> None:
        self.set_fp(f["rd"], clamped_exp(np.clip(self.get_fp(f["rs1"]), F32(-88), F32(88))))

    def s_reci_fp(self, f: dict) -> None:
        self.set_fp(f["rd"], F32(1) / self.get_fp(f["rs1"]))

    def s_sqrt_fp(self, f: dict) -> None:
        self.set_fp(f["rd"], np.sqrt(self.get_fp(f["rs1"])))

    def s_ld_fp(self, f: dict) -> None:
        self.set_fp(f["rd"], self.fp_sram[self._sram(f["rs1"], f["imm18"])])

    def s_st_fp(self, f: dict) -> None:
        self.fp_sram[self._sram(f["rs1"], f["imm18"])] = self.get_fp(f["rd"])

    def s_map_v_fp(self, f: dict) -> None:
        start = self._sram(f["rs1"], f["imm18"], self.cfg.vlen)
        self.set_row(self.gp[f["rd"]], self.fp_sram[start : start + self.cfg.vlen])

    def s_add_int(self, f: dict) -> None:
        self.gp[f["rd"]] = (self.gp[f["rs1"]] + self.gp[f["rs2"]]) & U32

    def s_sub_int(self, f: dict) -> None:
        self.gp[f["rd"]] = (self.gp[f["rs1"]] - self.gp[f["rs2"]]) & U32

    def s_mul_int(self, f: dict) -> None:
        self.gp[f["rd"]] = (self.gp[f["rs1"]] * self.gp[f["rs2"]]) & U32

    def s_addi_int(self, f: dict) -> None:
        self.gp[f["rd"]] = (self.gp[f["rs1"]] + f["imm18"]) & U32

    def s_lui_int(self, f: dict) -> None:
        self.gp[f["rd"]] = (f["imm22"] << 12) & U32

    def s_ld_int(self, f: dict) -> None:
        self.gp[f["rd"]] = int(self.int_sram[self._sram(f["rs1"], f["imm18"])])

    def s_st_int(self, f: dict) -> None:
        self.int_sram[self._sram(f["rs1"], f["imm18"])] = self.gp[f["rd"]]

    # --- memory (§3.2, §3.3) ----------------------------------------------------------------

    def _row_addresses(self, f: dict, fmt: nm.Format, n: int, count: int):
        """(element address, scale address) of every row of a transfer."""
        step = self.stride if f["rs3"] == 1 else n
        base, off = self.addr[f["rs2"]], self.gp[f["rs1"]]
        scale_index = base + (self.scale if fmt.scale else 0) + off // fmt.ratio
        slope = F32(step) / F32(fmt.ratio)
        for r in range(count):
            yield (base + off + (r * step & U32)) & U64, (scale_index + int(np.trunc(F32(r) * slope))) & U64

    @staticmethod
    def _row_bytes(fmt: nm.Format, n: int) -> tuple[int, int]:
        """Element and scale bytes of a row."""
        return fmt.elem.bits * n // 8, fmt.scale.bits * (n // fmt.block) // 8 if fmt.scale else 0

    def _prefetch(self, f: dict, fmt: nm.Format, n: int, count: int) -> list[np.ndarray]:
        length, scale_length = self._row_bytes(fmt, n)
        rows = []
        for address, scale_address in self._row_addresses(f, fmt, n, count):
            elements = self.hbm.read(address, length)
            # One 64-byte block delivers the scales of a row; what lies beyond it stays 0.
            inside = min(scale_length, 64 - scale_address % 64)
            scales = self.hbm.read(scale_address, inside).ljust(scale_length, b"\0")
            rows.append(nm.decode_row(fmt, elements, scales, n))
        return rows

    def h_prefetch_m(self, f: dict) -> None:
        m, fmt = self.cfg.mlen, self.cfg.m_kv if f["funct1"] else self.cfg.m_weight
        rows = self._prefetch(f, fmt, m, self.cfg.pm)
        for t in range(self.cfg.pm // m):
            index = self._tile_index(self.gp[f["rd"]] + t * m * m)
            self.tiles[index] = np.stack(rows[t * m : (t + 1) * m])

    def h_prefetch_v(self, f: dict) -> None:
        n, fmt = self.cfg.vlen, self.cfg.v_kv if f["funct1"] else self.cfg.v_act
        target, rest = divmod(self.gp[f["rd"]], n)
        if rest:
            raise Violation(f"vector row address {self.gp[f['rd']]}")
        for r, row in enumerate(self._prefetch(f, fmt, n, self.cfg.prefetch_v)):
            if target + r < self.cfg.vector_sram:
                self.set_row((target + r) * n, row)

    def h_store_v(self, f: dict) -> None:
        n, fmt = self.cfg.vlen, self.cfg.v_kv if f["funct1"] else self.cfg.v_act
        for i, (address, scale_address) in enumerate(self._row_addresses(f, fmt, n, self.cfg.store_v)):
            elements, scales = nm.encode_row(fmt, self.row(self.gp[f["rd"]] + i * n), self.revision)
            self.hbm.write(address, elements)
            self.hbm.write(scale_address, scales)

    # --- control (§1.7) ---------------------------------------------------------------------

    def c_set_addr_reg(self, f: dict) -> None:
        self.addr[f["rd"]] = (self.gp[f["rs1"]] << 32) | self.gp[f["rs2"]]

    def c_set_scale_reg(self, f: dict) -> None:
        self.scale = self.gp[f["rd"]]

    def c_set_stride_reg(self, f: dict) -> None:
        self.stride = self.gp[f["rd"]]

    def c_set_v_mask_reg(self, f: dict) -> None:
        self.v_mask = self.gp[f["rd"]]

    def c_loop_start(self, f: dict) -> None:
        if f["imm22"] == 0:
            raise Violation("loop of 0 iterations")
        self.gp[f["rd"]] = f["imm22"]
        self.loops.append([self.pc - 1, f["rd"], 0])

    def c_loop_end(self, f: dict) -> None:
        found = [loop for loop in self.loops if loop[1] == f["rd"]]
        if not found:
            raise Violation(f"no active loop with register gp{f['rd']}")
        loop = found[-1]
        if self.gp[f["rd"]] > 1:
            self.gp[f["rd"]] -= 1
            loop[2] = 0
            self.pc = loop[0] + 1
        else:
            self.gp[f["rd"]] = 0
            self.loops = [other for other in self.loops if other is not loop]

    def c_break(self, f: dict) -> None:
        if not self.loops:
            raise Violation("no active loop")
        self.gp[self.loops.pop()[1]] = 0

    # --- dumps (§2.7) -----------------------------------------------------------------------

    def dumps(self) -> dict[str, bytes]:
        """Dump files by name, each without its trailing zero bytes."""
        tile_type, row_type = self.cfg.matrix_type.elem, self.cfg.vector_type.elem
        m, v = self.cfg.mlen, self.cfg.vlen
        files = {
            "vram_dump.bin": _dense(self.rows, v, row_type),
            "mram_dump.bin": _dense(self.tiles, m * m, tile_type),
            "fpsram_dump.bin": nm.pack_codes(nm.encode_plain(nm.BF16, self.fp_sram), 16),
            "hbm_dump.bin": self.hbm.content(),
        }
        if self.revision == "moe":
            files["intsram_dump.bin"] = self.int_sram.astype("<u4").tobytes()
        return {name: raw.rstrip(b"\0") for name, raw in files.items()}


def _dense(parts: dict[int, np.ndarray], elements: int, dtype: nm.DataType) -> bytes:
    """Sparse parts of an SRAM as its bytes, up to the last part that was touched."""
    size = elements * dtype.bits // 8
    out = bytearray((max(parts) + 1) * size if parts else 0)
    for index, values in parts.items():
        out[index * size : (index + 1) * size] = nm.pack_codes(nm.encode_plain(dtype, values.ravel()), dtype.bits)
    return bytes(out)
