"""What a machine is built from: settings, sparse HBM, program words, errors (§2.7, §5.1, §5.3)."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import numerics as nm

U64 = 0xFFFFFFFFFFFFFFFF


class OracleError(Exception):
    """A load-time or run-time error; `pc` is the word index, None where the load itself failed."""

    def __init__(self, message: str, pc: int | None = None):
        super().__init__(message if pc is None else f"pc={pc}: {message}")
        self.pc = pc


class Violation(Exception):
    """An error inside an instruction, before its pc is attached."""


@dataclass(frozen=True)
class Settings:
    """What data depend on (§5.3)."""

    mlen: int
    vlen: int
    hlen: int
    blen: int
    broadcast: int
    prefetch_m: int
    prefetch_v: int
    store_v: int
    matrix_sram: int
    vector_sram: int
    hbm_size: int
    max_loop: int
    matrix_type: nm.Format
    vector_type: nm.Format
    m_weight: nm.Format
    m_kv: nm.Format
    v_act: nm.Format
    v_kv: nm.Format

    @property
    def pm(self) -> int:
        """Effective matrix prefetch amount (§1.1)."""
        return -(-max(self.prefetch_m, self.mlen) // self.mlen) * self.mlen

    @classmethod
    def load(cls, path: Path | str, hbm_size: int | None = None) -> "Settings":
        """Read a settings TOML; `hbm_size` overrides HBM_SIZE."""
        return cls.parse(tomllib.loads(Path(path).read_text()), hbm_size)

    @classmethod
    def parse(cls, document: dict, hbm_size: int | None = None) -> "Settings":
        """The same from the parsed document."""
        table = document["TRANSACTIONAL"]
        config = {key: entry["value"] for key, entry in table["CONFIG"].items()}
        formats = {
            key: nm.parse_format(entry) for key, entry in table["PRECISION"].items() if "format" in entry
        }
        return cls(
            mlen=config["MLEN"],
            vlen=config["VLEN"],
            hlen=config["HLEN"],
            blen=config["BLEN"],
            broadcast=config["BROADCAST_AMOUNT"],
            prefetch_m=config["HBM_M_Prefetch_Amount"],
            prefetch_v=config["HBM_V_Prefetch_Amount"],
            store_v=config["HBM_V_Writeback_Amount"],
            matrix_sram=config["MATRIX_SRAM_SIZE"],
            vector_sram=config["VECTOR_SRAM_SIZE"],
            hbm_size=config["HBM_SIZE"] if hbm_size is None else hbm_size,
            max_loop=config["MAX_LOOP_INSTRUCTIONS"],
            matrix_type=formats["MATRIX_SRAM_TYPE"],
            vector_type=formats["VECTOR_SRAM_TYPE"],
            m_weight=formats["HBM_M_WEIGHT_TYPE"],
            m_kv=formats["HBM_M_KV_TYPE"],
            v_act=formats["HBM_V_ACT_TYPE"],
            v_kv=formats["HBM_V_KV_TYPE"],
        )


class Hbm:
    """Sparse byte memory: reads outside are 0, a write outside is an error."""

    PAGE = 4096

    def __init__(self, size: int, preload: bytes = b""):
        if len(preload) > size:
            raise OracleError(f"HBM preload of {len(preload)} bytes is larger than the HBM of {size}")
        self.size = size
        self.pages: dict[int, bytearray] = {}
        for start in range(0, len(preload), self.PAGE):
            self.pages[start // self.PAGE] = bytearray(preload[start : start + self.PAGE].ljust(self.PAGE, b"\0"))

    def read(self, address: int, count: int) -> bytes:
        out = bytearray()
        while len(out) < count:
            at = (address + len(out)) & U64
            page, offset = divmod(at, self.PAGE)
            take = min(self.PAGE - offset, count - len(out))
            held = self.pages.get(page) if at < self.size else None
            out += held[offset : offset + take] if held else bytes(take)
        return bytes(out)

    def write(self, address: int, data: bytes) -> None:
        if address + len(data) > self.size:
            raise Violation(f"write of {len(data)} bytes at {address} outside the HBM of {self.size}")
        for i, byte in enumerate(data):
            page, offset = divmod(address + i, self.PAGE)
            self.pages.setdefault(page, bytearray(self.PAGE))[offset] = byte

    def content(self) -> bytes:
        """All bytes up to the last page ever touched, never beyond the size."""
        if not self.pages:
            return b""
        out = bytearray((max(self.pages) + 1) * self.PAGE)
        for page, held in self.pages.items():
            out[page * self.PAGE : (page + 1) * self.PAGE] = held
        return bytes(out[: self.size])


def parse_words(text: str) -> list[int]:
    """Program text of §5.1: whitespace-separated hex words."""
    return [int(token, 16) for token in text.split()]
