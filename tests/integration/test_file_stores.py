"""One contract for the buckets of three clouds, against a server of each that checks credentials."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from google.cloud import storage

from etl_runner.config.connections import AzureConnection, BucketConnection, GcsConnection, S3Connection
from etl_runner.config.secrets import EnvFileResolver
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.sources.files.store import FileReplaced, FileStore
from etl_runner.sources.files.stores import azure, gcs, open_store, s3
from local.azure import ACCOUNT, AzureServer
from local.cloud_storage import CloudStorageServer
from local.s3 import S3Server

pytestmark = pytest.mark.stack

NAMES = ("a b.csv", "in/data_1.csv", "in/data_2.csv", "in/other", "per%41cent", "plus+#?&=*", "ü/😀.csv")
MODELS: dict[str, type[BucketConnection]] = {
    "gcs": GcsConnection,
    "s3": S3Connection,
    "azure": AzureConnection,
}


@dataclass
class Bucket:
    """An empty bucket of one cloud."""

    store: FileStore
    put: Callable[[str, bytes], Any]
    delete: Callable[[str], Any]
    scheme: str
    name: str


def _store(document: dict[str, Any], endpoint: str | None = None) -> FileStore:
    connection = MODELS[document["source_type"]].model_validate(document)
    return open_store(connection, EnvFileResolver({}), storage_endpoint=endpoint)


@pytest.fixture(params=["gcs", "s3", "azure"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    if request.param == "gcs":
        google: storage.Bucket = request.getfixturevalue("gcs_bucket")
        server: CloudStorageServer = request.getfixturevalue("gcs_server")
        document = {"source_type": "gcs", "bucket": google.name, "use_runner_account": True}
        return Bucket(
            _store(document, server.endpoint),
            lambda name, data: google.blob(name).upload_from_string(data),
            lambda name: google.blob(name).delete(),
            "gs",
            google.name,
        )
    if request.param == "s3":
        amazon: S3Server = request.getfixturevalue("s3_server")
        name: str = request.getfixturevalue("s3_bucket")
        return Bucket(
            _store(amazon.document(name)),
            lambda key, data: amazon.put(name, key, data),
            lambda key: amazon.client().delete_object(Bucket=name, Key=key),
            "s3",
            name,
        )
    microsoft: AzureServer = request.getfixturevalue("azure_server")
    container: str = request.getfixturevalue("azure_container")
    return Bucket(
        _store(microsoft.document(container)),
        lambda key, data: microsoft.put(container, key, data),
        lambda key: microsoft.client().get_blob_client(container, key).delete_blob(),
        "az",
        container,
    )


def test_listed_looked_at_and_read_are_the_same(bucket: Bucket) -> None:
    for name in NAMES:
        bucket.put(name, name.encode())
    files = list(bucket.store.list(""))
    assert [file.name for file in files] == sorted(NAMES)
    for file in files:
        assert file.uri == f"{bucket.scheme}://{bucket.name}/{file.name}"
        assert file.size == len(file.name.encode())
        assert '"' not in file.version
        assert len(file.modified) == len("2026-11-24T17:31:55.792938Z")
        found = bucket.store.head(file.name)
        assert found is not None
        assert found.key == file.key
        with bucket.store.open(file) as stream:
            assert stream.read() == file.name.encode()
    assert bucket.store.head("nothing/here") is None
    assert bucket.store.head("in/data_") is None


def test_a_listing_of_many_pages_is_whole_and_in_order(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cloud in (gcs, s3, azure):
        monkeypatch.setattr(cloud, "PAGE", 2)
    for name in NAMES:
        bucket.put(name, b"x")
    assert [file.name for file in bucket.store.list("")] == sorted(NAMES)
    start, *later = sorted(NAMES)[1:]
    assert [file.name for file in bucket.store.list("", start) if file.name > start] == later


def test_a_prefix_is_the_beginning_of_a_name_and_no_folder(bucket: Bucket) -> None:
    for name in NAMES:
        bucket.put(name, b"x")
    assert [file.name for file in bucket.store.list("in/data_")] == ["in/data_1.csv", "in/data_2.csv"]
    assert list(bucket.store.list("in/data_3")) == []


def test_a_large_file_is_read_and_sought_in(bucket: Bucket) -> None:
    data = os.urandom(20 << 20)
    bucket.put("big", data)
    (file,) = bucket.store.list("")
    with bucket.store.open(file, 5) as stream:
        assert stream.tell() == 5
        assert stream.read() == data[5:]
        stream.seek(-7, os.SEEK_END)
        assert stream.read() == data[-7:]
        stream.seek(1 << 20)
        assert stream.read(3 << 20) == data[1 << 20 : 4 << 20]


def test_a_file_replaced_while_it_is_read_is_noticed(bucket: Bucket) -> None:
    data = os.urandom(40 << 20)
    bucket.put("big", data)
    (file,) = bucket.store.list("")
    with bucket.store.open(file) as stream:
        assert stream.read(100) == data[:100]
        bucket.put("big", data[:-1] + b"x")
        with pytest.raises(FileReplaced, match=file.uri):
            stream.read()


@pytest.mark.parametrize("content", [b"", b"content"], ids=["empty", "full"])
def test_a_file_replaced_or_deleted_before_it_is_read_is_noticed(bucket: Bucket, content: bytes) -> None:
    bucket.put("f", content)
    (file,) = bucket.store.list("")
    bucket.put("f", b"another")
    with pytest.raises(FileReplaced), bucket.store.open(file) as stream:
        stream.read()
    bucket.delete("f")
    with pytest.raises(FileReplaced), bucket.store.open(file) as stream:
        stream.read()


def test_a_check_says_what_it_saw(bucket: Bucket) -> None:
    assert "there is no object" in bucket.store.check()
    bucket.put("in/a.csv", b"1\n")
    assert "can be listed and read; the first object is in/a.csv (2 bytes)" in bucket.store.check()


def _refusal(document: dict[str, Any], endpoint: str | None = None) -> str:
    """The sentence, which is one line and holds no credential."""
    with pytest.raises((PermanentError, RetryableError)) as caught:
        _store(document, endpoint).check()
    sentence = str(caught.value)
    secrets = [
        document.get(name) for name in ("secret_access_key", "session_token", "account_key", "sas_token")
    ]
    assert not any(secret in sentence for secret in secrets if secret)
    assert "\n" not in sentence
    assert caught.value.__cause__ is None
    return sentence


def test_s3_says_what_is_wrong(s3_server: S3Server, s3_bucket: str) -> None:
    s3_server.put(s3_bucket, "f", b"1")
    good = s3_server.document(s3_bucket)
    lister, lister_secret = s3_server.create_key("s3:ListBucket")
    reader, reader_secret = s3_server.create_key("s3:GetObject")
    assert "no such bucket" in _refusal({**good, "bucket": "no-such-bucket"})
    assert "check secret_access_key" in _refusal({**good, "secret_access_key": "wrong+secret"})
    assert "check access_key_id" in _refusal({**good, "access_key_id": "AKIAUNKNOWN"})
    assert "check session_token" in _refusal({**good, "session_token": "wrong+token"})
    only_lists = {**good, "access_key_id": lister, "secret_access_key": lister_secret}
    assert "the key needs s3:GetObject" in _refusal(only_lists)
    only_reads = {**good, "access_key_id": reader, "secret_access_key": reader_secret}
    assert "the key needs s3:ListBucket" in _refusal(only_reads)
    assert "connection was refused" in _refusal({**good, "endpoint": "http://127.0.0.1:1"})
    assert "cannot be resolved" in _refusal({**good, "endpoint": "http://no-such-host.invalid"})
    assert "endpoint or region is not valid" in _refusal({**good, "endpoint": "nonsense"})


def test_azure_takes_each_way_to_sign_in(azure_server: AzureServer, azure_container: str) -> None:
    azure_server.put(azure_container, "f", b"1")
    plain = {"source_type": "azure", "bucket": azure_container}
    account = {**plain, "account_name": ACCOUNT, "endpoint": azure_server.endpoint}
    sas = azure_server.sas_token(azure_container)
    for document in (
        {**account, "account_key": azure_server.account_key},
        {**account, "sas_token": sas},
        {**account, "sas_token": f"?{sas}"},
        {**plain, "connection_string": azure_server.connection_string},
    ):
        assert "can be listed and read" in _store(document).check()
    azure_server.create_container(f"{azure_container}-public", public=True)
    public = {**account, "bucket": f"{azure_container}-public", "anonymous": True}
    assert "can be listed" in _store(public).check()


def test_azure_says_what_is_wrong(azure_server: AzureServer, azure_container: str) -> None:
    azure_server.put(azure_container, "f", b"1")
    good = azure_server.document(azure_container)
    anonymous = {key: value for key, value in good.items() if key != "account_key"}
    writes = {**anonymous, "sas_token": azure_server.sas_token(azure_container, "w")}
    lists = {**anonymous, "sas_token": azure_server.sas_token(azure_container, "l")}
    assert "no such container" in _refusal({**good, "bucket": "no-such-container"})
    assert "access was denied" in _refusal({**good, "account_key": "d3Jvbmc="})
    assert "is not a storage account's key" in _refusal({**good, "account_key": "wrong!"})
    assert "permission is missing" in _refusal(writes)
    assert "while reading f: a permission is missing" in _refusal(lists)
    assert "access was denied" in _refusal({**anonymous, "anonymous": True})
    assert "connection was refused" in _refusal({**good, "endpoint": f"http://127.0.0.1:1/{ACCOUNT}"})
    assert "cannot be resolved" in _refusal({**good, "endpoint": "http://no-such-host.invalid"})
    string = {"source_type": "azure", "bucket": azure_container, "connection_string": "nonsense"}
    assert "is not a storage account's connection string" in _refusal(string)


def test_gcs_says_what_is_wrong(gcs_server: CloudStorageServer) -> None:
    document = {"source_type": "gcs", "bucket": "no-such-bucket", "use_runner_account": True}
    assert "no such bucket" in _refusal(document, gcs_server.endpoint)
    assert "connection was refused" in _refusal(document, "http://127.0.0.1:1")
    assert "cannot be resolved" in _refusal(document, "http://no-such-host.invalid")


def test_the_runners_own_surroundings_are_never_used(
    s3_server: S3Server, s3_bucket: str, azure_server: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What works for somebody with the runner's environment does not for a connection's other key, and a
    connection's good key is not spoilt by it."""
    good = s3_server.document(s3_bucket)
    azure_server.create_container("surroundings")
    document = azure_server.document("surroundings")
    ambient = {
        "AWS_ACCESS_KEY_ID": good["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": good["secret_access_key"],
        "AZURE_STORAGE_CONNECTION_STRING": azure_server.connection_string,
        "AZURE_STORAGE_ACCOUNT_KEY": azure_server.account_key,
        "AZURE_STORAGE_KEY": azure_server.account_key,
    }
    for name, value in ambient.items():
        monkeypatch.setenv(name, value)
    powerless, secret = s3_server.create_key("s3:ListAllMyBuckets")
    assert "the key needs s3:ListBucket" in _refusal(
        {**good, "access_key_id": powerless, "secret_access_key": secret}
    )
    without = {key: value for key, value in document.items() if key != "account_key"}
    assert "access was denied" in _refusal({**without, "anonymous": True})
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, "somebody-elses")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert "can be listed" in _store(good).check()
