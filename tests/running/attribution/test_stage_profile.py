"""The stage profile and the overlap overlay of the later reference: goldens, rules, records (spec chapter 8)."""

import gzip
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracle import goldens

from plena_emu import isa
from plena_emu.cli import dropin
from plena_emu.config.settings import default_settings
from plena_emu.kernels import layout
from plena_emu.machine.core import Machine
from plena_emu.program.assembler import assemble
from plena_emu.program.decode import decode
from plena_emu.running.attribution.expert_stages import STAGES, Label, read_labels
from plena_emu.running.attribution.overlap import Overlap

TIMING = goldens.SHARED.parent / "timing"
FREE = {"caveat", "logical_byte_status", "physical_byte_status", "resource_cycle_status"}


def records():
    path = TIMING / "stage_runs.json.gz"
    return json.loads(gzip.decompress(path.read_bytes())) if path.exists() else []


def identity(record):
    return f"{record['program']}-{'overlay' if 'overlay' in record else Path(record['asm']).name}"


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Unpacks each program once; gives its directory and the flags of its golden run."""
    into, done = tmp_path_factory.mktemp("programs"), {}

    def unpacked(record):
        name = record["program"]
        if name not in done:
            with tarfile.open(TIMING / record["archive"] / f"{name}.tar.xz") as tar:
                tar.extractall(into, [member for member in tar if "expected_dumps" not in member.name], filter="data")
            done[name] = into / name
        return done[name]

    return unpacked


def run(folder, monkeypatch, capsys, *flags):
    """Run the drop-in as a testbench does; its records."""
    monkeypatch.chdir(folder)
    files = {"--opcode": "generated_machine_code.mem", "--hbm": "hbm_for_behave_sim.bin", "--fpsram": "fp_sram.bin",
             "--intsram": "int_sram.bin", "--vram": "vram_preload.bin", "--settings": "plena_settings.toml"}
    arguments = [part for flag, name in files.items() if (folder / name).exists() for part in (flag, name)]
    size = folder / "hbm_size.txt"
    if size.exists():
        arguments += ["--hbm-size", size.read_text().strip()]
    status = dropin.main([*arguments, "--isa", "moe", *flags])
    text = capsys.readouterr().err
    assert status == 0, text
    return text


def differences(found, want, path=""):
    """Where two profiles differ: times within the tolerance of §8.3, everything else exactly."""
    if isinstance(want, dict):
        assert set(found) - FREE == set(want) - FREE, path
        return [line for key in want for line in differences(found[key], want[key], f"{path}.{key}")]
    if isinstance(want, float):
        near = abs(found - want) <= max(1e-9 * abs(want), 1e-12 if path.endswith("seconds") else 0)
        return [] if near else [(path, found, want)]
    return [] if found == want and type(found) is type(want) else [(path, found, want)]


@pytest.mark.parametrize("record", [record for record in records() if "asm" in record], ids=identity)
def test_golden_profiles(record, programs, monkeypatch, capsys):
    folder = programs(record)
    asm = TIMING / record["asm"] if "/" in record["asm"] else folder / record["asm"]
    for schema in ("1", "2"):
        text = run(folder, monkeypatch, capsys, "--stage-profile-asm", str(asm), "--stage-profile-out", "p.json",
                   "--stage-profile-schema", schema)
        written = (folder / "p.json").read_text()
        found, want = json.loads(written), record[f"v{schema}"]
        assert differences(found, want) == []
        assert list(found["stages"]) == list(STAGES) and list(found["pairs"]) == list(want["pairs"])
        assert written == json.dumps(found, indent=2) + "\n"
        assert "wrote runtime stage profile path=p.json" in text
        assert ("expected_ops=" in text) == record["count_warning"]
        assert ("unclassified=" in text) == (record["coverage_warning"] and schema == "2")
        assert " cycles " not in text


@pytest.mark.parametrize("record", [record for record in records() if "overlay" in record], ids=identity)
def test_golden_overlays(record, programs, monkeypatch, capsys):
    folder = programs(record)
    text = run(folder, monkeypatch, capsys, "--experimental-overlap-prefetch-compute")
    figures = " ".join(f"{name}={value}" for name, value in record["overlay"].items())
    assert f"Experimental overlap prefetch/compute timing overlay {figures}\n" in text
    serial, reported = record["latency_ps"], record["reported_latency_ps"]
    assert (f"Experimental overlap: serial latency {serial / 1000:.3f}ns cycles {record['serial_latency_cycles']}\n"
            in text)
    assert text.endswith(f"Simulation completed. Latency {reported / 1000:.3f}ns cycles {record['reported_cycles']}\n")
    assert record["hbm_statistics"] in text


# --- rules ---------------------------------------------------------------------------------------------


def labels(*lines):
    return read_labels("\n".join(lines)).labels


@pytest.mark.parametrize("comment, label", [
    ("; GPT-OSS router", ("router_topk", None)),
    ("; Allocate VRAM Matrix step6_pair3_route", ("expert_route_weight", 3)),
    ("; Allocate VRAM Matrix step6_pair3_gather", ("gather", 3)),
    ("; Allocate VRAM Matrix step6_pair3_sigmoid", ("expert_activation", 3)),
    ("; Allocate VRAM Matrix step6_pair3_up", ("expert_projection", 3)),
    ("; true-zero VRAM rows", ("accumulator_init", None)),
    ("; step6_pairX then step6_pair3", ("other", 3)),
    ("; pair=99999999999", ("other", None)),
    ("; Pair=3", ("other", None)),
    ("; pair=4294967295", ("other", 4294967295)),
    ("; pair=4294967296 pair=5", ("other", 5)),
    ("; pair=5 step6_pair7", ("other", 7)),
    ("; pair=" + 40 * "0" + "6", ("other", 6)),
    ("; VRAM bloc\u212a", ("other", None)),  # only ASCII letters are lower-cased
    ("; SubBlock [0][1]", ("expert_weight_prefetch", None)),
])
def test_labels_of_a_comment(comment, label):
    assert labels(comment, "S_ADDI_INT gp1, gp0, 1") == [Label(*label)]


def test_labels_carry_on():
    assert labels(
        "S_X", "; dynamic expert bias add pair=4", "  V_Y  ; sub projection", "// C", "lower", "label:", "",
        "; nothing", "M_Z", "; router token pair=1", "A", "; nothing", "B", "; true-zero vram rows", "C\r",
    ) == [Label("other", None), Label("expert_bias", 4), Label("expert_bias", 4), Label("router_topk", 1),
          Label("router_topk", None), Label("accumulator_init", None)]


def test_zero_rows_and_fills_depend_on_the_stage():
    assert labels("; materialize route weight", "; true-zero vram rows", "A")[0].stage == "expert_route_weight"
    assert labels("; tile row min fp", "; VRAM Fill Zero", "A")[0].stage == "expert_activation"
    assert labels("; sub projection", "; VRAM Fill Zero", "A")[0].stage == "expert_projection"


# --- overlay -------------------------------------------------------------------------------------------

PREFETCHES = ("H_PREFETCH_M", "H_PREFETCH_V")


def reads(name, mlen, vlen, blen, rd, rs1, rs2):
    """Read ranges, written down once more from the table of §8.6: (space, first, length)."""
    tile = mlen * mlen
    table = {
        "M_MM": [("m", rs1, tile), ("v", rs2, mlen * blen)], "M_TMM": [("m", rs1, tile), ("v", rs2, mlen * blen)],
        "M_BMM": [("m", rs1, tile), ("v", rs2, tile)], "M_BTMM": [("m", rs1, tile), ("v", rs2, tile)],
        "M_MV": [("m", rs1, tile), ("v", rs2, vlen)], "M_TMV": [("m", rs1, tile), ("v", rs2, vlen)],
        "M_BMV": [("m", (rs1 + rd) % 2**32, tile), ("v", rs2, vlen)],
        "M_BTMV": [("m", (rs1 + rd) % 2**32, tile), ("v", rs2, vlen)],
    }
    if name.endswith("_VV"):
        return [("v", rs1, vlen), ("v", rs2, vlen)]
    if name.startswith("V_"):
        return [("v", rs1, vlen)]
    return table.get(name, [])


def overlay(instructions, mlen, vlen, blen, rows):
    """The overlay as §8.6 puts it, one instruction after the other."""
    pending, hidden, counts, top = [], 0, [0, 0, 0], 2**32 - 1
    for name, rd, rs1, rs2, duration in instructions:
        if name in PREFETCHES:
            if duration:
                counts[0] += 1
                matrix = name == "H_PREFETCH_M"
                pending.append([duration, "m" if matrix else "v", rd, min(top, rd + (mlen if matrix else vlen) * rows)])
        elif name[0] in "MV":
            counts[1] += 1
            kept = []
            for entry in pending:
                _, space, first, end = entry
                if any(space == where and first < min(top, start + size) and start < end
                       for where, start, size in reads(name, mlen, vlen, blen, rd, rs1, rs2)):
                    counts[2] += 1
                else:
                    kept.append(entry)
            for entry in kept:
                part = min(entry[0], duration)
                entry[0] -= part
                duration -= part
                hidden += part
            pending = [entry for entry in kept if entry[0]]
        elif name in ("H_STORE_V", "C_BREAK"):
            pending = []
    return hidden, sum(entry[0] for entry in pending), counts


REGISTER = st.sampled_from([0, 64, 4096, 4160, 8192, 2**32 - 64, 2**32 - 1])
STEP = st.tuples(st.sampled_from([op.mnemonic for op in isa.OPS]), REGISTER, REGISTER, REGISTER,
                 st.sampled_from([0, 500, 1000, 40_000, 40_001]))


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=40), st.integers(1, 40))
def test_overlay_of_any_stream(steps, cut):
    machine = Machine(default_settings(), "moe")
    program = decode(np.zeros(isa.NUM_OPS, dtype=np.uint32), "moe", default_settings())
    program.table[:, layout.OP_ID] = np.arange(isa.NUM_OPS)
    found = Overlap(program, machine.cfg, machine.descriptors)
    rows = np.array([[isa.BY_MNEMONIC[name].id, rd, rs1, rs2] for name, rd, rs1, rs2, _ in steps], dtype=np.int64)
    durations = np.array([step[4] for step in steps], dtype=np.int64)
    for first in range(0, len(steps), cut):
        found.watch(rows[first : first + cut], durations[first : first + cut])
    cfg = machine.cfg
    lengths = [int(cfg[k]) for k in (layout.CFG_MLEN, layout.CFG_VLEN, layout.CFG_BLEN)]
    moved = int(machine.descriptors[layout.DESCRIPTOR_M_WEIGHT, layout.DESC_ROWS])
    hidden, pending, counts = overlay(steps, *lengths, moved)
    end = int(durations.sum())
    figures = found.figures(end)
    assert [figures.prefetch_ops, figures.compute_ops, figures.dependent_prefetch_stalls] == counts
    assert figures.adjusted_cycles == -(-(end - min(hidden, end)) // 1000)
    assert figures.hidden_prefetch_cycles == -(-end // 1000) - figures.adjusted_cycles
    assert figures.pending_prefetch_cycles == -(-pending // 1000)


# --- the command line ----------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Files of a program of one word; the working directory is theirs."""
    (tmp_path / "p.mem").write_text("\n".join(f"{word:08x}" for word in assemble("S_ADDI_INT gp1, gp0, 1", "moe", "p")))
    for name in ("hbm.bin", "fp.bin"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "p.asm").write_text("S_ADDI_INT gp1, gp0, 1\n")
    monkeypatch.chdir(tmp_path)
    return ["--opcode", "p.mem", "--hbm", "hbm.bin", "--fpsram", "fp.bin"]


