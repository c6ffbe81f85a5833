"""Our SigV4 against botocore's own: the same request, clock and keys must give the same signature."""

from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.parse import parse_qs, quote, urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from buildpeer.platform.storage import Credentials, presign

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
NAMES = st.sampled_from(["content-length", "content-type", "if-none-match", "x-amz-checksum-sha256", "x-amz-meta-a"])
QUERIES = st.sampled_from(["versionId", "uploadId", "partNumber", "response-content-disposition", "ñ key"])


def by_botocore(method, url, credentials, region, now, lifetime, headers, query) -> str:
    request = AWSRequest(method=method, url=url, headers=headers, params=query)
    signer = S3SigV4QueryAuth(
        BotoCredentials(credentials.access_key, credentials.secret_key, credentials.token),
        "s3",
        region,
        expires=int(lifetime.total_seconds()),
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=now.replace(tzinfo=None)):
        signer.add_auth(request)
    return request.url


@given(
    method=st.sampled_from(["GET", "PUT", "HEAD"]),
    key=TEXT.filter(bool),
    headers=st.dictionaries(NAMES, HEADER, max_size=4),
    query=st.dictionaries(QUERIES, TEXT, max_size=3),
    token=st.none() | st.text("abc+/=", min_size=1, max_size=40),
    region=st.sampled_from(["us-east-1", "sa-east-1", "mx-central-1"]),
    seconds=st.integers(0, 2**31),
    lifetime=st.integers(1, 6 * 3600),
)
def test_every_signature_is_botocores(method, key, headers, query, token, region, seconds, lifetime) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    credentials = Credentials("AKIDEXAMPLE", "not/a+secret", token)
    url = f"https://bucket.s3.{region}.amazonaws.com/{quote(key, safe='/-_.~')}"
    ours = presign(
        method=method,
        url=url,
        credentials=credentials,
        region=region,
        now=now,
        lifetime=timedelta(seconds=lifetime),
        headers=headers,
        query=query,
    )
    theirs = by_botocore(method, url, credentials, region, now, timedelta(seconds=lifetime), headers, query)
    assert parse_qs(urlsplit(ours).query, keep_blank_values=True) == parse_qs(
        urlsplit(theirs).query, keep_blank_values=True
    )
