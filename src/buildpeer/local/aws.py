"""The AWS of one machine: how ministack is started, and what it holds, both built from the wiring table.

`bootstrap` may run any number of times: what is there stays, what has changed is set, and rules that the table no
longer has are removed. The processes get the keys of IAM users with just their rights; the root key stays here.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import boto3
import httpx
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from buildpeer import facts
from buildpeer.local import ministack_launcher
from buildpeer.local.processes import (
    LOOPBACK,
    Child,
    Registry,
    StackError,
    start,
    tail,
    wait_until,
    write_private,
)
from buildpeer.wiring import ASSEMBLE, DERIVE, SCAN, STATUS, Queue, Rule, Step, Topology

REGION = "us-east-1"
ACCOUNT = "000000000000"  # ministack's only one
ROOT_KEY = "buildpeer-root"
START_TIMEOUT_S = 15.0
RULE_PREFIX = "buildpeer-"

CHUNK_LIFE_DAYS = 16  # longer than any upload waits, so that this is only the net below the sweeper

Person = Literal["api", "worker", "scan", "derive", "assemble", "auditor", "operator"]
PEOPLE: tuple[Person, ...] = ("api", "worker", "scan", "derive", "assemble", "auditor", "operator")


class Key(msgspec.Struct, frozen=True):
    """The access key of one IAM user."""

    key_id: str
    secret: str


class Ministack:
    """One ministack server that keeps its data under `home`, reached as root only by us."""

    def __init__(
        self,
        *,
        home: Path,
        python: Path,
        port: int,
        root_secret: str,
        admin_token: str,
        log: Path,
        registry: Registry,
    ) -> None:
        self._home = home
        self._python = python
        self._port = port
        self._root_secret = root_secret
        self._admin_token = admin_token
        self._log = log
        self._registry = registry
        self._clients: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{LOOPBACK}:{self._port}"

    def start(self) -> Child:
        """Start the server; it isn't ready yet. Raises StackError when its environment isn't installed."""
        if not self._python.exists():
            raise StackError(
                f"ministack isn't installed: there is no {self._python}. Run `make setup`, or by hand: "
                f"python3 -m venv {self._python.parent.parent} && "
                f"{self._python} -m pip install --require-hashes -r requirements/ministack.lock"
            )
        self._home.mkdir(mode=0o700, exist_ok=True)
        # -I: nothing of ours, of the user's or of the environment gets on its import path.
        argv = [self._python, "-I", Path(ministack_launcher.__file__)]
        return start("ministack", argv, env=self._environment(), log=self._log, registry=self._registry)

    def wait_until_ready(self, child: Child) -> None:
        """Return when it answers. Raises StackError with the end of the log when it ends or takes over 15 s."""

        def answers() -> bool:
            if child.exit_code() is not None:
                raise StackError(f"ministack ended; the end of {self._log}:\n{tail(self._log)}")
            try:
                return client.get(self.url + ministack_launcher.HEALTH_PATH).is_success
            except httpx.TransportError:
                return False

        with httpx.Client(timeout=2, trust_env=False) as client:
            wait_until(answers, what="ministack", timeout_s=START_TIMEOUT_S)

    def client(self, service: str) -> Any:
        """A boto3 client with every right, for setting up and for tests; never for a process of ours."""
        if service in self._clients:
            return self._clients[service]
        session = boto3.Session(ROOT_KEY, self._root_secret, region_name=REGION)
        client: Any = session.client(service, endpoint_url=self.url, config=client_config(service))  # pyright: ignore[reportCallIssue, reportArgumentType]

        def add_token(request: Any, **_: object) -> None:
            request.headers[ministack_launcher.ADMIN_HEADER.decode()] = self._admin_token

        client.meta.events.register("before-send", add_token)
        self._clients[service] = client
        return client

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": self._root_secret,
            "BUILDPEER_ADMIN_TOKEN": self._admin_token,
            "DOCKER_HOST": "unix:///nonexistent",  # it would remove containers that it takes for its own
            "GATEWAY_PORT": str(self._port),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "MINISTACK_REGION": REGION,
            "PERSIST_STATE": "1",
            "S3_DATA_DIR": str(self._home / "s3"),
            "S3_PERSIST": "1",
            "SERVICES": "s3,sqs,events,iam,sts",
            "SFTP_ENABLED": "0",
            "STATE_DIR": str(self._home / "state"),
        }


def client_config(service: str) -> Config:
    """How a client speaks to the local endpoint: bucket names in the path, SigV4, few retries."""
    return Config(
        signature_version="s3v4" if service == "s3" else "v4",
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 3, "mode": "standard"},
        connect_timeout=2,
        read_timeout=30,
    )


def bootstrap(
    ministack: Ministack, topology: Topology, *, uploads: str, chunks: str, derived: str, audit: str, keys_file: Path
) -> dict[Person, Key]:
    """Make or mend buckets, queues, rules and users; return each user's key, kept in `keys_file` between runs.

    Raises StackError with what ministack refused.
    """
    try:
        _make_buckets(ministack.client("s3"), uploads=uploads, chunks=chunks, derived=derived, audit=audit)
        _make_queues(ministack.client("sqs"), topology.queues)
        _make_rules(ministack.client("events"), topology.rules)
        allowed = policies(topology, uploads=uploads, chunks=chunks, derived=derived, audit=audit)
        return _make_users(ministack.client("iam"), allowed, keys_file)
    except ClientError as exc:
        raise StackError(f"ministack refused to be set up: {exc}") from exc


def policies(
    topology: Topology,
    *,
    uploads: str,
    chunks: str,
    derived: str,
    audit: str,
    region: str = REGION,
    account: str = ACCOUNT,
) -> dict[Person, dict[str, Any]]:
    """The least each process needs, as IAM policy documents; they hold on AWS as they are."""
    originals, pieces, pictures = (f"arn:aws:s3:::{bucket}/*" for bucket in (uploads, chunks, derived))

    def queues(*steps: Step) -> list[str]:
        return [f"arn:aws:sqs:{region}:{account}:{queue.name}" for queue in topology.queues if queue.step in steps]

    def consume(step: Step) -> list[dict[str, Any]]:
        # AWS checks a batch as the single action; ministack asks for the batch's own name.
        work = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:DeleteMessageBatch", "sqs:ChangeMessageVisibility"]
        return _allow([*work, "sqs:GetQueueUrl", "sqs:GetQueueAttributes"], queues(step))

    def publish(source: str) -> list[dict[str, Any]]:
        # The key has one value per entry of a PutEvents call, so each of them must be the source, and there must be one
        # (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html).
        only = {"ForAllValues:StringEquals": {"events:source": source}, "Null": {"events:source": "false"}}
        return _allow(["events:PutEvents"], [f"arn:aws:events:{region}:{account}:event-bus/default"], only)

    # Without the right to list, S3 answers 403 instead of 404 for what is gone.
    find = _allow(["s3:ListBucket"], [f"arn:aws:s3:::{uploads}"])
    read = _allow(["s3:GetObjectVersion"], [originals]) + find
    head = _allow(["s3:GetObject"], [originals]) + find
    write = _allow(["s3:PutObject", "s3:ListMultipartUploadParts"], [originals])
    give_up = _allow(["s3:AbortMultipartUpload"], [originals])
    list_chunks = _allow(["s3:ListBucket"], [f"arn:aws:s3:::{chunks}"])
    drop_chunks = list_chunks + _allow(["s3:DeleteObject"], [pieces])
    # Erasing what no document has any more, and an operator's hunt for what nobody needs.
    tidy = (
        _allow(["s3:DeleteObjectVersion"], [originals])
        + _allow(["s3:DeleteObject"], [pictures])
        + _allow(["s3:ListBucketVersions", "s3:ListBucketMultipartUploads"], [f"arn:aws:s3:::{uploads}"])
        + _allow(["s3:ListBucket"], [f"arn:aws:s3:::{derived}"])
    )
    # derive asks whether a page is made already, and must be told 404 if it isn't
    look = _allow(["s3:GetObject"], [pictures]) + _allow(["s3:ListBucket"], [f"arn:aws:s3:::{derived}"])
    dead = [f"arn:aws:sqs:{region}:{account}:{queue.dead_letters}" for queue in topology.queues]
    everything = [f"arn:aws:sqs:{region}:{account}:{queue.name}" for queue in topology.queues]
    statements: dict[Person, list[dict[str, Any]]] = {
        "api": read
        + head
        + write
        + give_up
        + _allow(["s3:PutObject"], [pieces])
        + drop_chunks
        + _allow(["s3:GetObject"], [pictures]),
        "worker": read
        + head
        + write  # it joins the parts of a file whose phone is gone
        + give_up
        + drop_chunks
        + tidy
        + _allow(["s3:GetObject"], [pictures])  # which stand on the papers that it prints
        + _allow(["s3:PutObject"], [f"arn:aws:s3:::{audit}/seals/*"])
        + _allow(["s3:PutObject", "s3:AbortMultipartUpload"], [f"arn:aws:s3:::{derived}/jobs/*"])  # what people ordered
        + consume(STATUS)
        + _allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:DeleteMessageBatch", "sqs:GetQueueUrl"], dead)
        + _allow(["sqs:SendMessage", "sqs:SendMessageBatch", "sqs:GetQueueUrl", "sqs:GetQueueAttributes"], everything),
        "scan": read + consume(SCAN) + publish(facts.SOURCE_SCAN),
        "derive": read + look + _allow(["s3:PutObject"], [pictures]) + consume(DERIVE) + publish(facts.SOURCE_DERIVE),
        "assemble": head
        + write
        + _allow(["s3:GetObject"], [pieces])
        + drop_chunks
        + consume(ASSEMBLE)
        + publish(facts.SOURCE_ASSEMBLE),
        "auditor": _allow(["s3:ListBucket"], [f"arn:aws:s3:::{audit}"])
        + _allow(["s3:GetObject"], [f"arn:aws:s3:::{audit}/*"]),
        # Takes a company's files away, and erases them.
        # AWS asks for the right to delete versions, ministack for that to delete.
        "operator": read + give_up + drop_chunks + tidy + _allow(["s3:DeleteObject"], [originals]),
    }
    return {person: {"Version": "2012-10-17", "Statement": each} for person, each in statements.items()}


def _allow(actions: list[str], resources: list[str], condition: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    if not resources:
        return []  # a step that this topology doesn't have
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return [statement | {"Condition": condition} if condition else statement]


def _make_buckets(s3: Any, *, uploads: str, chunks: str, derived: str, audit: str) -> None:
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for name in (uploads, chunks, derived):
        if name not in there:
            s3.create_bucket(Bucket=name)
        s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [_CORS_RULE]})
    if audit not in there:
        s3.create_bucket(Bucket=audit)
    for name in (uploads, audit):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    give_up: dict[str, Any] = {
        "ID": "give-up",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": CHUNK_LIFE_DAYS},
    }
    expire: dict[str, Any] = give_up | {"Expiration": {"Days": CHUNK_LIFE_DAYS}}
    of_jobs: dict[str, Any] = {"ID": "jobs", "Filter": {"Prefix": "jobs/"}}
    for name, rule in ((uploads, give_up), (chunks, expire), (derived, expire | of_jobs)):
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    notify: dict[str, Any] = {"EventBridgeConfiguration": {}}
    s3.put_bucket_notification_configuration(Bucket=uploads, NotificationConfiguration=notify)


_CORS_RULE = {
    "AllowedOrigins": [
        f"{scheme}://{host}{port}"
        for scheme in ("http", "https")
        for host in ("localhost", LOOPBACK)
        for port in ("", ":*")
    ],
    "AllowedMethods": ["PUT", "GET", "HEAD"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["ETag", "x-amz-version-id", "Accept-Ranges", "Content-Range"],  # the last two for tiles
    "MaxAgeSeconds": 3600,
}


def _make_queues(sqs: Any, queues: Iterable[Queue]) -> None:
    for queue in queues:
        dead = {"MessageRetentionPeriod": str(14 * 24 * 3600)}
        redrive = {"deadLetterTargetArn": _queue_arn(queue.dead_letters), "maxReceiveCount": queue.max_receives}
        work = {
            "VisibilityTimeout": str(queue.visibility_s),
            "MessageRetentionPeriod": str(4 * 24 * 3600),
            "RedrivePolicy": json.dumps(redrive),
        }
        for name, attributes in ((queue.dead_letters, dead), (queue.name, work)):
            # Made bare: CreateQueue refuses a queue that exists with other attributes.
            url = sqs.create_queue(QueueName=name)["QueueUrl"]
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)


def _make_rules(events: Any, rules: Iterable[Rule]) -> None:
    wanted = {rule.name: rule for rule in rules}
    pages = events.get_paginator("list_rules").paginate(NamePrefix=RULE_PREFIX)
    there = {rule["Name"] for page in pages for rule in page["Rules"]}
    for name in there - wanted.keys():
        _remove_targets(events, name, keep=None)
        events.delete_rule(Name=name)
    for rule in wanted.values():
        events.put_rule(Name=rule.name, EventPattern=json.dumps(rule.pattern), State="ENABLED")
        events.put_targets(Rule=rule.name, Targets=[{"Id": rule.queue, "Arn": _queue_arn(rule.queue)}])
        _remove_targets(events, rule.name, keep=rule.queue)


def _remove_targets(events: Any, rule: str, *, keep: str | None) -> None:
    old = [target["Id"] for target in events.list_targets_by_rule(Rule=rule)["Targets"] if target["Id"] != keep]
    if old:
        events.remove_targets(Rule=rule, Ids=old)


def _make_users(iam: Any, allowed: Mapping[Person, dict[str, Any]], keys_file: Path) -> dict[Person, Key]:
    kept = read_keys(keys_file) if keys_file.exists() else {}
    there = {user["UserName"] for page in iam.get_paginator("list_users").paginate() for user in page["Users"]}
    for person, policy in allowed.items():
        name = f"buildpeer-{person}"
        if name not in there:
            iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="least", PolicyDocument=json.dumps(policy))
        known = {key["AccessKeyId"] for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]}
        mine = kept.get(person)
        if mine is None or mine.key_id not in known:
            # The secret of a key can't be read again: keys that we don't hold are of no use to anybody.
            for lost in known:
                iam.delete_access_key(UserName=name, AccessKeyId=lost)
            made = iam.create_access_key(UserName=name)["AccessKey"]
            kept[person] = Key(made["AccessKeyId"], made["SecretAccessKey"])
    write_private(keys_file, msgspec.json.encode(kept))
    return kept


def read_keys(keys_file: Path) -> dict[Person, Key]:
    """The keys that `bootstrap` kept."""
    return msgspec.json.decode(keys_file.read_bytes(), type=dict[Person, Key])


def _queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
