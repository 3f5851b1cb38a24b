"""What each construct does when it runs."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from local.workflows.engine import Engine
from local.workflows.errors import ExecutionCancelled, WorkflowError
from local.workflows.shown import context, payload
from tests.workflow.running import engine_for, run
from tests.workflow.servers import FakeClock


def fails(source: str, argument: Any = None, **options: Any) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        run(source, argument, **options)
    return caught.value


def test_arguments_assignments_and_return() -> None:
    source = """
        main:
          params: [args]
          steps:
            - init:
                assign:
                  - x: ${args.n + 1}
                  - y: ${x * 2}
                  - m: {"a": {"b": [1, 2]}, "text": "plain"}
                  - copy: ${m}
                  - m.a.b[1]: ${y}
                  - m["new key"]: [1, "${x}"]
                  - m[args.key]: null
            - done:
                return: {"m": "${m}", "copy": "${copy}"}
        """
    assert run(source, {"n": 3, "key": "k"}) == {
        "m": {"a": {"b": [1, 8]}, "text": "plain", "new key": [1, 4], "k": None},
        "copy": {"a": {"b": [1, 2]}, "text": "plain"},
    }


def test_without_a_return_the_result_is_null() -> None:
    assert run("main:\n  steps:\n    - a:\n        assign:\n          - x: 1") is None


@pytest.mark.parametrize(
    ("target", "tag"),
    [
        ("l[2]", "IndexError"),
        ("m.a.b", "KeyError"),
        ("l.x", "TypeError"),
        ("n.x", "TypeError"),
        ("m[1]", "TypeError"),
    ],
)
def test_elements_that_can_not_be_assigned(target: str, tag: str) -> None:
    source = f"""
        - init:
            assign:
              - l: [1, 2]
              - m: {{}}
              - n: 1
        - write:
            assign:
              - {target}: 3
        """
    error = fails(source)
    assert error.tags == (tag,)
    assert error.frames[0].step == "write"


def test_scalars_are_read_as_the_service_reads_them() -> None:
    source = """
        - a:
            return: [yes, on, 1_000, 2026-01-01, 010, 1.5, -3, ~, True, "1", 1e3, .5, null]
        """
    assert run(source) == [
        "yes",
        "on",
        "1_000",
        "2026-01-01",
        10,
        1.5,
        -3,
        None,
        True,
        "1",
        1000.0,
        0.5,
        None,
    ]


def test_switch_takes_the_first_case_that_holds() -> None:
    source = """
        main:
          params: [n]
          steps:
            - choose:
                switch:
                  - condition: ${n < 0}
                    raise: "negative"
                  - condition: ${n == 0}
                    next: zero
                  - condition: ${n == 1}
                    assign:
                      - word: one
                    next: said
                  - condition: ${n == 2}
                    steps:
                      - inner:
                          assign:
                            - word: two
                  - condition: ${n == 3}
                    return: three
                  - condition: ${n == 4}
                    next: end
                next: said
            - zero:
                return: zero
            - said:
                return: ${word}
        """
    assert run(source, 0) == "zero"
    assert run(source, 1) == "one"
    assert run(source, 2) == "two"
    assert run(source, 3) == "three"
    assert run(source, 4) is None
    assert fails(source, 5).tags == ("KeyError",)  # no case holds: on to said, where word has no value
    assert fails(source, -1).value == "negative"


def test_a_condition_must_be_a_boolean() -> None:
    error = fails("- a:\n    switch:\n      - condition: ${1}\n        next: end")
    assert error.tags == ("TypeError",)


def test_jumps_go_back_and_out_of_nested_steps() -> None:
    source = """
        main:
          steps:
            - init:
                assign:
                  - n: 0
            - outer:
                steps:
                  - count:
                      assign:
                        - n: ${n + 1}
                  - enough:
                      switch:
                        - condition: ${n < 5}
                          next: count
                        - condition: true
                          next: out
                  - never:
                      raise: "unreachable"
            - never_too:
                raise: "unreachable"
            - out:
                return: ${n}
        """
    assert run(source) == 5


def test_for_over_a_list_with_index_break_and_continue() -> None:
    source = """
        main:
          steps:
            - init:
                assign:
                  - seen: []
            - loop:
                for:
                  value: v
                  index: i
                  in: [10, 20, 30, 40]
                  steps:
                    - skip:
                        switch:
                          - condition: ${v == 20}
                            next: continue
                          - condition: ${v == 40}
                            next: break
                    - keep:
                        assign:
                          - seen: ${list.concat(seen, string(i) + ":" + string(v))}
            - done:
                return: ${seen}
        """
    assert run(source) == ["0:10", "2:30"]


@pytest.mark.parametrize(
    ("span", "expected"),
    [("[1, 4]", [1, 2, 3, 4]), ("[3, 3]", [3]), ("[4, 1]", []), ("[0.5, 2]", [0.5, 1.5])],
)
def test_for_over_a_range(span: str, expected: list[float]) -> None:
    source = f"""
        - init:
            assign:
              - seen: []
        - loop:
            for:
              value: v
              range: {span}
              steps:
                - keep:
                    assign:
                      - seen: ${{list.concat(seen, v)}}
        - done:
            return: ${{seen}}
        """
    assert run(source) == expected


def test_variables_of_a_loop_are_gone_after_it() -> None:
    source = """
        - loop:
            for:
              value: v
              in: [1]
              steps:
                - keep:
                    assign:
                      - inner: ${v}
        - done:
            return: ${inner}
        """
    assert fails(source).tags == ("KeyError",)


def test_subworkflows_by_name_by_position_and_with_defaults() -> None:
    source = """
        main:
          steps:
            - named:
                call: join
                args:
                  left: "a"
                result: first
            - placed:
                assign:
                  - second: ${join("x", "y")}
            - done:
                return: ["${first}", "${second}"]
        join:
          params: [left, right: "b"]
          steps:
            - local:
                assign:
                  - both: ${left + right}
            - back:
                return: ${both}
        """
    assert run(source) == ["ab", "xy"]


def test_subworkflows_do_not_see_their_callers_variables() -> None:
    source = """
        main:
          steps:
            - init:
                assign:
                  - x: 1
            - ask:
                call: sub
        sub:
          steps:
            - use:
                assign:
                  - y: ${x}
            - later:
                assign:
                  - x: 2
        """
    assert fails(source).tags == ("KeyError",)


def test_calls_nest_20_deep_at_most() -> None:
    source = """
        main:
          steps:
            - go:
                call: sub
        sub:
          steps:
            - again:
                call: sub
        """
    error = fails(source)
    assert error.tags == ("RecursionError",)
    assert len(error.frames) == 20


RETRY = """
    main:
      params: [args]
      steps:
        - init:
            assign:
              - tries: 0
        - attempt:
            try:
              steps:
                - count:
                    assign:
                      - tries: ${tries + 1}
                - fail:
                    switch:
                      - condition: ${tries <= args.failures}
                        raise:
                          code: ${args.code}
                          tags: []
            retry:
              predicate: ${only_503}
              max_retries: 4
              backoff:
                initial_delay: 2
                max_delay: 5
                multiplier: 2
            except:
              as: e
              steps:
                - give_up:
                    return: {"tries": "${tries}", "code": "${e.code}"}
        - done:
            return: ${tries}
    only_503:
      params: [e]
      steps:
        - judge:
            return: ${e.code == 503}
    """


def test_retries_wait_longer_each_time() -> None:
    clock = FakeClock()
    assert run(RETRY, {"failures": 4, "code": 503}, clock=clock) == 5
    assert clock.sleeps == [2, 4, 5, 5]


def test_retries_end_and_the_handler_gets_the_error() -> None:
    clock = FakeClock()
    assert run(RETRY, {"failures": 9, "code": 503}, clock=clock) == {"tries": 5, "code": 503}
    assert len(clock.sleeps) == 4


def test_the_predicate_decides() -> None:
    clock = FakeClock()
    assert run(RETRY, {"failures": 9, "code": 422}, clock=clock) == {"tries": 1, "code": 422}
    assert clock.sleeps == []


def test_a_predicate_that_answers_no_boolean_is_an_error() -> None:
    source = RETRY.replace("return: ${e.code == 503}", "return: ${e.code}").replace("except:\n", "except:\n")
    assert fails(source, {"failures": 1, "code": 503}).tags == ("TypeError",)


def test_retry_without_a_predicate_repeats_every_error() -> None:
    source = """
        - a:
            try:
              raise: "always"
            retry:
              max_retries: 3
        """
    clock = FakeClock()
    assert fails(source, clock=clock).value == "always"
    assert clock.sleeps == [1, 1.25, 1.5625]


def test_the_error_variable_ends_with_its_handler_and_others_stay() -> None:
    source = """
        - init:
            assign:
              - kept: null
        - a:
            try:
              raise: {"code": 7}
            except:
              as: e
              steps:
                - note:
                    assign:
                      - kept: ${e.code}
                      - lost: 1
        - b:
            try:
              assign:
                - x: ${lost}
            except:
              as: second
              return: ["${kept}", "${second.tags}"]
        """
    assert run(source) == [7, ["KeyError"]]


def test_a_handler_may_jump_to_a_later_step() -> None:
    source = """
        main:
          steps:
            - a:
                try:
                  raise: "x"
                except:
                  as: e
                  steps:
                    - decide:
                        switch:
                          - condition: ${e == "x"}
                            next: later
            - between:
                raise: "unreachable"
            - later:
                return: arrived
        """
    assert run(source) == "arrived"


def test_an_uncaught_error_tells_where() -> None:
    source = """
        main:
          steps:
            - first:
                call: sub
        sub:
          steps:
            - inner:
                switch:
                  - condition: true
                    steps:
                      - deepest:
                          raise: {"message": "no", "code": 5}
        """
    error = fails(source)
    assert [(frame.routine, frame.step, frame.line) for frame in error.frames] == [
        ("sub", "deepest", 12),
        ("main", "first", 4),
    ]
    assert json.loads(payload(error)) == {"message": "no", "code": 5}
    assert context(error) == (
        'RuntimeError: {"message":"no","code":5}\n'
        'in step "deepest", routine "sub", line: 12\n'
        'in step "first", routine "main", line: 4'
    )


def test_an_error_raised_again_comes_from_where_it_was_raised_again() -> None:
    source = """
        - a:
            try:
              call: sys.sleep
              args: {seconds: -1}
            except:
              as: e
              steps:
                - again:
                    raise: ${e}
        """
    error = fails(source)
    assert error.tags == ("ValueError",)
    assert error.frames[0].step == "again"


# -- parallel ------------------------------------------------------------------------------------------------


def test_branches_write_shared_variables() -> None:
    source = """
        - init:
            assign:
              - m: {}
        - both:
            parallel:
              shared: [m]
              branches:
                - left:
                    steps:
                      - l:
                          assign:
                            - mine: 1
                            - m.left: ${mine}
                - right:
                    steps:
                      - r:
                          assign:
                            - mine: 2
                            - m.right: ${mine}
        - done:
            return: ${m}
        """
    assert run(source) == {"left": 1, "right": 2}


def test_a_parallel_loop_runs_every_iteration() -> None:
    source = """
        - init:
            assign:
              - m: {}
        - loop:
            parallel:
              shared: [m]
              concurrency_limit: 3
              for:
                value: v
                in: ["a", "b", "c", "d", "e"]
                steps:
                  - note:
                      assign:
                        - m[v]: true
        - done:
            return: ${len(m)}
        """
    assert run(source) == 5


PARALLEL_FAILURE = """
    - init:
        assign:
          - done: []
    - loop:
        try:
          parallel:
            shared: [done]
            concurrency_limit: 1
            POLICY
            for:
              value: v
              in: [1, 2, 3]
              steps:
                - odd:
                    switch:
                      - condition: ${v % 2 == 1}
                        raise: {"code": 1}
                - note:
                    assign:
                      - done: ${list.concat(done, v)}
        except:
          as: e
          return: {"tags": "${e.tags}", "branches": "${e.branches}", "done": "${done}"}
    """


def test_a_failed_branch_stops_the_others() -> None:
    found = run(PARALLEL_FAILURE.replace("POLICY", ""))
    assert found["tags"] == ["UnhandledBranchError"]
    assert [branch["id"] for branch in found["branches"]] == ["0"]
    assert json.loads(found["branches"][0]["error"]["payload"]) == {"code": 1}
    assert found["done"] == []


def test_continue_all_runs_them_all_and_then_fails() -> None:
    found = run(PARALLEL_FAILURE.replace("POLICY", "exception_policy: continueAll"))
    assert [branch["id"] for branch in found["branches"]] == ["0", "2"]
    assert found["done"] == [2]


# -- limits and cancellation ----------------------------------------------------------------------------

CATCH_ALL = """
    - a:
        try:
          steps:
            - grow:
                GROW
        except:
          as: e
          return: caught
    """


def test_variables_take_512_kb_at_most_and_no_handler_catches_it() -> None:
    grow = """assign:
                  - part: ${args}
                  - all: ["${part}", "${part}", "${part}"]"""
    source = "main:\n  params: [args]\n  steps:\n" + "\n".join(
        "    " + line for line in CATCH_ALL.replace("GROW", grow).splitlines() if line.strip()
    ).replace("        - a:", "    - a:")
    assert run(source, "x" * 100_000) is None
    error = fails(source, "x" * 110_000)
    assert error.tags == ("ResourceLimitError",)
    assert not error.catchable


def test_a_string_has_256_kb_at_most() -> None:
    source = "main:\n  params: [s]\n  steps:\n    - a:\n        assign:\n          - t: ${s + s}"
    assert run(source, "x" * 100_000) is None
    assert "262144" in fails(source, "x" * 140_000).value["message"]


def test_memory_is_given_back_with_its_scope() -> None:
    source = """
        main:
          params: [s]
          steps:
            - loop:
                for:
                  value: v
                  range: [1, 20]
                  steps:
                    - use:
                        assign:
                          - mine: ${sub(s)}
            - done:
                return: ${len(s)}
        sub:
          params: [t]
          steps:
            - hold:
                assign:
                  - u: ${t}
            - back:
                return: ${u}
        """
    assert run(source, "x" * 100_000) == 100_000


def test_an_execution_makes_100_000_steps_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.workflows.limits.STEPS", 50)
    error = fails("main:\n  steps:\n    - a:\n        assign:\n          - x: 1\n        next: a")
    assert error.tags == ("ResourceLimitError",)
    assert not error.catchable


def test_a_cancelled_execution_stops_before_its_next_step() -> None:
    engine: Engine = engine_for(
        "main:\n  steps:\n    - a:\n        call: sys.sleep\n        args: {seconds: 9}\n        next: a"
    )

    class Cancelling(FakeClock):
        def sleep(self, seconds: float, cancelled: threading.Event) -> None:
            super().sleep(seconds, cancelled)
            if len(self.sleeps) == 3:
                cancelled.set()

    clock = Cancelling()
    engine.clock = clock
    with pytest.raises(ExecutionCancelled):
        engine.run(None)
    assert len(clock.sleeps) == 3


def test_bytes_are_no_result() -> None:
    assert fails('- a:\n    return: ${text.encode("x")}').tags == ("TypeError",)
