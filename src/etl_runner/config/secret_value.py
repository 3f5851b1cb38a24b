"""A credential's value, which nothing shows. Apart from references to it, whose models are slow to import."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

HIDDEN = "(hidden)"


class SecretValue:
    """A credential's value in memory. No conversion to text, JSON or pickle shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; for a resolver, never for a message."""
        return self._value

    def __repr__(self) -> str:
        return f"SecretValue{HIDDEN}"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash((SecretValue, self._value))

    def __copy__(self) -> SecretValue:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SecretValue:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret's value is not pickled: pass its reference")


def _bytes(secret: SecretValue) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
