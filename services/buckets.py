"""Create the buckets in ``.env`` that are missing: ``python -m services.buckets``.

The store is the one at ``AWS_ENDPOINT_URL``, or AWS if that is not set. With ``--check``, missing
buckets are only reported.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from services import settings

BUCKETS = ("S3_BUCKET_DVC", "S3_BUCKET_MLFLOW")
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
WRONG_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})


def main(*, create: bool) -> str:
    """Create the missing buckets; return a report.

    Parameters
    ----------
    create : bool
        Whether to create missing buckets, or only report them.

    Returns
    -------
    str
        One line that says of each bucket whether it exists, was created, or is missing.

    Raises
    ------
    ServiceError
        When the store can't be reached, rejects the keys, or does not give access to a bucket.
    """
    settings.load()
    names = sorted(set(settings.require(*BUCKETS)))
    store = os.environ.get("AWS_ENDPOINT_URL") or "AWS"
    try:
        client = botocore.session.get_session().create_client("s3", _region(), config=PATIENCE)
        with ThreadPoolExecutor() as threads:
            done = list(threads.map(lambda name: _ensure(client, name, create=create), names))
    except ClientError as error:
        raise settings.ServiceError(f"{store}: {_refusal(error)}") from None
    except (exceptions.ConnectionError, HTTPClientError) as error:
        raise settings.ServiceError(
            f"{store} can't be reached ({error.__class__.__name__}); start it with 'make services' "
            "or 'docker compose up -d', or fix AWS_ENDPOINT_URL in .env"
        ) from None
    except BotoCoreError as error:
        raise settings.ServiceError(f"{store}: {error}; set {KEYS} in .env") from None
    return f"{store}: {', '.join(f'{n} {what}' for n, what in zip(names, done, strict=True))}"


def _ensure(client: Any, name: str, *, create: bool) -> str:
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        missing = error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        if missing and not create:
            return "is missing (run 'python -m services.buckets' to create it)"
        # A response to HEAD does not contain the reason of a refusal; try to create it to get one.
        return _create(client, name)
    return "exists"


def _create(client: Any, name: str) -> str:
    region = _region()
    place = {} if region == "us-east-1" else {"LocationConstraint": region}
    try:
        client.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            error.response["Bucket"] = name
            raise
        return "exists"
    return "created"


def _refusal(error: ClientError) -> str:
    code, bucket = error.response["Error"]["Code"], error.response.get("Bucket")
    if code in WRONG_KEYS:
        return f"the keys are rejected ({code}); fix {KEYS} in .env"
    if code in {"BucketAlreadyExists", "AccessDenied"}:
        return (
            f"bucket {bucket} belongs to someone else, or these keys can't access it ({code}); "
            "set another name in .env, or ask its owner for access"
        )
    return f"bucket {bucket}: {error.response['Error'].get('Message', code)}"


def _region() -> str:
    return os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


if __name__ == "__main__":
    try:
        print(main(create=sys.argv[1:] != ["--check"]))
    except settings.ServiceError as error:
        sys.exit(f"error: {error}")
