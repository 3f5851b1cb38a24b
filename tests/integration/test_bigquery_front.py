"""The strict front: each rule refuses, and refuses what local-bigquery alone lets pass."""

from __future__ import annotations

import datetime
import decimal
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.storage import Bucket

from local.bigquery import environment
from local.bigquery.front.facts import Strictness
from local.bigquery.front.rules import RULES
from local.bigquery.process import BigQueryProcess
from local.bigquery.stand_in import BigQueryStandIn
from tests.conftest import fresh_name

pytestmark = pytest.mark.stack

PROJECT = "etl-test"
LOCATION = "europe-west1"
REPOSITORY = Path(__file__).parents[2]
UTC = datetime.UTC
SchemaField = bigquery.SchemaField
LISTS = bigquery.ParquetOptions()  # type: ignore[no-untyped-call]
LISTS.enable_list_inference = True


def _client(url: str) -> Any:
    """The official client; Any, because its annotations do not know ``retry=None``."""
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return bigquery.Client(
        project=PROJECT, credentials=credentials, client_options=ClientOptions(api_endpoint=url)
    )


@dataclass
class Place:
    """One server with a dataset of its own."""

    client: Any
    dataset: str

    def load(
        self,
        uris: str | list[str],
        table: str,
        *,
        job_id: str | None = None,
        location: str | None = None,
        **config: Any,
    ) -> Any:
        job_config = bigquery.LoadJobConfig(source_format="PARQUET", **config)
        job = self.client.load_table_from_uri(
            uris,
            f"{self.dataset}.{table}",
            job_config=job_config,
            job_id=job_id,
            location=location,
            retry=None,
        )
        job.result(retry=None)
        return job

    def job(self, job_id: str, location: str | None = LOCATION) -> Any:
        return self.client.get_job(job_id, location=location)

    def table(self, name: str) -> Any:
        return self.client.get_table(f"{self.dataset}.{name}")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [
            tuple(row.values()) for row in self.client.query_and_wait(sql.replace("DS.", f"{self.dataset}."))
        ]


@pytest.fixture(scope="module")
def env_dir() -> Path:
    return environment.ensure(REPOSITORY / environment.environment_dir())


@pytest.fixture(scope="module")
def stand_in(
    env_dir: Path, gcs_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BigQueryStandIn]:
    server = BigQueryStandIn.start(tmp_path_factory.mktemp("front"), PROJECT, LOCATION, gcs_endpoint, env_dir)
    yield server
    server.stop()


@pytest.fixture
def front(stand_in: BigQueryStandIn) -> Iterator[Place]:
    stand_in.faults.clear()
    stand_in.faults.forget_requests()
    dataset = fresh_name("front")
    stand_in.create_dataset(dataset)
    yield Place(_client(stand_in.url), f"{PROJECT}.{dataset}")
    stand_in.faults.clear()


@pytest.fixture(scope="module")
def alone_process(
    env_dir: Path, gcs_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BigQueryProcess]:
    process = BigQueryProcess.start(
        env_dir=env_dir,
        data_dir=tmp_path_factory.mktemp("alone"),
        project=PROJECT,
        storage_endpoint=gcs_endpoint,
        corrected=False,
    )
    yield process
    process.stop()


@pytest.fixture
def alone(alone_process: BigQueryProcess) -> Place:
    """local-bigquery as it comes: no front, no corrections."""
    client = _client(alone_process.url)
    dataset = f"{PROJECT}.{fresh_name('alone')}"
    client.create_dataset(dataset)
    return Place(client, dataset)


@pytest.fixture
def put(gcs_bucket: Bucket) -> Callable[[pa.Table], str]:
    def upload(table: pa.Table, **options: Any) -> str:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, **options)
        name = fresh_name("shards/") + ".parquet"
        gcs_bucket.blob(name).upload_from_string(buffer.getvalue())
        return f"gs://{gcs_bucket.name}/{name}"

    return upload


IDS = [SchemaField("id", "INT64")]
SOME = pa.table({"id": [1, 2], "s": ["a", "b"]})
SOME_FIELDS = [SchemaField("id", "INT64"), SchemaField("s", "STRING")]


def days(first: int, count: int) -> pa.Table:
    """One row a day, counted from 1970."""
    return pa.table({"d": pa.array(range(first, first + count), pa.int32()).cast(pa.date32())})


