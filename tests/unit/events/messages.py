"""Messages in the shapes that the clouds document; names and numbers are those of the documentation's
examples where it has them."""

from __future__ import annotations

import base64
import json
from typing import Any

TOPIC = "arn:aws:sns:us-west-2:123456789012:MyTopic"
CERTIFICATE_URL = (
    "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
)

# https://cloud.google.com/storage/docs/json_api/v1/objects#resource
GCS_OBJECT: dict[str, Any] = {
    "kind": "storage#object",
    "id": "sample-bucket/folder/Test.cs/1587627537231057",
    "selfLink": "https://www.googleapis.com/storage/v1/b/sample-bucket/o/folder%2FTest.cs",
    "name": "folder/Test.cs",
    "bucket": "sample-bucket",
    "generation": "1587627537231057",
    "metageneration": "1",
    "contentType": "text/plain",
    "timeCreated": "2020-04-23T07:38:57.230Z",
    "updated": "2020-04-23T07:38:57.230Z",
    "storageClass": "STANDARD",
    "size": "352",
    "md5Hash": "kF8MuJ5+CTJxvyhHS1xzRg==",
    "crc32c": "36qUPQ==",
    "etag": "CNHZkbuF/ugCEAE=",
}
GCS_ATTRIBUTES = {
    "ce-id": "1096434104173400",
    "ce-source": "//storage.googleapis.com/projects/_/buckets/sample-bucket",
    "ce-specversion": "1.0",
    "ce-type": "google.cloud.storage.object.v1.finalized",
    "ce-subject": "objects/folder/Test.cs",
    "ce-time": "2020-04-23T07:38:57.772Z",
    "ce-bucket": "sample-bucket",
}


def structured(attributes: dict[str, str], data: Any) -> dict[str, Any]:
    return {**{name.removeprefix("ce-"): value for name, value in attributes.items()}, "data": data}


def pubsub_push(kind: str = "OBJECT_FINALIZE", **attributes: str) -> dict[str, Any]:
    """A push request with a Cloud Storage notification of the format JSON_API_V1."""
    return {
        "message": {
            "attributes": {
                "bucketId": "sample-bucket",
                "eventTime": "2020-04-23T07:38:57.772Z",
                "eventType": kind,
                "notificationConfig": "projects/_/buckets/sample-bucket/notificationConfigs/3",
                "objectGeneration": "1587627537231057",
                "objectId": "folder/Test.cs",
                "payloadFormat": "JSON_API_V1",
                **attributes,
            },
            "data": base64.b64encode(json.dumps(GCS_OBJECT).encode()).decode(),
            "messageId": "2070443601311540",
            "message_id": "2070443601311540",
            "publishTime": "2020-04-23T07:38:57.800Z",
            "publish_time": "2020-04-23T07:38:57.800Z",
        },
        "subscription": "projects/my-project/subscriptions/my-sub",
    }


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
def s3_record(key: str = "Happy+Face%2B%C3%A9.jpg", name: str = "ObjectCreated:Put") -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "2026-05-04T11:59:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {
            "x-amz-request-id": "C3D13FE58DE4C810",
            "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZ",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": "amzn-s3-demo-bucket",
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": "arn:aws:s3:::amzn-s3-demo-bucket",
            },
            "object": {
                "key": key,
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }


S3_TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-05-04T11:59:00.000Z",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


# https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html
def sns_notification(document: Any, **fields: str) -> dict[str, Any]:
    """Unsigned."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon S3 Notification",
        "Message": json.dumps(document),
        "Timestamp": "2026-05-04T11:59:10.123Z",
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=x",
        **fields,
    }


# https://docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html
def sns_confirmation(**fields: str) -> dict[str, Any]:
    """Unsigned."""
    return {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37fb687f5d51e6e2425f004aeee9fa3c8a3fd0e21dbfc2a8",
        "TopicArn": TOPIC,
        "Message": f"You have chosen to subscribe to the topic {TOPIC}.\nTo confirm the "
        "subscription, visit the SubscribeURL included in this message.",
        "SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=y",
        "Timestamp": "2026-05-04T11:59:10.123Z",
        "SignatureVersion": "1",
        "SigningCertURL": CERTIFICATE_URL,
        **fields,
    }


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
EVENT_BRIDGE: dict[str, Any] = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2026-05-04T11:58:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
    "detail": {
        "version": "0",
        "bucket": {"name": "amzn-s3-demo-bucket1"},
        "object": {
            "key": "example key+é",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "1.2.3.4",
        "reason": "PutObject",
    },
}


# https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage
def event_grid(**data: Any) -> dict[str, Any]:
    return {
        "source": "/subscriptions/s/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/"
        "my-storage-account",
        "subject": "/blobServices/default/containers/test-container/blobs/in/new-file.txt",
        "type": "Microsoft.Storage.BlobCreated",
        "time": "2026-05-04T11:58:00.9584103Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "specversion": "1.0",
        "data": {
            "api": "PutBlockList",
            "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
            "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
            "eTag": "0x8D4BCC2E4835CD0",
            "contentType": "text/plain",
            "contentLength": 524288,
            "blobType": "BlockBlob",
            "url": "https://my-storage-account.blob.core.windows.net/test-container/in/new-file.txt",
            "sequencer": "00000000000004420000000000028963",
            "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
            **data,
        },
    }
