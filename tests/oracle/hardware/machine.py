"""A run under spec chapter 7: data and serial time of every instruction, and what the scoreboard needs of it.

The data oracle of the chapters before does everything but the DMAs, which move whole rows here (§7.2), and the
broadcast products, which need not fill a row (§7.1).
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import numerics as nm
from ..machine import Machine, split
from ..state import OracleError, Settings, Violation
from .channels import Memory
from .lines import LINE, Packing, Unpackable, pieces, plan

FREE = (
    "V_RED_SUM", "V_RED_MAX", "S_ADD_FP", "S_SUB_FP", "S_MAX_FP", "S_MUL_FP", "S_EXP_FP", "S_RECI_FP", "S_SQRT_FP",
)  # fmt: skip


@dataclass(frozen=True)
class Hardware:
    """What the settings file says beyond the data oracle's `Settings`."""

    cycles: dict[str, int]
    period: int
    channels: int
    weight: nm.DataType
    matrix_sram: nm.DataType
    vector_sram: nm.DataType
    scalar: nm.DataType

    @classmethod
    def parse(cls, document: dict, channels: int | None = None) -> "Hardware":
        """From a parsed settings document; `channels` is the flag, which wins."""
        table = document["TRANSACTIONAL"]
        config, types = table["CONFIG"], table["PRECISION"]
        column = "dc_lib_en" if config["DC_EN"]["value"] else "dc_lib_dis"
        return cls(
            cycles={key: entry[column] for key, entry in table["LATENCY"].items()},
            period=config.get("CLOCK_PERIOD_PS", {"value": 1000})["value"],
            channels=channels or config.get("HBM_CHANNELS", {"value": 8})["value"],
            weight=nm.parse_format(types["HBM_M_WEIGHT_TYPE"]).elem,
            matrix_sram=nm.parse_format(types["MATRIX_SRAM_TYPE"]).elem,
            vector_sram=nm.parse_format(types["VECTOR_SRAM_TYPE"]).elem,
            scalar=nm.parse_data_type(types["SCALAR_FP"]),
        )


@dataclass(frozen=True)
class Dma:
    """What one DMA moved."""

    store: bool
    elements: int
    payload_bits: int
    packed_bytes: int
    read_lines: int
    write_lines: int


@dataclass(frozen=True)
class Executed:
    """One executed instruction: `gp` is before it, times are ps of the serial run."""

    pc: int
    op: str
    fields: dict
    gp: tuple[int, ...]
    start: int
    end: int
    dma: Dma | None


