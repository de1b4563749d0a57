"""`hbm_results.bin` in every memory model, and `results.json` files that a run refuses (spec §9.2)."""

import json
import shutil
from pathlib import Path

import pytest

import plena_emu
from plena_emu.cli.main import main
from plena_emu.errors import EmuError
from plena_emu.inputs.choices import MEMORY_MODELS

BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
# In the order of the file, which is not that of the addresses: what the program stores, and a part of its weights.
REGIONS = [{"name": "Y", "address": 9216, "bytes": 4608, "rows": 64, "columns": 64},
           {"name": "W", "address": 4608, "bytes": 100, "rows": 1, "columns": 64}]


@pytest.fixture
def build(tmp_path):
    directory = tmp_path / "build"
    shutil.copytree(BUILD, directory)
    (directory / "results.json").write_text(json.dumps({"results": [], "regions": REGIONS}))
    return directory


@pytest.mark.parametrize("model", MEMORY_MODELS)
def test_the_regions_are_written_in_every_memory_model(build, model, tmp_path):
    reference = tmp_path / "reference"
    reference.mkdir()
    plena_emu.run(build, dump_dir=reference, dump_hbm=True)
    hbm = (reference / "hbm_dump.bin").read_bytes()
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    result = plena_emu.run(build, memory_model=model, dump_dir=dumps, board="custom_a7")
    written = (dumps / "hbm_results.bin").read_bytes()
    assert written == hbm[9216:13824] + hbm[4608:4708] and any(written[:4608])
    assert [(dump.name, dump.bytes) for dump in result.dumps][-1] == ("hbm_results.bin", 4708)


def test_the_command_writes_them_beside_the_dumps(build):
    assert main(["run", str(build), "--quiet"]) == 0
    assert (build / "hbm_results.bin").stat().st_size == 4708 and (build / "vram_dump.bin").exists()


def test_runs_without_dumps_write_none(build, tmp_path):
    (build / "results.json").write_text("{")  # nor do they look at it
    plena_emu.run(build)
    assert main(["run", str(build), "--quiet", "--timing-only"]) == 0
    assert not (build / "hbm_results.bin").exists()


def test_builds_without_regions_write_none(build):
    (build / "results.json").write_text('{"results": []}')
    result = plena_emu.run(build, dump_dir=build)
    assert "hbm_results.bin" not in [dump.name for dump in result.dumps]
    assert not (build / "hbm_results.bin").exists()


@pytest.mark.parametrize("text, message", [
    ("{", "results.json: not JSON: line 1, column 2"),
    ('{"regions": 1}', "results.json: regions: found 1, expected a list"),
    (b"\xff", "results.json, line 1: not UTF-8 text"),
    (json.dumps({"regions": [REGIONS[0] | {"address": 16000}]}),
     "region Y: 4608 bytes at 16000 lie outside the HBM of 16384 bytes"),
    (json.dumps({"regions": [REGIONS[0] | {"address": -1}]}), "region Y: 4608 bytes at -1 lie outside"),
    (json.dumps({"regions": [REGIONS[0] | {"bytes": -4}]}), "region Y: -4 bytes at 9216 lie outside"),
    (json.dumps({"regions": [{"name": "Y"}]}), "regions[0].address: found nothing, expected an integer"),
])  # fmt: skip
def test_unsound_results_files(build, text, message):
    (build / "results.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EmuError) as raised:
        plena_emu.run(build, dump_dir=build)
    assert message in str(raised.value) and not (build / "vram_dump.bin").exists()


def test_a_file_that_cannot_be_written_is_an_error(build):
    (build / "hbm_results.bin").mkdir()
    (build / "hbm_results.bin" / "x").write_text("")
    with pytest.raises(EmuError, match=r"hbm_results\.bin: cannot write"):
        plena_emu.run(build, dump_dir=build)
