"""The expression language: what is parsed, what it means, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.workflows.errors import WorkflowError, tagged
from local.workflows.evaluate import evaluate
from local.workflows.expressions import (
    Access,
    Binary,
    Expr,
    ExpressionSyntaxError,
    FunctionCall,
    ListOf,
    Literal,
    Name,
    Unary,
    parse,
    parse_target,
    parse_value,
)
from local.workflows.values import INT_MAX, INT_MIN

VARIABLES: dict[str, Any] = {
    "a": 5,
    "b": 2,
    "half": 0.5,
    "name": "etl",
    "yes": True,
    "nothing": None,
    "items": [10, 20, 30],
    "tree": {"leaf": 1, "with-dash": 2, "down": {"list": [{"x": "deep"}]}},
}


class Environment:
    """Variables to read, and two functions."""

    def variable(self, name: str) -> Any:
        if name not in VARIABLES:
            raise tagged("KeyError", f"variable {name} has no value yet")
        return VARIABLES[name]

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        if name not in ("len", "mod.pair"):
            raise KeyError(name)
        return len(args[0]) if name == "len" else list(args)


def value(text: str) -> Any:
    return evaluate(parse_value("${" + text + "}"), Environment())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("7 % 4", 3),
        ("7 / 2", 3.5),
        ("7.5 // 2", 3),
        ("-a + 1", -4),
        ("- -3", 3),
        ("1.5e3", 1500.0),
        ('"a" + "b"', "ab"),
        ("'single' + \" double\"", "single double"),
        ('"n = " + 3', "n = 3"),
        ('1.5 + "x"', "1.5x"),
        ('"is " + true', "is true"),
        (r'"a\"b\n\u00e9\\"', 'a"b\n\u00e9\\'),
        ("1 < 2 and 2 <= 2 and 3 > 2 and 3 >= 3", True),
        ('"a" < "b"', True),
        ("1 == 1.0", True),
        ("1 == true", False),
        ('1 == "1"', False),
        ("nothing == null", True),
        ("[1, [2]] == [1, [2]]", True),
        ("a != b", True),
        ("true and false or true", True),
        ("true OR false AND false", True),
        ("not yes", False),
        ("NOT FALSE", True),
        ("not(1 in items)", True),
        ("20 in items", True),
        ("true in [1]", False),
        ('"leaf" in tree', True),
        ('"other" in tree', False),
        ("items[1]", 20),
        ("items[b - 1]", 20),
        ("tree.leaf", 1),
        ('tree["with-dash"]', 2),
        ("tree.down.list[0].x", "deep"),
        ("len(items) + 1", 4),
        ('mod.pair(1, "x")[1]', "x"),
        ("mod.pair()", []),
        ("[1, a, [half]]", [1, 5, [0.5]]),
        ("TRUE == True", True),
        ("false and missing", False),
        ("true or missing", True),
    ],
)
def test_values(text: str, expected: Any) -> None:
    result = value(text)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("missing", "KeyError"),
        ("tree.missing", "KeyError"),
        ('tree["missing"]', "KeyError"),
        ("items[3]", "IndexError"),
        ("items[-1]", "IndexError"),
        ("items.x", "TypeError"),
        ("items[true]", "TypeError"),
        ("tree[1]", "TypeError"),
        ("a.b", "TypeError"),
        ("nothing.x", "TypeError"),
        ("a + yes", "TypeError"),
        ("a + null", "TypeError"),
        ('"x" + null', "TypeError"),
        ('"x" + items', "TypeError"),
        ('"x" * 2', "TypeError"),
        ('1 < "2"', "TypeError"),
        ("yes < 2", "TypeError"),
        ("null < 1", "TypeError"),
        ("1 and true", "TypeError"),
        ("true and 1", "TypeError"),
        ("not 1", "TypeError"),
        ("not a == b", "TypeError"),
        ('-"x"', "TypeError"),
        ('"t" in name', "TypeError"),
        ("1 / 0", "ZeroDivisionError"),
        ("1 // 0", "ZeroDivisionError"),
        ("1.0 % 0", "ZeroDivisionError"),
        (f"{INT_MAX} + 1", "ValueError"),
        (f"-{INT_MAX} - 2", "ValueError"),
    ],
)
def test_errors_carry_the_documented_tags(text: str, tag: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        value(text)
    assert caught.value.tags == (tag,)
    assert caught.value.value["message"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "1)",
        "a b",
        "a.",
        "a.1",
        "[1, ",
        "f(1",
        '"open',
        "a = 1",
        "a ? b",
        "1abc",
        '{"a": 1}',
        "a && b",
        "items[]",
        "[a](1)",
        "1(2)",
        r'"\q"',
        "x and",
        "9223372036854775808",
        "lambda: 1",
        "[x for x in items]",
        "(" * 60 + "1" + ")" * 60,
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        parse(text)


def test_python_is_not_evaluated() -> None:
    for text in ("__import__('os').system", "And", "tree.__class__"):
        with pytest.raises((WorkflowError, KeyError)):
            value(text)


def test_an_expression_has_400_characters_at_most() -> None:
    fits = '${"' + "x" * 395 + '"}'
    assert len(fits) == 400
    parse_value(fits)
    with pytest.raises(ExpressionSyntaxError, match="401 characters, the limit is 400"):
        parse_value('${"' + "x" * 396 + '"}')


def test_targets() -> None:
    assert parse_target("x") == ("x", ())
    assert parse_target('x.y[0]["z"]') == ("x", (Literal("y"), Literal(0), Literal("z")))
    for text in ("f(x)", "x + 1", "3", '"x"', ""):
        with pytest.raises(ExpressionSyntaxError):
            parse_target(text)


# -- properties --------------------------------------------------------------------------------------------

_names = st.sampled_from(["x", "total", "_y2", "andy", "inner", "nothing"])
_literals = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, INT_MAX),
    st.floats(0, 1e300, allow_nan=False).map(lambda number: float(repr(number))),
    st.text(max_size=8),
).map(Literal)
_operators = st.sampled_from(
    ["+", "-", "*", "/", "//", "%", "<", "<=", ">", ">=", "==", "!=", "in", "and", "or"]
)


def _extend(trees: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(Binary, _operators, trees, trees),
        st.builds(Unary, st.sampled_from(["-", "not"]), trees),
        st.builds(ListOf, st.lists(trees, max_size=3).map(tuple)),
        st.builds(lambda of, key: Access(of, Literal(key), dotted=True), trees, _names),
        st.builds(lambda of, key: Access(of, key, dotted=False), trees, trees),
        st.builds(FunctionCall, st.sampled_from(["len", "mod.pair"]), st.lists(trees, max_size=2).map(tuple)),
    )


_trees: st.SearchStrategy[Expr] = st.recursive(st.one_of(_literals, _names.map(Name)), _extend, max_leaves=12)


def _render(tree: Expr) -> str:
    """The tree as text, every operator in parentheses."""
    match tree:
        case Literal(str(text)):
            return json.dumps(text, ensure_ascii=False)
        case Literal(None):
            return "null"
        case Literal(bool(truth)):
            return "true" if truth else "false"
        case Literal(number):
            return repr(number)
        case ListOf(items):
            return f"[{', '.join(map(_render, items))}]"
        case Name(name):
            return name
        case Access(of, Literal(str(key)), True):
            return f"({_render(of)}).{key}"
        case Access(of, key, _):
            return f"({_render(of)})[{_render(key)}]"
        case FunctionCall(name, args):
            return f"{name}({', '.join(map(_render, args))})"
        case Unary(sign, operand):
            return f"({sign} {_render(operand)})"
        case Binary(operator, left, right):
            return f"({_render(left)} {operator} {_render(right)})"
    raise AssertionError(tree)


@settings(deadline=None)
@given(_trees)
def test_every_tree_is_read_back_from_its_text(tree: Expr) -> None:
    assert parse(_render(tree)) == tree


@settings(deadline=None)
@given(st.text(alphabet="ab1.0 +-*/%()[]<>=!\"'\\,andortni{}$\n", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse(text)
    except ExpressionSyntaxError as error:
        assert str(error)


@settings(deadline=None)
@given(_trees)
def test_evaluation_ends_in_a_value_or_a_tagged_error(tree: Expr) -> None:
    class Anything(Environment):
        def call(self, name: str, args: tuple[Any, ...]) -> Any:
            return list(args)

    try:
        evaluate(tree, Anything())
    except WorkflowError as error:
        assert error.tags[0] in {"TypeError", "KeyError", "IndexError", "ValueError", "ZeroDivisionError"}


@settings(deadline=None)
@given(
    st.integers(INT_MIN, INT_MAX), st.integers(INT_MIN, INT_MAX), st.sampled_from(["+", "-", "*", "//", "%"])
)
def test_integers_are_exact_within_64_bits(left: int, right: int, operator: str) -> None:
    tree = Binary(operator, Literal(left), Literal(right))
    if operator in ("//", "%") and right == 0:
        expected: Any = "ZeroDivisionError"
    else:
        exact = {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "//": lambda: left // right,
            "%": lambda: left % right,
        }[operator]()
        expected = exact if INT_MIN <= exact <= INT_MAX else "ValueError"
    try:
        assert evaluate(tree, Environment()) == expected
    except WorkflowError as error:
        assert error.tags == (expected,)
