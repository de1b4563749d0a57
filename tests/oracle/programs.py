"""Random legal programs with their settings and preloads, and illegal ones made from them.

`generate` is a function of its arguments alone, so that a failing case is reproduced by them.
Programs are legal by construction: addresses are put into registers just before they are used, or follow
a loop whose bounds are known; everything else is free to be nonsense.
"""

import copy
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tomlkit
from support import settings_document

from . import numerics as nm
from .machine import Machine
from .state import Settings
from .writer import Writer

FLAVOURS = ("tame", "edge")  # values in range; or every code there is, with NaN, Inf and subnormals


@dataclass(frozen=True)
class Geometry:
    """A configuration; SRAM sizes in tiles and rows, amounts in rows."""

    mlen: int
    hlen: int
    blen: int
    tiles: int
    rows: int
    prefetch_m: int
    prefetch_v: int
    store_v: int


# Edge lengths that reach every summation order: one chunk, two halves (192 < K < 384), chunks of 192; rows with and
# without leftover vectors and tail elements; amounts that need rounding up.
GEOMETRIES = (
    Geometry(16, 4, 4, 4, 96, 16, 4, 4),
    Geometry(16, 16, 4, 4, 48, 32, 3, 2),
    Geometry(8, 4, 2, 6, 64, 20, 5, 1),
    Geometry(32, 8, 8, 4, 160, 32, 8, 8),
    Geometry(32, 32, 16, 3, 96, 7, 2, 3),
    Geometry(64, 16, 16, 3, 288, 64, 5, 7),
    Geometry(64, 16, 4, 2, 272, 128, 4, 4),
    Geometry(24, 8, 6, 5, 90, 24, 3, 3),
    Geometry(40, 8, 10, 3, 220, 1, 2, 5),
    Geometry(128, 32, 16, 2, 520, 128, 4, 4),
    Geometry(208, 104, 26, 2, 430, 208, 2, 2),
    Geometry(256, 128, 8, 2, 520, 256, 3, 2),
)
SMALL_GEOMETRIES = 5


