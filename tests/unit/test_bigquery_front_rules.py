"""The front's pure parts: rules on names and values, the footer's words, faults, the page of rules."""

from __future__ import annotations

import datetime
import decimal
import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.convert.fields import BqField
from local.bigquery import environment
from local.bigquery.front import parquet, rules, rules_files, rules_request
from local.bigquery.front.faults import Fault, Faults
from local.bigquery.front.registry import JobRegistry

REPOSITORY = Path(__file__).parents[2]


def footer(table: pa.Table, **options: object) -> pq.FileMetaData:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return pq.read_metadata(buffer)


class TestNames:
    @given(st.text(alphabet="abzAZ019_-", min_size=1, max_size=1024))
    def test_job_ids_that_are_allowed(self, job_id: str) -> None:
        assert rules_request.job_id_problem(job_id) is None

    @pytest.mark.parametrize("job_id", ["", "a.b", "a b", "é", "a\n", "a:b", "x" * 1025])
    def test_job_ids_that_are_not(self, job_id: str) -> None:
        assert rules_request.job_id_problem(job_id) is not None

    @pytest.mark.parametrize(
        "labels",
        [
            {},
            {"run": ""},
            {"run": "r-1_2"},
            {"größe": "klein"},
            {"k" * 63: "v" * 63},
            {f"k{i}": "" for i in range(64)},
        ],
    )
    def test_labels_that_are_allowed(self, labels: dict[str, str]) -> None:
        assert rules_request.labels_problem(labels) is None

    @pytest.mark.parametrize(
        "labels",
        [
            {"": "v"},
            {"1a": "v"},
            {"_a": "v"},
            {"Run": "v"},
            {"run": "V"},
            {"run": "a.b"},
            {"k" * 64: "v"},
            {"k": "v" * 64},
            {"k": 1},
            {f"k{i}": "" for i in range(65)},
            ["a"],
        ],
    )
    def test_labels_that_are_not(self, labels: object) -> None:
        assert rules_request.labels_problem(labels) is not None

    @pytest.mark.parametrize(
        ("dataset", "bucket", "inside"),
        [
            ("EU", "eu", True),
            ("EU", "EUROPE-WEST1", True),
            ("EU", "europe-west2", False),
            ("EU", "EUROPE-WEST6", False),
            ("US", "US-CENTRAL1", True),
            ("US", "EU", False),
            ("us-east4", "US", False),
            ("europe-west1", "EU", False),
            ("europe-west1", "EUROPE-WEST1", True),
        ],
    )
    def test_locations(self, dataset: str, bucket: str, inside: bool) -> None:
        assert rules_request.contains(dataset, bucket) is inside


class TestFooters:
    @pytest.mark.parametrize(
        ("array", "kind"),
        [
            (pa.array([1], pa.int8()), "INTEGER"),
            (pa.array([1], pa.uint64()), "INTEGER"),
            (pa.array([1], pa.date32()), "DATE"),
            (pa.array([1], pa.time64("us")), "TIME"),
            (pa.array([1], pa.timestamp("ms")), "TIMESTAMP"),
            (pa.array([1.0], pa.float32()), "FLOAT"),
            (pa.array([b"x"], pa.binary(1)), "BYTES"),
            (pa.array(["x"]).dictionary_encode(), "STRING"),
            (pa.array([decimal.Decimal(1)], pa.decimal256(76, 38)), "DECIMAL"),
            (pa.array([True]), "BOOLEAN"),
            (pa.array([b"0123456789abcdef"], pa.uuid()), "UUID"),
            (pa.array([None], pa.null()), "INTEGER"),
        ],
    )
    def test_kinds(self, array: pa.Array, kind: str) -> None:
        assert parquet.kind(footer(pa.table({"c": array})).schema.column(0)) == kind

    def test_lists_are_unwrapped_to_their_elements(self) -> None:
        table = pa.table({"A": [[{"b": [1]}]], "plain": [1]})
        fields = (
            BqField("a", "STRUCT", "REPEATED", (BqField("b", "INT64", "REPEATED"),)),
            BqField("PLAIN", "INT64"),
            BqField("missing", "INT64"),
        )
        found = {f.name: n.path for f, n in parquet.pairs(fields, parquet.tree(footer(table)))}
        assert found == {"a": "A.list.element", "b": "A.list.element.b.list.element", "PLAIN": "plain"}

    def test_null_counts_need_statistics(self) -> None:
        table = pa.table({"c": pa.array([1, None, None])})
        assert parquet.null_count(footer(table, row_group_size=1), 0) == 2
        assert parquet.null_count(footer(table, write_statistics=False), 0) is None

    @given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.integers(1, 5))
    def test_the_extent_is_over_all_row_groups(self, values: list[int], size: int) -> None:
        metadata = footer(pa.table({"c": pa.array(values, pa.int64())}), row_group_size=size)
        assert parquet.extent(metadata, 0) == (min(values), max(values))

    @pytest.mark.parametrize(
        ("array", "found"),
        [
            (pa.array([[1], [], None]), False),
            (pa.array([[1, None]]), True),
            (pa.array([{"r": [1]}, None]), False),
            (pa.array([{"r": [None]}], pa.struct([("r", pa.list_(pa.int64()))])), True),
            (pa.array([[{"r": [1, None]}]]), True),
            (pa.array([[[1, None]]]), True),
        ],
    )
    def test_null_elements_at_any_depth(self, array: pa.Array, found: bool) -> None:
        assert rules_files.has_null_element(pa.chunked_array([array])) is found


