"""Writes tests/infra/schema/*.json from the wheels of the CDK's provider bindings.

    pip download --no-deps cdktn-provider-google==21.1.0 cdktn-provider-archive==14.0.1 \\
        cdktn-provider-aws==25.8.1 cdktn-provider-azurerm==18.9.0
    python -m tools.infra.provider_schema cdktn_provider_*.whl

The bindings are generated from a provider's own schema, and their JavaScript keeps each attribute's Terraform
name, type and flags. Only the resources and data sources that a module declares are kept, in the form of
``terraform providers schema -json``. Run it again when a new one is used, or for a new provider version.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.infra.modules import MODULES, ROOT, SCHEMA_FOLDER

_DECLARED = re.compile(r'^(resource|data) "(\w+)"', re.MULTILINE)
_CLASS = re.compile(r"^class (\w+) extends \w+\.(\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(
    r"^(?: {4}| {8})// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n"
    r"(.*?)(?=^(?: {4}| {8})// |^    constructor|^\}|\Z)",
    re.MULTILINE | re.DOTALL,
)
_WRITER = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_WRITTEN = re.compile(
    r"^\s+(\w+): \{\n\s+value: .*?\n\s+isBlock: (true|false),\n"
    r'\s+type: "(\w+)",\n\s+storageClassType: "(\w+)",',
    re.MULTILINE,
)
_NEW = re.compile(r'= new (?:(\w+)\.)?(\w+)\(this, "(\w+)"(?:, (true|false))?\)')
_GETTER = re.compile(r"this\.get(\w*)Attribute\(['\"]")
_IDENTITY = re.compile(
    r"terraformResourceType: '([\w-]+)',\n\s+terraformGeneratorMetadata: \{\n"
    r"\s+providerName: '[^']+',\n\s+providerVersion: '([^']+)'"
)
_SOURCE = re.compile(r"terraformProviderSource: '([^']+)'")
_SCALARS = {"string": "string", "number": "number", "boolean": "bool", "any": "string"}
_SECTIONS = {
    "TerraformResource": ("resource", "resource_schemas"),
    "TerraformDataSource": ("data", "data_source_schemas"),
}

Block = dict[str, Any]


def declared(module: Path) -> set[tuple[str, str]]:
    """(resource or data, type) of everything that the module's files declare."""
    return {pair for path in module.glob("*.tf") for pair in _DECLARED.findall(path.read_text())}


def read(wheel: Path, wanted: set[tuple[str, str]]) -> dict[str, Any]:
    """The schema document of a wheel's provider, with the wanted types only."""
    source, version, provider = "", "", None
    schemas: dict[str, dict[str, Any]] = {key: {} for _, key in _SECTIONS.values()}
    for text in _sources(wheel):
        identity = _IDENTITY.search(text)
        if identity is None:
            continue
        kind, version = identity[1], identity[2]
        binding = _Binding(text)
        root, base = next(
            (name, base) for name, (base, _) in binding.classes.items() if base.startswith("Terraform")
        )
        if base == "TerraformProvider":
            found = _SOURCE.search(text)
            source = found[1] if found else kind
            block = binding.root(root)
            block["attributes"].pop("alias", None)
            provider = {"version": 0, "block": block}
        elif base in _SECTIONS and (_SECTIONS[base][0], kind) in wanted:
            schemas[_SECTIONS[base][1]][kind] = {"version": 0, "block": binding.root(root)}
    address = "registry.terraform.io/" + (source if "/" in source else f"hashicorp/{source}")
    return {
        "format_version": "1.0",
        "provider_version": version,
        "provider_schemas": {address: {"provider": provider, **schemas}},
    }


def _sources(wheel: Path) -> Iterator[str]:
    """The JavaScript of each resource, data source and of the provider."""
    with zipfile.ZipFile(wheel) as archive:
        package = archive.read(next(name for name in archive.namelist() if name.endswith(".jsii.tgz")))
    parts: dict[str, list[str]] = defaultdict(list)
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as files:
        for member in files:
            match = re.fullmatch(r"package/lib/([\w-]+)/.*\.js", member.name)
            content = files.extractfile(member) if match else None
            if match and content is not None:
                parts[match[1]].append(content.read().decode())
    for texts in parts.values():
        yield "\n".join(texts)