@dataclass(frozen=True)
class Program:
    """A program in a build directory's worth of inputs."""

    arguments: dict
    revision: str
    document: dict
    words: list[int]
    preloads: dict[str, bytes] = field(repr=False)

    def settings(self) -> Settings:
        return Settings.parse(self.document)

    def machine(self) -> Machine:
        """The oracle, loaded."""
        return Machine(self.settings(), self.revision, **self.preloads)

    def differences(self, expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
        """One line for every dump that differs in more than the bits of a NaN (trailing zeros do not count)."""
        settings = self.settings()
        types = {
            "vram_dump.bin": settings.vector_type.elem,
            "mram_dump.bin": settings.matrix_type.elem,
            "fpsram_dump.bin": nm.BF16,
        }
        lines = []
        for name, want in expected.items():
            got = found[name].rstrip(b"\0")
            if name in types:
                want, got = nm.canonical(types[name], want), nm.canonical(types[name], got)
            size = max(len(want), len(got))
            want, got = (np.frombuffer(raw.ljust(size, b"\0"), dtype=np.uint8) for raw in (want, got))
            where = np.nonzero(want != got)[0]
            if len(where):
                first = int(where[0])
                lines.append(f"{name}: {len(where)} bytes differ, the first at {first}: {got[first]} for {want[first]}")
        return lines

    def write(self, directory: Path) -> Path:
        """Write the inputs under the names of §5.6."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "plena_settings.toml").write_text(tomlkit.dumps(self.document))
        (directory / "generated_machine_code.mem").write_text("".join(f"0x{word:08X}\n" for word in self.words))
        names = {
            "hbm": "hbm_for_behave_sim.bin",
            "fpsram": "fp_sram.bin",
            "intsram": "int_sram.bin",
            "vram": "vram_preload.bin",
        }
        for key, name in names.items():
            (directory / name).write_bytes(self.preloads[key])
        return directory


def _fp(sign, exponent, mantissa):
    return {"type": "Fp", "sign": bool(sign), "exponent": exponent, "mantissa": mantissa}


def _storage_type(rng: random.Random, row: int, matrix: bool) -> dict:
    """A type for HBM rows of `row` elements.

    Plain ones for matrices only: a store would write the bits of a NaN, which are free, into the HBM.
    """
    if matrix and rng.random() < 0.1:
        return {"format": "Plain", "DATA_TYPE": _fp(True, 8, 7)}
    element = rng.choices(
        [_fp(1, 4, 3), _fp(1, 5, 2), _fp(1, 2, 1), _fp(1, 3, 4), _fp(1, 8, 7), {"type": "Int", "width": 8}],
        weights=[10, 8, 2, 2, 1, 1],
    )[0]
    blocks = [block for block in (8, 16, 32) if row % block == 0]
    return {"format": "Mx", "block": rng.choice(blocks), "ELEM": element, "SCALE": _fp(False, 8, 0)}


def settings_for(rng: random.Random, geometry: Geometry) -> dict:
    """Settings document of a geometry with random types and DC_EN."""
    document = copy.deepcopy(settings_document())
    table = document["TRANSACTIONAL"]
    values = {
        "MLEN": geometry.mlen,
        "VLEN": geometry.mlen,
        "HLEN": geometry.hlen,
        "BLEN": geometry.blen,
        "BROADCAST_AMOUNT": geometry.mlen // geometry.hlen,
        "HBM_SIZE": max(rng.choice([16384, 40960, 131072]), 4 * geometry.mlen**2) // 64 * 64 + 64 * rng.randrange(3),
        "MATRIX_SRAM_SIZE": geometry.tiles * geometry.mlen + rng.choice([0, geometry.mlen - 1]),
        "VECTOR_SRAM_SIZE": geometry.rows,
        "HBM_M_Prefetch_Amount": geometry.prefetch_m,
        "HBM_V_Prefetch_Amount": geometry.prefetch_v,
        "HBM_V_Writeback_Amount": geometry.store_v,
        "DC_EN": rng.randrange(2),
        "MAX_LOOP_INSTRUCTIONS": 20_000,
    }
    for key, value in values.items():
        table["CONFIG"][key]["value"] = value
    for key in ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE"):
        table["PRECISION"][key] = _storage_type(rng, geometry.mlen, key.startswith("HBM_M"))
    if rng.random() < 0.4:  # f32 shows every bit of a sum, which bf16 mostly rounds away
        for key in ("MATRIX_SRAM_TYPE", "VECTOR_SRAM_TYPE"):
            table["PRECISION"][key]["DATA_TYPE"] = _fp(True, 8, rng.choice([23, 23, 23, 10]))
    return document


EDGE_CODES = (
    0x0000, 0x8000, 0x0001, 0x8001, 0x007F, 0x0080, 0x3F80, 0xBF80, 0x3F81, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7F81,
    0x7FC0, 0xFFC1, 0x7FFF, 0x42B0, 0xC2B0, 0x42B1, 0xC2B1, 0x4000, 0x3F00, 0x2F80, 0x3089,
)  # fmt: skip


def bf16_codes(rng: np.random.Generator, count: int, flavour: str) -> np.ndarray:
    """Random bf16 codes."""
    sign = rng.integers(0, 2, count) << 15
    codes = sign | rng.integers(121, 131, count) << 7 | rng.integers(0, 128, count)
    codes[rng.random(count) < 0.05] &= 0x8000  # zeros of both signs
    if flavour == "edge":
        pick = rng.random(count)
        codes = np.where(pick < 0.3, rng.integers(0, 65536, count), codes)
        codes = np.where(pick < 0.15, rng.choice(EDGE_CODES, count), codes)
    return codes


def _preloads(rng: np.random.Generator, document: dict, flavour: str, table: list[int]) -> dict[str, bytes]:
    config = {key: entry["value"] for key, entry in document["TRANSACTIONAL"]["CONFIG"].items()}
    sram = document["TRANSACTIONAL"]["PRECISION"]["VECTOR_SRAM_TYPE"]["DATA_TYPE"]
    count = int(rng.integers(config["VECTOR_SRAM_SIZE"] // 2, config["VECTOR_SRAM_SIZE"] + 1)) * config["VLEN"]
    if rng.random() < 0.3:
        count -= 3  # a short last row
    codes = bf16_codes(rng, count, flavour)
    if sram["mantissa"] == 23:
        vram = (codes << 16 | rng.integers(0, 65536, count)).astype("<u4").tobytes()
    elif sram["mantissa"] == 7:
        vram = codes.astype("<u2").tobytes()
    else:
        vram = b""
    fp_values = rng.normal(0, 2, 1024).astype("<f2")
    if flavour == "edge":
        special = rng.integers(0, 65536, 1024).astype("<u2").view("<f2")
        fp_values = np.where(rng.random(1024) < 0.3, special, fp_values)
    hbm = rng.integers(0, 256, config["HBM_SIZE"], dtype=np.uint8)
    scales = config["HBM_SIZE"] * 3 // 4
    wild = rng.random(len(hbm)) < np.where(np.arange(len(hbm)) < scales, 0.005, 0.05) * (flavour == "edge")
    hbm[:scales] &= np.where(wild[:scales], 0xFF, 0xBF).astype(np.uint8)  # 0x40: top exponent bit of e4m3 and e5m2
    hbm[scales:] = np.where(wild[scales:], hbm[scales:], rng.integers(120, 131, len(hbm) - scales))
    words = np.concatenate([rng.integers(0, 2**32, Writer.INT_TABLE), np.array(table, dtype=np.int64)])
    return {
        "hbm": hbm.tobytes()[: config["HBM_SIZE"] - int(rng.integers(0, 2)) * 1000],
        "fpsram": fp_values.astype("<f2")[: int(rng.integers(900, 1025))].tobytes() + b"\x01" * int(rng.integers(2)),
        "intsram": words.astype("<u4").tobytes(),
        "vram": vram,
    }


def generate(
    seed: int,
    geometry: int = 0,
    revision: str = "base",
    flavour: str = "tame",
    statements: int = 30,
    illegal: str | None = None,
) -> Program:
    """A random program; with `illegal` (a name of `writer.ILLEGAL`) one that stops with an error half way."""
    arguments = dict(locals())
    rng = random.Random(f"{seed} {geometry} {revision} {flavour}")
    document = settings_for(rng, GEOMETRIES[geometry])
    writer = Writer(rng, Settings.parse(document), revision)
    writer.fill_tiles()
    writer.body(statements if illegal is None else statements // 2)
    if illegal is not None:
        writer.break_law(illegal)
        writer.body(statements // 2)
    writer.finish()
    preloads = _preloads(np.random.default_rng(seed), document, flavour, writer.table)
    return Program(arguments, revision, document, writer.words, preloads)
