"""Documents that came with a request, kept beside the run that they are for.

``sources/<id>/inline/<run_id>.json`` of the state bucket, create-only: every step of the run finds the same
document there, and no credential is in it (:func:`etl_runner.config.load.load_inline`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etl_runner import jsontypes
from etl_runner.config.load import has_source, load_inline
from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import ConfigError, ObjectExists, Problem

if TYPE_CHECKING:
    from etl_runner.state.objects import ObjectStore


class InlineDocuments:
    """The documents of one deployment's runs."""

    def __init__(self, config: ObjectStore, state: ObjectStore) -> None:
        self._config = config
        self._state = state

    def check(self, source_id: str, value: Any) -> ResolvedSource:
        """The source that a request's document says.

        Raises:
            ConfigError: the document is wrong, or the config bucket has another one of this id, whose state
                (how far it is loaded) the run would change.
        """
        if has_source(self._config, source_id):
            problem = Problem(
                "source_id",
                "is that of a document in the config bucket; give the request's document an id of its own",
                found=repr(source_id),
            )
            raise ConfigError("request", (problem,))
        return load_inline(self._config, value, source_id)

    def keep(self, source_id: str, run_id: str, value: Any) -> None:
        """Store a checked document for its run; the same one again changes nothing.

        Raises:
            ConfigError: the run has another document.
        """
        data = jsontypes.dumps(value)
        name = _name(source_id, run_id)
        try:
            self._state.create(name, data)
        except ObjectExists:
            stored = self._state.read(name)
            if stored is not None and stored.data != data:
                problem = Problem("source", f"is not the document that run {run_id} was opened with")
                raise ConfigError("request", (problem,)) from None

    def load(self, source_id: str, run_id: str) -> ResolvedSource | None:
        """The source of a run's own document; None when the run has none."""
        stored = self._state.read(_name(source_id, run_id))
        if stored is None:
            return None
        return load_inline(self._config, jsontypes.loads(stored.data), source_id)


def _name(source_id: str, run_id: str) -> str:
    return f"sources/{source_id}/inline/{run_id}.json"
