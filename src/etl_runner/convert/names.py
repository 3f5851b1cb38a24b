"""Column names that BigQuery accepts, from any names at all.

BigQuery's rule (https://cloud.google.com/bigquery/docs/schemas#column_names): letters, digits and
underscores, beginning with a letter or underscore, at most 300 characters, unique without regard to case,
and none of some prefixes that it keeps for itself. Two more prefixes are ours (metadata columns, and
:mod:`etl_runner.convert.raw`).

What becomes of a name, in this order:

1. compatibility forms, accents and case go (``Prénom`` -> ``prenom``, ``ﬁ`` -> ``fi``);
2. each run of other characters becomes one ``_``, and nothing at the ends (``DiscountApplied(%)`` ->
   ``discountapplied``, ``net\\namount`` -> ``net_amount``);
3. a name of which nothing is left becomes ``column_<hash of the name>``;
4. a leading digit gets ``_`` before it, a reserved prefix ``c``;
5. beyond 300 characters the end is replaced by a hash of the whole name;
6. where two names meet, names that are valid as they stand keep theirs, then the first in column order
   has the plain name and the others get ``_2``, ``_3`` ...: a column added at the end renames nobody.

The result depends on the names and their order alone, and is its own result.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from etl_runner.errors import ConfigError, Problem

MAX_LENGTH = 300

RESERVED_PREFIXES = (
    "_table_",
    "_file_",
    "_partition",
    "_row_timestamp",
    "__root__",
    "_colidentifier",
    "_change_sequence_number",
    "_change_type",
    "_change_timestamp",
)
"""BigQuery's own, in lower case."""

OWN_PREFIXES = ("_etl_", "__etl_")
"""Ours: ``_etl_run_id`` and the other metadata columns, ``__etl_raw``."""

_VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOREIGN = re.compile(r"_*[^a-z0-9_][^a-z0-9]*")
_HASH_DIGITS = 8


def is_valid(name: str) -> bool:
    """Whether BigQuery accepts ``name`` as a column's name and it is not one of ours."""
    return (
        len(name) <= MAX_LENGTH
        and _VALID.fullmatch(name) is not None
        and not name.lower().startswith(RESERVED_PREFIXES + OWN_PREFIXES)
    )


def destination_name(name: str) -> str:
    """The valid name for one source name, seen alone (rules 1 to 5)."""
    text = _plain(name)
    text = _FOREIGN.sub(lambda run: "" if run.end() == len(text) or run.start() == 0 else "_", text)
    if not text:
        text = f"column_{_hash(name)}"
    if text[0].isdigit():
        text = f"_{text}"
    if text.startswith(RESERVED_PREFIXES + OWN_PREFIXES):
        text = f"c{text}"
    if len(text) > MAX_LENGTH:
        text = f"{text[: MAX_LENGTH - _HASH_DIGITS - 1]}_{_hash(name)}"
    return text


def destination_names(names: Sequence[str], mapping: Mapping[str, str] | None = None) -> dict[str, str]:
    """Source name -> destination name for all columns of a table, in the order of ``names``.

    Args:
        names: the source's names, each once.
        mapping: names that somebody chose (``column_mapping``); they are kept letter for letter. Entries
            for columns that are not in ``names`` mean nothing here.

    Raises:
        ConfigError: a chosen name is not valid, or was chosen twice; or a source name occurs twice.
    """
    chosen = {name: mapping[name] for name in names if name in mapping} if mapping else {}
    _check(names, chosen)
    result = dict(chosen)
    taken = {name.lower() for name in chosen.values()}
    plain = {name: destination_name(name) for name in names if name not in chosen}
    for name, wanted in plain.items():
        if name == wanted and wanted not in taken:
            result[name] = wanted
            taken.add(wanted)
    for name, wanted in plain.items():
        if name not in result:
            result[name] = _free(wanted, taken)
            taken.add(result[name])
    return {name: result[name] for name in names}


def _check(names: Sequence[str], chosen: Mapping[str, str]) -> None:
    problems = [
        Problem(
            f"column_mapping.{name}",
            "is not a column name that BigQuery accepts",
            found=repr(target),
            allowed=f"letters, digits and _, at most {MAX_LENGTH}; no digit or reserved prefix in front",
            suggestion=destination_name(target),
        )
        for name, target in chosen.items()
        if not is_valid(target)
    ]
    problems += [
        Problem(
            f"column_mapping.{name}",
            "takes the name of another column",
            found=repr(target),
        )
        for name, target in _repeated((name, target.lower()) for name, target in chosen.items())
    ]
    problems += [
        Problem("columns", f"the source has two columns named {name!r}; give them different names in a query")
        for name, _ in _repeated((name, name) for name in names)
    ]
    if problems:
        raise ConfigError("column names", tuple(problems))


def _repeated(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for name, key in pairs:
        if key in seen:
            yield name, key
        seen.add(key)


def _free(wanted: str, taken: set[str]) -> str:
    number = 1
    candidate = wanted
    while candidate in taken:
        number += 1
        ending = f"_{number}"
        candidate = wanted[: MAX_LENGTH - len(ending)] + ending
    return candidate


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _hash(name: str) -> str:
    # Surrogates can stand in names that were decoded leniently; they are part of what tells names apart.
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
