"""DRAM descriptions: found by name or path, and everything wrong in one told in one line (spec §4.1 - §4.7)."""

import pathlib

import pytest
import yaml
from plena_emu.boards import dram_schema
from plena_emu.boards.dram_schema import dram_names, load_dram
from plena_emu.errors import EmuError, UsageError

SHIPPED = pathlib.Path(dram_schema.__file__).parent / "dram"


def document(name="hbm2"):
    """A shipped description as nested dicts and lists."""
    return yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))


def load(tmp_path, data):
    """`load_dram` of a document written to a file."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_dram(path)


def test_names():
    assert dram_names() == ["ddr4", "hbm2"]
    assert [load_dram(name).name for name in dram_names()] == dram_names()


@pytest.mark.parametrize("name", ["ddr4", "hbm2"])
def test_a_copy_is_the_same_memory(tmp_path, name):
    copy, shipped = load(tmp_path, document(name)), load_dram(name)
    assert copy.source == str(tmp_path / "mine.yaml")
    for key in shipped.__struct_fields__:
        assert key == "source" or getattr(copy, key) == getattr(shipped, key)


def test_a_revision_replaces_only_its_rows():
    hbm2 = load_dram("hbm2")
    changed = [(a.key, a.clocks, b.clocks) for a, b in zip(hbm2.timing_rows("base"), hbm2.timing_rows("moe")) if a != b]
    assert changed == [(("rank", "RD", "RD", 1), 4, 2), (("rank", "WR", "WR", 1), 4, 2)]
    assert load_dram("ddr4").timing_rows("moe") == load_dram("ddr4").timing_rows("base")


def put(path, value):
    """Change of a document: the value at a path of keys and indices; a value of None removes it."""

    def change(data):
        *parents, last = path
        for key in parents:
            data = data[key]
        if value is None:
            del data[last]
        else:
            data[last] = value

    return change


def add(path, value):
    """Change of a document: a value appended to the list at a path."""

    def change(data):
        for key in path:
            data = data[key]
        data.append(value)

    return change


def many_rows(data):
    """Change of a document: every pair of commands on every level."""
    commands = ("ACT", "PRE", "RD", "WR")
    levels = ("channel", "rank", "bankgroup", "bank")
    data["timing"] = [[level, a, b, 1] for level in levels for a in commands for b in commands]
    data["timing"].append(["rank", "ACT", "ACT", 15, 4])


@pytest.mark.parametrize("change, message", [
    (many_rows, "timing: found 65 rows, expected at most 64"),
    (put(["period_ps"], 0), "period_ps: found 0, expected an integer from 1 to 1000000"),
    (put(["period_ps"], None), "period_ps: found nothing, expected an integer from 1"),
    (put(["burst"], 4), "burst: found an unknown key"),
    (put(["transfer_bytes"], 24), "transfer_bytes: found 24, expected one of 8, 16, 32, 64"),
    (put(["read_latency"], 0), "read_latency: found 0, expected an integer from 1 to 4095"),
    (put(["organisation", "rank"], 3), "organisation.rank: found 3, expected a power of two"),
    (put(["organisation", "channel"], 128), "organisation.channel: found 128, expected at most 64"),
    (put(["organisation", "bankgroup"], 8), "organisation: found 64 banks a channel, expected at most 32"),
    (put(["mapping", "bank"], [12]), "mapping.bank: found 1 bits, expected 2"),
    (put(["mapping", "bank"], [12, 40]), "mapping.bank: address bits must be 4 to 16 (row.from is 17)"),
    (put(["mapping", "bank"], [12, 3]), "mapping.bank: address bits must be 4 to 16 (row.from is 17)"),
    (put(["mapping", "bank"], [12, 12]), "mapping: two addresses of one row share a place"),
    (put(["mapping", "channel"], ["6^4", "6^4", "8^14"]), "mapping: two addresses of one row share a place"),
    (put(["mapping", "channel"], ["6+4", 7, 8]),
     "mapping.channel[0]: found '6+4', expected an integer from 0 to 63 or"),
    (put(["mapping", "column"], [4, 5]), "mapping: found 10 bits in all fields, expected 13 (row.from is 17)"),
    (put(["mapping", "row", "from"], 10), "mapping.row.from: found 10, expected at least 14"),
    (put(["queues", "read"], 63), "queues.read: found 63, expected an integer from 1 to 62"),
    (put(["write_mode", "enter"], 40), "write_mode.enter: found 40, expected at most 33 (queues.write + 1)"),
    (put(["write_mode", "leave"], 26), "write_mode.leave: found 26, expected less than enter 26"),
    (put(["timing", 0, 3], 4096), "timing[0][3]: found 4096, expected an integer from 0 to 4095"),
    (put(["timing", 0, 0], "chip"), "timing[0][0]: found 'chip', expected one of"),
    (put(["timing", 0, 1], "NOP"), "timing[0][1]: found 'NOP', expected one of"),
    (add(["timing"], ["channel", "ACT", "ACT", 9]), "timing[19]: channel ACT ACT is there twice"),
    (add(["timing"], ["bank", "REF", "ACT", 9]), "timing[19]: found level bank, expected channel or rank"),
    (add(["timing"], ["rank", "ACT", "ACT", 9, 9]), "timing[19][4]: found 9, expected an integer from 1 to 8"),
    (add(["revisions", "moe"], ["rank", "ACT", "WR", 9]), "revisions.moe[2]: rank ACT WR is no row of timing"),
    (put(["revisions", "base"], []), "revisions"),
    (put(["refresh"], {"interval": 40}), "refresh.interval: found 40, expected at least 81"),
])  # fmt: skip
def test_malformed(tmp_path, change, message):
    data = document()
    change(data)
    with pytest.raises(EmuError) as caught:
        load(tmp_path, data)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"DRAM description {tmp_path / 'mine.yaml'}: ")
    assert message in text


def test_unknown_name():
    with pytest.raises(UsageError, match="unknown DRAM description 'hbm3', expected one of ddr4, hbm2"):
        load_dram("hbm3")


def test_missing_file(tmp_path):
    with pytest.raises(EmuError, match="cannot read: No such file"):
        load_dram(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["", "- 1\n", "name: [\n", "name: a\nname: b\n"])
def test_no_description(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EmuError) as caught:
        load_dram(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
