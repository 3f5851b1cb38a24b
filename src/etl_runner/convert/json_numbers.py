"""Numbers in JSON that BigQuery's JSON cannot hold: whole numbers beyond 64 bits, signed or unsigned, and
others that are not the shortest decimal of a double (``wide_number_mode`` of PARSE_JSON,
https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#parse_json, and
https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#json_type).

``fail``: such a row does not fit, and follows ``on_bad_row``. ``round``: BigQuery rounds to the nearest
double, and only what is beyond the greatest double does not fit. ``string``: each such number, and no other,
becomes a JSON string of its own digits, so that nothing is lost.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from etl_runner.convert.checks import Check, Mask, any_true
from etl_runner.convert.joined import as_one

JsonNumbers = Literal["fail", "round", "string"]

# Fifteen significant digits and two of exponent are always those of a double: only texts with more are
# looked at, by Python.
_SUSPICIOUS = r"[0-9][0-9.]{15}|[eE][+-]?[0-9]{3}"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', re.ASCII | re.DOTALL)
_LEAST, _GREATEST = -(2**63), 2**64 - 1
_LONGEST_WHOLE = 20


def fits(number: str) -> bool:
    """Whether BigQuery's JSON holds the number as it is written."""
    if number.lstrip("-").isdigit():
        return len(number) <= _LONGEST_WHOLE and _LEAST <= int(number) <= _GREATEST
    value = float(number)
    return math.isfinite(value) and Decimal(repr(value)) == Decimal(number)


def numbers_check(mode: JsonNumbers) -> tuple[Check, str]:
    """The check of JSON texts, and what is wrong with those that it finds."""
    bad = _too_large if mode == "round" else _any_unfit
    what = "beyond every FLOAT64" if mode == "round" else "that 64 bits cannot hold exactly (json_numbers)"

    def check(_: pa.Array, result: pa.Array) -> Mask | None:
        if not _any_suspicious(result):
            return None
        suspects = pc.indices_nonzero(pc.match_substring_regex(result, _SUSPICIOUS)).to_pylist()
        found = {row for row in suspects if bad(result[row].as_py())}
        return any_true(pa.array([row in found for row in range(len(result))])) if found else None

    return check, f"holds a number {what}"


def _any_suspicious(texts: pa.Array) -> bool:
    return bool(pc.match_substring_regex(as_one(texts), _SUSPICIOUS)[0].as_py())


def unfit_as_text(texts: pa.Array) -> pa.Array:
    """The JSON texts with every number that does not fit as a string of its digits."""
    if not _any_suspicious(texts):
        return texts
    suspicious = pc.fill_null(pc.match_substring_regex(texts, _SUSPICIOUS), False)
    if not pc.any(suspicious).as_py():
        return texts
    rewritten = [_TOKEN.sub(_quoted, text) for text in pc.filter(texts, suspicious).to_pylist()]
    return pc.replace_with_mask(texts, suspicious, pa.array(rewritten, pa.string()))


def _quoted(token: re.Match[str]) -> str:
    text = token[0]
    return text if text.startswith('"') or fits(text) else json.dumps(text)


def _numbers(text: str) -> list[str]:
    return [token for token in _TOKEN.findall(text) if not token.startswith('"')]


def _any_unfit(text: str) -> bool:
    return any(not fits(number) for number in _numbers(text))


def _too_large(text: str) -> bool:
    return any(not math.isfinite(float(number)) for number in _numbers(text))
