"""The committed schemas hold what infra/terraform declares; a binding gives names, types and flags."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.infra.modules import MODULES, Module
from tools.infra.provider_schema import declared, read

BINDING = """\
class Thing extends cdktn.TerraformResource {
    constructor(scope, id, config) {
        super(scope, id, {
            terraformResourceType: 'acme_thing',
            terraformGeneratorMetadata: {
                providerName: 'acme',
                providerVersion: '1.2.3',
            },
        });
        this._box = new ThingBoxOutputReference(this, "box");
    }
    // name - computed: false, optional: false, required: true
    get name() {
        return this.getStringAttribute('name');
    }
    // size - computed: true, optional: false, required: false
    get size() {
        return this.getNumberAttribute('size');
    }
    // box - computed: false, optional: false, required: true
    _box = new ThingBoxOutputReference(this, "box");
    synthesizeHclAttributes() {
        const attrs = {
            name: {
                value: cdktn.stringToHclTerraform(this._name),
                isBlock: false,
                type: "simple",
                storageClassType: "string",
            },
            box: {
                value: thingBoxToHclTerraform(this._box.internalValue),
                isBlock: true,
                type: "list",
                storageClassType: "ThingBoxList",
            },
        };
    }
}
class ThingBoxOutputReference extends cdktn.ComplexObject {
    // tags - computed: false, optional: true, required: false
    get tags() {
        return this.getListAttribute('tags');
    }
}
function thingBoxToHclTerraform(struct) {
    const attrs = {
        tags: {
            value: cdktn.listMapperHcl(cdktn.stringToHclTerraform, false)(struct.tags),
            isBlock: false,
            type: "list",
            storageClassType: "stringList",
        },
    };
}
"""
PROVIDER = """\
class AcmeProvider extends cdktn.TerraformProvider {
    constructor(scope, id, config = {}) {
        super(scope, id, {
            terraformResourceType: 'acme',
            terraformGeneratorMetadata: {
                providerName: 'acme',
                providerVersion: '1.2.3',
            },
            terraformProviderSource: 'example/acme'
        });
    }
}
"""


def wheel(path: Path, **sources: str) -> Path:
    """A wheel with one binding a folder, as the CDK's are."""
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        for name, text in sources.items():
            member = tarfile.TarInfo(f"package/lib/{name}/index.js")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("acme/_jsii/acme@1.jsii.tgz", package.getvalue())
    return path


def test_a_binding_gives_names_types_flags_and_blocks(tmp_path: Path) -> None:
    document = read(
        wheel(tmp_path / "acme.whl", thing=BINDING, provider=PROVIDER), {("resource", "acme_thing")}
    )
    assert document["provider_version"] == "1.2.3"
    block = document["provider_schemas"]["registry.terraform.io/example/acme"]["resource_schemas"][
        "acme_thing"
    ]
    assert block["block"]["attributes"] == {
        "name": {"type": "string", "required": True},
        "size": {"type": "number", "computed": True},
    }
    box = block["block"]["block_types"]["box"]
    assert (box["nesting_mode"], box["min_items"], box["max_items"]) == ("list", 1, 1)
    assert box["block"]["attributes"] == {"tags": {"type": ["list", "string"], "optional": True}}


def test_a_type_that_nobody_declares_is_left_out(tmp_path: Path) -> None:
    document = read(wheel(tmp_path / "acme.whl", thing=BINDING, provider=PROVIDER), set())
    (provider,) = document["provider_schemas"].values()
    assert provider["resource_schemas"] == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)
def test_the_schemas_hold_exactly_what_is_declared(module: Module) -> None:
    held = set()
    for path in module.schemas:
        for provider in json.loads(path.read_text())["provider_schemas"].values():
            held |= {("resource", kind) for kind in provider["resource_schemas"]}
            held |= {("data", kind) for kind in provider["data_source_schemas"]}
    assert held == declared(module.folder())