def _existing(*fields: SchemaField, **attributes: Any) -> Callable[[Place, str], None]:
    def make(place: Place, name: str) -> None:
        table = bigquery.Table(f"{place.dataset}.{name}", schema=list(fields))
        for key, value in attributes.items():
            setattr(table, key, value)
        place.client.create_table(table, retry=None)

    return make


DAYS = [SchemaField("d", "DATE")]
BY_DAY = bigquery.TimePartitioning(field="d")


@dataclass
class Case:
    """A load that a rule refuses."""

    rule: str
    error: type[exceptions.GoogleAPICallError] = exceptions.BadRequest
    data: pa.Table | bytes = field(default_factory=lambda: SOME)
    config: dict[str, Any] = field(default_factory=dict)
    uris: Callable[[str], str | list[str]] = lambda uri: uri
    before: Callable[[Place, str], None] | None = None
    before_loads: list[pa.Table] = field(default_factory=list)
    job_id: str | None = None
    location: str | None = None
    passes_alone: bool | None = True
    """Whether local-bigquery alone accepts the load; None where that is not tried, with a comment."""


def _json_text() -> pa.Table:
    return pa.table({"j": ['{"a": 1}']})


CASES = [
    Case("job_id", job_id="bad.id", config={"schema": SOME_FIELDS}),
    Case("job_id", job_id="x" * 1025, config={"schema": SOME_FIELDS}),
    Case("labels", config={"schema": SOME_FIELDS, "labels": {"Bad Key": "x"}}),
    Case("labels", config={"schema": SOME_FIELDS, "labels": {"k": "Upper"}}),
    # Alone it would read the file 10,001 times over, for minutes.
    Case("too_many_uris", uris=lambda u: [u] * 10_001, config={"schema": SOME_FIELDS}, passes_alone=None),
    # Alone it fails too, later and by another message: local-bigquery tries to open a local file.
    Case(
        "not_gs",
        uris=lambda u: u.replace("gs://", "s3://"),
        config={"schema": SOME_FIELDS},
        passes_alone=False,
    ),
    # Alone it fails too: DuckDB lists the pattern, which matches nothing.
    Case("wildcard", uris=lambda u: f"{u}*x*", config={"schema": SOME_FIELDS}, passes_alone=False),
    Case("dataset_elsewhere", exceptions.NotFound, location="US", config={"schema": SOME_FIELDS}),
    # Alone it fails too: the same rule, which also refuses what the reference allows.
    Case(
        "schema_update_options",
        config={
            "schema": SOME_FIELDS,
            "write_disposition": "WRITE_TRUNCATE",
            "schema_update_options": ["ALLOW_FIELD_ADDITION"],
        },
        passes_alone=False,
    ),
    # Alone it fails too: for want of the object.
    Case("generation_in_uri", uris=lambda u: f"{u}#17", config={"schema": SOME_FIELDS}, passes_alone=False),
    # Alone it fails too, by the same words.
    Case(
        "partition_field",
        config={"schema": SOME_FIELDS, "time_partitioning": bigquery.TimePartitioning(field="nope")},
        passes_alone=False,
    ),
    Case(
        "partition_field",
        config={"schema": SOME_FIELDS, "time_partitioning": bigquery.TimePartitioning(field="s")},
    ),
    # Alone it fails too, by the same words.
    Case(
        "clustering_field", config={"schema": SOME_FIELDS, "clustering_fields": ["nope"]}, passes_alone=False
    ),
    Case(
        "clustering_field",
        data=pa.table({"f": [1.5]}),
        config={"schema": [SchemaField("f", "FLOAT64")], "clustering_fields": ["f"]},
    ),
    # Alone it fails too: appending knows this rule ...
    Case("schema_changes", before=_existing(*IDS), config={"schema": SOME_FIELDS}, passes_alone=False),
    # ... but truncating does not, nor does it know types and modes.
    Case(
        "schema_changes",
        before=_existing(*IDS),
        config={"schema": SOME_FIELDS, "write_disposition": "WRITE_TRUNCATE_DATA"},
    ),
    Case(
        "schema_changes",
        before=_existing(SchemaField("id", "STRING"), SchemaField("s", "STRING")),
        config={"schema": SOME_FIELDS},
    ),
    Case(
        "schema_changes",
        before=_existing(SchemaField("id", "INT64", "REQUIRED"), SchemaField("s", "STRING")),
        config={"schema": SOME_FIELDS},
    ),
    Case(
        "layout_changes",
        data=days(0, 3),
        before=_existing(*DAYS),
        config={"schema": DAYS, "time_partitioning": BY_DAY},
    ),
    Case("type_not_from_parquet", data=_json_text(), config={"schema": [SchemaField("j", "JSON")]}),
    # Alone it fails too: an INTERVAL cannot be read from this text.
    Case(
        "type_not_from_parquet",
        data=_json_text(),
        config={"schema": [SchemaField("j", "INTERVAL")]},
        passes_alone=False,
    ),
    # Alone it fails too: text does not become a range.
    Case(
        "type_not_from_parquet",
        data=_json_text(),
        config={"schema": [SchemaField("j", "RANGE", range_element_type="DATE")]},
        passes_alone=False,
    ),
    Case(
        "type_not_from_parquet",
        data=pa.table({"t": pa.array([1], pa.timestamp("us"))}),
        config={"schema": [SchemaField("t", "DATETIME")]},
    ),
    # Alone it fails too, as `invalid`.
    Case(
        "missing_uri",
        exceptions.NotFound,
        uris=lambda u: [u, f"{u}.none"],
        config={"schema": SOME_FIELDS},
        passes_alone=False,
    ),
    # Alone it fails too.
    Case("not_parquet", data=b"id,s\n1,a\n", config={"schema": SOME_FIELDS}, passes_alone=False),
    # Alone it takes minutes to make such a table.
    Case(
        "too_many_columns",
        data=pa.table({f"c{index}": pa.nulls(0, pa.int8()) for index in range(10_001)}),
        passes_alone=None,
    ),
    Case(
        "lists_without_inference",
        data=pa.table({"r": [[1, 2]]}),
        config={"schema": [SchemaField("r", "INT64", "REPEATED")]},
    ),
    Case(
        "nanoseconds",
        data=pa.table({"t": pa.array([1_000], pa.timestamp("ns", "UTC"))}),
        config={"schema": [SchemaField("t", "TIMESTAMP")]},
    ),
    Case(
        "uuid",
        data=pa.table({"u": pa.array([b"0123456789abcdef"], pa.uuid())}),
        config={"schema": [SchemaField("u", "STRING")]},
    ),
    Case("column_types", data=pa.table({"id": ["12"]}), config={"schema": IDS}),
    Case("column_types", data=pa.table({"f": [12]}), config={"schema": [SchemaField("f", "FLOAT64")]}),
    Case("column_types", data=pa.table({"s": [12]}), config={"schema": [SchemaField("s", "STRING")]}),
    Case(
        "column_types",
        data=pa.table({"b": [b"text"]}),
        config={"schema": [SchemaField("b", "STRING")]},
    ),
    Case(
        "column_types",
        data=pa.table({"st": pa.array([{"a": "1"}], pa.struct([("a", pa.string())]))}),
        config={"schema": [SchemaField("st", "RECORD", fields=[SchemaField("a", "INT64")])]},
    ),
    Case(
        "decimals",
        data=pa.table({"n": pa.array([decimal.Decimal("1.23456")], pa.decimal128(10, 5))}),
        config={"schema": [SchemaField("n", "NUMERIC", precision=10, scale=2)]},
    ),
    Case(
        "decimals",
        data=pa.table({"n": pa.array([decimal.Decimal("1.0123456789")], pa.decimal128(38, 10))}),
        config={"schema": [SchemaField("n", "NUMERIC")]},
    ),
    Case(
        "nulls_in_required",
        data=pa.table({"id": pa.array([1, None], pa.int64())}),
        config={"schema": [SchemaField("id", "INT64", "REQUIRED")]},
    ),
    # Alone it fails too, with words of DuckDB.
    Case(
        "nulls_in_required",
        data=pa.table({"other": [1]}),
        config={"schema": [SchemaField("id", "INT64", "REQUIRED")]},
        passes_alone=False,
    ),
    # Alone it fails too, by the same words; nested it passes.
    Case(
        "nulls_in_repeated",
        data=pa.table({"r": [[1, None], []]}),
        config={"schema": [SchemaField("r", "INT64", "REPEATED")], "parquet_options": LISTS},
        passes_alone=False,
    ),
    Case(
        "nulls_in_repeated",
        data=pa.table({"st": [{"r": [1, None]}]}),
        config={
            "schema": [SchemaField("st", "RECORD", fields=[SchemaField("r", "INT64", "REPEATED")])],
            "parquet_options": LISTS,
        },
    ),
    Case(
        "partitions_of_job",
        data=days(0, 4_001),
        config={"schema": DAYS, "time_partitioning": BY_DAY},
    ),
    Case(
        "partitions_of_table",
        data=days(9_000, 1_001),
        before_loads=[days(0, 3_000), days(3_000, 3_000), days(6_000, 3_000)],
        config={"schema": DAYS, "time_partitioning": BY_DAY},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_load_is_refused_by_its_rule(
    case: Case, front: Place, alone: Place, gcs_bucket: Bucket, put: Callable[..., str]
) -> None:
    if isinstance(case.data, bytes):
        gcs_bucket.blob("data").upload_from_string(case.data)
        uri = f"gs://{gcs_bucket.name}/data"
    else:
        uri = put(case.data)
    earlier = [put(data) for data in case.before_loads]

    def attempt(place: Place) -> Any:
        if case.before is not None:
            case.before(place, "t")
        for previous in earlier:
            place.load(previous, "t", **case.config)
        return place.load(case.uris(uri), "t", job_id=case.job_id, location=case.location, **case.config)

    with pytest.raises(case.error) as refused:
        attempt(front)
    rule = next(rule for rule in RULES if rule.name == case.rule)
    assert rule.reason in str(refused.value) or refused.value.errors[0]["reason"] == rule.reason
    assert refused.value.code == (rule.status or case.error.code)
    if case.before is None and not earlier:
        with pytest.raises(exceptions.NotFound):
            front.table("t")
    if case.passes_alone:
        attempt(alone)
    elif case.passes_alone is False:
        with pytest.raises(exceptions.GoogleAPICallError):
            attempt(alone)


def test_each_rule_has_a_case() -> None:
    # The three others need a request that the client library cannot make, or a bucket elsewhere: below.
    assert {rule.name for rule in RULES} - {case.rule for case in CASES} == {
        "destination",
        "bucket_elsewhere",
        "partition_decorator",
    }


def test_a_load_needs_a_destination(stand_in: BigQueryStandIn) -> None:
    body = {"configuration": {"load": {"sourceUris": ["gs://b/o"], "sourceFormat": "PARQUET"}}}
    answer = requests.post(f"{stand_in.url}/bigquery/v2/projects/{PROJECT}/jobs", json=body, timeout=30)
    assert answer.status_code == 400
    assert "destinationTable" in answer.json()["error"]["message"]


def test_a_partition_decorator_is_refused_because_alone_it_would_be_a_table_of_that_name(
    front: Place, alone: Place, put: Callable[..., str]
) -> None:
    uri = put(SOME)
    with pytest.raises(exceptions.BadRequest, match="one partition"):
        front.load(uri, "t$20240101", schema=SOME_FIELDS)
    assert alone.load(uri, "t$20240101", schema=SOME_FIELDS).output_rows == 2


def test_a_bucket_must_be_where_the_dataset_is(
    stand_in: BigQueryStandIn, front: Place, alone: Place, gcs_bucket: Bucket, put: Callable[..., str]
) -> None:
    uri = put(SOME)
    stand_in.faults.set_bucket_location(gcs_bucket.name, "US")
    with pytest.raises(exceptions.BadRequest, match="source: US, destination: europe-west1"):
        front.load(uri, "t", schema=SOME_FIELDS)
    assert alone.load(uri, "t", schema=SOME_FIELDS).output_rows == 2
    eu = f"{PROJECT}.{fresh_name('eu')}"
    stand_in.create_dataset(eu.split(".")[1], "EU")
    stand_in.faults.set_bucket_location(gcs_bucket.name, "europe-west4")
    job = Place(front.client, eu).load(uri, "t", schema=SOME_FIELDS)
    assert (job.output_rows, job.location) == (2, "EU")


def test_datetime_from_parquet_can_be_allowed(
    env_dir: Path, gcs_endpoint: str, tmp_path: Path, put: Callable[..., str]
) -> None:
    moments = [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)]
    uri = put(pa.table({"t": pa.array(moments, pa.timestamp("us"))}))
    server = BigQueryStandIn.start(
        tmp_path, PROJECT, LOCATION, gcs_endpoint, env_dir, strictness=Strictness(datetime_from_parquet=True)
    )
    try:
        server.create_dataset("d")
        place = Place(_client(server.url), f"{PROJECT}.d")
        place.load(uri, "t", schema=[SchemaField("t", "DATETIME")])
        assert place.rows("SELECT t FROM DS.t ORDER BY t") == [(moment,) for moment in moments]
    finally:
        server.stop()


class TestLoads:
    """What passes is exact, and tables are as the API reference says."""

    FIELDS = (
        SchemaField("id", "INT64", "REQUIRED", description="the key"),
        SchemaField("at", "TIMESTAMP"),
        SchemaField("raw", "BYTES"),
        SchemaField("n", "NUMERIC", precision=10, scale=2),
        SchemaField("big", "BIGNUMERIC"),
        SchemaField("tags", "STRING", "REPEATED"),
        SchemaField(
            "st", "RECORD", fields=[SchemaField("a", "INT64"), SchemaField("b", "FLOAT64", "REPEATED")]
        ),
    )

    def data(self) -> pa.Table:
        at = [
            datetime.datetime(1, 1, 1, tzinfo=UTC),
            datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            None,
        ]
        big = [decimal.Decimal("12345678901234567890.123456789012345678"), None, decimal.Decimal("-1e-18")]
        return pa.table(
            {
                "id": pa.array([1, 2, 3], pa.int64()),
                "at": pa.array(at, pa.timestamp("us", "UTC")),
                "raw": pa.array([b"\x00\xff", b"", None], pa.binary()),
                "n": pa.array(
                    [decimal.Decimal("12345678.90"), None, decimal.Decimal("-0.01")], pa.decimal128(10, 2)
                ),
                "big": pa.array(big, pa.decimal256(76, 38)),
                "tags": pa.array([["a", "b"], [], None], pa.list_(pa.string())),
                "st": pa.array(
                    [{"a": 1, "b": [-0.0, float("inf")]}, None, {"a": None, "b": []}],
                    pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))]),
                ),
            }
        )

    def test_values_schema_and_layout(self, front: Place, put: Callable[..., str]) -> None:
        job = front.load(
            put(self.data()),
            "t",
            job_id=fresh_name("etl"),
            schema=list(self.FIELDS),
            time_partitioning=bigquery.TimePartitioning(type_="MONTH", field="at"),
            clustering_fields=["id"],
            labels={"run": "r-1"},
            parquet_options=LISTS,
            decimal_target_types=["NUMERIC", "BIGNUMERIC"],
        )
        assert (job.output_rows, job.labels, job.location) == (3, {"run": "r-1"}, LOCATION)
        table = front.table("t")
        assert [(f.name, f.field_type, f.mode, f.description) for f in table.schema[:3]] == [
            ("id", "INTEGER", "REQUIRED", "the key"),
            ("at", "TIMESTAMP", "NULLABLE", None),
            ("raw", "BYTES", "NULLABLE", None),
        ]
        assert (table.schema[3].precision, table.schema[3].scale) == (10, 2)
        assert (table.num_rows, table.location, table.clustering_fields) == (3, LOCATION, ["id"])
        assert (table.time_partitioning.type_, table.time_partitioning.field) == ("MONTH", "at")
        expected = [tuple(row.values()) for row in self.data().to_pylist()]
        expected[2] = (*expected[2][:5], [], expected[2][6])  # a NULL array is an empty one
        assert front.rows("SELECT * FROM DS.t ORDER BY id") == expected

    def test_a_wide_decimal_that_the_stand_in_cannot_hold_fails_loudly(
        self, front: Place, alone: Place, put: Callable[..., str]
    ) -> None:
        value = decimal.Decimal("1.0000000000000000000000000000000000001")
        uri = put(pa.table({"b": pa.array([value], pa.decimal256(76, 38))}))
        fields = [SchemaField("b", "BIGNUMERIC")]
        with pytest.raises(exceptions.BadRequest, match="stand-in cannot store"):
            front.load(uri, "t", schema=fields)
        alone.load(uri, "t", schema=fields)
        assert alone.rows("SELECT b FROM DS.t") != [(value,)]

    def test_truncating_data_keeps_the_table_and_adds_only_what_is_allowed(
        self, front: Place, put: Callable[..., str]
    ) -> None:
        fields = [SchemaField("id", "INT64", "REQUIRED", description="the key"), SchemaField("s", "STRING")]
        first = front.load(
            put(SOME), "t", schema=fields, clustering_fields=["id"], write_disposition="WRITE_TRUNCATE_DATA"
        )
        assert first.output_rows == 2
        before = front.table("t")
        more = put(pa.table({"id": [7], "s": ["x"], "n": [5]}))
        grown = [*fields, SchemaField("n", "INT64", description="new")]
        with pytest.raises(exceptions.BadRequest, match="Cannot add fields"):
            front.load(more, "t", schema=grown, write_disposition="WRITE_TRUNCATE_DATA")
        front.load(
            more,
            "t",
            schema=grown,
            write_disposition="WRITE_TRUNCATE_DATA",
            schema_update_options=["ALLOW_FIELD_ADDITION"],
        )
        after = front.table("t")
        assert [(f.name, f.mode, f.description) for f in after.schema] == [
            ("id", "REQUIRED", "the key"),
            ("s", "NULLABLE", None),
            ("n", "NULLABLE", "new"),
        ]
        assert (after.num_rows, after.clustering_fields) == (1, ["id"])
        assert after.etag != before.etag
        assert front.rows("SELECT * FROM DS.t") == [(7, "x", 5)]

    def test_a_failed_truncation_leaves_rows_and_schema(self, front: Place, put: Callable[..., str]) -> None:
        # A value that local-bigquery itself refuses, after it has begun: the front cannot know it.
        good = pa.table({"id": [1], "g": ["POINT(1 2)"]})
        fields = [SchemaField("id", "INT64"), SchemaField("g", "GEOGRAPHY")]
        front.load(put(good), "t", schema=fields)
        bad = pa.table({"id": [2], "g": ["no geography"], "n": [1]})
        with pytest.raises(exceptions.BadRequest):
            front.load(
                put(bad),
                "t",
                schema=[*fields, SchemaField("n", "INT64")],
                write_disposition="WRITE_TRUNCATE_DATA",
                schema_update_options=["ALLOW_FIELD_ADDITION"],
            )
        assert [f.name for f in front.table("t").schema] == ["id", "g"]
        assert front.rows("SELECT id FROM DS.t") == [(1,)]

    def test_a_query_may_replace_the_table_that_it_reads(self, front: Place, put: Callable[..., str]) -> None:
        fields = [SchemaField("id", "INT64", "REQUIRED"), SchemaField("s", "STRING")]
        front.load(put(SOME), "t", schema=fields)
        config = bigquery.QueryJobConfig(
            destination=f"{front.dataset}.t", write_disposition="WRITE_TRUNCATE_DATA"
        )
        sql = f"SELECT id + 10 AS id, s FROM `{front.dataset}.t` WHERE id > 1"
        front.client.query(sql, job_config=config, retry=None, job_retry=None).result(retry=None)
        assert front.rows("SELECT * FROM DS.t") == [(12, "b")]
        assert front.table("t").schema[0].mode == "REQUIRED"

    def test_a_staging_table_without_schema_keeps_its_expiry(
        self, front: Place, put: Callable[..., str]
    ) -> None:
        table = bigquery.Table(f"{front.dataset}.t")
        table.expires = datetime.datetime.now(UTC) + datetime.timedelta(hours=1)
        expires = front.client.create_table(table, retry=None).expires
        front.load(put(SOME), "t", schema=SOME_FIELDS, write_disposition="WRITE_TRUNCATE")
        assert (front.table("t").expires, front.table("t").num_rows) == (expires, 2)

    def test_eight_jobs_at_once(self, front: Place, put: Callable[..., str]) -> None:
        uris = [put(pa.table({"id": range(i * 100, i * 100 + 100)})) for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: front.load(uris[i], f"own{i}", schema=IDS), range(8)))
            list(pool.map(lambda i: front.load(uris[i], "shared", schema=IDS), range(8)))
        assert front.rows("SELECT COUNT(*), COUNT(DISTINCT id) FROM DS.shared") == [(800, 800)]
        assert [front.table(f"own{i}").num_rows for i in range(8)] == [100] * 8


