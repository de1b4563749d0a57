"""Access to golden programs: the vendored ones, and the whole set where it lies beside the repository.

A golden program is a `.tar.xz` that unpacks to a build directory (§5.6) with an `expected.json`.
"""

import hashlib
import json
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .machine import Machine
from .numerics import canonical_bf16
from .state import Settings, parse_words

ROOT = Path(__file__).resolve().parents[2]
VENDORED = ROOT / "tests" / "golden" / "programs"
SHARED = ROOT.parent / "shared" / "golden" / "programs"

# Dumps that hold no bf16 values: their hashes are taken without replacing any NaN.
RAW_DUMPS = ("intsram_dump.bin", "hbm_dump.bin")


def archives(shared: bool = False) -> list[Path]:
    """The program archives, by name: the vendored ones, or with `shared` the whole set (empty if absent)."""
    return sorted((SHARED if shared else VENDORED).glob("*.tar.xz"))


def name_of(archive: Path) -> str:
    return archive.name.removesuffix(".tar.xz")


def find(name: str) -> Path | None:
    """Archive of a program, vendored or shared, None where neither is there."""
    candidates = [folder / f"{name}.tar.xz" for folder in (VENDORED, SHARED)]
    return next((path for path in candidates if path.exists()), None)


def unpack(archive: Path, into: Path) -> "Golden":
    """Unpack below `into`; the program's directory carries its name."""
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    return Golden(into / name_of(archive))


def content(raw: bytes, name: str) -> tuple[int, str]:
    """(`content_bytes`, `sha256`) of a dump as expected.json states them."""
    if name not in RAW_DUMPS:
        raw = canonical_bf16(raw)
    raw = raw.rstrip(b"\0")
    return len(raw), hashlib.sha256(raw).hexdigest()


@dataclass(frozen=True)
class Golden:
    """One unpacked golden program."""

    directory: Path

    @property
    def name(self) -> str:
        return self.directory.name

    @cached_property
    def expected(self) -> dict:
        return json.loads((self.directory / "expected.json").read_text())

    @property
    def isa(self) -> str:
        return self.expected["isa"]

    @property
    def runs(self) -> list[dict]:
        return self.expected["runs"]

    @property
    def dumps(self) -> dict[str, dict]:
        return self.expected["dumps"]

    def flag(self, name: str, run: dict | None = None) -> str | None:
        """Value of a command-line flag of a run (the first one unless told)."""
        args = (run or self.runs[0])["args"]
        return args[args.index(name) + 1] if name in args else None

    def _bytes(self, flag: str) -> bytes:
        file = self.flag(flag)
        return (self.directory / file).read_bytes() if file else b""

    def machine(self) -> Machine:
        """An oracle loaded with the program's settings and preloads."""
        size = self.flag("--hbm-size")
        settings = Settings.load(self.directory / self.flag("--settings"), int(size) if size else None)
        return Machine(
            settings,
            self.isa,
            hbm=self._bytes("--hbm"),
            fpsram=self._bytes("--fpsram"),
            intsram=self._bytes("--intsram"),
            vram=self._bytes("--vram"),
        )

    def words(self) -> list[int]:
        return parse_words((self.directory / self.flag("--opcode")).read_text())

    def differences(self, dumps: dict[str, bytes]) -> list[str]:
        """One line for every expected dump that is missing or differs."""
        lines = []
        for name, want in self.dumps.items():
            if name not in dumps:
                lines.append(f"{self.name}: {name} missing")
                continue
            size, digest = content(dumps[name], name)
            if (size, digest) != (want["content_bytes"], want["sha256"]):
                lines.append(f"{self.name}: {name} differs ({size} content bytes, expected {want['content_bytes']})")
        return lines

    def compare(self, file: str, raw: bytes) -> list[tuple[int, int, int]]:
        """(index, found, expected) of the 16-bit words that differ from a file in expected_dumps/."""
        same = bytes if file in RAW_DUMPS else canonical_bf16
        want, found = same((self.directory / "expected_dumps" / file).read_bytes()), same(raw)
        size = -(-max(len(want), len(found)) // 2) * 2
        a = np.frombuffer(found.ljust(size, b"\0"), "<u2")
        b = np.frombuffer(want.ljust(size, b"\0"), "<u2")
        return [(int(i), int(a[i]), int(b[i])) for i in np.nonzero(a != b)[0]]
