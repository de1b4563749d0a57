"""`plena-emu estimate`: which positions are timed, what lies between them, the answer's arithmetic (spec §9.2)."""

import csv
import json

import pytest

import plena_emu
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.models.board_estimate import estimate, interpolate, key_blocks, sample_positions
from plena_emu.models.compiler import compile as compile_model
from plena_emu.report.estimate import estimate_text

SMALL = {"board": "custom_a7", "layers": 1, "prefill": 5}


def test_key_blocks():
    assert [key_blocks(past, 16) for past in (1, 15, 16, 31, 32)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("positions, timed, held_out", [
    (range(64, 64), [], None),
    (range(64, 65), [64], None),
    (range(64, 66), [65], 64),  # one number of key blocks: the other position tests it
    (range(64, 192), [96, 160], 191),
    (range(0, 640), [32, 224, 416, 608], 320),  # ten numbers of blocks: one that was left out tests the line
])  # fmt: skip
def test_sampled_positions(positions, timed, held_out):
    found, left = sample_positions(positions, 64)
    assert left == held_out and left not in found
    assert {key_blocks(past, 64) for past in found} == {key_blocks(past, 64) for past in timed}


def test_interpolation_is_linear_in_key_blocks():
    sampled = {10: 1.0, 200: 4.0}  # one block of 64, and four
    assert interpolate(63, sampled, 64) == 1.0 and interpolate(64, sampled, 64) == 2.0
    assert interpolate(150, sampled, 64) == 3.0 and interpolate(255, sampled, 64) == 4.0


def test_every_token_is_what_single_builds_take(tmp_path):
    found = estimate("tiny", decode=3, every_token=True, **SMALL)
    assert [step.past for step in found.decode] == [5, 6, 7] and all(step.exact for step in found.decode)
    assert found.held_out is None
    for step, options in ((found.prefill, {"prefill": 5}), (found.decode[1], {"past": 6})):
        build = tmp_path / f"at{step.past}"
        compile_model("tiny", build, layers=1, weights="none", board="custom_a7", **options)
        result = plena_emu.run(build, timing_only=True, board="custom_a7", memory_model="auto")
        assert step.board_time_ps == result.board_time_ps and step.seconds == result.board_time_ps / 1e12
        assert step.instructions == result.instructions
    assert found.time_to_first_token == found.prefill.seconds
    assert found.time_per_token == pytest.approx(sum(step.seconds for step in found.decode) / 3)
    assert found.tokens_per_s == pytest.approx(1 / found.time_per_token)
    assert found.regime == "resident" and found.footprint.weight > 0 < found.footprint.kv


def test_a_few_positions_stand_for_all():
    exact = estimate("tiny", decode=6, every_token=True, preset="m16b4", **SMALL | {"prefill": 29})
    few = estimate("tiny", decode=6, preset="m16b4", **SMALL | {"prefill": 29})
    assert len(few.decode) == 6 and sum(step.exact for step in few.decode) == 3
    assert few.time_per_token == pytest.approx(exact.time_per_token, rel=0.02)
    assert 0 <= few.held_out.relative_error < 0.02
    held = next(step for step in exact.decode if step.past == few.held_out.past)
    assert few.held_out.seconds == held.seconds
    assert few.held_out.interpolated == pytest.approx(held.seconds * (1 + few.held_out.relative_error), rel=1e-6) \
        or few.held_out.interpolated == pytest.approx(held.seconds * (1 - few.held_out.relative_error), rel=1e-6)


def test_batches_give_more_tokens():
    found = estimate("tiny", decode=1, batch=3, **SMALL)
    assert found.batch == 3 and found.tokens_per_s == pytest.approx(3 / found.time_per_token)


def test_an_image_comes_before_the_prompt(tmp_path):
    request = {"board": "custom_a7", "layers": 1, "prefill": 4, "decode": 1}
    text, both = (estimate("smolvlm2-256m", **request, image=image) for image in (None, 128))
    assert text.image is None and both.image.tokens == 4  # 8 x 8 patches, 4 x 4 of them a token
    assert both.time_to_first_token == both.image.seconds + text.time_to_first_token
    compile_model("smolvlm2-256m", tmp_path / "build", part="vision", image=128, layers=1, weights="none",
                  board="custom_a7")
    result = plena_emu.run(tmp_path / "build", timing_only=True, board="custom_a7", memory_model="auto")
    assert both.image.board_time_ps == result.board_time_ps
    with pytest.raises(EmuError, match="model tiny: has no vision part"):
        estimate("tiny", **request, image=64)


def test_a_bidirectional_model_has_one_pass():
    found = estimate("llada-8b", board="v80", layers=1, prefill=4, preset="m256b64")
    assert found.decode == () and found.time_per_token is None and found.tokens_per_s is None
    assert found.memory_model == "resident"  # the board has no host link
    text = estimate_text(found)
    assert "one denoising pass" in text and "pass over 4 " in text and "first token" not in text
    with pytest.raises(UsageError, match="attends in both directions, so there is no decode"):
        estimate("llada-8b", board="v80", layers=1, prefill=4, decode=3)


def test_capacity_decides_about_the_regime():
    tight = estimate("tiny", decode=1, ddr_capacity=1 << 16, **SMALL)
    assert (tight.regime, tight.capacity_bytes) == ("weight-stream", 1 << 16)
    assert tight.time_per_token > estimate("tiny", decode=1, **SMALL).time_per_token


def test_lengths_the_model_cannot_do():
    with pytest.raises(EmuError, match="2058 tokens, expected at most its 2048 positions"):
        estimate("tiny", board="custom_a7", prefill=2048, decode=10)


def test_the_command_prints_table_json_and_csv(tmp_path, capsys):
    arguments = ["estimate", "tiny", "--board", "custom_a7", "--layers", "1", "--prefill", "5", "--decode", "4"]
    assert main([*arguments, "--csv", str(tmp_path / "e.csv")]) == 0
    out = capsys.readouterr().out
    for text in ("time to first token", "time per output token", "tokens/s", "interpolation error", "not counted",
                 "auto: resident", "2 of 4 decode positions were timed"):
        assert text in out, text
    rows = list(csv.DictReader((tmp_path / "e.csv").read_text().splitlines()))
    assert [(row["phase"], row["past"]) for row in rows] == [
        ("prefill", "0"), ("decode", "5"), ("decode", "6"), ("decode", "7"), ("decode", "8")]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["decode"]) == 4 and found["decode"][0]["seconds"] == float(rows[1]["seconds"])


