"""``python -m tools.template IMAGE TO``: write the flex template's spec, a file or an object (``gs://``).

The spec is a ContainerSpec: the image, and runner_image/template.json as its metadata.
https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.jobs.templates (ContainerSpec)
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

METADATA = Path(__file__).resolve().parent.parent / "runner_image" / "template.json"
_IMAGE = re.compile(r"[^:@/ ]+(:[0-9]+)?/[^ ]+(:[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})")


def template_spec(image: str) -> bytes:
    """The spec of a template whose launcher and workers run ``image``.

    Raises:
        ValueError: the image has no tag or digest, or its tag moves.
    """
    if not _IMAGE.fullmatch(image) or image.endswith(":latest"):
        raise ValueError(
            f"IMAGE={image!r} does not name a registry and a tag other than latest, or a digest: what runs "
            "must not change by itself"
        )
    metadata = json.loads(METADATA.read_text(encoding="utf-8"))
    spec = {"image": image, "sdkInfo": {"language": "PYTHON"}, "metadata": metadata}
    return json.dumps(spec, indent=2, ensure_ascii=False).encode() + b"\n"


def main(arguments: Sequence[str]) -> int:
    """Write it; 2 when the arguments are wrong."""
    if len(arguments) != 2 or not all(arguments):
        sys.stderr.write("make template IMAGE=<registry>/<name>:<tag> TO=gs://<bucket>/<object>\n")
        return 2
    image, to = arguments
    try:
        content = template_spec(image)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if to.startswith("gs://"):
        from google.cloud.storage import Blob, Client

        Blob.from_uri(to, client=Client()).upload_from_string(content, "application/json")
    else:
        Path(to).write_bytes(content)
    sys.stdout.write(f"{to}: the template of {image}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
