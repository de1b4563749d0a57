"""Do messages about malformed inputs speak of what the user wrote, in the user's words and not in those of a library?

Every kind of document is changed at random: values of other types, keys removed and added, bytes exchanged. Whatever
comes of it is either taken or one short line.
"""

import copy
import datetime
import json
import random
import re
from pathlib import Path

import pytest
import tomlkit
import yaml
from support import settings_document

from plena_emu.boards import load_board
from plena_emu.boards.dram_schema import load_dram
from plena_emu.boards.timing_schema import load_timing
from plena_emu.config.hardware import hardware_of
from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError
from plena_emu.manifests.generate import generate
from plena_emu.manifests.schema import load_manifest
from plena_emu.memory.dram_trace_files import read_trace
from plena_emu.models.config_files import read_config
from plena_emu.program.assembler import assemble, read_source
from plena_emu.program.decode import read_words
from plena_emu.result.reading import read_run

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "examples" / "linear" / "build"
CHANGES = 60  # of each kind
# Words that only a programmer of this product knows; what stands in quotes is the user's.
LIBRARY_WORDS = re.compile(
    r"\[Errno|\$\.|\$\[|\bNone\b|datetime|`|numpy|\bu?int\d+\b|\bfloat\d+\b|dtype|Traceback|NoneType|<class|msgspec|"
    r"\btuple\b|\bdict\b|object at 0x|attribute|invalid literal|unpack|unhashable|subscriptable|codec|sys\.|Decimal|"
    r"\bTrue\b|\bFalse\b|KeyError|ValueError|TypeError|<string>|<unicode"
)
ODD = (None, True, False, "", "x", -1, 0, 1.5, 1e300, float("inf"), float("nan"), [], {}, [[1]], {"a": 1}, 2**63, 2**70,
       "0x10", "\u2028", "\u00e9" * 300, [None], "a\nb", datetime.date(1979, 5, 27), datetime.time(7, 32),
       datetime.datetime(1979, 5, 27, 7, 32))
BYTES = (b"\0", b"\xff", b"{", b"}", b"[", b'"', b":", b",", b"!!int ''", b"&a ", b"*a", b"9" * 5000, b"\xef\xbb\xbf",
         b"\n", b"\t", b"- ", b"?", b"1e999", b"NaN", b"\\ud800")


yaml.SafeDumper.add_representer(datetime.time, lambda dumper, value: dumper.represent_str(str(value)))


def _yaml(path):
    return yaml.safe_load((ROOT / "boards" / path).read_text())


def _json(document):
    return json.dumps(document, default=str)


def _toml(document):
    """TOML has no null: what is null is left out."""
    if isinstance(document, dict):
        return {key or "e": _toml(value) for key, value in document.items() if value is not None}
    return [_toml(value) for value in document if value is not None] if isinstance(document, list) else document


def _settings(path):
    hardware_of(load_settings(path))


def _tables(path):
    generate(path.parent, load_board("v80"))


_CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "head_dim": 16,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
    "max_position_embeddings": 128, "tie_word_embeddings": True, "hidden_act": "silu", "torch_dtype": "bfloat16",
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 64},
}  # fmt: skip
_ADDRESSES = {"X": 0, "W_up": 4608, "K_stored_0": 9216}
# Kind: (document or text, how it is written, name of the file, who reads it).
KINDS = {
    "settings": (settings_document(), lambda document: tomlkit.dumps(_toml(document)), "s.toml", _settings),
    "board": (_yaml("custom_a7.yaml"), yaml.safe_dump, "b.yaml", lambda path: load_board(str(path))),
    "latency profile": (_yaml("profiles/nexys_video_150mhz.yaml"), yaml.safe_dump, "p.yaml",
                        lambda path: load_board("nexys_video", str(path))),
    "dram": (_yaml("dram/ddr3_800_x16.yaml"), yaml.safe_dump, "d.yaml", lambda path: load_dram(str(path))),
    "dram rows": (_yaml("dram/hbm2.yaml"), yaml.safe_dump, "d.yaml", lambda path: load_dram(str(path))),
    "timing": (_yaml("timing/rtl_v1.yaml"), yaml.safe_dump, "t.yaml", lambda path: load_timing(str(path))),
    "manifest": (json.loads((BUILD / "weight_manifest.json").read_text()), _json, "m.json",
                 lambda path: load_manifest(str(path))),
    "addresses": (_ADDRESSES, _json, "hbm_addrs.json", _tables),
    "model config": (_CONFIG, _json, "config.json", read_config),
    "trace": ("time_ps,op,address\n0,read,0x0\n0,read,64\n50000,write,0x40\n", None, "t.csv",
              lambda path: read_trace(str(path))),
    "assembly": ("S_ADDI_INT gp1, gp0, 64\nC_LOOP_START gp1, 3\nV_ADD_VV gp1, gp2, gp3, 0\nC_LOOP_END gp1\n.word 0x0\n",
                 None, "p.asm", lambda path: assemble(read_source(str(path)), "base", str(path))),
    "program": ("0x00100062\n0x0000006D\n0x00000029\n", None, "p.mem", lambda path: read_words(str(path))),
}  # fmt: skip


def _paths(value, above=()):
    """Paths to everything in a document, the top first."""
    yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, below in inner:
        yield from _paths(below, (*above, key))


def _changed(document, rng):
    """The document with one value replaced, removed or added."""
    made, value = copy.deepcopy(document), copy.deepcopy(rng.choice(ODD))
    *above, last = rng.choice(list(_paths(made))[1:])
    table = made
    for key in above:
        table = table[key]
    way = rng.random()
    if way < 0.15:
        del table[last]
    elif way < 0.25 and isinstance(table, dict):
        table[rng.choice(["zz", f"{last}x", "x" * 300, "a\nb"])] = value
    else:
        table[last] = value
    return made


def _exchanged(data, rng):
    """The bytes with a few replaced, removed or added."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at, way = rng.randrange(len(made) + 1), rng.random()
        if way < 0.3:
            del made[at : at + rng.randint(1, 8)]
        elif way < 0.7:
            made[at:at] = rng.choice(BYTES)
        else:
            made[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(made)


def complaint(read, path):
    """What is said of a file; None where it is taken."""
    try:
        read(path)
    except EmuError as error:
        return str(error)
    return None


def check_message(message, path):
    unquoted = re.sub(r"'[^']*'", "", message.replace(str(path), ""))
    assert LIBRARY_WORDS.search(unquoted) is None, message
    assert message.isprintable() and len(message) < 1000 and str(path.parent) in message


@pytest.mark.parametrize("kind", KINDS)
def test_messages_about_inputs(kind, tmp_path):
    document, written, name, read = KINDS[kind]
    path, rng = tmp_path / name, random.Random(kind)
    base = document if written is None else written(document)
    path.write_text(base)
    assert complaint(read, path) is None
    told = 0
    for number in range(CHANGES):
        if written is not None and number % 4:
            data = written(_changed(document, rng)).encode("utf-8", "surrogatepass")
        else:
            data = _exchanged(base.encode(), rng)
        path.write_bytes(data)
        message = complaint(read, path)
        if message is not None:
            told += 1
            check_message(message, path)
    assert told > CHANGES // 4


@pytest.mark.parametrize("change, told", [
    (lambda record: record.pop("format"), "format: found nothing, expected 'plena-emu run"),
    (lambda record: record["stages"]["regions"][0]["key"].clear(), "key: found an empty list, expected one name"),
    (lambda record: record.update(latency_ps=None), "latency_ps: found null, expected an integer"),
])
def test_messages_about_records(tmp_path, change, told):
    import plena_emu

    record = json.loads(plena_emu.run(BUILD, timing_only=True).to_json())
    change(record)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record))
    message = complaint(read_run, path)
    assert told in message
    check_message(message, path)
