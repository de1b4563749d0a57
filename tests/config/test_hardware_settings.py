"""Settings of hardware timing (spec §7.1): defaults, what beats what, all faults in one line."""

import pytest
import tomlkit
from support import settings_document

import plena_emu
from plena_emu import RunRequest
from plena_emu.config.hardware import hardware_of
from plena_emu.config.settings import parse_settings, with_hbm_size
from plena_emu.errors import EmuError, UsageError


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
    ({"HBM_SIZE": 1000, "MATRIX_SRAM_SIZE": 8}, ["HBM_SIZE 1000 is no multiple of 64", "MATRIX_SRAM_SIZE 8 is less"]),
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


def run_settings(tmp_path, config, **fields):
    """The error line of a run whose settings file has other entries of CONFIG."""
    document = settings_document()
    for key, value in config.items():
        document["TRANSACTIONAL"]["CONFIG"][key] = {"value": value}
    (tmp_path / "settings.toml").write_text(tomlkit.dumps(document))
    with pytest.raises(EmuError) as error:
        plena_emu.run(RunRequest(opcode="none.mem", settings_path=tmp_path / "settings.toml", timing_only=True,
                                 dump_dir=None, dma="production", **fields))
    assert error.value.exit_code == 101 and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("config, faults", [
    ({"HBM_SIZE": 100, "HBM_V_Prefetch_Amount": 0, "BROADCAST_AMOUNT": 0},
     ["HBM_SIZE 100 is no multiple of 64", "HBM_V_Prefetch_Amount.value: found 0", "BROADCAST_AMOUNT.value: found 0"]),
    ({"MLEN": 4, "BLEN": 8}, ["MLEN 4 is no multiple of BLEN 8"]),
    ({"MLEN": 0, "HBM_CHANNELS": 12, "CLOCK_PERIOD_PS": "fast"},
     ["MLEN.value: found 0", "HBM_CHANNELS: found 12", "CLOCK_PERIOD_PS: found 'fast'"]),
    ({"HBM_V_Prefetch_Amount": 0}, ["HBM_V_Prefetch_Amount: found 0"]),
])  # fmt: skip
def test_all_faults_come_before_those_of_formats(config, faults, tmp_path):
    line = run_settings(tmp_path, config)
    assert all(line.count(fault) == 1 for fault in faults)


@pytest.mark.parametrize("fields, config, expected", [
    ({"hbm_size": 100}, {}, "hbm_size: found 100, expected a multiple of 64 bytes"),
    ({"hbm_size": 100, "from_flags": True}, {"HBM_SIZE": 1000}, "--hbm-size: found 100, expected a multiple of 64"),
    ({"hbm_size": 100, "hbm_size_origin": "b/hbm_size.txt"}, {}, "b/hbm_size.txt: found 100, expected a multiple of"),
])  # fmt: skip
def test_the_settings_are_not_blamed_for_what_replaces_them(fields, config, expected, tmp_path):
    line = run_settings(tmp_path, config, **fields)
    assert line.startswith(expected) and "settings" not in line


def test_both_are_named_where_both_are_wrong(tmp_path):
    document = settings_document()
    document["TRANSACTIONAL"]["CONFIG"]["MATRIX_SRAM_SIZE"] = {"value": 8}
    with pytest.raises(EmuError) as error:
        hardware_of(with_hbm_size(parse_settings(tomlkit.dumps(document), "test.toml", "--settings"), 100), None,
                    "--hbm-size")
    assert "test.toml: MATRIX_SRAM_SIZE 8 is less than MLEN 16; --hbm-size: found 100" in str(error.value)


@pytest.mark.parametrize("channels", [7, 512, 12, 0])
def test_a_number_of_channels_that_none_can_be_is_a_usage_error(channels):
    for from_flags, called in (False, "hbm_channels"), (True, "--hbm-channels"):
        with pytest.raises(UsageError) as error:
            RunRequest(opcode="x", timing_only=True, dma="production", hbm_channels=channels, from_flags=from_flags)
        assert f"found {channels}" in str(error.value) and error.value.exit_code == 2
        assert called in str(error.value) or channels == 0


def test_channels_that_were_asked_for_replace_those_of_the_settings():
    assert hardware_of(settings(HBM_CHANNELS=12), 4).channels == 4
