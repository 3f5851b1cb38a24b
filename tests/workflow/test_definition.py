"""Definitions: every mistake is found before anything runs, with its step and line, all of them at once."""

from __future__ import annotations

import json
import textwrap

import pytest
import yaml

from local.workflows.definition import load
from local.workflows.errors import DefinitionError, Problem
from local.workflows.source import read

STEPS = "main:\n  steps:\n"


def problems(source: str) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        load(textwrap.dedent(source), name="test.yaml")
    return caught.value.problems


def steps(text: str) -> str:
    """The steps of a main workflow; the first of them is on line 3."""
    return STEPS + textwrap.indent(textwrap.dedent(text).strip("\n"), "    ")


@pytest.mark.parametrize(
    ("source", "step", "line", "message"),
    [
        ("- a:\n    assing:\n      - x: 1", "a", 4, "did you mean 'assign'"),
        ("- a:\n    call: sys.log\n    arg:\n      text: x", "a", 5, "'arg' can not stand beside call"),
        ("- a:\n    assign:\n      - x: 1\n    call: sys.now", "a", 4, "both assign and call"),
        ("- a: 3", "a", 3, "a step is a map"),
        ("- a: {}", "a", 3, "a step is a map"),
        ("- a:\n    next: b", "a", 4, "there is no step 'b'"),
        ("- first:\n    next: fist", "first", 4, "did you mean 'first'"),
        ("- a:\n    next: break", "a", 4, "outside of a for loop"),
        ("- a:\n    next: [b]", "a", 4, "next is the name of a step"),
        ("- end:\n    return: 1", None, 3, "can not be a step's name"),
        ("- a:\n    return: 1\n- a:\n    return: 2", "a", 5, "another step has this name, on line 3"),
        ("- a:\n    return: 1\n  b:\n    return: 2", None, 3, "a step is one name"),
        # assignments
        ("- a:\n    assign:\n      x: 1", "a", 5, "assign is a list"),
        ("- a:\n    assign:\n      - x: 1\n        y: 2", "a", 5, "one variable and its value"),
        ("- a:\n    assign:\n      - 3x: 1", "a", 5, "can not stand there"),
        ("- a:\n    assign:\n      - f(x): 1", "a", 5, "not a variable"),
        ("- a:\n    assign:\n      - x.y: 1", "a", 5, "x is never assigned"),
        ("- a:\n    assign: [" + ", ".join(["{x: 1}"] * 51) + "]", "a", 4, "51 assignments, the limit is 50"),
        # values
        ("- a:\n    return: ${x +}", "a", 4, "expected a value"),
        ("- a:\n    return: ${x}", "a", 4, "x is never assigned"),
        ('- a:\n    return: "n is ${1}"', "a", 4, "an expression is the whole value"),
        ("- a:\n    return: ${leng([1])}", "a", 4, "unknown function leng; did you mean 'len'"),
        ("- a:\n    return: ${len()}", "a", 4, "len is given 0 arguments, it takes: value"),
        ("- a:\n    return: ${len([1], 2)}", "a", 4, "len is given 2 arguments"),
        ('- a:\n    return: ${http.get("http://x")}', "a", 4, "called by a call step only"),
        ("- a:\n    return: ${sys.sleep(1)}", "a", 4, "called by a call step only"),
        ("- a:\n    return:\n      deep:\n        - ${1 +}", "a", 6, "expected a value"),
        ("- a:\n    return: 99999999999999999999", None, 4, "does not fit into 64 bits"),
        # calls
        ("- a:\n    call: http.psot\n    args:\n      url: x", "a", 4, "did you mean 'http.post'"),
        ("- a:\n    call: http.get\n    args:\n      uri: x", "a", 6, "did you mean 'url'"),
        ("- a:\n    call: http.get", "a", 4, "needs the argument url"),
        ("- a:\n    call: http.request\n    args:\n      url: x", "a", 4, "needs the argument method"),
        ("- a:\n    call: http.get\n    args:\n      url: x\n      timeout: 1801", "a", 7, "at most 1800"),
        ("- a:\n    call: http.get\n    args:\n      url: x\n      timeout: 0", "a", 7, "above 0"),
        (
            "- a:\n    call: http.get\n    args:\n      url: x\n      auth: {type: OICD}",
            "a",
            7,
            "OIDC or OAuth2",
        ),
        (
            "- a:\n    call: http.get\n    args:\n      url: x\n      auth: {kind: OIDC, type: OIDC}",
            "a",
            7,
            "'kind'",
        ),
        ("- a:\n    call: http.get\n    args: [x]", "a", 5, "args is a map"),
        ("- a:\n    call: [x]", "a", 4, "the name of a function"),
        ("- a:\n    call: sys.now\n    result: 3", "a", 5, "result is the name of a variable"),
        ("- a:\n    call: sys.now\n    result: ${x}", "a", 5, "can not stand there"),
        ("- a:\n    call: events.create_callback_endpoint", "a", 4, "unknown function"),
        ("- a:\n    call: googleapis.run.v2.projects.locations.jobs.delete", "a", 4, "unknown function"),
        ("- a:\n    call: googleapis.run.v2.projects.locations.jobs.run", "a", 4, "needs the argument name"),
        (
            "- a:\n    call: googleapis.run.v2.projects.locations.jobs.run\n    args:\n      name: x\n"
            "      connector_params: {timeout: 40000000, retries: 1}",
            "a",
            7,
            "at most 31536000",
        ),
        # switch
        ("- a:\n    switch:\n      condition: true", "a", 5, "switch is a list"),
        ("- a:\n    switch:\n      - next: end", "a", 5, "begins with its condition"),
        ("- a:\n    switch:\n      - condition: true", "a", 5, "nothing says what happens"),
        (
            "- a:\n    switch:\n      - condition: x == 1\n        next: end",
            "a",
            5,
            "a condition is an expression",
        ),
        ("- a:\n    switch:\n      - condition: true\n        then: end", "a", 6, "'then' can not stand"),
        (
            "- a:\n    switch: [" + ", ".join(["{condition: true, next: end}"] * 51) + "]",
            "a",
            4,
            "51 conditions, the limit is 50",
        ),
        # for
        (
            "- a:\n    for:\n      value: v\n      steps:\n        - b:\n            return: 1",
            "a",
            5,
            "either in or range",
        ),
        (
            "- a:\n    for:\n      in: [1]\n      steps:\n        - b:\n            return: 1",
            "a",
            5,
            "names its value",
        ),
        ("- a:\n    for:\n      value: v\n      in: [1]", "a", 5, "a for loop has no steps"),
        (
            "- a:\n    for:\n      value: v\n      index: i\n      range: [1, 2]\n"
            "      steps:\n        - b:\n            return: 1",
            "a",
            6,
            "a loop over a range has no index",
        ),
        (
            "- a:\n    for:\n      value: v\n      range: [1, 2, 3]\n      steps:\n"
            "        - b:\n            return: 1",
            "a",
            6,
            "two numbers",
        ),
        (
            "- a:\n    for:\n      value: v\n      in: [1]\n      steps:\n        - b:\n"
            "            next: c\n- c:\n    return: 1",
            "b",
            9,
            "there is no step 'c' to go to from here",
        ),
        # parallel
        (
            "- a:\n    parallel:\n      branches:\n        - b: {steps: [{c: {next: c}}]}",
            "a",
            6,
            "2 to 10 branches",
        ),
        ("- a:\n    parallel:\n      shared: [x]", "a", 5, "either branches or for"),
        (
            "- a:\n    parallel:\n      exception_policy: ignore\n      for:\n        value: v\n"
            "        in: [1]\n"
            "        steps:\n          - b:\n              call: sys.now",
            "a",
            5,
            "exception_policy is continueAll",
        ),
        (
            "- a:\n    parallel:\n      concurrency_limit: 0\n      for:\n        value: v\n        in: [1]\n"
            "        steps:\n          - b:\n              call: sys.now",
            "a",
            5,
            "above zero",
        ),
        (
            "- a:\n    parallel:\n      shared: [x]\n      for:\n        value: v\n        in: [1]\n"
            "        steps:\n          - b:\n              call: sys.now",
            "a",
            5,
            "assigned by no earlier step",
        ),
        (
            "- z:\n    assign:\n      - x: 1\n- a:\n    parallel:\n      for:\n        value: v\n"
            "        in: [1]\n        steps:\n          - b:\n              assign:\n                - x: 2",
            "b",
            14,
            "name it in shared",
        ),
        (
            "- a:\n    parallel:\n      for:\n        value: v\n        in: [1]\n"
            "        steps:\n          - b:\n              return: 1",
            "b",
            10,
            "return can not leave a parallel step",
        ),
        (
            "- a:\n    parallel:\n      for:\n        value: v\n        in: [1]\n"
            "        steps:\n          - b:\n              next: end",
            "b",
            10,
            "can not leave a parallel step",
        ),
        # try
        ("- a:\n    try:\n      call: sys.now", "a", 5, "retry, except or both"),
        ("- a:\n    try:\n      call: sys.now\n    except:\n      steps: []", "a", 7, "except says as"),
        (
            "- a:\n    try:\n      call: sys.now\n      next: end\n    except:\n      as: e\n      return: 1",
            "a",
            6,
            "next stands beside try",
        ),
        (
            "- a:\n    try:\n      call: sys.now\n    retry: ${http.defalt_retry}",
            "a",
            6,
            "did you mean 'http.default_retry'",
        ),
        ("- a:\n    try:\n      call: sys.now\n    retry: always", "a", 6, "names a function"),
        (
            "- a:\n    try:\n      call: sys.now\n    retry:\n      max_retry: 1",
            "a",
            7,
            "did you mean 'max_retries'",
        ),
        (
            "- a:\n    try:\n      call: sys.now\n    retry:\n      predicate: ${nope}\n      max_retries: 1",
            "a",
            7,
            "no function of one argument",
        ),
        ("- a:\n    try:\n      call: sys.now\n    retry:\n      max_retries: -1", "a", 7, "not below zero"),
        (
            "- a:\n    try:\n      call: sys.now\n    retry:\n      max_retries: 1\n"
            "      backoff: {delay: 1}",
            "a",
            8,
            "'delay' can not stand in backoff",
        ),
        # YAML
        ("- a:\n    return: 1\n    return: 2", None, 5, "stands there twice"),
        ("- a:\n    return: &x 1", None, 4, "anchor can not be used"),
        ("- a:\n    return: !!str 1", None, 4, "tag can not be used"),
        ('- a:\n    return: "${"a: " + x}"', None, 4, "this is not YAML"),
    ],
)
def test_refusals(source: str, step: str | None, line: int, message: str) -> None:
    found = problems(steps(source))
    matching = [problem for problem in found if message in problem.message]
    assert matching, [str(problem) for problem in found]
    assert (matching[0].step, matching[0].line) == (step, line)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "empty"),
        ("3", "a list of steps, or main"),
        ("sub:\n  steps:\n    - a:\n        return: 1", "there is no main workflow"),
        ("main: 3", "must be a map"),
        ("main:\n  params: [x]", "has no steps"),
        ("main:\n  steps: []", "at least one step"),
        ("main:\n  params: [x, y]\n  steps:\n    - a:\n        return: 1", "main takes one parameter"),
        ("main:\n  params: x\n  steps:\n    - a:\n        return: 1", "params is a list"),
        ("main:\n  param: [x]\n  steps:\n    - a:\n        return: 1", "did you mean 'params'"),
        (
            "main:\n  steps:\n    - a:\n        return: 1\nmy-sub:\n  steps:\n    - a:\n        return: 1",
            "is no name",
        ),
        (
            "main:\n  steps:\n    - a:\n        call: sub\nsub:\n  params: [x, y: 2]\n"
            "  steps:\n    - a:\n        return: 1",
            "sub needs the argument x",
        ),
        (
            "main:\n  steps:\n    - a:\n        call: sub\n        args: {z: 1}\nsub:\n  params: [y: 2]\n"
            "  steps:\n    - a:\n        return: 1",
            "sub takes no argument 'z'",
        ),
        (
            "main:\n  steps:\n    - a:\n        return: ${sub(1, 2)}\nsub:\n  params: [y]\n"
            "  steps:\n    - a:\n        return: 1",
            "sub is given 2 arguments",
        ),
        (
            "main:\n  steps:\n    - a:\n        call: sub\nsub:\n  params: [y: '${1}']\n"
            "  steps:\n    - a:\n        return: 1",
            "must be a constant",
        ),
        ("# " + "x" * 131072 + "\nmain:\n  steps:\n    - a:\n        return: 1", "the limit is 131072"),
    ],
)
def test_refusals_of_the_whole(source: str, message: str) -> None:
    assert any(message in problem.message for problem in problems(source)), problems(source)


