"""Settings of hardware timing (spec §7.1): defaults, what beats what, all faults in one line."""

import pytest
import tomlkit
from support import settings_document

import plena_emu
from plena_emu import RunRequest
from plena_emu.config.hardware import hardware_of
from plena_emu.config.settings import parse_settings
from plena_emu.errors import EmuError


def settings(**config):
    """Settings of the small document with entries of CONFIG replaced or added."""
    document = settings_document()
    for key, value in config.items():
        document["TRANSACTIONAL"]["CONFIG"][key] = {"value": value}
    return parse_settings(tomlkit.dumps(document), "test.toml", "--settings")


def test_defaults():
    assert hardware_of(settings()) == (1000, 8)


def test_the_file_and_the_flag():
    stated = settings(CLOCK_PERIOD_PS=1250, HBM_CHANNELS=32)
    assert hardware_of(stated) == (1250, 32)
    assert hardware_of(stated, 128) == (1250, 128)


@pytest.mark.parametrize("values", [{"HBM_CHANNELS": 0}, {"HBM_CHANNELS": "many"}, {"CLOCK_PERIOD_PS": 0.5}])
def test_without_hardware_timing_these_keys_are_ignored(values):
    assert settings(**values).mlen == settings_document()["TRANSACTIONAL"]["CONFIG"]["MLEN"]["value"]


@pytest.mark.parametrize("values, faults", [
    ({"HBM_CHANNELS": 12}, ["HBM_CHANNELS: found 12"]),
    ({"HBM_CHANNELS": 0, "CLOCK_PERIOD_PS": 0}, ["HBM_CHANNELS: found 0", "CLOCK_PERIOD_PS: found 0"]),
    ({"HBM_CHANNELS": "many"}, ["HBM_CHANNELS: found 'many'"]),
    ({"HBM_M_Prefetch_Amount": 24}, ["HBM_M_Prefetch_Amount 24 is no multiple of MLEN 16"]),
    ({"HBM_M_Prefetch_Amount": 8, "BLEN": 6}, ["is no multiple of MLEN 16", "MLEN 16 is no multiple of BLEN 6"]),
    ({"HBM_V_Prefetch_Amount": 0, "HBM_V_Writeback_Amount": 0},
     ["HBM_V_Prefetch_Amount: found 0", "HBM_V_Writeback_Amount: found 0"]),
    ({"HBM_SIZE": 1000, "MATRIX_SRAM_SIZE": 8}, ["HBM size 1000 is no multiple of 64", "MATRIX_SRAM_SIZE 8 is less"]),
])  # fmt: skip
def test_all_faults_in_one_line(values, faults):
    with pytest.raises(EmuError) as error:
        hardware_of(settings(**values))
    assert all(fault in str(error.value) for fault in faults) and "\n" not in str(error.value)
    assert error.value.exit_code == 101


ZERO = ("MLEN", "VLEN", "BLEN", "HLEN", "BROADCAST_AMOUNT", "HBM_SIZE", "MATRIX_SRAM_SIZE", "VECTOR_SRAM_SIZE")
ZERO_OF_HARDWARE = ("HBM_M_Prefetch_Amount", "HBM_V_Prefetch_Amount", "HBM_V_Writeback_Amount", "HBM_CHANNELS",
                    "CLOCK_PERIOD_PS")


def test_all_zeros_are_in_one_line(tmp_path):
    document = settings_document()
    for key in (*ZERO, *ZERO_OF_HARDWARE):
        document["TRANSACTIONAL"]["CONFIG"][key] = {"value": 0}
    path = tmp_path / "settings.toml"
    path.write_text(tomlkit.dumps(document))
    for fields, named in (({"dma": "production"}, (*ZERO, *ZERO_OF_HARDWARE)), ({}, ZERO)):
        with pytest.raises(EmuError) as error:
            plena_emu.run(RunRequest(opcode="none.mem", settings_path=path, timing_only=True, dump_dir=None, **fields))
        line = str(error.value)
        assert [key for key in (*ZERO, *ZERO_OF_HARDWARE) if f"CONFIG.{key}.value: found 0" in line] == list(named)
        assert error.value.exit_code == 101 and "\n" not in line


@pytest.mark.parametrize("value", [False, 0.0, "0"])
def test_what_is_no_integer_is_no_zero(value):
    with pytest.raises(EmuError, match="CONFIG.MLEN.value: found"):
        settings(MLEN=value, VLEN=value)


def test_a_flag_that_is_no_power_of_two_is_named():
    with pytest.raises(EmuError, match="--hbm-channels: found 512"):
        hardware_of(settings(), 512)