@pytest.mark.parametrize("arguments, status, message", [
    (["estimate", "gpt", "--board", "custom_a7"], 101, "model gpt: no such directory or config file"),
    (["estimate", "tiny", "--board", "nowhere"], 2, "nowhere"),
    (["estimate", "tiny", "--board", "custom_a7", "--preset", "m1"], 2, "preset m1: expected one of"),
    (["estimate", "tiny", "--board", "custom_a7", "--decode", "0"], 2, "--decode"),
    (["estimate", "llada-8b", "--board", "custom_a7", "--decode", "4"], 2, "there is no decode"),
    (["estimate", "tiny", "--board", "custom_a7", "--csv", "/nowhere/e.csv"], 101, "does not exist"),
    (["compile", "tiny"], 2, "expected -o BUILD, or --list"),
    (["compile"], 2, "expected MODEL and -o BUILD, or --list"),
    (["compile", "tiny", "-o", "{tmp}/b", "--past", "3", "--prefill", "3"], 2, "--prefill and --past exclude"),
    (["compile", "tiny", "-o", "{tmp}/b", "--image", "64"], 2, "--image: the text part has no use for it"),
    (["compile", "tiny", "-o", "{tmp}/b", "--layers", "3"], 101, "has 2 layers, --layers asks for 3"),
    (["compile", "tiny", "-o", "{tmp}/b", "--tokens", "{tmp}/no.npy"], 101, "no.npy: cannot read"),
    (["compile", "tiny", "-o", "{tmp}/b", "--weights", "random:x"], 2, "expected random:SEED"),
    (["compile", "tiny", "-o", "{tmp}/b", "--prefill", "2049"], 101, "2049 tokens, expected at most its 2048"),
    (["compile", "tiny", "-o", "{tmp}/b", "--vector-sram-rows", "100"], 101, "rows"),
    (["compile", "tiny", "-o", "/dev/null"], 101, "/dev/null"),
])  # fmt: skip
def test_errors_are_one_line(arguments, status, message, tmp_path, capsys):
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    try:
        found = main(filled)
    except SystemExit as stopped:
        found = stopped.code
    error = capsys.readouterr().err
    assert found == status and message in error and error.count("\n") == 1, error
    assert list(tmp_path.iterdir()) == []


