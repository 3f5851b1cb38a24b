"""Write docs/permissions.md from the table of permissions: ``python -m tools.permissions``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "etl_runner" / "doctor" / "permissions.yaml"
PAGE = ROOT / "docs" / "permissions.md"

HEADER = """\
# Who may do what, and why

Written by `python -m tools.permissions` from [permissions.yaml](../src/etl_runner/doctor/permissions.yaml):
change it there. It is also what [iam.tf](../infra/terraform/iam.tf) grants and what `etl-runner doctor` looks
for. Every part has a service account of its own, no account has a key, and nobody outside of the project may
call anything, but for one function: with `external_events`, S3 and Azure can reach `external`, which verifies
every call itself.

| account | role | on | why |
|---|---|---|---|
"""
FOOTER = """
Roles that are not Google's own:

{custom}

## What stands elsewhere

- A secret or a dataset of another project is granted there, by its owners: `terraform output
  secrets_elsewhere`, `terraform output datasets_elsewhere` and `terraform output service_accounts` name the
  accounts.
- What a query or a view reads beside the dataset of its document, what is billed to another project
  (`billing_project`) and what a control plane's documents name is granted by hand; what a connection reads
  with a key of its own, to that key's account.
- With a key of your own (`kms_key`), Google's service agents of storage, BigQuery, Pub/Sub, Secret Manager,
  Artifact Registry, Cloud Run, Cloud Functions, Workflows and Eventarc may encrypt and decrypt with it, with
  `dataflow` those of Dataflow and Compute Engine too ([kms.tf](../infra/terraform/kms.tf)); no account of
  ours may.
- `allUsers` may call `external`, and nothing else ([iam.tf](../infra/terraform/iam.tf)).
- Google's service agents have the roles that Google gives them when an API is enabled.
- Whoever applies the module needs, on the project: `roles/run.admin`, `roles/cloudfunctions.admin`,
  `roles/workflows.admin`, `roles/cloudscheduler.admin`, `roles/storage.admin`, `roles/bigquery.admin`,
  `roles/pubsub.admin`, `roles/eventarc.admin`, `roles/secretmanager.admin`, `roles/artifactregistry.admin`,
  `roles/iam.serviceAccountAdmin`, `roles/iam.serviceAccountUser`, `roles/iam.roleAdmin`,
  `roles/resourcemanager.projectIamAdmin`, `roles/logging.configWriter`, `roles/monitoring.editor` and
  `roles/serviceusage.serviceUsageAdmin`; with `kms_key`, `roles/cloudkms.admin` on the key.
- Whoever runs `etl-runner doctor`, which only reads, needs `roles/viewer` and `roles/iam.securityReviewer`
  on the project, and `roles/storage.objectViewer` on the buckets config and code.
- Whoever starts runs by hand needs `roles/workflows.invoker`; whoever reads receipts,
  `roles/storage.objectViewer` on the state bucket.
"""
THINGS = {
    "bucket": "bucket {name}",
    "topic": "topic {name}",
    "subscription": "subscription {name}",
    "function": "function {name}",
    "dataset": "the dataset",
    "job": "the Cloud Run Job",
    "secret": "each secret of the documents",
    "source-dataset": "each dataset that is read without a key",
    "source-bucket": "each bucket that is read without a key",
    "account": "account {name}",
    "key": "the secret of `external_events`",
    "repository": "the registry",
    "build-sources": "buckets `gcf-v2-sources-<number>-*`",
    "project": "the project",
}


def page(permissions: dict[str, Any]) -> str:
    """The page's text."""
    rows = []
    for grant in permissions["grants"]:
        kind, _, name = grant["target"].partition(":")
        why = grant["why"] + (f" ({grant['narrower']})" if "narrower" in grant else "")
        role = grant["role"].removeprefix("custom:")
        rows.append(f"| {grant['who']} | `{role}` | {THINGS[kind].format(name=name)} | {why} |\n")
    custom = [
        f"- `{name}`: {', '.join(f'`{permission}`' for permission in role['permissions'])}"
        for name, role in permissions["custom_roles"].items()
    ]
    return HEADER + "".join(rows) + FOOTER.format(custom="\n".join(custom))


def current() -> str:
    """What the page has to hold."""
    return page(yaml.safe_load(SOURCE.read_text()))


def main() -> int:
    """Write the page."""
    PAGE.write_text(current())
    sys.stdout.write(f"written: {PAGE.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
