"""The manifest generator (spec §6.3): golden manifests, the rules one by one, properties, malformed inputs."""

import json
import pathlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.boards import load_board
from plena_emu.cli.main import main
from plena_emu.errors import EmuError
from plena_emu.manifests.capacity_regime import choose_regime
from plena_emu.manifests.footprint import Footprint, footprint, layer_ids, project
from plena_emu.manifests.generate import generate, make_regions, manifest_json
from plena_emu.manifests.region_names import kind_of, layer_of, undecided_names
from plena_emu.manifests.schema import parse_manifest
from plena_emu.report.manifest import report_text

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests"
A7 = load_board("custom_a7")
MIB = 2**20

EXPECTED = sorted(
    (path, {"": None, "_ddr2M": 2 * MIB, "_ddr4M": 4 * MIB}[path.stem.removeprefix("weight_manifest")])
    for path in GOLDEN.glob("*/weight_manifest*.json")
)


def test_there_are_golden_manifests():
    assert len(EXPECTED) == 5


@pytest.mark.parametrize("path, capacity", EXPECTED, ids=lambda value: str(value)[-40:])
def test_golden_manifests_byte_for_byte(path, capacity):
    manifest, _ = generate(path.parent, A7, capacity)
    assert manifest_json(manifest) == path.read_text()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/weight_manifest_report.txt")), ids=lambda path: path.parent.name)
def test_golden_reports_line_for_line(path):
    _, report = generate(path.parent, A7)
    written_to = path.read_text().splitlines()[0].removeprefix("Wrote ")
    assert report_text(report, written_to) + "\n" == path.read_text().rstrip("\n") + "\n"


def test_the_published_case():
    """clm60m, one layer, MLEN 256, custom_a7: what the report says."""
    manifest, report = generate(GOLDEN / "base_clm60m_dec_L1_m256b64_a7", A7)
    assert report.regions == {"weight": 9, "kv": 4, "activation": 6}
    assert report.sizes_from == {"hbm_sizes": 19, "tensor_layouts": 0, "address-delta": 0}
    found = footprint(manifest.regions)
    assert (found.kv + found.activation, found.weight, report.this_build.regime) == (884736, 3833856, "resident")


@pytest.mark.parametrize("program", sorted(path.parent.name for path in GOLDEN.glob("*/hbm_sizes.json")))
def test_golden_layouts_give_the_golden_sizes(program):
    """Where a tensor is in both tables, its storage shape gives the size that hbm_sizes.json states."""
    names = ("hbm_addrs", "hbm_sizes", "tensor_layouts")
    addresses, sizes, layouts = (json.loads((GOLDEN / program / f"{name}.json").read_text()) for name in names)
    both = {name: offset for name, offset in addresses.items() if name in layouts}
    assert len(both) > 10
    assert make_regions(both, {}, layouts)[0] == make_regions(both, sizes, {})[0]


# --- the rules -----------------------------------------------------------------------------------