def test_compile_says_what_it_wrote(tmp_path, capsys):
    assert main(["compile", "tiny", "-o", str(tmp_path / "b"), "--layers", "1", "--prefill", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Wrote {tmp_path / 'b'}: tiny for m64b16, ") and "words" in out
    assert main(["compile", "tiny", "-o", str(tmp_path / "c"), "--layers", "1", "--prefill", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "tiny"
    assert (tmp_path / "b" / "generated_machine_code.mem").read_bytes() == (
        tmp_path / "c" / "generated_machine_code.mem").read_bytes()


def test_the_list_names_models_presets_and_families(capsys):
    assert main(["compile", "--list"]) == 0
    out = capsys.readouterr().out
    expected = ("smollm2-135m", "bidirectional", "m256b64", "the default", "qwen3", "RoPE llama3", "tied",
                "norms of q and k per head")
    assert all(name in out for name in expected)


@pytest.mark.parametrize("board", [None, "custom_a7"])
def test_a_hardware_timeline(board, tmp_path):
    """Its times are those of single builds on the timeline, with a board at its clock; the serial ones beside them."""
    found = estimate("tiny", board=board, layers=1, prefill=5, decode=1, timing="rtl-v1", schedule="overlap")
    build = tmp_path / "build"
    compile_model("tiny", build, layers=1, weights="none", board=board, prefill=5, schedule="overlap")
    result = plena_emu.run(build, timing_only=True, timing="rtl-v1", **({"board": board} if board else {}))
    timeline = result.hardware.timeline
    assert found.prefill.seconds == result.latency_ps / 1e12 == found.time_to_first_token
    assert found.prefill.serial_seconds == result.hardware.serial_latency_ps / 1e12
    waits = sum(v for k, v in timeline["critical_path_cycles"].items() if k.startswith("hbm_"))
    assert found.prefill.compute_share == pytest.approx(1 - waits / timeline["total_makespan_cycles"])
    assert (found.timing, found.schedule, found.board) == ("rtl-v1", "overlap", board)
    assert found.clock_mhz == (1000 if board is None else result.board.clock_mhz)
    assert (found.prefill.board_time_ps is None) == (board is None)


def test_without_a_board_the_reference_counts(tmp_path):
    found = estimate("tiny", layers=1, prefill=5, decode=1)
    compile_model("tiny", tmp_path / "build", layers=1, weights="none", prefill=5)
    result = plena_emu.run(tmp_path / "build", timing_only=True)
    assert found.prefill.seconds == result.latency_ps / 1e12 and found.prefill.serial_seconds is None
    assert (found.board, found.clock_mhz, found.memory_model, found.timing) == (None, 1000, "hbm", "serial")
    assert found.footprint.weight > 0


def test_a_timeline_on_the_command_line(capsys):
    assert main(["estimate", "tiny", "--layers", "1", "--prefill", "5", "--decode", "1", "--timing", "rtl-v1",
                 "--schedule", "overlap", "--clock-mhz", "500"]) == 0
    text = capsys.readouterr().out
    assert "at 500 MHz" in text and "timing rtl-v1, schedule overlap" in text and "serial" in text
