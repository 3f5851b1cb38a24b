"""Call steps and retry policies."""

from __future__ import annotations

from local.workflows import connectors, http_calls, model, stdlib
from local.workflows.checks import Checks, Place, hint
from local.workflows.source import Mapping, Node, Scalar


class CallBuilder(Checks):
    """Builds what names a function and its arguments."""

    def _call(self, body: Mapping, node: Node, place: Place) -> model.Action:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._problem(node.line, "call is the name of a function", place)
            return model.Nothing()
        function = node.value
        signature = self._callable(function)
        if signature is None:
            self._problem(node.line, f"unknown function {function}{hint(function, self._callables())}", place)
        args: dict[str, model.Template] = {}
        args_node = body.get("args")
        if args_node is not None and not isinstance(args_node, Mapping):
            self._problem(args_node.line, "args is a map of names and values", place)
        if isinstance(args_node, Mapping):
            for name, line, value in args_node.items:
                if signature is not None and name not in signature.names:
                    close = hint(name, signature.names)
                    self._problem(line, f"{function} takes no argument {name!r}{close}", place)
                args[name] = self._template(value, place)
        if signature is not None:
            for name in sorted(signature.required - args.keys()):
                self._problem(node.line, f"{function} needs the argument {name}", place)
        for line, text in _constant_problems(function, args_node):
            self._problem(line, text, place)
        if function in connectors.METHODS:
            self._connectors.add(function)
        result = body.get("result")
        target = None
        if result is not None:
            if isinstance(result, Scalar) and isinstance(result.value, str):
                target = self._target(result.value, result.line, place)
            else:
                self._problem(result.line, "result is the name of a variable", place)
        return model.Call(function, args, target)

    def _retry(self, node: Node, place: Place) -> model.RetryPolicy | None:
        if isinstance(node, Scalar):
            name = self._function_name(node, place)
            if name is None:
                return None
            if name not in stdlib.RETRY_POLICIES:
                self._problem(
                    node.line, f"{name} is no retry policy{hint(name, tuple(stdlib.RETRY_POLICIES))}", place
                )
                return None
            policy = stdlib.RETRY_POLICIES[name]
            delays = {key: model.Constant(value) for key, value in policy["backoff"].items()}
            return model.RetryPolicy(policy["predicate"], model.Constant(policy["max_retries"]), **delays)
        if not isinstance(node, Mapping):
            self._problem(node.line, "retry is a policy", place)
            return None
        self._only(node, ("predicate", "max_retries", "backoff"), place, "in retry")
        backoff = node.get("backoff")
        if backoff is not None and not isinstance(backoff, Mapping):
            self._problem(backoff.line, "backoff is a map of delays", place)
        if isinstance(backoff, Mapping):
            self._only(backoff, ("initial_delay", "max_delay", "multiplier"), place, "in backoff")
        predicate = node.get("predicate")
        name = None
        if predicate is not None:
            name = self._function_name(predicate, place)
            signature = self._callable(name) if name else None
            if name and (signature is None or len(signature.names) != 1):
                self._problem(
                    predicate.line, f"the predicate {name} is no function of one argument, the error", place
                )
        if node.get("max_retries") is None:
            self._problem(node.line, "retry needs max_retries", place)

        def number(within: Node | None, key: str, default: float) -> model.Template:
            found = within.get(key) if isinstance(within, Mapping) else None
            if found is None:
                return model.Constant(default)
            template = self._template(found, place)
            if isinstance(template, model.Constant):
                value = template.value
                if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                    self._problem(found.line, f"{key} is a number, not below zero", place)
            return template

        return model.RetryPolicy(
            name,
            number(node, "max_retries", 0),
            number(backoff, "initial_delay", 1.0),
            number(backoff, "max_delay", 60.0),
            number(backoff, "multiplier", 1.25),
        )


def _constant_problems(function: str, args: Node | None) -> list[tuple[int, str]]:
    """What is wrong with arguments that are constants: timeouts above the limit, unknown auth types."""
    if not isinstance(args, Mapping):
        return []
    if function in http_calls.METHODS:
        return http_calls.constant_problems(args)
    if function in connectors.METHODS:
        return connectors.constant_problems(args)
    return []