@pytest.mark.parametrize("name, kind", [
    ("K_stored_0_h0", "kv"), ("V_stored_3_h1", "kv"), ("dec_K_stored_1", "kv"), ("aK_stored_0", "activation"),
    ("K_0_h1", "activation"), ("V_0", "activation"), ("K_stored", "activation"), ("W_K_stored_0", "kv"),
    ("W_q_0", "weight"), ("V_W_q_1", "weight"), ("V_B_fc1_2", "weight"), ("V_LN1_0", "weight"), ("V_LN2_3", "weight"),
    ("V_POST_LN_W", "weight"), ("V_PATCH_W", "weight"), ("V_PATCH_BIAS_POS", "weight"), ("V_CONNECTOR_W", "weight"),
    ("V_CONNECTOR_B", "weight"), ("V_PATCH_OUT", "activation"), ("V_PATCH_W2", "activation"), ("X", "activation"),
    ("vision_post_ln", "activation"), ("COS", "activation"), ("causal_mask", "activation"), ("w_q_0", "activation"),
    ("V_LN1", "activation"), ("XW_q", "activation"),
])
def test_kinds(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("name, layer", [
    ("X", 0), ("W_q_0", 0), ("W_q_17", 17), ("K_stored_3_h5", 3), ("W_k_h2", 0), ("V_B_fc1_7", 7), ("V_B_FC2_8", 8),
    ("V_LN1_4", 4), ("V_LN2_5_h1", 5), ("V_W_fc1", 0), ("W_12_34", 12), ("h1", 1), ("a_h2_h3", 2), ("W_007", 7),
    ("V_ln2", 0), ("W_" + "9" * 25, 99999999999999999999),
])
def test_layers(name, layer):
    assert layer_of(name) == layer


def test_sizes_come_from_the_first_source_that_has_one():
    addresses = {"A": 0, "B": 1000, "C": 3000, "D": 4000, "E": 5000, "F": 6000, "G": 7000}
    sizes = {"A": 64, "B": 0, "C": -3, "D": "64", "E": True, "F": 1.0}
    layouts = {"A": {"storage_shape": [2, 2]}, "B": {"storage_shape": [3, 3]}, "C": {"storage_shape": []},
               "D": {"storage_shape": [0, 3]}, "E": {"shape": [1]}, "F": [4]}
    regions, origins, warnings = make_regions(addresses, sizes, layouts)
    assert [(region.offset, region.size) for region in regions] == [
        (0, 64), (1000, 10), (3000, 1000), (4000, 1000), (5000, 1000), (6000, 1000)]
    assert origins == {"hbm_sizes": 1, "tensor_layouts": 1, "address-delta": 4}
    assert len(warnings) == 1 and warnings[0].startswith('"G": no size in any table')


def test_an_overlap_is_cut_and_said():
    regions, _, warnings = make_regions({"W_0": 0, "W_1": 100, "W_2": 100}, {"W_0": 150, "W_1": 50, "W_2": 20}, {})
    assert [(region.offset, region.size) for region in regions] == [(0, 100), (100, 20)]
    assert warnings == [
        '"W_0": reaches 50 bytes past the start of "W_1": cut to 100 bytes',
        '"W_1": reaches 50 bytes past the start of "W_2": nothing is left of it, dropped',
    ]


def test_offsets_that_are_no_integers_are_dropped_and_said():
    addresses = {"A": 0, "B": "12", "C": None, "D": 1.0, "E": True, "F": 64}
    regions, _, warnings = make_regions(addresses, {"F": 1}, {})
    assert [(region.offset, region.size) for region in regions] == [(0, 64), (64, 1)]
    assert [warning[:3] for warning in warnings] == ['"B"', '"C"', '"D"', '"E"']


def test_ceiling_and_capacity(tmp_path):
    (tmp_path / "hbm_addrs.json").write_text('{"X": 0, "W_1": 640, "W_0": 320}')
    manifest, report = generate(tmp_path, A7, 0)
    assert (manifest.activation_ceiling, manifest.ddr_capacity_bytes) == (320, 0)
    assert report.this_build.regime == "weight-stream"
    (tmp_path / "hbm_addrs.json").write_text('{"X": 0}')
    manifest, report = generate(tmp_path, load_board("v80"))
    assert (manifest.activation_ceiling, manifest.regions, manifest.ddr_capacity_bytes) == (0, (), 34359738368)


# --- regimes -------------------------------------------------------------------------------------

@pytest.mark.parametrize("program", sorted(path.parent.name for path in GOLDEN.glob("*/hbm_addrs.json")))
def test_regimes_on_each_side_of_each_threshold(program):
    found = footprint(generate(GOLDEN / program, A7)[0].regions)
    assert found.weight < found.total
    assert [choose_regime(found, found.total + d) for d in (1, 0, -1)] == ["resident", "resident", "kv-swap"]
    assert [choose_regime(found, found.weight + d) for d in (1, 0, -1)] == ["kv-swap", "kv-swap", "weight-stream"]
    assert choose_regime(found, 0) == "weight-stream"


def test_projection_to_more_layers():
    manifest, report = generate(GOLDEN / "base_clm60m_dec_L4_m64b16", A7, None, 8)
    here = footprint(manifest.regions)
    assert layer_ids(manifest.regions) == [0, 1, 2, 3]
    assert project(here, 4, 8) == Footprint(2 * here.weight, 2 * here.kv, here.activation)
    assert report.projected.weight == 2 * here.weight and report.projected.layers == 8
    assert project(Footprint(10, 7, 3), 3, 2) == Footprint(7, 5, 3)
    assert project(Footprint(0, 0, 3), 0, 2) == Footprint(0, 0, 3)
    one, _ = generate(GOLDEN / "base_clm60m_dec_L1_m64b16_a7", A7)
    assert project(footprint(one.regions), 1, 4) == here


# --- properties ----------------------------------------------------------------------------------

names = st.one_of(
    st.from_regex(r"\A(W_|V_W_|K_stored_|V_stored_|X|COS)[a-z0-9_]{0,6}\Z"), st.text(min_size=1, max_size=8))
junk = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
layouts = st.fixed_dictionaries({"storage_shape": st.lists(st.integers(-1, 40), max_size=3)})
tables = st.tuples(
    st.dictionaries(names, st.one_of(st.integers(0, 5000), st.integers(0, 2**60), junk), max_size=12),
    st.dictionaries(names, st.one_of(st.integers(-5, 3000), junk), max_size=12),
    st.dictionaries(names, st.one_of(layouts, junk), max_size=12),
).map(lambda three: (three[0], dict(three[1].items()) | dict.fromkeys(list(three[0])[::3], 7), three[2]))


@settings(max_examples=300, deadline=None)
@given(tables)
def test_regions_are_sorted_disjoint_and_cover_what_was_asked(three):
    addresses, sizes, layouts = three
    regions, origins, warnings = make_regions(addresses, sizes, layouts)
    ends = [region.offset + region.size for region in regions]
    assert all(region.size > 0 for region in regions)
    assert all(end <= region.offset for end, region in zip(ends, regions[1:], strict=False))
    # Every address with a size of its own begins a region, and is covered for that size or up to the next address.
    offsets = sorted(value for value in addresses.values() if type(value) is int)
    covered = [(region.offset, region.offset + region.size) for region in regions]
    for name, offset in addresses.items():
        if type(offset) is not int or type(sizes.get(name)) is not int or sizes[name] <= 0:
            continue
        for byte in {offset, offset + sizes[name] - 1}:
            inside = any(low <= byte < high for low, high in covered)
            another = any(offset < other <= byte for other in offsets) or offsets.count(offset) > 1
            assert inside or another
    # Each warning is one line, and every dropped or cut entry has one.
    assert all("\n" not in warning for warning in warnings)
    assert sum(origins.values()) + sum("dropped" in warning and "nothing is left" not in warning
                                       for warning in warnings) == len(addresses)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, st.integers(0, 4000), max_size=15), st.randoms())
