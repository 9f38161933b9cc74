"""Puts the sample bucket into an S3 server that has just been started: a bucket that anybody may
read, and a few objects. It waits for the server, and may be run again.

What it needs is in the image: docker-compose.yml runs it there, as the step between the server's
start and the proxy's.
"""

from __future__ import annotations

import json
import os
import sys
import time

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

ENDPOINT = os.environ["S3_ENDPOINT"]
BUCKET = os.environ.get("S3_BUCKET", "media")
WAIT = 60.0  # seconds

CAT = """<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80">
<rect width="120" height="80" fill="#1b998b"/>
<path d="M36 30l6-20 14 12h8l14-12 6 20z" fill="#fffd82"/>
<circle cx="60" cy="42" r="26" fill="#fffd82"/>
<circle cx="51" cy="38" r="3"/><circle cx="69" cy="38" r="3"/>
<path d="M55 50q5 5 10 0" fill="none" stroke="#000" stroke-width="2"/></svg>
"""
OBJECTS = (  # key, type, Cache-Control, content
    ("img/cat.svg", "image/svg+xml", "public, max-age=600", CAT),
    ("docs/hello.json", "application/json", "public, max-age=60", '{"hello": "world"}\n'),
    ("docs/now.txt", "text/plain", "no-store", "never kept\n"),
)
READ = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{BUCKET}/*"],
        }
    ],
}


def seed() -> None:
    client = get_session().create_client(
        "s3",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    if BUCKET not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(READ))
    for key, kind, lifetime, content in OBJECTS:
        client.put_object(
            Bucket=BUCKET,
            Key=key,
            Body=content.encode(),
            ContentType=kind,
            CacheControl=lifetime,
        )


def main() -> None:
    deadline = time.monotonic() + WAIT
    while True:
        try:
            seed()
        except (BotoCoreError, ClientError) as error:  # it is starting, or something is wrong
            if time.monotonic() > deadline:
                sys.exit(f"seed: {ENDPOINT}: {error}")
            time.sleep(1)
        else:
            sys.stdout.write(f"seed: {len(OBJECTS)} objects in {ENDPOINT}/{BUCKET}\n")
            return


if __name__ == "__main__":
    main()
