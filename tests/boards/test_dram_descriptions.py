"""DRAM descriptions: found by name or path, and everything wrong in one told in one line (spec §4.1 - §4.7)."""

import pathlib
from fractions import Fraction

import pytest
import yaml

from plena_emu.boards import dram_schema
from plena_emu.boards.dram_bandwidth import peak_bandwidth, refresh_share
from plena_emu.boards.dram_schema import dram_names, load_dram
from plena_emu.boards.dram_speed import at_speed
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


NAMES = ["ddr3_1600_x16", "ddr3_800_x16", "ddr4", "hbm2", "hbm2_2000", "hbm2e_3200"]


def test_names():
    assert dram_names() == NAMES
    assert [load_dram(name).name for name in dram_names()] == dram_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_the_same_memory(tmp_path, name):
    copy, shipped = load(tmp_path, document(name)), load_dram(name)
    assert copy.source == str(tmp_path / "mine.yaml")
    for key in shipped.__struct_fields__:
        assert key == "source" or getattr(copy, key) == getattr(shipped, key)


def test_a_revision_replaces_only_its_rows():
    hbm2 = load_dram("hbm2")
    pairs = zip(hbm2.timing_rows("base"), hbm2.timing_rows("moe"), strict=True)
    changed = [(a.key, a.clocks, b.clocks) for a, b in pairs if a != b]
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
    data["timing"] = [[level, a, b, 9] for level in levels for a in commands for b in commands]
    data["timing"].append(["rank", "ACT", "ACT", 15, 4])


