"""Which files a run is about: what the bucket has, what matches, what the ledger does not know yet.

A listing is gone through once, object by object; only the files that are to be loaded are kept, so that a
bucket of a hundred thousand loaded files costs the memory of its ledger's keys and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from etl_runner.config.files import FileSource
from etl_runner.errors import FileError
from etl_runner.planning.plan import GIVEN, Window
from etl_runner.sources.base import Scope
from etl_runner.sources.files.globs import compile_glob
from etl_runner.sources.files.store import FileStore, FileVersion

MOST_IGNORED = 10_000
"""Files that one run records as ignored, at most; the next run records the others."""


@dataclass(frozen=True)
class Chosen:
    """The files of a run, in the order in which they are taken; ``matching`` is how many match at all."""

    files: tuple[FileVersion, ...]
    matching: int
    ignored: tuple[FileVersion, ...] = ()
    """Overwritten files that the document wants left alone."""
    given: bool = False
    """Somebody chose them, for a backfill."""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files)

    def window(self) -> Window:
        """For people: how many files, and when the oldest and the newest were written."""
        times = sorted(file.modified for file in self.files)
        rule = {"rule": GIVEN} if self.given else {}
        return Window(
            "files",
            low=times[0] if times else None,
            high=times[-1] if times else None,
            detail={
                "files": len(self.files),
                "matching": self.matching,
                "ignored": len(self.ignored),
                **rule,
            },
        )


def matching(store: FileStore, prefix: str, pattern: str) -> Iterator[FileVersion]:
    """The objects below ``prefix`` that match the glob, in name order. Names that end in a slash are what
    consoles create to show a folder: they are no files."""
    glob = compile_glob(pattern)
    for file in store.list(prefix + glob.literal):
        if not file.name.endswith("/") and glob.matches(file.name[len(prefix) :]):
            yield file


def choose(document: FileSource, files: Iterable[FileVersion], scope: Scope) -> Chosen:
    """What of ``files`` the run loads.

    Raises:
        FileError: a file was overwritten after it was loaded, and the document says ``on_overwrite: fail``.
    """
    order = _order(document)
    if scope.again is not None:
        found = sorted(files, key=order)
        return Chosen(tuple(found), len(found), given=True)
    if document.load_type == "catalog":
        if document.selection == "all":
            found = sorted(files, key=order)
            return Chosen(tuple(found), len(found))
        count, latest = 0, None
        for file in files:
            count += 1
            if latest is None or order(file) > order(latest):
                latest = file
        return Chosen((latest,) if latest else (), count)
    return _new(document, files, scope, order)


def _new(
    document: FileSource, files: Iterable[FileVersion], scope: Scope, order: Callable[[FileVersion], object]
) -> Chosen:
    known = scope.known()
    uris = {uri for uri, _ in known}
    count = 0
    new: dict[str, FileVersion] = {}
    ignored: list[FileVersion] = []
    for file in files:
        count += 1
        if file.key in known:
            continue
        if file.uri in uris and document.on_overwrite == "fail":
            raise FileError(
                f"{file.uri} was loaded before and has been overwritten since (version {file.version}): load "
                f"it again with on_overwrite: append, or leave it with on_overwrite: ignore",
                file.uri,
                file.version,
            )
        if file.uri in uris and document.on_overwrite == "ignore":
            ignored.append(file)
            continue
        # Of two versions that events told of, only the newer one is still there.
        before = new.get(file.uri)
        if before is None or before.modified <= file.modified:
            new[file.uri] = file
    return Chosen(tuple(sorted(new.values(), key=order)), count, tuple(ignored[:MOST_IGNORED]))  # type: ignore[arg-type]


def _order(document: FileSource) -> Callable[[FileVersion], tuple[str, str]]:
    """What the document calls latest, last. Names decide between files of one instant."""
    if document.order_by == "name":
        return lambda file: (file.name, file.modified)
    return lambda file: (file.modified, file.name)
