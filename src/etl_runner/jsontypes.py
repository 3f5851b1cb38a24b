"""JSON values, for documents that are stored and read again."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

JsonObject: TypeAlias = "dict[str, Any]"


def dumps(value: Any) -> bytes:
    """Canonical bytes: sorted keys, no spaces, UTF-8, so that equal documents are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def loads(data: bytes) -> Any:
    """The value behind :func:`dumps`."""
    return json.loads(data)