def test_all_problems_are_told_at_once_in_the_order_of_their_lines() -> None:
    source = steps(
        """
        - one:
            call: http.gte
        - two:
            return: ${1 +}
        - three:
            next: nowhere
        """
    )
    with pytest.raises(DefinitionError) as caught:
        load(source, name="bad.yaml")
    assert [(problem.step, problem.line) for problem in caught.value.problems] == [
        ("one", 4),
        ("two", 6),
        ("three", 8),
    ]
    text = str(caught.value)
    assert text.startswith("bad.yaml: 3 problems")
    assert 'line 4, step "one" of "main": unknown function http.gte' in text


def test_a_step_name_may_come_again_in_another_routine() -> None:
    definition = load(
        "main:\n  steps:\n    - a:\n        call: sub\nsub:\n  steps:\n    - a:\n        return: 1\n"
    )
    assert sorted(definition.routines) == ["main", "sub"]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
def test_both_loaders_read_the_same(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: [1, '1', yes, 2026-01-01, ~]\nb:\n  - c: |\n      long\n"
    expected = read(text)
    monkeypatch.setattr("local.workflows.source._LOADER", loader)
    assert read(text) == expected
    assert [problem.line for problem in read("a: 1\nb: *x\n")[1]] == [2]
    assert [problem.line for problem in read("a: 1\nb: c: d\n")[1]] == [2]


def test_json_and_a_bare_list_of_steps_are_definitions_too() -> None:
    bare = [{"a": {"return": "${1 + 1}"}}]
    assert list(load(json.dumps(bare)).routines) == ["main"]
    assert list(load(json.dumps({"main": {"steps": bare}})).routines) == ["main"]
