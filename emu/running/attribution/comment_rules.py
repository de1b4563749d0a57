"""From the comments of assembly text to operators: the vocabulary of the reference compiler as a table.

A comment says what the words below it do. Three kinds of answer:

- an operator: the words below belong to it, until another comment says otherwise;
- `SAME`: a detail of what goes on (shapes, addresses, steps inside an operator); nothing changes;
- `NEXT`: preparation (clearing, allocating, headings); the words below belong to the operator that is named next.

A comment of this project's compiler is a layer and an operator as they are, such as `layer 0 attn.qkv` or `final_norm`
(`STAGE`). A comment that no rule knows leads to `other`: an unknown step must not be counted for its neighbour.
`Reset Registers [[1, 2]]` names as many instructions as registers. What follows them without a comment of its own is
nobody's detail, so it is `other` (programs written by hand have such work).

The first rule whose pattern begins the comment decides, if it holds where the comment stands. Comments are compared
without the `;`, `=` and `-` around them.
"""

import functools
import re

from . import operators as o

SAME = "same"
NEXT = "next"
BY_TENSOR = "by tensor"  # the tensor that the pattern's only group names decides (`TENSORS`)

STAGE = re.compile(rf"(?:layer (\d{{1,9}}) )?({'|'.join(map(re.escape, o.NAMES))})$")
LAYER_BEGINS = re.compile(r"LAYER (\d{1,9})/\d+ START")
RESET = re.compile(r"Reset Registers \[\[([\d, ]*)\]\]")
LAYER_ENDS = re.compile(r"LAYER \d+/\d+ COMPLETE")

# Which operator a tensor is loaded for, or multiplied with. The first pattern that is the whole name decides.
TENSORS = (
    (r"X|POS", o.EMBED),
    (r"W_b?[qkv]_\w+|Q", o.QKV),
    (r"W_b?o_\w+", o.ATTENTION_OUT),
    (r"R_rope|COS|SIN|QROT", o.ROPE),
    (r"K(_stored)?(_\d+)?(_h\d+)?", o.SCORES),
    (r"V(_stored)?(_\d+)?(_h\d+)?", o.VALUES),
    (r"causal_mask", o.SOFTMAX),
    (r"W_(gate|up|gate_up)_\w+", o.GATE_UP),
    (r"W_down_\w+", o.DOWN),
    (r"W_lm_head", o.LM_HEAD),
    (r"W", o.LINEAR),
    (r"W_2d|V_PIXELS|V_PATCH_\w+", o.PATCH),
    (r"V_[WB]_[qkv]_\d+", o.QKV),
    (r"V_[WB]_o_\d+", o.ATTENTION_OUT),
    (r"V_K_stored\w*", o.SCORES),
    (r"V_V_stored\w*", o.VALUES),
    (r"V_[WB]_fc1_\d+", o.FC1),
    (r"V_[WB]_fc2_\d+", o.FC2),
    (r"V_LN\d_\w+", o.NORM),
    (r"V_POST_LN_\w+", o.POST_NORM),
    (r"V_CONNECTOR_\w+", o.CONNECTOR),
)

_WORD = r"\w+"
_NAME = r"(\w+)"  # the group that `BY_TENSOR` means
_ROWS = r"\[[^\]]*\]"

# Where a rule holds.
AFTER_LAYERS = "after layers"  # a layer has ended and none has begun
UNDECIDED = "undecided"  # nothing says what goes on

