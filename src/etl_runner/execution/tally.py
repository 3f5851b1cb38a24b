"""Which rows of a unit came from which file, and where in the file a rejected row stands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from etl_runner.convert.rejects import Place, Reject
from etl_runner.errors import FileError, PermanentError
from etl_runner.execution.manifest import FileRows
from etl_runner.formats.base import BadRow, Lines
from etl_runner.planning.plan import WorkUnit


@dataclass
class _Count:
    good: int = 0
    """Rows of batches so far, whether or not they could be converted."""
    written: int = 0
    rejects: int = 0
    before: list[int] = field(default_factory=list)
    """For the j-th bad row (from 1): its ordinal less j, which is how many good rows come before it."""


class Tally:
    """The account of one unit's files. Rows of units without files are counted nowhere here."""

    def __init__(self, unit: WorkUnit) -> None:
        self._unit = unit.id
        self._versions: dict[str, str] = {file["uri"]: file["version"] for file in unit.spec.get("files", ())}
        self._counts = {uri: _Count() for uri in self._versions}
        self._starts: dict[str, int] = {
            file["uri"]: file.get("start") or 0 for file in unit.spec.get("files", ())
        }

    def rejects_of(
        self,
        file: str | None,
        bad: Sequence[BadRow],
        found: Sequence[Reject],
        first: int,
        written: int,
        lines: Lines | None = None,
        own: Sequence[Place | None] = (),
    ) -> tuple[Reject, ...]:
        """Count the rows of one batch and say of each reject where in its file it stands.

        Args:
            file: URI of the file; None for what is no file.
            bad: the rows that came as bad ones, in the file's order.
            found: what the converter rejected; ``row`` is the ordinal among the unit's good rows.
            first: that ordinal of the batch's first row, from 1.
            written: rows of the batch that were converted.
            lines: tells on which lines of the file rows of the batch begin.
            own: the places that the batch's rows bring themselves; then ``file`` is None.

        Raises:
            PermanentError: the reader named a file that is not the unit's.
        """
        if file is None:
            placed = [_at(reject, own[reject.row - first]) for reject in found] if own else found
            return (*(row.reject(self._unit) for row in bad), *placed)
        if file not in self._counts:
            raise PermanentError(f"unit {self._unit}: rows of {file}, which is not a file of this unit")
        count = self._counts[file]
        for row in bad:
            count.before.append(row.row - len(count.before) - 1)
        places = [reject.row - first for reject in found]
        at = [None] * len(places) if lines is None or not places else lines(places)
        placed = [
            replace(
                reject,
                file=file,
                row=_ordinal(count, count.good + place),
                line=line,
                from_byte=self._starts[file],
            )
            for reject, place, line in zip(found, places, at, strict=True)
        ]
        count.good += written + len(found)
        count.written += written
        count.rejects += len(bad) + len(found)
        return (*(replace(row.reject(self._unit), file=file) for row in bad), *placed)

    def files(self) -> tuple[FileRows, ...]:
        """What became of every file of the unit."""
        return tuple(
            FileRows(uri, self._versions[uri], count.written, count.rejects)
            for uri, count in self._counts.items()
        )

    @contextmanager
    def blaming(self, file: str | None) -> Iterator[None]:
        """A permanent error inside is the file's."""
        try:
            yield
        except FileError:
            raise
        except PermanentError as error:
            if file is None:
                raise
            told = str(error)
            said = told if file in told else f"{file}: {told}"
            raise FileError(said, file, self._versions.get(file, "")) from error


def _at(reject: Reject, place: Place | None) -> Reject:
    return reject if place is None else replace(reject, **asdict(place))


def _ordinal(count: _Count, index: int) -> int:
    """The ordinal in the file, from 1, of its good row number ``index``, from 0."""
    return index + 1 + bisect_right(count.before, index)