def test_sizes_are_conserved(addresses, random):
    """Bytes in regions + bytes the warnings say were cut = bytes asked for."""
    sizes = {name: random.randint(1, 600) for name in addresses}
    regions, origins, warnings = make_regions(addresses, sizes, {})
    cut = sum(int(re.search(r"reaches (\d+) bytes past", warning)[1]) for warning in warnings)
    assert sum(region.size for region in regions) + cut == sum(sizes.values())
    assert origins["hbm_sizes"] == len(addresses)


@settings(max_examples=100, deadline=None)
@given(tables, st.integers(0, 2**64 - 1))
def test_the_manifest_reads_back_as_it_was(three, capacity):
    regions, _, _ = make_regions(*three)
    from plena_emu.manifests.schema import Manifest

    manifest = Manifest(3, tuple(regions), capacity)
    again = parse_manifest(manifest_json(manifest).encode())
    assert (again.activation_ceiling, again.regions, again.ddr_capacity_bytes) == (3, tuple(regions), capacity)
    assert again.warnings == ()


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.integers(0, 4000), min_size=1, max_size=15), st.randoms())
def test_order_of_the_tables_does_not_matter(addresses, random):
    addresses = {name: offset * 64 + at for at, (name, offset) in enumerate(addresses.items())}  # no two alike
    sizes = {name: random.randint(1, 9000) for name in addresses}
    shuffled = list(addresses.items())
    random.shuffle(shuffled)
    assert make_regions(dict(shuffled), sizes, {}) == make_regions(addresses, sizes, {})


