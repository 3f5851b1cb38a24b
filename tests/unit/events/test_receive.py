"""Requests in the clouds' own shapes: what they say, and who is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etl_runner.config.secrets import SecretValue
from etl_runner.errors import ConfigError, EtlError, ForbiddenCall, RefusedCall, RetryableError
from etl_runner.events.object_event import ObjectEvent
from etl_runner.events.receive import Incoming, Received, Receiver
from etl_runner.events.settings import GOOGLE_KEYS_URL, EventSettings

from . import messages, signing

AUDIENCE = "https://file-arrival.example.run.app"
CALLER = "pusher@my-project.iam.gserviceaccount.com"
KEY = "shared-secret-1"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
ENTRA_KEYS = f"https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys"
SETTINGS = EventSettings(
    audiences=(AUDIENCE,),
    callers=(CALLER,),
    sns_topics=(messages.TOPIC,),
    keys=(SecretValue("older-secret"), SecretValue(KEY)),
    entra_tenant=TENANT,
    entra_audience="api://etl",
)
GCS_EVENT = ObjectEvent(
    "gcs", "sample-bucket", "folder/Test.cs", "1587627537231057", 352, "2020-04-23T07:38:57.230000+00:00", ""
)


@pytest.fixture
def web() -> signing.Web:
    return signing.Web(
        {
            GOOGLE_KEYS_URL: signing.key_set("google"),
            ENTRA_KEYS: signing.key_set("entra"),
            messages.CERTIFICATE_URL: signing.certificate(),
            messages.sns_confirmation()["SubscribeURL"]: b"<ConfirmSubscriptionResponse/>",
        }
    )


class Desk:
    """A receiver at a fixed time."""

    def __init__(self, web: signing.Web, settings: EventSettings = SETTINGS) -> None:
        self.web = web
        self.receiver = Receiver(settings, web.fetch, lambda: signing.NOW.timestamp())

    def post(self, body: Any, headers: dict[str, str] | None = None, **query: str) -> Received:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.receiver.receive(Incoming("POST", headers or {}, query, data))

    def sns(self, message: dict[str, Any]) -> Received:
        return self.post(message, {"x-amz-sns-message-type": message["Type"]})


@pytest.fixture
def desk(web: signing.Web) -> Desk:
    return Desk(web)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(signing.NOW.timestamp())
    return {
        "aud": AUDIENCE,
        "azp": "113774264463038321964",
        "email": CALLER,
        "email_verified": True,
        "exp": now + 3000,
        "iat": now - 600,
        "iss": "https://accounts.google.com",
        "sub": "113774264463038321964",
        **changes,
    }


def bearer(**changes: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {signing.token(claims(**changes))}"}


def one(received: Received) -> ObjectEvent:
    (event,) = received.events
    return event


def without_id(event: ObjectEvent) -> ObjectEvent:
    return ObjectEvent(**{**vars(event), "event_id": ""})


class TestCloudStorage:
    def test_eventarc_binary(self, desk: Desk) -> None:
        received = desk.post(messages.GCS_OBJECT, {**messages.GCS_ATTRIBUTES, **bearer()})
        assert one(received).event_id == "1096434104173400"
        assert without_id(one(received)) == GCS_EVENT
        assert one(received).uri == "gs://sample-bucket/folder/Test.cs"
        assert received.patient

    def test_eventarc_structured_alone_and_in_a_batch(self, desk: Desk) -> None:
        document = messages.structured(messages.GCS_ATTRIBUTES, messages.GCS_OBJECT)
        assert without_id(one(desk.post(document, bearer()))) == GCS_EVENT
        assert len(desk.post([document, document], bearer()).events) == 2

    def test_pubsub_push(self, desk: Desk) -> None:
        received = desk.post(messages.pubsub_push(), bearer())
        assert one(received).event_id == "2070443601311540"
        assert without_id(one(received)) == GCS_EVENT

    def test_pubsub_message_inside_an_eventarc_event(self, desk: Desk) -> None:
        headers = {"ce-type": "google.cloud.pubsub.topic.v1.messagePublished", "ce-id": "1", **bearer()}
        assert without_id(one(desk.post(messages.pubsub_push(), headers))) == GCS_EVENT

    def test_deletions_and_metadata_are_no_arrivals(self, desk: Desk) -> None:
        assert desk.post(messages.pubsub_push("OBJECT_DELETE"), bearer()).events == ()
        deleted = {**messages.GCS_ATTRIBUTES, "ce-type": "google.cloud.storage.object.v1.deleted"}
        assert desk.post(messages.GCS_OBJECT, {**deleted, **bearer()}).events == ()

    def test_a_wake_up_names_its_source(self, desk: Desk) -> None:
        envelope = {"message": {"attributes": {"ce-type": "etl-runner.source.wake", "ce-subject": "sales"}}}
        assert desk.post(envelope, bearer()).wake == ("sales",)

    @pytest.mark.parametrize(
        ("header", "refusal"),
        [
            ({}, RefusedCall),
            ({"authorization": "Basic abc"}, RefusedCall),
            ({"authorization": "Bearer not-a-token"}, RefusedCall),
            (bearer(aud="https://somebody.else"), RefusedCall),
            (bearer(exp=int(signing.NOW.timestamp()) - 61), RefusedCall),
            (bearer(exp=None), RefusedCall),
            (bearer(iat=int(signing.NOW.timestamp()) + 600), RefusedCall),
            (bearer(iss="https://evil.example"), RefusedCall),
            (bearer(email="somebody@else.iam.gserviceaccount.com"), ForbiddenCall),
            (bearer(email_verified=False), ForbiddenCall),
            (
                {"authorization": f"Bearer {signing.token(claims(), signed_by='forger', kid='google')}"},
                RefusedCall,
            ),
            ({"authorization": f"Bearer {signing.token(claims(), signed_by='forger')}"}, RefusedCall),
            ({"authorization": f"Bearer {signing.token(claims(), alg='none')}"}, RefusedCall),
            ({"authorization": f"Bearer {signing.token(claims(), alg='HS256')}"}, RefusedCall),
        ],
    )
    def test_tokens_that_prove_nothing_are_refused(
        self, desk: Desk, header: dict[str, str], refusal: type[EtlError]
    ) -> None:
        with pytest.raises(refusal) as error:
            desk.post(messages.pubsub_push(), header)
        assert type(error.value) is refusal
        assert "eyJ" not in str(error.value)

    def test_keys_are_fetched_once_and_new_ones_found(self, desk: Desk, web: signing.Web) -> None:
        for _ in range(3):
            desk.post(messages.pubsub_push(), bearer())
        assert web.asked == [GOOGLE_KEYS_URL]

    def test_keys_that_cannot_be_read_are_no_verdict(self, desk: Desk, web: signing.Web) -> None:
        web.pages.clear()
        with pytest.raises(RetryableError):
            desk.post(messages.pubsub_push(), bearer())

    def test_a_private_function_leaves_tokens_to_the_platform(self, web: signing.Web) -> None:
        assert one(Desk(web, EventSettings()).post(messages.pubsub_push())).bucket == "sample-bucket"

    def test_a_public_function_without_audience_refuses_google_events(self, web: signing.Web) -> None:
        desk = Desk(web, EventSettings(keys=(SecretValue(KEY),)))
        with pytest.raises(RefusedCall, match="ETL_EVENT_AUDIENCES"):
            desk.post(messages.pubsub_push())


class TestSns:
    @pytest.mark.parametrize("version", ["1", "2"])
    def test_a_signed_notification(self, desk: Desk, version: str) -> None:
        document = {"Records": [messages.s3_record(), messages.s3_record(name="ObjectRemoved:Delete")]}
        message = signing.sign_sns(messages.sns_notification(document, SignatureVersion=version))
        received = desk.sns(message)
        assert one(received) == ObjectEvent(
            "s3",
            "amzn-s3-demo-bucket",
            "Happy Face+é.jpg",
            "d41d8cd98f00b204e9800998ecf8427e",
            1024,
            "2026-05-04T11:59:00.000000+00:00",
            "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324-0",
        )
        assert not received.patient

    def test_without_a_subject(self, desk: Desk) -> None:
        message = messages.sns_notification({"Records": [messages.s3_record()]})
        del message["Subject"]
        assert desk.sns(signing.sign_sns(message)).events

    def test_the_test_event_is_no_arrival(self, desk: Desk) -> None:
        assert desk.sns(signing.sign_sns(messages.sns_notification(messages.S3_TEST))).events == ()

    def test_the_certificate_is_fetched_once(self, desk: Desk, web: signing.Web) -> None:
        message = signing.sign_sns(messages.sns_notification(messages.S3_TEST))
        desk.sns(message)
        desk.sns(message)
        assert web.asked == [messages.CERTIFICATE_URL]

    def test_a_subscription_to_an_allowed_topic_is_confirmed(self, desk: Desk, web: signing.Web) -> None:
        desk.sns(signing.sign_sns(messages.sns_confirmation()))
        assert web.asked[-1] == messages.sns_confirmation()["SubscribeURL"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"TopicArn": "arn:aws:sns:us-west-2:999999999999:Evil"},
            {"SubscribeURL": "https://evil.example/?Action=ConfirmSubscription"},
            {"SubscribeURL": "http://sns.us-west-2.amazonaws.com/"},
        ],
    )
    def test_other_subscriptions_are_not(self, desk: Desk, web: signing.Web, fields: dict[str, str]) -> None:
        with pytest.raises(ForbiddenCall):
            desk.sns(signing.sign_sns(messages.sns_confirmation(**fields)))
        assert web.asked in ([], [messages.CERTIFICATE_URL])

    @pytest.mark.parametrize("field", ["Message", "MessageId", "Subject", "Timestamp"])
    def test_any_signed_field_that_was_changed_is_noticed(self, desk: Desk, field: str) -> None:
        message = signing.sign_sns(messages.sns_notification({"Records": [messages.s3_record()]}))
        message[field] += " "
        with pytest.raises(ForbiddenCall, match="signature"):
            desk.sns(message)

    def test_a_signature_by_another_key(self, desk: Desk) -> None:
        with pytest.raises(ForbiddenCall, match="signature"):
            desk.sns(signing.sign_sns(messages.sns_notification(messages.S3_TEST), signed_by="forger"))

    @pytest.mark.parametrize(
        "url",
        [
            "http://sns.us-west-2.amazonaws.com/x.pem",
            "https://sns.us-west-2.amazonaws.com.evil.example/x.pem",
            "https://evil.example/sns.us-west-2.amazonaws.com/x.pem",
            "https://sns.us-west-2.amazonaws.com@evil.example/x.pem",
            "https://sns.us-west-2.amazonaws.com:8443/x.pem",
            "https://bucket.s3.amazonaws.com/x.pem",
            "https://sns.us-west-2.amazonaws.com/x.txt",
        ],
    )
    def test_certificates_from_elsewhere_are_not_even_fetched(
        self, desk: Desk, web: signing.Web, url: str
    ) -> None:
        web.pages[url] = signing.certificate("forger")
        message = messages.sns_notification(messages.S3_TEST, SigningCertURL=url)
        with pytest.raises(ForbiddenCall):
            desk.sns(signing.sign_sns(message, signed_by="forger"))
        assert web.asked == []

    @pytest.mark.parametrize("made", [{"common_name": "evil.example"}, {"days": -1}])
    def test_certificates_of_others_and_expired_ones(
        self, desk: Desk, web: signing.Web, made: dict[str, Any]
    ) -> None:
        web.pages[messages.CERTIFICATE_URL] = signing.certificate(**made)
        with pytest.raises(ForbiddenCall, match="certificate"):
            desk.sns(signing.sign_sns(messages.sns_notification(messages.S3_TEST)))

    @pytest.mark.parametrize("moment", ["2026-05-03T10:00:00.000Z", "2026-05-04T12:10:00.000Z"])
    def test_an_old_message_is_a_replay(self, desk: Desk, moment: str) -> None:
        message = messages.sns_notification({"Records": [messages.s3_record()]}, Timestamp=moment)
        with pytest.raises(ForbiddenCall):
            desk.sns(signing.sign_sns(message))


class TestEventBridge:
    def test_with_its_key(self, desk: Desk) -> None:
        event = one(desk.post(messages.EVENT_BRIDGE, {"x-etl-key": KEY}))
        assert (event.uri, event.version, event.size) == (
            "s3://amzn-s3-demo-bucket1/example key+é",
            "b1946ac92492d2347c6235b4d2611184",
            5,
        )

    def test_other_events_are_no_arrivals(self, desk: Desk) -> None:
        deleted = {**messages.EVENT_BRIDGE, "detail-type": "Object Deleted"}
        assert desk.post(deleted, {"x-etl-key": KEY}).events == ()

    @pytest.mark.parametrize(("given", "refusal"), [({}, RefusedCall), ({"x-etl-key": "no"}, ForbiddenCall)])
    def test_without_its_key(self, desk: Desk, given: dict[str, str], refusal: type[EtlError]) -> None:
        with pytest.raises(refusal) as error:
            desk.post(messages.EVENT_BRIDGE, given)
        assert KEY not in str(error.value)

    def test_an_old_event_is_a_replay(self, desk: Desk) -> None:
        with pytest.raises(ForbiddenCall, match="too old"):
            desk.post({**messages.EVENT_BRIDGE, "time": "2026-05-01T00:00:00Z"}, {"x-etl-key": KEY})


class TestEventGrid:
    def test_blob_created_with_a_key_in_the_url(self, desk: Desk) -> None:
        event = one(desk.post([messages.event_grid()], key=KEY))
        assert event == ObjectEvent(
            "azure",
            "test-container",
            "in/new-file.txt",
            "0x8D4BCC2E4835CD0",
            524288,
            "2026-05-04T11:58:00.958410+00:00",
            "831e1650-001e-001b-66ab-eeb76e069631",
            "my-storage-account",
        )

    @pytest.mark.parametrize(
        ("api", "arrivals"),
        [("PutBlob", 1), ("FlushWithClose", 1), ("CopyBlob", 1), ("CreateFile", 0), ("SftpCreate", 0)],
    )
    def test_only_complete_blobs_arrive(self, desk: Desk, api: str, arrivals: int) -> None:
        assert len(desk.post(messages.event_grid(api=api), key=KEY).events) == arrivals

    def test_an_etag_in_quotes_is_the_same(self, desk: Desk) -> None:
        quoted = messages.event_grid(eTag='"0x8D4BCC2E4835CD0"')
        assert one(desk.post(quoted, key=KEY)).version == "0x8D4BCC2E4835CD0"

    def test_with_a_token_of_entra(self, desk: Desk) -> None:
        issued = claims(aud="api://etl", iss=f"https://sts.windows.net/{TENANT}/", appid="event-grid")
        header = {"authorization": f"Bearer {signing.token(issued, signed_by='entra')}"}
        assert desk.post(messages.event_grid(), header).events
        other = claims(aud="api://other", iss=f"https://sts.windows.net/{TENANT}/")
        with pytest.raises(RefusedCall):
            desk.post(
                messages.event_grid(), {"authorization": f"Bearer {signing.token(other, signed_by='entra')}"}
            )

    @pytest.mark.parametrize(
        "changes",
        [
            {"exp": int(signing.NOW.timestamp()) - 3_600},
            {"nbf": int(signing.NOW.timestamp()) + 3_600},
            {"iss": "https://sts.windows.net/another-tenant/"},
            {"aud": AUDIENCE},
        ],
    )
    def test_tokens_of_entra_that_prove_nothing(self, desk: Desk, changes: dict[str, Any]) -> None:
        good = claims(aud="api://etl", iss=f"https://sts.windows.net/{TENANT}/")
        for issued, signer in ((good, "google"), ({**good, **changes}, "entra")):
            header = {"authorization": f"Bearer {signing.token(issued, signed_by=signer)}"}
            with pytest.raises(RefusedCall):
                desk.post(messages.event_grid(), header)

    @pytest.mark.parametrize(
        ("moment", "why"), [("2026-05-01T00:00:00Z", "too old"), ("2026-05-05T00:00:00Z", "future")]
    )
    def test_an_old_event_is_a_replay(self, desk: Desk, moment: str, why: str) -> None:
        with pytest.raises(ForbiddenCall, match=why):
            desk.post({**messages.event_grid(), "time": moment}, key=KEY)

    def test_a_google_token_opens_nothing_here(self, desk: Desk) -> None:
        with pytest.raises(RefusedCall):
            desk.post(messages.event_grid(), bearer())

    @pytest.mark.parametrize(("query", "refusal"), [({}, RefusedCall), ({"key": "no"}, ForbiddenCall)])
    def test_without_its_key(self, desk: Desk, query: dict[str, str], refusal: type[EtlError]) -> None:
        with pytest.raises(refusal):
            desk.post(messages.event_grid(), None, **query)

    def test_the_handshake(self, desk: Desk) -> None:
        headers = {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"}
        received = desk.receiver.receive(Incoming("OPTIONS", headers, {"key": KEY}, b""))
        assert received.headers == {
            "WebHook-Allowed-Origin": "eventgrid.azure.net",
            "WebHook-Allowed-Rate": "120",
        }

    def test_the_handshake_of_others(self, desk: Desk) -> None:
        with pytest.raises(ForbiddenCall):
            desk.receiver.receive(Incoming("OPTIONS", {"webhook-request-origin": "evil"}, {"key": KEY}, b""))
        with pytest.raises(RefusedCall):
            desk.receiver.receive(
                Incoming("OPTIONS", {"webhook-request-origin": "eventgrid.azure.net"}, {}, b"")
            )


def _without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != name}


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        [1],
        {"specversion": "1.0", "type": "google.cloud.audit.log.v1.written", "data": {}},
        {"message": {"attributes": {}}},
        {"message": {"attributes": {"eventType": "OBJECT_FINALIZE"}, "data": "!"}},
        messages.structured(messages.GCS_ATTRIBUTES, _without(messages.GCS_OBJECT, "name")),
        messages.structured(messages.GCS_ATTRIBUTES, {**messages.GCS_OBJECT, "generation": "x"}),
        messages.structured(messages.GCS_ATTRIBUTES, {**messages.GCS_OBJECT, "updated": "yesterday"}),
    ],
)
def test_a_message_that_is_none_is_named(desk: Desk, body: Any) -> None:
    with pytest.raises(ConfigError):
        desk.post(body, bearer())


def test_settings_come_from_the_environment_and_hide_the_keys() -> None:
    settings = EventSettings.from_env({"ETL_EVENT_KEYS": f"{KEY}, other", "ETL_SNS_TOPICS": "a,b"})
    assert settings.sns_topics == ("a", "b")
    assert len(settings.keys) == 2
    assert KEY not in repr(settings)
    with pytest.raises(ConfigError) as error:
        EventSettings.from_env({"ETL_FILE_ATTEMPTS": "no", "ETL_EVENT_LINGER_SECONDS": "-1"})
    assert len(error.value.problems) == 2