class TestJobs:
    """Job ids and locations, on which the commit protocol stands."""

    def test_an_id_is_used_once_also_by_a_failed_job(self, front: Place, put: Callable[..., str]) -> None:
        good, bad = put(SOME), put(pa.table({"id": ["text"], "s": ["a"]}))
        for uri, job_id in ((good, fresh_name("etl")), (bad, fresh_name("etl"))):
            try:
                front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)
            except exceptions.BadRequest:
                assert uri == bad
            with pytest.raises(exceptions.Conflict, match="Already Exists"):
                front.load(good, "t", job_id=job_id, schema=SOME_FIELDS)
        assert front.table("t").num_rows == 2

    def test_a_refused_request_does_not_use_its_id(self, front: Place, put: Callable[..., str]) -> None:
        uri, job_id = put(SOME), fresh_name("etl")
        with pytest.raises(exceptions.BadRequest):
            front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS, labels={"Bad": "x"})
        with pytest.raises(exceptions.NotFound):
            front.job(job_id)
        assert front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS).output_rows == 2

    def test_of_eight_at_once_with_one_id_one_runs(self, front: Place, put: Callable[..., str]) -> None:
        uri, job_id = put(SOME), fresh_name("etl")

        def submit(_: int) -> bool:
            try:
                front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)
            except exceptions.Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(submit, range(8))) == [False] * 7 + [True]
        assert front.table("t").num_rows == 2

    def test_outside_us_and_eu_a_job_is_found_only_with_its_location(
        self, front: Place, put: Callable[..., str]
    ) -> None:
        for uri in (put(SOME), put(pa.table({"id": ["text"], "s": ["a"]}))):
            job_id = fresh_name("etl")
            try:
                front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)
            except exceptions.BadRequest as error:
                assert "column 'id'" in str(error)
            for location in (None, "US"):
                with pytest.raises(exceptions.NotFound):
                    front.job(job_id, location)
            job = front.job(job_id)
            assert (job.state, job.location) == ("DONE", LOCATION)

    def test_in_a_multi_region_the_location_may_be_left_out(
        self, stand_in: BigQueryStandIn, front: Place, gcs_bucket: Bucket, put: Callable[..., str]
    ) -> None:
        dataset = fresh_name("eu")
        stand_in.create_dataset(dataset, "EU")
        stand_in.faults.set_bucket_location(gcs_bucket.name, "EU")
        job = Place(front.client, f"{PROJECT}.{dataset}").load(put(SOME), "t", schema=SOME_FIELDS)
        answer = requests.get(f"{stand_in.url}/bigquery/v2/projects/{PROJECT}/jobs/{job.job_id}", timeout=30)
        assert answer.json()["jobReference"]["location"] == "EU"

    def test_failed_ids_and_locations_outlive_the_front(
        self, env_dir: Path, gcs_endpoint: str, tmp_path: Path, put: Callable[..., str]
    ) -> None:
        good, bad = put(SOME), put(pa.table({"id": ["text"], "s": ["a"]}))
        server = BigQueryStandIn.start(tmp_path, PROJECT, LOCATION, gcs_endpoint, env_dir)
        try:
            server.create_dataset("d")
            place = Place(_client(server.url), f"{PROJECT}.d")
            place.load(good, "t", job_id="first", schema=SOME_FIELDS)
            with pytest.raises(exceptions.BadRequest):
                place.load(bad, "t", job_id="second", schema=SOME_FIELDS)
        finally:
            server.stop()
        server = BigQueryStandIn.start(tmp_path, PROJECT, LOCATION, gcs_endpoint, env_dir)
        try:
            place = Place(_client(server.url), f"{PROJECT}.d")
            assert place.job("first").output_rows == 2
            assert place.job("second").error_result["reason"] == "invalid"
            for job_id in ("first", "second"):
                with pytest.raises(exceptions.Conflict):
                    place.load(good, "t", job_id=job_id, schema=SOME_FIELDS)
            assert place.table("t").num_rows == 2
        finally:
            server.stop()

    def test_dml_counts_and_json_policies(self, front: Place, put: Callable[..., str]) -> None:
        front.load(put(pa.table({"id": [1, 2], "x": ['{"a": 1.10}', None]})), "staging", schema=[
            SchemaField("id", "INT64"), SchemaField("x", "STRING")])  # fmt: skip
        _existing(SchemaField("id", "INT64"), SchemaField("j", "JSON"))(front, "t")
        sql = (
            f"INSERT INTO `{front.dataset}.t` (id, j) "
            f"SELECT id, PARSE_JSON(x, wide_number_mode=>'exact') FROM `{front.dataset}.staging`"
        )
        job_id = fresh_name("etl")
        job = front.client.query(sql, job_id=job_id, location=LOCATION, retry=None, job_retry=None)
        job.result(retry=None)
        assert (job.num_dml_affected_rows, job.location) == (2, LOCATION)
        assert front.job(job_id).num_dml_affected_rows == 2
        assert front.rows("SELECT id, j FROM DS.t ORDER BY id") == [(1, {"a": 1.1}), (2, None)]


