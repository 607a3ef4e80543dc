"""A real S3 server on the loopback interface, in a process of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_START_LIMIT_S = 60
_RUNNING = re.compile(r"http://127\.0\.0\.1:(\d+)")
_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class ObjectStorage:
    """Buckets at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.environment = {**_KEYS, "AWS_ENDPOINT_URL": endpoint}
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )

    def make_bucket(self, name: str) -> None:
        """An empty one."""
        self._client.create_bucket(Bucket=name)

    def upload(self, folder: Path, paths: list[str], bucket: str, prefix: str) -> None:
        """Put files of a folder below a prefix."""
        for path in paths:
            self._client.put_object(Bucket=bucket, Key=f"{prefix}/{path}", Body=(folder / path).read_bytes())

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """One object."""
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def modified(self, bucket: str, prefix: str) -> dict[str, Any]:
        """Keys below a prefix, and when each was put."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {found["Key"]: found["LastModified"] for page in pages for found in page.get("Contents", [])}

    def get(self, bucket: str, key: str) -> bytes:
        """One object."""
        content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def close(self) -> None:
        """Of the client alone."""
        self._client.close()


@contextmanager
def object_storage(folder: Path) -> Iterator[ObjectStorage]:
    """A server that listens; its log is `moto.log` in `folder`."""
    log = folder / "moto.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **_KEYS},
        )
    try:
        storage = ObjectStorage(f"http://127.0.0.1:{_port(process, log)}")
        yield storage
        storage.close()
    finally:
        process.kill()
        process.wait()


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _RUNNING.search(log.read_text(errors="replace"))
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"the storage did not start:\n{log.read_text(errors='replace')}")
