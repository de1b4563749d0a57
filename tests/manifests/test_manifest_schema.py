"""The weight manifest (§3.6): what is accepted, and one clear line for what is not."""

import json

import pytest

from plena_emu.errors import EmuError
from plena_emu.manifests.schema import Region, load_manifest, parse_manifest

TOP = 2**64 - 1
REGION = {"layer_id": 1, "offset": 64, "size": 128, "kind": "kv"}
SOUND = {"activation_ceiling": 4096, "regions": [REGION], "ddr_capacity_bytes": 1 << 29}


def parse(document):
    return parse_manifest(json.dumps(document).encode(), "m.json")


def test_a_sound_manifest():
    manifest = parse(SOUND)
    assert manifest.activation_ceiling == 4096
    assert manifest.regions == (Region(1, 64, 128, "kv"),)
    assert manifest.regions[0].end == 192
    assert manifest.ddr_capacity_bytes == 1 << 29
    assert manifest.warnings == ()


def test_defaults():
    region = {key: value for key, value in REGION.items() if key != "kind"}
    manifest = parse({"activation_ceiling": 0, "regions": [region]})
    assert manifest.regions[0].kind == "weight"
    assert manifest.ddr_capacity_bytes is None
    assert parse({**SOUND, "ddr_capacity_bytes": None}).ddr_capacity_bytes is None
    assert parse({**SOUND, "ddr_capacity_bytes": 0}).ddr_capacity_bytes == 0


def test_extremes_overlaps_and_any_order_are_legal():
    top = 2**64 - 1
    regions = [
        {"layer_id": 2**32 - 1, "offset": 0, "size": top, "kind": "weight"},
        {"layer_id": 0, "offset": top, "size": 1, "kind": "kv"},
        {"layer_id": 0, "offset": 7, "size": 0},
    ]
    manifest = parse({"activation_ceiling": top, "regions": regions})
    assert manifest.footprint() == top + 1
    assert manifest.footprint("kv") == 1
    assert manifest.footprint("activation", "kv") == 1


def test_unknown_keys_are_ignored_with_a_warning():
    manifest = parse({**SOUND, "note": "x", "regions": [{**REGION, "name": "wq"}]})
    assert manifest.warnings == (
        "weight manifest m.json: note: unknown key, ignored",
        "weight manifest m.json: regions[0].name: unknown key, ignored",
    )


def with_region(**changes):
    return {**SOUND, "regions": [REGION, {**REGION, **changes}]}


def without(document, key):
    return {name: value for name, value in document.items() if name != key}


@pytest.mark.parametrize(
    "document, line",
    [
        ([], "found an empty list, expected a table"),
        (None, "found null, expected a table"),
        (without(SOUND, "activation_ceiling"), "activation_ceiling: found nothing, expected an integer from 0 to"),
        (without(SOUND, "regions"), "regions: found nothing, expected a list"),
        ({**SOUND, "regions": {}}, "regions: found a table, expected a list"),
        ({**SOUND, "regions": 3}, "regions: found 3, expected a list"),
        ({**SOUND, "regions": [7]}, "regions[0]: found 7, expected a table"),
        ({**SOUND, "regions": [without(REGION, "size")]}, "regions[0].size: found nothing, expected an integer"),
        ({**SOUND, "regions": [without(REGION, "layer_id")]},
         "regions[0].layer_id: found nothing, expected an integer"),
        ({**SOUND, "regions": [without(REGION, "offset")]}, "regions[0].offset: found nothing, expected an integer"),
        ({**SOUND, "activation_ceiling": -1}, f"activation_ceiling: found -1, expected an integer from 0 to {TOP}"),
        ({**SOUND, "activation_ceiling": 2**64}, f"activation_ceiling: found {2**64}, expected an integer"),
        ({**SOUND, "activation_ceiling": None}, "activation_ceiling: found null, expected an integer"),
        ({**SOUND, "ddr_capacity_bytes": "512M"}, "ddr_capacity_bytes: found '512M', expected an integer"),
        ({**SOUND, "ddr_capacity_bytes": 1.0}, "ddr_capacity_bytes: found 1.0, expected an integer"),
        (with_region(size=True), "regions[1].size: found true, expected an integer"),
        (with_region(size="64"), "regions[1].size: found '64', expected an integer"),
        (with_region(offset=1e3), "regions[1].offset: found 1000.0, expected an integer"),
        (with_region(offset=-64), "regions[1].offset: found -64, expected an integer"),
        (with_region(size=2**64), f"regions[1].size: found {2**64}, expected an integer"),
        (with_region(layer_id=2**32), f"regions[1].layer_id: found {2**32}, expected an integer from 0 to {2**32 - 1}"),
        (with_region(layer_id=[1]), "regions[1].layer_id: found a list, expected an integer"),
        (with_region(kind="Weight"), "regions[1].kind: found 'Weight', expected one of activation, kv, weight"),
        (with_region(kind=None), "regions[1].kind: found null, expected one of activation, kv, weight"),
        (with_region(kind=["kv"]), "regions[1].kind: found a list, expected one of activation, kv, weight"),
        (with_region(kind="x" * 99), "regions[1].kind: found '" + "x" * 37 + "...', expected one of"),
        (with_region(offset=2**64 - 1, size=2), f"regions[1]: found offset + size {2**64 + 1}, expected at most 2^64"),
    ],
)
def test_refused(document, line):
    with pytest.raises(EmuError) as error:
        parse(document)
    text = str(error.value)
    assert text.startswith(f"weight manifest m.json: {line}")
    assert "\n" not in text
    assert error.value.exit_code == 101


@pytest.mark.parametrize(
    "data, line",
    [
        (b"", "not JSON: line 1, column 1"),
        (b"{", "not JSON: line 1"),
        (b'{"regions": [],\n "regions" 1}', "not JSON: line 2, column 12"),
        (b'{"activation_ceiling": 0, "regions": [], "regions": []}', "regions: found twice, expected once"),
        (b'{"activation_ceiling": 0, "regions": [{"size": 1, "size": 2}]}', "regions[0].size: found twice"),
        (b'{"activation_ceiling": NaN, "regions": []}', "not JSON: found NaN, expected a finite number"),
        (b"\xff\xfe", "not UTF-8 text: found the byte order mark of UTF-16"),
        (b"[" * 100_000, "not JSON: nested too deeply"),
        (b'{"activation_ceiling": ' + b"9" * 5000 + b"}", "not JSON: a number has too many digits"),
    ],
)
def test_refused_text(data, line):
    with pytest.raises(EmuError) as error:
        parse_manifest(data, "m.json")
    assert str(error.value).startswith(f"weight manifest m.json: {line}")
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(EmuError, match="weight manifest .*none.json: cannot read: No such file or directory"):
        load_manifest(str(tmp_path / "none.json"))
    with pytest.raises(EmuError, match="cannot read: Is a directory"):
        load_manifest(str(tmp_path))


def test_a_file(tmp_path):
    path = tmp_path / "weight_manifest.json"
    path.write_text(json.dumps(SOUND))
    assert load_manifest(str(path)).source == str(path)
    assert load_manifest(path).regions == parse(SOUND).regions
