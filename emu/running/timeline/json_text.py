"""JSON as §7.11 fixes it: two spaces, keys in the order given, floats in the shortest form that reads back."""

import json


def shortest(value: float) -> str:
    """Print a float in the shortest form that reads back the same; at least one decimal without an exponent."""
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    if int(exponent) == -5:  # Python changes to exponents one power earlier than others do
        sign, digits = ("-" if mantissa[0] == "-" else ""), mantissa.lstrip("-").replace(".", "")
        return f"{sign}0.0000{digits}"
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def json_text(value, indent: str = "") -> str:
    """Print a JSON value; lines but the first begin with `indent`."""
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {json_text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + item for item in items) + f"\n{indent}}}" if items else "{}"
    if isinstance(value, (list, tuple)):
        items = [json_text(item, inner) for item in value]
        return "[\n" + ",\n".join(inner + item for item in items) + f"\n{indent}]" if items else "[]"
    return shortest(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