class _Binding:
    """The classes of one resource, and what is written of each of their fields."""

    def __init__(self, text: str) -> None:
        self.classes = {match[1]: (match[2], match[3]) for match in _CLASS.finditer(text)}
        self._written = {match[1].lower(): _written(match[2]) for match in _WRITER.finditer(text)}
        self._open: list[str] = []

    def root(self, name: str) -> Block:
        """The block of the resource itself."""
        body = self.classes[name][1]
        return self._block(name, _written(body[body.find("synthesizeHclAttributes") :]))

    def _block(self, name: str, written: dict[str, tuple[bool, str, str]] | None = None) -> Block:
        block: Block = {"attributes": {}, "block_types": {}}
        if name in self._open:  # a struct within itself: how deep it goes is not known
            return block
        if written is None:
            written = self._written.get(name.removesuffix("OutputReference").lower(), {})
        self._open.append(name)
        for field, *flags, text in _FIELD.findall(self.classes[name][1]):
            named = zip(("computed", "optional", "required"), flags, strict=True)
            given = {flag: True for flag, value in named if value == "true"}
            nested = self._nested(text)
            if nested is not None and written.get(field, (False,))[0]:
                block["block_types"][field] = self._nested_block(field, *nested, "required" in given)
            else:
                kind = (
                    _type(text, written.get(field))
                    if nested is None
                    else [nested[1], self._object(nested[0])]
                )
                block["attributes"][field] = {"type": kind, **given}
        self._open.pop()
        return block

    def _nested_block(self, field: str, name: str, mode: str, single: bool, required: bool) -> Block:
        block: Block = {"nesting_mode": mode, "block": self._block(name)}
        if field == "timeouts":
            block["nesting_mode"] = "single"
        elif single:
            block["max_items"] = 1
        if required:
            block["min_items"] = 1
        return block

    def _object(self, name: str) -> list[Any]:
        return _object(self._block(name))

    def _nested(self, text: str) -> tuple[str, str, bool] | None:
        """Class, nesting mode and whether there is at most one, of a field that is an object."""
        new = _NEW.search(text)
        if new is None or new[1] in ("cdktn", "cdktf"):
            return None
        if new[2] in self.classes and self.classes[new[2]][0] != "ComplexList":
            return new[2], "list", True
        item = new[2].removesuffix("List") + "OutputReference"
        return (item, "set" if new[4] == "true" else "list", False) if item in self.classes else None


def _written(text: str) -> dict[str, tuple[bool, str, str]]:
    return {name: (block == "true", kind, storage) for name, block, kind, storage in _WRITTEN.findall(text)}


def _type(text: str, written: tuple[bool, str, str] | None) -> Any:
    """The Terraform type of a plain attribute."""
    collection = "set" if "Fn.tolist(" in text or (written and written[1] == "set") else "list"
    name = written[2] if written else _read_type(text)
    if name == "list":
        name = "stringList"
    scalar = _SCALARS.get(re.sub(r"(List|Map)$", "", name or ""))
    if name is None or scalar is None or name.endswith("MapList"):
        return "dynamic"
    if name.endswith("List"):
        return [collection, scalar]
    return ["map", scalar] if name.endswith("Map") else scalar


def _read_type(text: str) -> str | None:
    """What a getter or a nested class says of an attribute that is never written."""
    if getter := _GETTER.search(text):
        return getter[1][:1].lower() + getter[1][1:] if getter[1] else "any"
    new = _NEW.search(text)
    return new[2][:1].lower() + new[2][1:] if new else None


def _object(block: Block) -> list[Any]:
    fields = {name: attribute["type"] for name, attribute in block["attributes"].items()}
    for name, nested in block["block_types"].items():
        fields[name] = [nested["nesting_mode"].replace("single", "list"), _object(nested["block"])]
    return ["object", fields]


def main(arguments: Sequence[str]) -> int:
    """Write one document a wheel; 1 when a declared type is in none of them."""
    missing = {pair for module in MODULES for pair in declared(module.folder())}
    for wheel in map(Path, arguments):
        document = read(wheel, missing)
        ((address, provider),) = document["provider_schemas"].items()
        missing -= {(section, kind) for section, key in _SECTIONS.values() for kind in provider[key]}
        path = SCHEMA_FOLDER / f"{address.rpartition('/')[2]}.json"
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        sys.stdout.write(f"written: {path.relative_to(ROOT)}, version {document['provider_version']}\n")
    for section, kind in sorted(missing):
        sys.stderr.write(f"{section} {kind} is in none of the wheels\n")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
