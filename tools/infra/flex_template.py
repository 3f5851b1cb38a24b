"""The flex template's metadata against Dataflow's discovery document (TemplateMetadata)."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import yaml

from tools.infra.report import Problem, Result
from tools.infra.workflow import DOCUMENTS, closed_schema, deepest, line_of, unknown_field

NAME = "flex template"


def checks(metadata: Path) -> list[Result]:
    """One result; fields that do not exist and values of a wrong type or enumeration are problems."""
    text = metadata.read_text()
    document = json.loads((DOCUMENTS / "dataflow.v1b3.json").read_text())
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return [Result(NAME, (Problem(metadata, error.lineno, f"is not JSON: {error.msg}"),))]
    root = yaml.compose(text, Loader=yaml.SafeLoader)  # JSON is YAML, and YAML tells lines
    found = []
    validator = jsonschema.Draft202012Validator(closed_schema(document, "TemplateMetadata"))
    for wrong in validator.iter_errors(value):
        leaf = deepest(wrong)
        place = [*leaf.absolute_path]
        line = line_of(root, place, unknown_field(leaf))
        found.append(Problem(metadata, line, f"{'.'.join(map(str, place))}: {leaf.message[:300]}"))
    return [Result(NAME, tuple(found), detail=f"{len(value.get('parameters', []))} parameters")]