@pytest.mark.parametrize("change, message", [
    (many_rows, "timing: found 65 rows, expected at most 64"),
    (put(["period_ps"], 0), "period_ps: found 0, expected an integer from 1 to 1000000"),
    (put(["period_ps"], None), "period_ps: found nothing, expected an integer from 1"),
    (put(["burst"], 4), "burst: found an unknown key"),
    (put(["transfer_bytes"], 24), "transfer_bytes: found 24, expected one of 8, 16, 32, 64"),
    (put(["read_latency"], 0), "read_latency: found 0, expected an integer from 1 to 4095"),
    (put(["organisation", "rank"], 3), "organisation.rank: found 3, expected a power of two"),
    (put(["organisation", "channel"], 512), "organisation.channel: found 512, expected at most 256"),
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
    (put(["write_mode", "high_watermark"], 40),
     "write_mode.high_watermark: found 40, expected at most 33 (queues.write + 1)"),
    (put(["write_mode", "low_watermark"], 26),
     "write_mode.low_watermark: found 26, expected less than high_watermark 26"),
    (put(["write_mode", "enter"], 26), "write_mode.enter: is now called high_watermark"),
    (put(["write_mode", "leave"], 6), "write_mode.leave: is now called low_watermark"),
    (put(["timing", 0, "after"], "ACT"), "timing[0].after: is now called preceding"),
    (put(["timing", 0, "before"], "ACT"), "timing[0].before: is now called following"),
    (put(["data_bus"], None), "data_bus: found nothing, expected channel (its ranks share a data bus) or rank"),
    (put(["burst_clocks"], None), "burst_clocks: found nothing, expected the clocks"),
    (put(["data_bus"], "bank"), "data_bus: found 'bank', expected one of channel, rank"),
    (put(["read_latency"], None), "read_latency: found nothing, expected clocks"),
    (put(["read_latency"], 1), "read_latency: found 1, expected at least burst_clocks 2"),
    (put(["timing", 0, "clocks"], 4096), "timing[0].clocks: found 4096, expected an integer from 0 to 4095"),
    (put(["timing", 0, "level"], "chip"), "timing[0].level: found 'chip', expected one of"),
    (put(["timing", 0, "preceding"], "NOP"), "timing[0].preceding: found 'NOP', expected one of"),
    (put(["timing", 0], ["rank", "ACT", "ACT"]), "timing[0]: found 3 values, expected level, preceding, following"),
    (put(["timing", 4, "clocks"], 1), "timing: found RD 1 clocks after RD in another bank group, expected at least"),
    (put(["revisions", "moe", 1, "clocks"], 1), "revisions.moe: found WR 1 clocks after WR in another bank group"),
    (add(["timing"], ["other_rank", "RD", "WR", 3, 2]), "timing[19]: found a window for other_rank RD WR"),
    (add(["timing"], ["other_rank", "REF", "ACT", 3]), "timing[19]: found level other_rank, expected channel or rank"),
    (add(["timing"], ["channel", "ACT", "ACT", 9]), "timing[19]: channel ACT ACT is there twice"),
    (add(["timing"], ["bank", "REF", "ACT", 9]), "timing[19]: found level bank, expected channel or rank"),
    (add(["timing"], ["rank", "ACT", "ACT", 9, 9]), "timing[19].window: found 9, expected an integer from 1 to 8"),
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


# --- timing by the standard's names -------------------------------------------------------------


@pytest.mark.parametrize("change, message", [
    (put(["timing", "tRCD"], None), "timing.tRCD: found nothing, expected an integer from 0 to 4095"),
    (put(["timing", "tXYZ"], 3), "timing.tXYZ: found an unknown key"),
    (put(["timing", "tRCD"], -1), "timing.tRCD: found -1, expected an integer from 0 to 4095"),
    (put(["timing", "tRCD"], 4096), "timing.tRCD: found 4096, expected an integer from 0 to 4095"),
    (put(["timing", "tREFI"], None), "timing.tREFI: found nothing, expected tRFC and tREFI"),
    (put(["timing", "tRFC"], None), "timing.tRFC: found nothing, expected tRFC and tREFI"),
    (put(["timing", "tREFI"], 400), "timing.tREFI: found 400, expected at least 419"),
    (put(["timing", "tCCD"], None), "timing.tCCD: expected either tCCD or both tCCD_S and tCCD_L"),
    (put(["timing", "tCCD_L"], 6), "timing.tCCD: expected either tCCD or both tCCD_S and tCCD_L"),
    (put(["timing", "tCCD"], 3), "timing: found RD 3 clocks after RD in another bank of the group"),
    (put(["read_latency"], 10), "read_latency: found beside a map of timing, whose CL tells it"),
    (put(["refresh"], {"interval": 3120}), "refresh: found beside a map of timing, whose tREFI tells it"),
])  # fmt: skip
def test_malformed_map(tmp_path, change, message):
    data = document("ddr3_800_x16")
    change(data)
    with pytest.raises(EmuError, match=r"^[^\n]*$") as caught:
        load(tmp_path, data)
    assert message in str(caught.value)


def test_bank_groups_come_with_all_their_figures(tmp_path):
    data = document("hbm2e_3200")
    for name in ("tWTR_S", "tWTR_L"):
        del data["timing"][name]
    data["timing"]["tWTR"] = 8
    with pytest.raises(EmuError, match="timing: expected _S and _L of all of tCCD, tRRD and tWTR, or of none"):
        load(tmp_path, data)


def rows_by_name(description):
    """(level, commands, clocks) of the rows of a description by name."""
    found = {}
    for row in description.timing_rows("base"):
        found.setdefault(row.name, set()).add((row.level, row.preceding, row.following, row.clocks))
    return found


@pytest.mark.parametrize("name, read, turn, back, recovery", [
    ("ddr3_800_x16", 10, 7, (13,), 15), ("ddr3_1600_x16", 15, 9, (18,), 24),
    ("hbm2e_3200", 25, 19, (15, 18), 36), ("hbm2_2000", 16, 14, (9, 14), 22),
])  # fmt: skip
def test_rows_that_hold_a_burst(name, read, turn, back, recovery):
    """Read latency, RD to WR, WR to RD (another and the same bank group) and WR to PRE, worked out by hand."""
    description = load_dram(name)
    rows = {(row.level, row.preceding, row.following): row.clocks for row in description.timing_rows("base")}
    assert description.read_clocks == read
    assert rows["rank", "RD", "WR"] == turn
    assert tuple(rows[level, "WR", "RD"] for level in ("rank", "bankgroup")[: len(back)]) == back
    assert rows["bank", "WR", "PRE"] == rows["rank", "WR", "PREA"] == recovery


@pytest.mark.parametrize("name, gigabytes, share, mib", [
    ("ddr3_800_x16", 1.6, 104 / 3120, 512), ("ddr3_1600_x16", 3.2, 208 / 6240, 512),
    ("hbm2e_3200", 819.2, 560 / 6240, 32 << 10), ("hbm2_2000", 256.0, 350 / 3900, 8 << 10),
    ("hbm2", 64.0, 0.0, None), ("ddr4", 64e3 / (4 * 833), 433 / 9364, None),
])  # fmt: skip
def test_peak_refresh_share_and_capacity(name, gigabytes, share, mib):
    description = load_dram(name)
    assert peak_bandwidth(description) == pytest.approx(gigabytes * 1e9)
    assert refresh_share(description) == pytest.approx(share)
    assert description.capacity_bytes == (mib << 20 if mib else None)


def test_what_the_references_parts_are_is_said():
    """In the file, and so in the listing: hbm2 has a part of its bandwidth, ddr4 a longer tRFC."""
    assert "64 GB/s (isa base) or 128 GB/s (moe)" in load_dram("hbm2").description
    assert "half of JEDEC's core latencies" in load_dram("hbm2").note
    assert "tRFC is 360 ns (JEDEC 350)" in load_dram("ddr4").note
    assert peak_bandwidth(load_dram("hbm2"), "moe") == pytest.approx(128e9)
    [refresh] = {row.clocks for row in load_dram("ddr4").timing if row.preceding == "REF"}
    assert round(refresh * 0.833) == 361


# --- ranks and their data bus -------------------------------------------------------------------


def two_ranks(data, rows=()):
    """A document of ddr4 with two ranks on its data bus."""
    data["organisation"]["rank"] = 2
    data["mapping"]["rank"] = [17]
    data["mapping"]["row"] = {"from": 18}
    data["timing"] += [list(row) for row in rows]
    return data


def test_two_ranks_need_rows_between_them(tmp_path):
    with pytest.raises(EmuError) as caught:
        load(tmp_path, two_ranks(document("ddr4")))
    assert ("timing: found 1 clocks from RD to WR and 1 from WR to RD in another rank, expected at least 8 together"
            " (2 burst_clocks), as they share a data bus") in str(caught.value)
    rows = [("other_rank", "RD", "RD", 6), ("other_rank", "WR", "WR", 6), ("other_rank", "RD", "WR", 10),
            ("other_rank", "WR", "RD", 2)]
    found = load(tmp_path, two_ranks(document("ddr4"), rows))
    assert found.shares_bus and peak_bandwidth(found) == peak_bandwidth(load_dram("ddr4"))


def test_two_ranks_by_the_standards_names(tmp_path):
    data = document("ddr3_800_x16")
    data["organisation"]["rank"], data["mapping"]["rank"], data["mapping"]["row"] = 2, [14], {"from": 15}
    with pytest.raises(EmuError, match="timing.tRTRS: found nothing, expected clocks"):
        load(tmp_path, data)
    data["timing"]["tRTRS"] = 2
    between = rows_by_name(load(tmp_path, data))["tRTRS"]
    assert between == {("other_rank", "RD", "RD", 6), ("other_rank", "WR", "WR", 6), ("other_rank", "RD", "WR", 7),
                       ("other_rank", "WR", "RD", 5)}


# --- another data rate --------------------------------------------------------------------------


def test_twice_the_data_rate():
    """Clocks half as long; bursts keep their clocks, core timings their nanoseconds."""
    slow, fast = load_dram("ddr3_800_x16"), at_speed(load_dram("ddr3_800_x16"), 2)
    assert (fast.name, fast.period_ps, fast.burst_clocks) == ("ddr3_800_x16 x 2", 1250, 4)
    assert peak_bandwidth(fast) == 2 * peak_bandwidth(slow)
    for name in ("CL", "CWL", "tRCD", "tRP", "tRAS", "tRC", "tRRD", "tFAW", "tWTR", "tRTP", "tWR", "tRFC", "tREFI"):
        assert getattr(fast.timing, name) == 2 * getattr(slow.timing, name)
    assert fast.timing.tCCD == slow.timing.tCCD
    assert refresh_share(fast) == refresh_share(slow)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", ["0.5", "0.75", "4/3", "1.5", "3"])
def test_other_data_rates_keep_nanoseconds(name, factor):
    """Every figure in ns is the old one, rounded up to a clock; the peak follows the factor."""
    old = load_dram(name)
    new = at_speed(old, factor)
    clock = old.period_ps / Fraction(factor)
    assert new.period_ps == round(clock)
    assert peak_bandwidth(new) == pytest.approx(peak_bandwidth(old) * float(Fraction(factor)), rel=2e-3)
    activates = [[row.clocks for row in found.timing_rows("base") if row.preceding == row.following == "ACT"]
                 for found in (old, new)]
    for before, after in zip(*activates, strict=True):
        assert before * old.period_ps <= after * clock < before * old.period_ps + clock
    assert at_speed(new, 1) is new


@pytest.mark.parametrize("factor, message", [
    ("0", "expected 1/64 to 64"), ("-1", "expected 1/64 to 64"), ("65", "expected 1/64 to 64"), ("x", "found 'x'"),
    ("1/0", "found '1/0'"), (float("nan"), "expected a number"), (None, "found null"),
    (True, "found true"), (float("inf"), "found inf, expected a number from 1/64 to 64"), ("9" * 60, "found '999"),
])  # fmt: skip
def test_wrong_factors(factor, message):
    with pytest.raises(UsageError) as caught:
        at_speed(load_dram("ddr4"), factor)
    assert message in str(caught.value) and len(str(caught.value)) < 200


def test_a_rate_that_the_controller_cannot_hold():
    with pytest.raises(EmuError, match="ddr4 at 20 times its data rate: timing"):
        at_speed(load_dram("ddr4"), 20)


# --- names and files ----------------------------------------------------------------------------


def test_unknown_name():
    with pytest.raises(UsageError, match="unknown DRAM description 'hbm3', expected one of ddr3_1600_x16, .*hbm2e"):
        load_dram("hbm3")


@pytest.mark.parametrize("found", [None, 5, b"hbm2", ["hbm2"]])
def test_no_name_at_all(found):
    with pytest.raises(UsageError, match="name_or_path: found .*, expected the name or path"):
        load_dram(found)


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