@pytest.mark.parametrize("flags", [
    ["--stage-profile-asm", "p.asm"], ["--stage-profile-out", "x"], ["--stage-profile-schema", "2"],
    ["--experimental-overlap-prefetch-compute"],
])
def test_other_revisions_refuse_the_flags(tiny, flags, capsys):
    assert dropin.main([*tiny, "--isa", "base", *flags]) == 2
    assert f"{flags[0]}: only --isa moe has it" in capsys.readouterr().err


def test_files_that_cannot_be_used(tiny, tmp_path, capsys):
    assert dropin.main([*tiny, "--isa", "moe", "--stage-profile-asm", "none.asm"]) == 101
    assert "assembly none.asm" in capsys.readouterr().err
    (tmp_path / "bad.asm").write_bytes(b"; \xff\n")
    assert dropin.main([*tiny, "--isa", "moe", "--stage-profile-asm", "bad.asm"]) == 101
    assert "assembly bad.asm, line 1: not UTF-8 text" in capsys.readouterr().err
    profile = ["--stage-profile-asm", "p.asm", "--stage-profile-out", "no/p.json"]
    assert dropin.main([*tiny, "--isa", "moe", *profile]) == 101
    assert "--stage-profile-out no/p.json: cannot write" in capsys.readouterr().err
    assert not list(tmp_path.glob("*_dump.bin"))


def test_out_alone_does_nothing(tiny, tmp_path):
    assert dropin.main([*tiny, "--isa", "moe", "--stage-profile-out", "p.json"]) == 0
    assert not (tmp_path / "p.json").exists() and (tmp_path / "vram_dump.bin").exists()


def test_default_name_and_overlay_together(tiny, tmp_path, capsys):
    assert dropin.main([*tiny, "--isa", "moe", "--stage-profile-asm", "p.asm",
                        "--experimental-overlap-prefetch-compute"]) == 0
    assert json.loads((tmp_path / "stage_profile.json").read_text())["schema_version"] == 2
    assert capsys.readouterr().err.endswith("cycles 1\n")
