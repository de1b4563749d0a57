"""The data oracle against golden programs: what the other tests rely on must itself be right."""

import pytest
from oracle import goldens, products
from oracle.machine import Machine
from oracle.numerics import F32
from oracle.state import Settings
from support import write_settings

ARCHIVES = goldens.archives()


def test_the_vendored_goldens_are_there():
    names = [goldens.name_of(path) for path in ARCHIVES]
    assert len(names) >= 20
    assert {name.rsplit("_", 1)[0] for name in names} == {
        f"{isa}_{kind}" for isa in ("base", "moe") for kind in ("fz", "sp", "st")
    }


@pytest.mark.parametrize("archive", ARCHIVES, ids=goldens.name_of)
def test_oracle_reproduces_every_dump(archive, tmp_path):
    golden = goldens.unpack(archive, tmp_path)
    machine = golden.machine().run(golden.words())
    dumps = machine.dumps()
    assert golden.differences(dumps) == []
    for file in (golden.directory / "expected_dumps").iterdir():
        assert golden.compare(file.name, dumps[file.name]) == []


def test_a_difference_is_seen(tmp_path):
    golden = goldens.unpack(ARCHIVES[0], tmp_path)
    dumps = golden.machine().run(golden.words()).dumps()
    flipped = bytearray(dumps["vram_dump.bin"])
    flipped[0] ^= 1
    assert len(golden.differences({**dumps, "vram_dump.bin": bytes(flipped)})) == 1
    assert len(golden.differences({"mram_dump.bin": dumps["mram_dump.bin"]})) == len(golden.dumps) - 1


def test_row_maximum_prefers_the_later_zero():
    assert str(products.row_max(F32([0.0, -0.0]))) == "-0.0"
    assert str(products.row_max(F32([-0.0, 0.0]))) == "0.0"


def test_an_equal_row_maximum_replaces_the_register(tmp_path):
    settings = Settings.load(write_settings(tmp_path / "settings.toml"))
    machine = Machine(settings, vram=b"\x00\x80" * 16)
    machine.run([0x16 | 1 << 6])  # V_RED_MAX f1, gp0: a row of -0 against +0
    assert str(machine.fp[1]) == "-0.0"