class TestPartitions:
    @given(
        st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)),
        st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)),
        st.sampled_from(["HOUR", "DAY", "MONTH", "YEAR"]),
    )
    def test_two_moments_share_a_partition_when_their_truncations_are_equal(
        self, one: datetime.datetime, other: datetime.datetime, unit: str
    ) -> None:
        parts = {"YEAR": 1, "MONTH": 2, "DAY": 3, "HOUR": 4}[unit]
        epoch = datetime.datetime(1970, 1, 1)

        def index(moment: datetime.datetime) -> int:
            micros = (moment - epoch) // datetime.timedelta(microseconds=1)
            return rules_files._index(micros, 1_000_000, unit)

        same = one.timetuple()[:parts] == other.timetuple()[:parts]
        assert (index(one) == index(other)) is same

    def test_days_and_microseconds_count_alike(self) -> None:
        assert rules_files._index(-1, 0, "DAY") == rules_files._index(-1, 1_000_000, "DAY") == -1


@pytest.mark.parametrize(
    ("field", "room"),
    [
        (BqField("n", "NUMERIC"), (29, 9)),
        (BqField("n", "BIGNUMERIC"), (38, 38)),
        (BqField("n", "NUMERIC", precision=10, scale=2), (8, 2)),
        (BqField("n", "NUMERIC", precision=10), (10, 0)),
    ],
)
def test_digits_that_a_decimal_type_holds(field: BqField, room: tuple[int, int]) -> None:
    assert rules_files.decimal_room(field) == room


class TestFaults:
    def test_the_nth_match_and_the_times_after_it(self) -> None:
        faults = Faults()
        faults.add(Fault("error", method="POST", path="/jobs", nth=2, times=2))
        struck = [faults.strike("POST", "/p/jobs", None) is not None for _ in range(5)]
        assert struck == [False, True, True, False, False]

    def test_other_requests_are_not_counted(self) -> None:
        faults = Faults()
        faults.add(Fault("error", method="POST", path="/jobs", job_id="^a$"))
        assert faults.strike("GET", "/jobs", "a") is None
        assert faults.strike("POST", "/tables", "a") is None
        assert faults.strike("POST", "/jobs", "ab") is None
        assert faults.strike("POST", "/jobs", None) is None
        assert faults.strike("POST", "/jobs", "a") is not None

    def test_the_first_of_two_faults_strikes_and_both_count(self) -> None:
        faults = Faults()
        faults.add(Fault("error", status=500))
        faults.add(Fault("error", status=429, times=2))
        statuses = [
            fault.status if fault else None for fault in (faults.strike("GET", "/", None) for _ in range(3))
        ]
        assert statuses == [500, 429, None]

    def test_only_polls_count_down_a_slow_job(self) -> None:
        faults = Faults()
        faults.slow_down("p", "j", Fault("slow_job", polls=1))
        asked = [faults.is_slow("p", "j", poll=poll) for poll in (False, False, True, True)]
        assert asked == [True, True, True, False]

    def test_default_reasons(self) -> None:
        assert Fault("error", status=429).error_reason == "rateLimitExceeded"
        assert Fault("error").error_reason == "backendError"
        assert Fault("fail_job", reason="invalid").error_reason == "invalid"


def test_the_registry_burns_failed_ids_and_keeps_locations(tmp_path: Path) -> None:
    registry = JobRegistry(tmp_path / "jobs.sqlite")
    assert registry.claim("p", "a", "EU")
    assert registry.claim("p", "a", "EU")  # local-bigquery decides whether this one exists
    assert registry.fail("p", "b", "EU", {"id": "b"})
    assert not registry.fail("p", "b", "EU", {"id": "other"})
    assert not registry.claim("p", "b", "EU")
    registry.close()
    again = JobRegistry(tmp_path / "jobs.sqlite")
    assert (again.location("p", "a"), again.failed("p", "a")) == ("EU", None)
    assert again.failed("p", "b") == {"id": "b"}
    assert again.location("q", "a") is None
    again.close()


class TestEnvironment:
    def test_a_python_that_does_not_run_is_passed_over(self, tmp_path: Path) -> None:
        shim = tmp_path / "python3.13"
        shim.write_text("#!/bin/sh\nexit 127\n")
        shim.chmod(0o755)
        with pytest.raises(
            environment.EnvironmentUnavailable, match=r"needs Python 3\.13 and none was found"
        ):
            environment.find_python(
                {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
            )

    def test_pyenv_versions_are_found(self, tmp_path: Path) -> None:
        folder = tmp_path / "versions" / "3.13.9" / "bin"
        folder.mkdir(parents=True)
        python = folder / "python"
        python.write_text("#!/bin/sh\necho 3 13\n")
        python.chmod(0o755)
        assert environment.find_python({"PATH": "", "PYENV_ROOT": str(tmp_path)}) == python

    def test_an_environment_of_other_requirements_is_not_ready(self, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "local-bigquery").touch()
        (tmp_path / "ready").write_text("another fingerprint")
        assert not environment.is_ready(tmp_path)

    def test_every_requirement_has_one_version(self) -> None:
        lines = [
            line for line in environment.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")
        ]
        assert all(line.count("==") == 1 for line in lines)
        assert "local-bigquery==0.3.2" in lines


def test_the_page_shows_the_rules_as_they_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.bigquery.front.rules", "--markdown"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"},
    )
    assert done.stdout == rules.markdown()
    assert done.stdout in (REPOSITORY / "docs" / "local-stack-bigquery.md").read_text(), (
        "docs/local-stack-bigquery.md is out of date: paste `python -m local.bigquery.front.rules --markdown`"
    )


def test_every_rule_names_itself_and_its_page() -> None:
    names = [rule.name for rule in rules.RULES]
    assert len(set(names)) == len(names)
    for rule in rules.RULES:
        assert rule.summary
        assert rule.page[0]
        assert (
            rule.page[1].startswith("https://cloud.google.com/bigquery/docs/") or rule.page == rules.STAND_IN
        )
