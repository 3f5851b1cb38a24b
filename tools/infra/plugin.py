"""Serves provider schemas to Terraform, so that ``validate`` and ``test`` run without a registry.

Terraform asks a provider for its schema and for its own opinion of each block. This stand-in answers the
first from a document of ``terraform providers schema -json`` and has no opinion: names, required arguments,
counts of blocks, types and references are checked by Terraform itself. It speaks the plugin protocol,
version 5 (tfplugin5.proto of hashicorp/terraform); its few messages are encoded here by hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}
_NO_OPINION = ("ValidateResourceTypeConfig", "ValidateDataSourceConfig", "Configure", "Stop")


@contextmanager
def serving(documents: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Serve the documents' providers; gives the variables that lead Terraform to them."""
    servers = []
    attach = {}
    try:
        for path in documents:
            for source, provider in json.loads(path.read_text())["provider_schemas"].items():
                server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
                server.add_generic_rpc_handlers((_Handler(encode(provider)),))
                port = server.add_insecure_port("127.0.0.1:0")
                server.start()
                servers.append(server)
                attach[source] = {
                    "Protocol": "grpc",
                    "ProtocolVersion": 5,
                    "Pid": os.getpid(),
                    "Test": True,
                    "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
                }
        yield {"TF_REATTACH_PROVIDERS": json.dumps(attach)}
    finally:
        for server in servers:
            server.stop(None)


def encode(provider: dict[str, Any]) -> bytes:
    """A provider's schemas as a GetProviderSchema.Response."""
    answer = _message(1, _schema(provider["provider"]))
    for field, kind in ((2, "resource_schemas"), (3, "data_source_schemas")):
        for name, schema in provider.get(kind, {}).items():
            answer += _message(field, _text(1, name) + _message(2, _schema(schema)))
    return answer


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, schema: bytes) -> None:
        self._schema = schema

    def service(self, call: Any) -> Any:
        service, _, method = call.method.lstrip("/").partition("/")
        answer = self._answer(service, method)
        return None if answer is None else grpc.unary_unary_rpc_method_handler(answer)

    def _answer(self, service: str, method: str) -> Callable[[bytes, object], bytes] | None:
        if service == "grpc.health.v1.Health":
            return lambda _, __: b"\x08\x01"
        if service != "tfplugin5.Provider":
            return None
        if method == "GetSchema":
            return lambda _, __: self._schema
        if method == "PrepareProviderConfig":  # the configuration is field 1 of request and response
            return lambda request, _: request
        return (lambda _, __: b"") if method in _NO_OPINION else None


def _schema(schema: dict[str, Any]) -> bytes:
    return _number(1, schema.get("version", 0)) + _message(2, _block(schema["block"]))


def _block(block: dict[str, Any]) -> bytes:
    encoded = b""
    for name, attribute in sorted(block.get("attributes", {}).items()):
        flags = (_number(4 + n, attribute.get(flag, 0)) for n, flag in enumerate(("required", "optional")))
        encoded += _message(
            2,
            _text(1, name)
            + _text(2, json.dumps(attribute["type"]))
            + b"".join(flags)
            + _number(6, attribute.get("computed", 0)),
        )
    for name, nested in sorted(block.get("block_types", {}).items()):
        encoded += _message(
            3,
            _text(1, name)
            + _message(2, _block(nested["block"]))
            + _number(3, _NESTING[nested["nesting_mode"]])
            + _number(4, nested.get("min_items", 0))
            + _number(5, nested.get("max_items", 0)),
        )
    return encoded


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(int(value)) if value else b""


def _message(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())
