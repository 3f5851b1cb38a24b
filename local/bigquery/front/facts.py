"""What rules may ask about the world: the destination, the source files, the settings. All of it lazily."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from etl_runner.jsontypes import JsonObject
from local.bigquery.front.loadjob import LoadJob, TableName
from local.bigquery.front.storage import ParquetFile, SourceObjects


@dataclass(frozen=True)
class Strictness:
    """Where the documentation leaves room, which side the front takes."""

    datetime_from_parquet: bool = False
    """Whether Parquet timestamps may fill DATETIME columns; unproven on the real service."""
    partitions_per_job: int = 4_000
    partitions_per_table: int = 10_000
    uris_per_job: int = 10_000
    columns_per_table: int = 10_000


@dataclass
class Facts:
    """Everything that rules know besides the job itself; each thing is looked up once, when asked for."""

    job: LoadJob
    location: str
    """The job's location, e.g. ``EU``."""
    objects: SourceObjects
    strictness: Strictness
    look_up_table: Callable[[TableName], JsonObject | None]
    look_up_dataset: Callable[[TableName], JsonObject | None]
    run_query: Callable[[str], list[list[str | None]]]

    @cached_property
    def dataset(self) -> JsonObject | None:
        """The destination's dataset, or None."""
        return self.look_up_dataset(self.job.destination)

    @cached_property
    def table(self) -> JsonObject | None:
        """The destination as ``tables.get`` answers it, or None."""
        return self.look_up_table(self.job.destination)

    @cached_property
    def files(self) -> list[ParquetFile]:
        """Footers of all source files.

        Raises:
            ObjectMissing: a URI names nothing.
            NotParquet: an object is something else.
        """
        return self.objects.files(self.job.uris)

    @property
    def dataset_location(self) -> str:
        """Where the destination's dataset is; ``US`` when it does not say."""
        return str((self.dataset or {}).get("location") or "US")