# --- malformed inputs ----------------------------------------------------------------------------

BAD = [
    ({}, "hbm_addrs.json: cannot read"),
    ({"hbm_addrs": "{"}, "hbm_addrs.json: not JSON: line 1"),
    ({"hbm_addrs": "[]"}, "hbm_addrs.json: found an empty list, expected a table"),
    ({"hbm_addrs": b"\xff"}, "hbm_addrs.json, line 1: not UTF-8"),
    ({"hbm_addrs": '{"W_0": -1}'}, '"W_0": found offset -1'),
    ({"hbm_addrs": '{"W_0": 18446744073709551616}'}, '"W_0": found offset 18446744073709551616'),
    ({"hbm_addrs": '{"W_0": 1, "W_0": 2}'}, 'W_0: found twice'),
    ({"hbm_addrs": '{"W_99999999999": 1, "X": 2}'}, '"W_99999999999": found layer 99999999999'),
    ({"hbm_addrs": '{"W_0": 1}', "hbm_sizes": "3"}, "hbm_sizes.json: found 3"),
    ({"hbm_addrs": '{"W_0": 1}', "hbm_sizes": '{"W_0": 18446744073709551616}'}, "reach beyond 2^64"),
    ({"hbm_addrs": '{"W_0": 1}', "hbm_sizes": "{,}"}, "hbm_sizes.json: not JSON"),
    ({"hbm_addrs": '{"W_0": 1}', "tensor_layouts": '"x"'}, "tensor_layouts.json: found"),
    ({"hbm_addrs": '{"W_0": 1, "X": 9}', "tensor_layouts": json.dumps({"W_0": {"storage_shape": [10**4000] * 2}})},
     "tensor_layouts reach beyond 2^64"),
    ({"hbm_addrs": "[" * 100000}, "nested too deeply"),
    ({"hbm_addrs": '{"W_0": ' + "1" * 5000 + "}"}, "too many digits"),
]


@pytest.mark.parametrize("files, words", BAD, ids=[words[:30] for _, words in BAD])
def test_malformed_inputs_leave_an_old_manifest_alone(files, words, tmp_path, capsys):
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    old = tmp_path / "weight_manifest.json"
    old.write_text("old")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["manifest", str(tmp_path), "--board", "custom_a7"]) == 101
    out, error = capsys.readouterr()
    assert words in error and error.count("\n") == 1 and not out
    assert old.read_text() == "old" and sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_directory_must_be_there(tmp_path):
    with pytest.raises(EmuError, match="cannot read"):
        generate(tmp_path / "gone", A7)


# --- command -------------------------------------------------------------------------------------

def copy_build(tmp_path, program):
    for name in ("hbm_addrs.json", "hbm_sizes.json", "tensor_layouts.json"):
        if (GOLDEN / program / name).exists():
            (tmp_path / name).write_bytes((GOLDEN / program / name).read_bytes())
    return tmp_path


def test_the_command_writes_beside_the_tables(tmp_path, capsys):
    build = copy_build(tmp_path, "base_clm60m_dec_L1_m64b16_a7")
    assert main(["manifest", str(build), "--board", "custom_a7"]) == 0
    want = GOLDEN / "base_clm60m_dec_L1_m64b16_a7"
    assert (build / "weight_manifest.json").read_bytes() == (want / "weight_manifest.json").read_bytes()
    report = (want / "weight_manifest_report.txt").read_text().splitlines()[1:]
    assert capsys.readouterr().out.splitlines() == [f"Wrote {build}/weight_manifest.json", *report]


