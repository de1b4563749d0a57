"""Is `plena_emu.run` the documented call: build directory or request in, typed result or one-line error out?"""

import copy
import dataclasses
import inspect
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

import plena_emu
from plena_emu import models
from plena_emu.boards import load_board
from plena_emu.cli.main import main as plena_emu_main
from plena_emu.ddr import DdrTiming, preset
from plena_emu.errors import UsageError
from plena_emu.manifests.generate import generate
from plena_emu.precompile import warm
from plena_emu.program.assembler import assemble, disassemble, mem_text
from plena_emu.result import RunResult

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "examples" / "linear" / "build"


def test_a_build_directory(tmp_path, capfd):
    result = plena_emu.run(BUILD, memory_model="auto")
    assert type(result) is RunResult and result.regime == "resident"
    assert result.sources.settings_origin == "build directory"
    assert result.geometry.hbm_size == 16384 and result.dumps == []
    assert capfd.readouterr() == ("", "")


def test_fields_come_before_files(tmp_path):
    program = tmp_path / "nothing.mem"
    program.write_text("")
    result = plena_emu.run(BUILD, opcode=str(program), hbm_size=1 << 20, memory_model="resident",
                           dump_dir=str(tmp_path))
    assert (result.instructions, result.geometry.hbm_size) == (0, 1 << 20)
    assert {dump.name for dump in result.dumps} == {path.name for path in tmp_path.glob("*.bin")}


def test_the_directory_of_the_dumps_is_made(tmp_path):
    result = plena_emu.run(BUILD, memory_model="resident", dump_dir=tmp_path / "new" / "place")
    assert {dump.name for dump in result.dumps} == {path.name for path in (tmp_path / "new" / "place").iterdir()}
    plena_emu.run(BUILD, timing_only=True, dump_dir=tmp_path / "unused")
    assert not (tmp_path / "unused").exists()


def test_a_request_and_changes_to_it(tmp_path):
    request = plena_emu.RunRequest(
        opcode=str(BUILD / "generated_machine_code.mem"), hbm=str(BUILD / "hbm_for_behave_sim.bin"),
        fpsram=str(BUILD / "fp_sram.bin"), settings_path=str(BUILD / "plena_settings.toml"), dump_dir=None,
    )
    timing = plena_emu.run(request, timing_only=True)
    whole = plena_emu.run(request)
    assert timing.latency_ps == whole.latency_ps > 0
    assert timing.timing_only and not whole.timing_only
    assert plena_emu.run(request, max_instructions=10).stopped_by_max_instructions
    assert request.max_instructions is None


def test_records_on_request(capfd):
    plena_emu.run(BUILD, memory_model="resident", log_level="info")
    assert "Topology mlen=64" in capfd.readouterr().err


@pytest.mark.parametrize("change, words", [
    ({"opcode": "none.mem"}, "none.mem"),
    ({"memory_model": "resident", "weight_manifest": "none.json"}, "none.json"),
    ({"dump_dir": f"{BUILD}/hbm_size.txt/new"}, "hbm_size.txt/new: cannot make the directory"),
    ({"hbm_size": 64}, "HBM preload"),
])
def test_errors_are_one_line(change, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(plena_emu.EmuError, match=words) as caught:
        plena_emu.run(BUILD, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field, value", [
    ("hbm_size", -1), ("hbm_size", "1G"), ("hbm_size", True), ("hbm_size", 2.0), ("memory_model", "ddr"), ("isa", "v2"),
    ("threads", 0), ("max_instructions", 0), ("max_instructions", 1.5), ("ddr_capacity", -1), ("host_bandwidth", 0),
    ("opcode", 5), ("opcode", ""), ("settings_path", "a\0b"), ("dump_dir", 1), ("progress", 1), ("log_level", "loud"),
    ("log_level", []), ("isa", np.array([1, 2])), ("memory_model", 3), ("threads", True), ("memo", "false"),
    ("memo", ""),
    ("timing_only", "no"), ("settings_origin", 5), ("weight_manifest_origin", 5), ("ddr_capacity_origin", 5),
    ("dump_hbm", "0"), ("trace", 1), ("started_at", "x"), ("ddr_capacity", 2**64),
    pytest.param("ddr_capacity", 10**5000, id="digits"),
])
def test_a_request_that_makes_no_sense(field, value):
    with pytest.raises(UsageError, match=f"{field}: found .* expected"):
        plena_emu.run(BUILD, **{field: value})


def test_the_signature_names_every_field_and_nothing_else():
    parameters = inspect.signature(plena_emu.run).parameters
    named = [name for name, found in parameters.items() if found.kind is inspect.Parameter.KEYWORD_ONLY]
    assert named == ["log_level", *plena_emu.RunRequest.__dataclass_fields__]
    assert {"run", "plan", "profile", "manifest", "assemble"} <= set(dir(plena_emu))