# (pattern, answer) or (pattern, answer, where)
RULES = (
    # Tensors on their way in and out.
    (rf"Load_Batch {_NAME} -> ", BY_TENSOR),
    (rf"Load SubMatrix (?:Col |Row )?{_NAME}\[", BY_TENSOR),
    (r"Store [KV]_\w+ from VRAM to HBM", o.KV_STORE),
    (r"Preload Activation Generation", o.EMBED, UNDECIDED),
    (r"Preload Activation Generation", SAME),
    # Products.
    (rf"VRAM Sub Projection(?: T)?(?: To)?: \w+{_ROWS}{_ROWS} @ {_NAME}\[", BY_TENSOR),
    (r"Packed GQA QK\^T|QKT Per KV Head|Multi-Head QKT", o.SCORES),
    (r"PV Per KV Head|PV Multiply|Compute PV|Warm V into MSRAM|Computing O Code", o.VALUES),
    (r"Pack O head lane", o.VALUES),
    (r"FFN Upsize Linear|FFN Gate Projection|FFN Up Projection", o.GATE_UP),
    (r"FFN Downsize Linear", o.DOWN),
    (r"Projection Generation", o.LINEAR),
    # Row by row.
    (r"Normalize |RMS Norm generation|Layer Norm generation", o.FINAL_NORM, AFTER_LAYERS),
    (r"Normalize |RMS Norm generation|Layer Norm generation", o.NORM),
    (r"RoPE:", o.ROPE),
    (r"Init Online Softmax|Online Softmax|Scale O|Final Scal|Row-wise Scaling Code|Reset FPSRAM Code", o.SOFTMAX),
    (r"Build valid-column score mask", o.SOFTMAX),
    (r"Reset VSSRAM Code", o.VALUES),
    (r"(?:SILU|SiLU|GELU) (?:Activation )?Generation", o.ACTIVATION),
    (r"Tile Row (?:Min|Max|Mul|Add|Exp|Reciprocal)", o.ACTIVATION),
    (rf"VRAM Matrix Mul: (?:gate|up)_e\d+{_ROWS}", o.ACTIVATION),
    (rf"VRAM Matrix Add: \w+{_ROWS} \+= POS\[", o.EMBED),
    (rf"VRAM Matrix Add: \w+{_ROWS} \+= (?:CAUSAL_MASK|\w*_mask_\d+)\[", o.SOFTMAX),
    (rf"VRAM Matrix Add: S{_ROWS} \+= ", o.SOFTMAX),
    (rf"VRAM Matrix Add: \w+{_ROWS} \+= \w*PV\[", o.VALUES),
    (rf"VRAM Matrix Add: O_dest_\w+{_ROWS} \+= ", o.VALUES),
    (rf"VRAM Matrix Add: (?:residual_scratch{_ROWS} \+= |\w+{_ROWS} \+= residual_scratch)", o.RESIDUAL),
    (rf"VRAM Matrix Add: gate_\w+{_ROWS} \+= ", o.ACTIVATION),
    # Choice of experts.
    (rf"VRAM Matrix Add: router_logits{_ROWS} \+= ", o.ROUTER),
    (r"GPT-OSS router|Router (?:dot )?token|Clear FPRAM logits|Routed-MoE V_TOPK", o.ROUTER),
    # A convolution: patches are cut out, then multiplied.
    (r"im2col|TILE t=\d+|tile=\d+ output row|\(c=\d+, kr=\d+\)|e_\d+: ", o.PATCH),
    (r"Save precious|Restore precious|Setup: |\(requires ", o.PATCH),
    # Preparation.
    (r"Reset MRAM|VRAM Fill Zero|Reset KV Prefetch Code|Reset loop-carried", NEXT),
    (r"Allocate VRAM Matrix|VRAM View", NEXT),
    (r"FFN Generation|FFN Test|Flash Attention Generation|flashattn\.overall|GQA Flash Attention|Packed GQA attention",
     NEXT),
    (r"[\w ]+ Test (?:Generation|with)|KV head \d+", NEXT),
    # Details.
    (r"HBM\[\d+\] → VRAM|VRAM\[\d+\] -> HBM|HBM offset|SubBlock|Target VRAM addr|Result|Storage layout", SAME),
    (r"VRAM A\[row_idx\]|MRAM W\[|VRAM Block Add|block add path|fallback row-wise path|row-wise path|dst shape", SAME),
    (r"Preload Addr Reg|Store Activation Generation|Reset (?:Registers|Vector Mask|Floating Point)", SAME),
    (r"Reset FP SRAM|Reset VRAM rows|Column block|V column block|V split into|\d+ rows x \d+ cols|total_rows", SAME),
    (r"head_dim = |seq_len = |P: \(|M_MM: |K-split|Outer loop|Middle loop|Inner loop|SILU loop|Linear: |Shape: ", SAME),
    (r"input  : |kernel : |output : |ISA: |Requires: |Preload activations from HBM|Config: |$", SAME),
)


@functools.cache
def _any_rule():
    """All rules as one pattern with a group behind each alternative, and their numbers in the table by group.

    No group stands before an alternative: where one begins with a letter, the engine passes it over by that letter.
    """
    parts: list[str] = []
    numbers = {}
    for number, (pattern, *_) in enumerate(RULES):
        for alternative in _alternatives(pattern):
            group = len(parts)
            parts.append(f"{alternative.replace(_NAME, f'(?P<tensor{group}>{_WORD})')}(?P<rule{group}>)")
            numbers[f"rule{group}"] = number
    return re.compile("|".join(parts)), numbers


def _alternatives(pattern):
    """Split a pattern at the bars outside of its brackets; `$` alone is one too."""
    parts, depth = [""], 0
    previous = ""
    for letter in pattern:
        if previous != "\\":
            depth += (letter in "([") - (letter in ")]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
        previous = letter if previous != "\\" else ""
    return parts


@functools.cache
def operator_of_tensor(name: str) -> str:
    """Find the operator that a tensor of this name serves.

    Returns
    -------
    str
        A name of `operators`; `other` for a name that `TENSORS` does not know.
    """
    return next((operator for pattern, operator in TENSORS if re.fullmatch(pattern, name)), o.OTHER)


def answer_to(comment: str, after_layers: bool, undecided: bool) -> str:
    """Find what a comment says of the words below it.

    Parameters
    ----------
    comment : str
        Text without the `;`, `=`, `-` and blanks around it.
    after_layers, undecided : bool
        Where it stands: behind the last layer; where nothing says what goes on.

    Returns
    -------
    str
        `SAME`, `NEXT` or an operator; `other` for a comment that no rule knows.
    """
    pattern, numbers = _any_rule()
    found = pattern.match(comment)
    if found is None:
        return o.OTHER
    number = numbers[found.lastgroup]
    holds = {None: True, AFTER_LAYERS: after_layers, UNDECIDED: undecided}
    if not holds[_place(number)]:
        number = next((at for at in range(number + 1, len(RULES))
                       if holds[_place(at)] and re.match(RULES[at][0], comment)), None)
        return o.OTHER if number is None else RULES[number][1]
    answer = RULES[number][1]
    if answer == BY_TENSOR:
        return operator_of_tensor(found["tensor" + found.lastgroup.removeprefix("rule")])
    return answer


def _place(number):
    """Where rule `number` holds; None for everywhere."""
    return RULES[number][2] if len(RULES[number]) > 2 else None
