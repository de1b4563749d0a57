"""Small studies that the tests of sweeps share."""

import lzma
import shutil
from pathlib import Path

import msgspec

from plena_emu.sweeping.engine import EngineOptions, Watcher
from plena_emu.sweeping.execution import run_points
from plena_emu.sweeping.specify import Specifier
from plena_emu.sweeping.store import Store
from plena_emu.sweeping.study import make_study

ROOT = Path(__file__).resolve().parents[1]
LINEAR = str(ROOT / "examples" / "linear" / "build")
CLM = ROOT / "tests" / "golden" / "manifests" / "base_clm60m_dec_L1_m256b64_a7"
HERE = EngineOptions(workers=0)


class Told(Watcher):
    """Keeps what a sweep says."""

    def __init__(self):
        self.lines, self.plans, self.places, self.count, self.failed = [], [], [], 0, 0

    def planned(self, points, stored):
        self.plans.append((points, stored))

    def began(self, where):
        self.places.append(where)

    def done(self, points, failures):
        self.count += points
        self.failed += failures

    def said(self, line):
        self.lines.append(line)


def unpacked_clm(folder):
    """The build of the README's worked example, whose regimes have edges, in a folder; returns its path."""
    build = folder / "clm"
    shutil.copytree(CLM, build, ignore=shutil.ignore_patterns("weight_manifest*"))
    packed = build / "generated_machine_code.mem.xz"
    packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    return str(build)


def points_of(**axes):
    """Points of axes, and what specified them."""
    where, zipped = axes.pop("where", ()), axes.pop("zip", ())
    specifier = Specifier()
    study = make_study({key.replace("__", "."): value for key, value in axes.items()}, list(zipped), where)
    return specifier.points(study), specifier


def lines_of(points, specifier, engine=HERE, store=None, watcher=None):
    """Run points; the records as the store has them, by hash, without the versions of what ran them."""
    store = Store(None) if store is None else store
    run_points(points, specifier, engine, store, watcher or Told())
    return {point.id: msgspec.structs.replace(store.get(point.id), versions={}) for point in points}