@pytest.mark.parametrize("field, value, hint", [
    ("memorymodel", "resident", "expected memory_model perhaps"),
    ("memory-model", "hbm", "expected memory_model perhaps"),
    ("dumpdir", "x", "expected dump_dir perhaps"), ("timingonly", True, "expected timing_only perhaps"),
    ("no_such_thing_at_all", 1, "expected one of opcode, hbm, "),
    ("memory_model", "resident ", r"expected one of auto, .* \(resident perhaps\)"),
    ("memory_model", "kv_swap", r"\(kv-swap perhaps\)"), ("isa", "MOE", r"\(moe perhaps\)"),
    ("log_level", "Info", r"\(info perhaps\)"),
])
def test_what_was_perhaps_meant(field, value, hint):
    with pytest.raises(UsageError, match=f"^{field}: found .*{hint}"):
        plena_emu.run(BUILD, **{field: value})
    if field != "log_level":
        with pytest.raises(UsageError, match=f"^{field}: found .*{hint}"):
            plena_emu.RunRequest(**({"opcode": "p.mem", "timing_only": True} | {field: value}))


def test_a_request_without_its_program_or_without_names():
    with pytest.raises(UsageError, match="^opcode: found nothing, expected a path"):
        plena_emu.RunRequest(timing_only=True)
    with pytest.raises(UsageError, match="found 'p.mem' without a name, expected keywords"):
        plena_emu.RunRequest("p.mem", timing_only=True)
    request = plena_emu.RunRequest(opcode="p.mem", timing_only=True)
    assert pickle.loads(pickle.dumps(request)) == copy.copy(request) == request
    assert dataclasses.replace(request, isa="moe").isa == "moe"


def test_results_and_requests_are_shown_short():
    result = plena_emu.run(BUILD, memory_model="auto")
    assert repr(result) == str(result) == ("<RunResult generated_machine_code.mem on auto (resident): 25689.878 ns,"
                                           " 1,685 instructions>")
    assert json.loads(result.to_json())["latency_ps"] == 25689878
    request = plena_emu.RunRequest(opcode="p.mem", timing_only=True)
    assert repr(request) == "RunRequest(opcode='p.mem', timing_only=True)"


def json_of(found):
    """The record of a call; names of its keywords are those of the flags."""
    text = msgspec.json.encode(found).decode()
    for name in ("host_bandwidth", "clock_mhz", "ddr_speed", "ddr_capacity", "dram"):
        flag = f"--{name.replace('_', '-')}"
        for key in ("flag", "named_by", "capacity_from", "host_bandwidth_from"):
            text = text.replace(f'"{key}":"{name}"', f'"{key}":"{flag}"')
    return json.loads(text)


def test_the_other_calls_do_what_the_commands_do(tmp_path, capsys):
    def said(*words):
        assert plena_emu_main([str(word) for word in words]) == 0
        record = json.loads(capsys.readouterr().out)
        return {key: value for key, value in record.items() if key not in ("format", "command")}

    build = shutil.copytree(BUILD, tmp_path / "build")
    plan = plena_emu.plan(build, "custom_a7", total_layers=40, host_bandwidth=10**9)
    assert json_of(plan) == said("plan", build, "--board", "custom_a7", "--total-layers", 40,
                                             "--host-bandwidth", 10**9, "--json")
    nexys = load_board("nexys_video", "nexys_video_150mhz")
    profile = plena_emu.profile(build, nexys, static=True, latencies="settings", clock_mhz=50)
    flags = ["--board", "nexys_video", "--latency-profile", "nexys_video_150mhz", "--clock-mhz", 50, "--json"]
    assert json_of(profile) == said("profile", build, *flags, "--static", "--latencies", "settings")
    profile = plena_emu.profile(build, nexys, clock_mhz=50, memory_model="weight-stream", host_bandwidth=10**9)
    assert json_of(profile) == said("profile", build, *flags, "--memory-model", "weight-stream", "--host-bandwidth",
                                    "1GB/s")
    assert json_of(plena_emu.profile(build)) == said("profile", build, "--json")
    made, report = plena_emu.manifest(build, "custom_a7", total_layers=40, output=tmp_path / "m.json")
    found = said("manifest", build, "--board", "custom_a7", "--total-layers", 40, "--json")
    assert json_of(report) == {key: value for key, value in found.items() if key != "manifest"}
    assert (tmp_path / "m.json").read_text() == (build / "weight_manifest.json").read_text()
    assert len(made.regions) == 3
    text = (build / "generated_asm_code.asm").read_text()
    assert mem_text(plena_emu.assemble(text)) == (build / "generated_machine_code.mem").read_text()