class HardwareMachine(Machine):
    """`Machine` with production DMA on hbm2; `log` is everything it executed, `now` the serial time."""

    def __init__(self, settings: Settings, hardware: Hardware, **preloads):
        super().__init__(settings, "base", **preloads)
        self.hardware = hardware
        self.memory = Memory(hardware.channels)
        self.fp_sram = np.concatenate([self.fp_sram, np.zeros(1024, dtype=np.float32)])
        self.now = 0
        self.log: list[Executed] = []
        self._dma: Dma | None = None

    def _step(self, op, f):
        pc, gp, start = self.pc, tuple(self.gp), self.now
        self._dma = None
        try:
            super()._step(op, f)
        except Unpackable as error:
            raise OracleError(f"{op.mnemonic}: {error}", pc) from None
        self.now += self.cycles_of(op.mnemonic, f["rd"]) * self.hardware.period
        self.log.append(Executed(pc, op.mnemonic, f, gp, start, self.now, self._dma))

    def cycles_of(self, name: str, rd: int) -> int:
        """Serial core cycles of an instruction (chapter 1); 0 for a DMA."""
        c, cfg = self.hardware.cycles, self.cfg
        if name in FREE and rd == 0:
            return 0
        if name in ("M_MM", "M_TMM", "M_BMM", "M_BTMM"):
            return c["SYSTOLIC_PROCESSING_OVERHEAD"] + cfg.mlen
        if name in ("M_BMV", "M_BTMV"):
            return c["SYSTOLIC_PROCESSING_OVERHEAD"] + 1
        if name in ("M_MV", "M_TMV"):
            return cfg.mlen
        if name.startswith("V_"):
            key = {"V_ADD": "ADD", "V_SUB": "ADD", "V_MUL": "MUL", "V_EXP": "EXP", "V_REC": "RECI", "V_SHI": "MUL"}
            return c[f"VECTOR_{key.get(name[:5]) or name[6:]}_CYCLES"]
        if name.endswith("_INT"):
            return c["SCALAR_INT_BASIC_CYCLES"]
        if name == "S_MAP_V_FP":
            return 2 * cfg.vlen
        if name in FREE:
            unit = {"S_EXP_FP": "EXP", "S_RECI_FP": "RECI", "S_SQRT_FP": "SQRT"}.get(name, "BASIC")
            return c[f"SCALAR_FP_{unit}_CYCLES"]
        return 0 if name.startswith("H_") else 1

    # --- broadcast products that need not fill a row (§7.1) ------------------------------------

    def _head_slice(self, address, transposed):
        m, b, head = self.cfg.mlen, self.cfg.blen, self.cfg.hlen
        if self.cfg.broadcast * head > m:
            raise Violation(f"BROADCAST_AMOUNT {self.cfg.broadcast} of HLEN {head} is more than MLEN {m}")
        base, rest = split(address, m * m if transposed else m * b)
        o2, h = split(rest, m)
        if o2 % b or h % head or o2 + m > m or h + head > m:
            raise Violation(f"tile slice {o2}, {h}")
        tile = self.tile(base)
        return tile[o2 : o2 + m, h : h + head].T if transposed else tile[h : h + head, o2 : o2 + m]

    def _head(self, rows, i, transposed):
        return super()._head(rows[:, : self.cfg.broadcast * self.cfg.hlen], i, transposed)

    # --- DMA (§7.2, §7.3) ----------------------------------------------------------------------

    def _transfer(self, f: dict, fmt: nm.Format, n: int, rows: int, store: bool):
        """Pieces of a DMA, by row and kind; time and counts are taken."""
        packing = Packing(fmt.elem.bits, fmt.scale.bits if fmt.scale else 0, fmt.block)
        step = self.stride if f["rs3"] == 1 else n
        found = pieces(packing, n, rows, self.addr[f["rs2"]], self.gp[f["rs1"]], step, self.scale)
        lines = plan(found, store)
        if store and any(p.first + p.length > self.cfg.hbm_size for p in found):
            raise Violation("write outside the HBM")
        self.now = self.memory.transfer(lines, self.now)
        row_bits = n * packing.bits, (n // packing.block * packing.scale_bits if packing.block else 0)
        self._dma = Dma(store, n * rows, sum(row_bits) * rows, sum(-(-bits // 8) for bits in row_bits) * rows,
                        len(lines.reads), len(lines.writes))
        return {(p.row, p.scales): p for p in found}

    def _prefetch(self, f, fmt, n, count):
        found = self._transfer(f, fmt, n, count, False)
        rows = []
        for row in range(count):
            raw = [self.hbm.read(found[key].first, found[key].length) if (key := (row, scales)) in found else b""
                   for scales in (False, True)]
            rows.append(nm.decode_row(fmt, *raw, n))
        return rows

    def h_store_v(self, f):
        n, fmt = self.cfg.vlen, self.cfg.v_kv if f["funct1"] else self.cfg.v_act
        source = [self.row(self.gp[f["rd"]] + i * n) for i in range(self.cfg.store_v)]
        found = self._transfer(f, fmt, n, self.cfg.store_v, True)
        for i, row in enumerate(source):
            for scales, raw in enumerate(nm.encode_row(fmt, row, "base")):
                if (i, bool(scales)) in found:
                    self.hbm.write(found[i, bool(scales)].first, raw)

    @property
    def bytes_moved(self) -> tuple[int, int]:
        """Bytes read and written (§3.10)."""
        done = [entry.dma for entry in self.log if entry.dma]
        return LINE * sum(dma.read_lines for dma in done), LINE * sum(dma.write_lines for dma in done)


def load(directory: Path, channels: int | None = None) -> HardwareMachine:
    """Machine of a build directory (§5.6)."""
    def raw(name):
        return (directory / name).read_bytes() if (directory / name).exists() else b""

    document = tomllib.loads((directory / "plena_settings.toml").read_text())
    size = raw("hbm_size.txt").strip()
    return HardwareMachine(
        Settings.parse(document, int(size) if size else None), Hardware.parse(document, channels),
        hbm=raw("hbm_for_behave_sim.bin"), fpsram=raw("fp_sram.bin"), intsram=raw("int_sram.bin"),
        vram=raw("vram_preload.bin"),
    )