def test_the_command_as_json(tmp_path, capsys):
    build = copy_build(tmp_path, "base_sliced_chain_L4_m64b16_h64")
    flags = ["--board", "nexys_video", "--json", "--ddr-capacity", "120K", "--total-layers", "40", "-o"]
    assert main(["manifest", str(build), *flags, str(build / "other.json")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["manifest"].endswith("other.json") and not (build / "weight_manifest.json").exists()
    assert report["board"] == "nexys_video" and report["ddr_capacity_bytes"] == 120 * 1024
    assert report["this_build"]["regime"] == "kv-swap" and report["projected"]["regime"] == "weight-stream"
    assert report["this_build"]["layers"] == 4 and report["projected"]["weight"] == 10 * report["this_build"]["weight"]
    assert json.loads((build / "other.json").read_text())["ddr_capacity_bytes"] == 120 * 1024


@pytest.mark.parametrize("flags", [["--board", "nexys_a7"], [], ["--board", "v80", "--total-layers", "0"],
                                   ["--board", "v80", "--ddr-capacity", "12X"]])
def test_usage_errors(flags, tmp_path, capsys):
    try:
        status = main(["manifest", str(tmp_path), *flags])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and capsys.readouterr().err


def test_lm_head_is_a_layer_of_its_own_that_projections_leave_out(tmp_path):
    """§9.3: its layer id is the number of layers."""
    sizes = {"K_stored_0": 10, "K_stored_1": 10, "W_q_0": 100, "W_q_1": 100, "W_lm_head": 7000}
    addresses = {name: 10000 * place for place, name in enumerate(sizes)}
    for name, table in (("hbm_addrs.json", addresses), ("hbm_sizes.json", sizes)):
        (tmp_path / name).write_text(json.dumps(table))
    manifest, report = generate(tmp_path, load_board("custom_a7"), total_layers=6)
    assert [region.layer_id for region in manifest.regions] == [0, 1, 0, 1, 2]
    assert (report.this_build.layers, report.this_build.weight) == (2, 7200)
    assert (report.projected.weight, report.projected.kv) == (7600, 60)


# --- names that decide ---------------------------------------------------------------------------

FOREIGN = ["q_proj.weight", "lm_head", "embed_tokens", "K_cache_0", "past_key_0", "model.layers.3.mlp.up_proj.weight",
           "past_key_values.0.key", "kv_cache", "v_cache_1", "embeddings", "wte", "layers.1.attention.wq", "key_cache"]
ACTIVATIONS = ["X", "Q", "COS", "SIN", "causal_mask", "K_0_h1", "V_PATCH_OUT", "vision_post_ln", "O_0", "Q_rope_0",
               "logits", "attn_out", "V_0", "ffn_gate_0", "residual", "cached_input"]


@pytest.mark.parametrize("name", FOREIGN)
def test_names_that_look_like_weights_or_caches_are_told(name):
    line, = undecided_names(["X", name, "W_q_0"])
    assert line.startswith(f"{name} looks like a weight or a cache by name and counts as an activation")
    assert "W_..." in line and "--kind NAME-PATTERN=" in line
    assert undecided_names([name], [("*", "activation")]) == []


def test_names_of_compiled_programs_are_not():
    assert undecided_names(ACTIVATIONS) == []
    for path in GOLDEN.glob("*/hbm_addrs.json"):
        assert undecided_names(json.loads(path.read_text())) == [], path


def test_kinds_by_pattern(tmp_path, capsys):
    """The last pattern that matches counts, before the rules; one that matches nothing is a warning."""
    names = ["q_proj.weight", "K_cache_0", "X", "W_q_0"]
    for file, table in (("hbm_addrs", {name: 1024 * k for k, name in enumerate(names)}),
                        ("hbm_sizes", dict.fromkeys(names, 64))):
        (tmp_path / f"{file}.json").write_text(json.dumps(table))
    command = ["manifest", str(tmp_path), "--board", "custom_a7"]
    assert main(command) == 0
    assert "q_proj.weight, K_cache_0 look like weights or caches" in capsys.readouterr().out
    flags = ["--kind", "*=activation", "--kind", "*_proj.weight=weight", "--kind", "?_cache_*=kv", "--kind", "Z=kv"]
    assert main([*command, *flags]) == 0
    text = capsys.readouterr().out
    assert "look like" not in text and "--kind Z=kv is not used: no region has such a name" in text
    manifest = json.loads((tmp_path / "weight_manifest.json").read_text())
    assert [region["kind"] for region in manifest["regions"]] == ["weight", "kv", "activation", "activation"]
    assert manifest["activation_ceiling"] == 0