class TestFaults:
    """Faults strike where they are told to, and the log counts."""

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (409, exceptions.Conflict),
            (429, exceptions.TooManyRequests),
            (500, exceptions.InternalServerError),
            (503, exceptions.ServiceUnavailable),
        ],
    )
    def test_an_error_on_the_second_insertion(
        self,
        stand_in: BigQueryStandIn,
        front: Place,
        put: Callable[..., str],
        status: int,
        error: type[exceptions.GoogleAPICallError],
    ) -> None:
        uri, job_id = put(SOME), fresh_name("etl")
        stand_in.faults.inject("error", method="POST", path=r"/jobs(\?|$)", nth=2, status=status)
        front.load(uri, "t", schema=SOME_FIELDS)
        with pytest.raises(error):
            front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)
        with pytest.raises(exceptions.NotFound):
            front.job(job_id)
        front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)
        inserted = stand_in.faults.requests("POST", r"/jobs(\?|$)")
        assert [entry.status for entry in inserted] == [200, status, 200]
        assert inserted[1].job_id == job_id

    def test_a_lost_response_has_its_effect(
        self, stand_in: BigQueryStandIn, front: Place, put: Callable[..., str]
    ) -> None:
        uri, job_id = put(SOME), fresh_name("etl")
        stand_in.faults.inject("lost_response", method="POST", path="/jobs", job_id=job_id)
        with pytest.raises(requests.exceptions.ConnectionError):
            front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)
        job = front.job(job_id)
        job.result(retry=None)
        assert job.output_rows == 2
        with pytest.raises(exceptions.Conflict):
            front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)

    def test_a_slow_job_shows_its_state_after_so_many_polls(
        self, stand_in: BigQueryStandIn, front: Place, put: Callable[..., str]
    ) -> None:
        job_id = fresh_name("etl")
        stand_in.faults.inject("slow_job", polls=3, job_id=job_id)
        config = bigquery.LoadJobConfig(source_format="PARQUET", schema=SOME_FIELDS)
        job = front.client.load_table_from_uri(
            put(SOME), f"{front.dataset}.t", job_config=config, job_id=job_id
        )
        assert (job.state, job.output_rows) == ("RUNNING", None)
        states = [front.job(job_id).state for _ in range(4)]
        assert states[:3] == ["RUNNING"] * 3
        front.job(job_id).result(retry=None)
        assert front.job(job_id).output_rows == 2

    @pytest.mark.parametrize("reason", ["rateLimitExceeded", "backendError", "invalid"])
    def test_a_job_that_fails_as_told(
        self, stand_in: BigQueryStandIn, front: Place, put: Callable[..., str], reason: str
    ) -> None:
        uri, job_id = put(SOME), fresh_name("etl")
        stand_in.faults.inject("fail_job", job_id=job_id, reason=reason, message="as told")
        with pytest.raises(exceptions.GoogleAPICallError, match="as told"):
            front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS, labels={"run": "r"})
        job = front.job(job_id)
        assert (job.state, job.error_result["reason"], job.labels) == ("DONE", reason, {"run": "r"})
        with pytest.raises(exceptions.NotFound):
            front.table("t")
        with pytest.raises(exceptions.Conflict):
            front.load(uri, "t", job_id=job_id, schema=SOME_FIELDS)

    def test_a_fault_that_makes_no_sense_is_refused(self, stand_in: BigQueryStandIn) -> None:
        for fault in (
            {"action": "explode"},
            {"action": "error", "pth": "/"},
            {"action": "error", "path": "("},
        ):
            assert requests.post(f"{stand_in.url}/_faults", json=fault, timeout=30).status_code == 400
        assert requests.get(f"{stand_in.url}/_faults", timeout=30).json() == {"faults": []}
