"""SQL text from names and values, in spellings that mean the same under every ``sql_mode``.

Backticks quote identifiers with and without ``ANSI_QUOTES``; a string with anything but plain characters is
written as the hexadecimal digits of its UTF-8 bytes, so that neither ``NO_BACKSLASH_ESCAPES`` nor the
connection's character set can change it. https://dev.mysql.com/doc/refman/8.4/en/hexadecimal-literals.html
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9 _.:+-]*")


def identifier(name: str) -> str:
    """``name`` as an SQL identifier: ``a`b`` -> `` `a``b` ``.

    Raises:
        ValueError: the name is empty or has a NUL, which no identifier can have.
    """
    if not name or "\0" in name:
        raise ValueError(f"not an identifier: {name!r}")
    return "`" + name.replace("`", "``") + "`"


def qualified(*names: str) -> str:
    """A dotted name of quoted identifiers: `` `database`.`table` ``."""
    return ".".join(identifier(name) for name in names)


def literal(value: str) -> str:
    """``value`` as an SQL string of the character set utf8mb4."""
    if _PLAIN.fullmatch(value):
        return f"'{value}'"
    return f"_utf8mb4 X'{value.encode().hex()}'"
