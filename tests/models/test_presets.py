"""Presets and the settings they write, read back by the emulator's own loader."""

import tomllib

import pytest

from plena_emu.boards import load_board
from plena_emu.config.settings import parse_settings
from plena_emu.errors import EmuError
from plena_emu.models.presets import PRESETS, find_preset, settings_text


@pytest.mark.parametrize("name", PRESETS)
def test_settings_of_a_preset(name):
    preset = find_preset(name)
    text = settings_text(preset, 1 << 33)
    settings = parse_settings(text, "settings", "test")
    assert f"m{settings.mlen}b{settings.blen}" == name and settings.vlen == settings.mlen
    assert (settings.hlen, settings.broadcast) == (preset.hlen, preset.broadcast)
    assert (settings.pm, settings.pv, settings.sv) == (preset.mlen, preset.blen, preset.blen)
    assert (settings.matrix_sram_size, settings.vector_sram_size) == (4096, 4194304)
    assert settings.hbm_size == 1 << 33 and settings.max_loop_instructions == 100000
    document = tomllib.loads(text)
    behavior, transactional = document["BEHAVIOR"]["CONFIG"], document["TRANSACTIONAL"]["CONFIG"]
    assert behavior == {key: transactional[key] for key in behavior}
    assert behavior["HBM_WIDTH"]["value"] == max(8 * preset.mlen, 512) and len(behavior) == 9


def test_the_large_preset_follows_the_heads():
    preset = find_preset("m256b64")
    assert (preset.for_head_dim(64).hlen, preset.for_head_dim(128).hlen) == (64, 128)
    assert preset.for_head_dim(128).broadcast == 2


def test_a_board_adds_its_latencies():
    preset = find_preset("m64b16")
    settings = parse_settings(settings_text(preset, 4096, load_board("custom_a7"), 1000), "settings", "test")
    assert (settings.dc_en, settings.latency.systolic, settings.vector_sram_size) == (0, 8, 1000)
    assert settings.blen == 16


def test_unknown_presets():
    with pytest.raises(EmuError, match="preset m1b1: expected one of m16b4"):
        find_preset("m1b1")
