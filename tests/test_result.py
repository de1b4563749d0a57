"""Do the result record, its JSON, its statistics lines and the summary say what was measured (§3.10, §5.2)?"""

import io
import json

import msgspec
import pytest

from plena_emu.config.settings import default_settings
from plena_emu.logs import Log
from plena_emu.report.summary import print_summary
from plena_emu.result import (
    Dropped,
    Dump,
    Geometry,
    Program,
    RunResult,
    Sources,
    Wall,
    hbm_statistics,
    nanoseconds,
    scientific,
)
from plena_emu.running.log_records import final_records, foreign_warning, program_records, settings_records
from plena_emu.running.utilization import utilization


def result(**more):
    fields = {
        "isa": "base",
        "program": Program(path="p.mem", words=80),
        "sources": Sources(settings="s.toml", settings_origin="--settings", hbm="h.bin", fpsram="f.bin"),
        "geometry": Geometry(
            mlen=64, vlen=64, hlen=16, blen=4, broadcast=4, matrix_sram_size=1, vector_sram_size=2, hbm_size=4096,
            matrix_prefetch_rows=64, vector_prefetch_rows=4, vector_writeback_rows=4,
        ),
        "model": "auto",
        "regime": "kv-swap",
        "latency_ps": 40_211_506,
        "end_ps": 40_000_000,
        "cycles": 40211.506,
        "compute_ps": 10_000_000,
        "memory_ps": 30_000_000,
        "instructions": 30,
        "instruction_counts": {"M_MM": 10, "S_ADDI_INT": 20, "C_BREAK": 0},
        "bytes_read": 24576,
        "bytes_written": 0,
        "utilization_bytes_per_s": utilization(24576, 0, 40_000_000),
        "model_line": "Capacity model [kv-swap] - resident bytes: 1",
        "dropped": Dropped(vector_rows=5),
        "dumps": [Dump(name="vram_dump.bin", path="out/vram_dump.bin", bytes=2**29)],
        "wall": Wall(startup_s=0.1, load_s=0.2, simulate_s=0.3, dump_s=0.4),
        "instructions_per_s": 100.0,
        "versions": {"numba": "1"},
    }
    return RunResult(**(fields | more))


@pytest.mark.parametrize("value, text", [
    (0.0, "0.00e0"), (5.216e9, "5.22e9"), (631e6, "6.31e8"), (1.0, "1.00e0"), (0.0123, "1.23e-2"), (9.999e9, "1.00e10"),
])
def test_scientific(value, text):
    assert scientific(value) == text


@pytest.mark.parametrize("ps, text", [
    (0, "0.000"), (999, "0.999"), (38_978_000, "38978.000"), (2**63 + 1, "9223372036854775.809"),
])
def test_nanoseconds_are_exact(ps, text):
    assert nanoseconds(ps) == text


def test_utilization():
    assert utilization(24576, 0, 38_978_000) == pytest.approx(24576 / 38.978e-6)
    assert utilization(64, 64, 0) == 0.0


def test_final_records_are_what_testbenches_scan(capsys):
    final_records(Log("info"), result())
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.endswith(" INFO transactional_emulator::runner: HBM Statistics - Bytes read: 24576 | Bytes written: 0"
                          " | Utilization: 6.14e8 bytes/sec")
    assert second == "Capacity model [kv-swap] - resident bytes: 1"
    assert last.endswith(" INFO transactional_emulator: Simulation completed. Latency 40211.506ns")
    assert "\n" not in hbm_statistics(result(model_line=None))


def test_settings_records_start_with_the_topology(capsys):
    settings_records(Log("info"), default_settings())
    lines = capsys.readouterr().err.splitlines()
    topology = "Topology mlen=32 vlen=32 hlen=16 blen=32 broadcast_amount=2"
    assert lines[0].endswith(f" WARN transactional_emulator::runner: {topology}")
    text = "\n".join(lines)
    assert "WARN transactional_emulator::settings: no settings file" in text
    for words in ("Settings from built-in defaults", "Matrix SRAM size=1024 tiles=32 type=e8m7",
                  "Vector SRAM size=1024 type=e8m7", "Prefetch amounts matrix=32 vector=16 vector_writeback=16",
                  "HBM size 1073741824 bytes (1.000 GiB)"):
        assert words in text


class FakeProgram:
    revision = "base"
    invalid = [(pc, 0x34) for pc in range(30)]
    foreign = [(0, 0x34, "C_BREAK")]
    lookalikes = ()

    def __len__(self):
        return 40


def test_program_records_name_words_without_meaning(capsys):
    program_records(Log("warn"), FakeProgram())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[0].endswith("ERROR transactional_emulator::program: invalid opcode 0x34 pc=0 word=0x00000034")
    assert "10 more words" in lines[20]
    assert "1 of 40 words have codes that only --isa moe assigns (first: C_BREAK at pc=0)" in lines[21]
    FakeProgram.foreign = []
    assert foreign_warning(FakeProgram()) is None


def test_json_holds_every_figure_and_reads_back():
    made = result()
    document = json.loads(made.to_json())
    assert document["latency_ps"] == 40_211_506 and document["wall"]["simulate_s"] == 0.3
    assert set(document) == set(RunResult.__struct_fields__)
    assert msgspec.json.decode(made.to_json(), type=RunResult) == made


def test_summary_shows_the_run():
    stream = io.StringIO()
    print_summary(result(stopped_by_max_instructions=True), stream)
    text = stream.getvalue()
    for words in ("p.mem, 80 words, isa base", "s.toml (--settings)", "auto (kv-swap)",
                  "40211.506 ns = 40,211.506 cycles", "10,000,000 ps (25.0 %)", "30,000,000 ps (75.0 %)",
                  "6.14e8 bytes/s", "Capacity model [kv-swap] -", "vector rows dropped", "--max-instructions",
                  "Instructions: 30", "66.7", "simulate 300.0 ms", "out/vram_dump.bin"):
        assert words in text
    assert not any(words in text for words in ("C_BREAK", "bytes read outside", "\x1b", "--timing-only"))
    print_summary(result(timing_only=True), stream := io.StringIO())
    assert "left out (--timing-only): no values, no dumps" in stream.getvalue()


def test_summary_of_an_empty_run():
    stream = io.StringIO()
    nothing = dict.fromkeys(("instructions", "end_ps", "latency_ps", "compute_ps", "memory_ps"), 0)
    print_summary(result(instruction_counts={}, **nothing), stream)
    assert "0.000 ns" in stream.getvalue()