@pytest.mark.parametrize("call", [
    lambda: plena_emu.plan(5), lambda: plena_emu.plan(BUILD, 5), lambda: plena_emu.plan(BUILD, None),
    lambda: plena_emu.plan(BUILD, ddr_capacity=-1), lambda: plena_emu.plan(BUILD, ddr_capacity=2**64),
    lambda: plena_emu.plan(BUILD, total_layers=0), lambda: plena_emu.plan(BUILD, total_layers=1.5),
    lambda: plena_emu.plan(BUILD, host_bandwidth="1G"),
    lambda: plena_emu.manifest(BUILD, "custom_a7", total_layers=-1),
    lambda: plena_emu.manifest(None, "custom_a7"), lambda: plena_emu.profile(5),
    lambda: plena_emu.profile(BUILD, isa="x"),
    lambda: plena_emu.profile(BUILD, static="no"), lambda: plena_emu.profile(BUILD, latencies=3),
    lambda: plena_emu.profile(BUILD, clock_mhz=0), lambda: plena_emu.profile(BUILD, clock_mhz=5e-324),
    lambda: plena_emu.profile(BUILD, memory_modal="hbm"), lambda: plena_emu.plan(BUILD, isa="x"),
    lambda: plena_emu.profile(BUILD, msgspec.structs.replace(load_board("v80"), clock_mhz=5)),
    lambda: plena_emu.profile(BUILD, clock_mhz=True), lambda: plena_emu.profile(BUILD, settings_path=7),
    lambda: plena_emu.run(BUILD, memory_model=np.array([1, 2])), lambda: plena_emu.run(BUILD, isa=np.array([1, 2])),
    lambda: plena_emu.run(BUILD, pc_log="x", pc_log_from=5), lambda: plena_emu.run(BUILD, ddr_capacity_origin=5),
    lambda: disassemble(5), lambda: mem_text(None), lambda: load_board(5), lambda: load_board("v80", 5),
    lambda: generate(5, load_board("v80")), lambda: generate(BUILD, 5), lambda: generate(BUILD, load_board("v80"), -1),
    lambda: generate(BUILD, load_board("v80"), None, 1.5), lambda: preset("x"), lambda: DdrTiming(True),
    lambda: models.compile(5, "x"), lambda: models.compile("tiny", 5), lambda: models.compile("tiny", "x", prefil=1),
    lambda: models.estimate(5, board="v80"), lambda: models.estimate("tiny", board=5), lambda: models.check_build(5),
    lambda: models.load_results(None), lambda: models.load_references(5),
])
def test_the_other_calls_refuse_what_makes_no_sense(call):
    with pytest.raises(UsageError, match=r"^(board )?\w+: found .*, expected "):
        call()


def test_paths_of_every_kind_and_numpy_integers(tmp_path):
    expected = plena_emu.run(BUILD, hbm_size=1 << 16).latency_ps
    program = BUILD / "generated_machine_code.mem"
    for place in (BUILD, str(BUILD), os.fsencode(BUILD)):
        result = plena_emu.run(place, opcode=program, hbm_size=np.int64(1 << 16), dump_dir=tmp_path)
        assert result.latency_ps == expected and result.program.path == str(program)
    with pytest.raises(UsageError, match="build directory"):
        plena_emu.run("")
    for build in (None, 5, ["a"]):
        with pytest.raises(UsageError, match="build: found .*, expected a build directory or a RunRequest"):
            plena_emu.run(build)


def test_progress_and_what_it_raises():
    seen = []
    result = plena_emu.run(BUILD, progress=lambda *figures: seen.append(figures), threads=2)
    assert seen[-1] == (result.program.words, result.program.words, result.instructions, result.end_ps)

    def stop(*figures):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        plena_emu.run(BUILD, progress=stop)


def test_no_run_leaves_a_thread_behind(tmp_path):
    program = tmp_path / "broken.mem"
    program.write_text(mem_text(assemble("C_BREAK")))
    before = set(threading.enumerate())
    plena_emu.run(BUILD, threads=2)
    with pytest.raises(plena_emu.EmuError, match="no loop is active"):
        plena_emu.run(BUILD, opcode=program, threads=2)
    with pytest.raises(ZeroDivisionError):
        plena_emu.run(BUILD, progress=lambda *figures: 1 // 0, threads=2)
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= before


def test_a_missing_file_of_a_build_directory_is_named(tmp_path):
    build = shutil.copytree(BUILD, tmp_path / "build")
    (build / "fp_sram.bin").unlink()
    with pytest.raises(plena_emu.EmuError, match="fp_sram.bin not found"):
        plena_emu.run(build)
    with pytest.raises(plena_emu.EmuError, match="not found"):
        plena_emu.run(tmp_path / "none")
    with pytest.raises(AttributeError, match="no_such_name"):
        plena_emu.no_such_name  # noqa: B018


def test_the_package_is_light_and_says_what_it_offers():
    code = ("import sys, plena_emu;"
            " print(sorted(set(sys.modules) & {'numpy', 'numba', 'msgspec', 'importlib.metadata'}),"
            " set(plena_emu.__all__) <= set(dir(plena_emu)), all(hasattr(plena_emu, n) for n in plena_emu.__all__))")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[] True True", ran.stderr


def test_the_first_run_of_a_process_needs_no_numba():
    warm()
    code = f"import sys, plena_emu; print(plena_emu.run({str(BUILD)!r}).instructions, 'numba' in sys.modules)"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, env=environ)
    assert ran.stdout == "1685 False\n", ran.stderr


def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch, capsys):
    """Every Python block of docs/api.md, one after the other, in a directory with the example's build."""
    shutil.copytree(BUILD, tmp_path / "build")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
    assert "25689.878" in capsys.readouterr().out
