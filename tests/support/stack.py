"""What the end-to-end tests share: the operator from its chart, an S3 server, PostgreSQL servers, all as pods."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.cluster import Cluster
from support.clusterapi import Api
from support.pgsample import ROLES, SHOP
from support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "databosun-system"
SHOP_NAMESPACE = "shop"
BUCKET = "backups"
ACCESS_KEY, SECRET_KEY = "databosun", "databosun-secret"  # of hack/demo/objects.yaml
PASSWORD = "only-for-the-demo"  # of hack/demo/orders.yaml
AUDITOR = "auditor"
IMAGE = "localhost/databosun/runner-postgresql:{major}-dev"
MONGODB_IMAGE = "localhost/databosun/peer-mongodb:dev"
REDIS_IMAGE = "localhost/databosun/runner-redis:7-dev"
NAMESPACES = {18: SHOP_NAMESPACE, 15: "shop-15"}
# Bytes that no compression makes smaller: an artefact of several parts.
NOISE = """
CREATE TABLE noise AS SELECT i, string_agg(sha256((i::text || '/' || j)::bytea), ''::bytea) AS body
FROM generate_series(1, 24000) AS i, generate_series(1, 36) AS j GROUP BY i
"""


@dataclass(frozen=True, slots=True)
class Postgres:
    """One server pod and how the host reaches it."""

    stack: Stack
    major: int
    address: tuple[str, int]

    @property
    def namespace(self) -> str:
        """Where its pod is; the Service is `orders` there."""
        return NAMESPACES[self.major]

    @property
    def host(self) -> str:
        """Its name for pods."""
        return f"orders.{self.namespace}.svc"

    def connect(self, dbname: str = "postgres") -> psycopg.Connection[Any]:
        """A superuser's session."""
        host, port = self.address
        return psycopg.connect(
            host=host, port=port, user=AUDITOR, password=PASSWORD, dbname=dbname, autocommit=True, connect_timeout=20
        )

    def sql(self, statement: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last one, if any."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def run(self, *argv: str) -> str:
        """Run a program in its pod."""
        return self.stack.kubectl("exec", "-n", self.namespace, "deployment/orders", "--", *argv)


@dataclass
class Stack:
    """The installation."""

    cluster: Cluster
    api: Api
    host: str
    endpoint: str = ""
    s3: S3Client = field(init=False, repr=False)
    servers: dict[int, Postgres] = field(default_factory=dict)

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """Run kubectl; its output."""
        return self.cluster.kubectl(*arguments, input=input, check=check).stdout

    def bosun(self, *arguments: str, code: int = 0) -> str:
        """Run the project's own command line, which ends with that code; what it prints."""
        argv = [sys.executable, "-m", "databosun", *arguments]
        done = subprocess.run(argv, env=self.cluster.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any], namespace: str | None = None) -> None:
        """Apply objects as a person would."""
        text = "\n---\n".join(json.dumps(one) for one in objects)
        where = ["-n", namespace] if namespace else []
        self.kubectl("apply", *where, "-f", "-", input=text)

    def make_namespace(self, name: str) -> None:
        """Have a namespace."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def keys(self, prefix: str) -> list[str]:
        """Every key in the bucket below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", ()))

    def purge(self, keys: Iterable[str]) -> None:
        """Delete objects of the bucket."""
        for key in keys:
            self.s3.delete_object(Bucket=BUCKET, Key=key)

    def download(self, key: str) -> bytes:
        """One object of the bucket."""
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    # --- the operator

    def install_crds(self) -> None:
        """The chart of the CRDs."""
        self.helm("upgrade", "--install", "databosun-crds", str(ROOT / "charts/databosun-crds"), "--create-namespace")

    def install_operator(self) -> None:
        """The chart of the operator, with its own rights; returns once it is ready."""
        values = {
            "image": {"repository": "localhost/databosun/operator", "tag": "dev"},
            "rbac": {"deletePods": True},  # which forced failovers under Patroni need
            "runners": {
                "images": {
                    "PostgreSQL": {str(major): IMAGE.format(major=major) for major in NAMESPACES},
                    "Redis": {"7": REDIS_IMAGE},
                    "MongoDB": {"7.0": MONGODB_IMAGE},
                    "MariaDB": {"10.11": "localhost/databosun/runner-mariadb:10.11-dev"},
                    "MySQL": {"9.7": "localhost/databosun/peer-mysql:dev"},  # the version that docs/seen.md names
                }
            },
        }
        chart = str(ROOT / "charts/databosun")
        self.helm("upgrade", "--install", "databosun", chart, "--values", "-", values=values)

    def helm(self, *arguments: str, values: dict[str, Any] | None = None) -> None:
        """Run helm in the operator's namespace and wait for what it does."""
        tools = subprocess.run(
            [sys.executable, ROOT / "hack/tools/tools", "get", "helm"], capture_output=True, text=True, check=True
        )
        common = ["--kubeconfig", str(self.cluster.kubeconfig), "--namespace", SYSTEM, "--wait", "--timeout", "5m"]
        argv = [str(Path(tools.stdout.strip()) / "helm"), *arguments, *common]
        text = json.dumps(values) if values is not None else None
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"helm {' '.join(arguments)}:\n{done.stdout}{done.stderr}{self.operator_log()}"

    def operator_log(self) -> str:
        """The newest lines of the operator's log."""
        done = self.cluster.kubectl("logs", "-n", SYSTEM, "deployment/databosun", "--tail=60", check=False)
        return done.stdout + done.stderr

    def metrics(self) -> dict[str, float]:
        """The operator's metrics, by series."""
        text = self.api.text(f"/api/v1/namespaces/{SYSTEM}/services/databosun-metrics:metrics/proxy/metrics")
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def bring_up(cluster: Cluster) -> Stack:
    """Install everything; what is there already stays."""
    stack = Stack(cluster, Api(cluster.kubeconfig), cluster.environment["DATABOSUN_HOST"])
    for name in NAMESPACES.values():
        stack.make_namespace(name)
    stack.kubectl("apply", "-n", SHOP_NAMESPACE, "-f", str(ROOT / "hack/demo/objects.yaml"))
    for major, name in NAMESPACES.items():
        text = (ROOT / "hack/demo/orders.yaml").read_text().replace(IMAGE.format(major=18), IMAGE.format(major=major))
        stack.kubectl("apply", "-n", name, "-f", "-", input=text)
        stack.apply(_door("orders", 5432), namespace=name)
    stack.apply(_door("objects", 8333), namespace=SHOP_NAMESPACE)
    stack.install_crds()
    stack.install_operator()
    _wait_for_services(stack)
    for server in stack.servers.values():
        _fill(server)
    return stack


def _door(app: str, port: int) -> dict[str, Any]:
    """A way in for the tests, which are no pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{app}-door"},
        "spec": {"type": "NodePort", "selector": {"app": app}, "ports": [{"port": port}]},
    }


def _wait_for_services(stack: Stack) -> None:
    for namespace, app in ((SHOP_NAMESPACE, "objects"), *((name, "orders") for name in NAMESPACES.values())):
        stack.kubectl("rollout", "status", "-n", namespace, f"deployment/{app}", "--timeout=240s")
    node = stack.api.ask("GET", "/api/v1/nodes")["items"][0]
    address = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")

    def port(namespace: str, app: str) -> int:
        found: int = stack.api.read("services", namespace, f"{app}-door")["spec"]["ports"][0]["nodePort"]
        return found

    stack.endpoint = f"http://{address}:{port(SHOP_NAMESPACE, 'objects')}"
    stack.s3 = _client(stack.endpoint)
    eventually("the S3 server has the bucket", lambda: _has_bucket(stack), 120)
    for major, namespace in NAMESPACES.items():
        stack.servers[major] = Postgres(stack, major, (address, port(namespace, "orders")))


def _client(endpoint: str) -> S3Client:
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=config,
    )


def _has_bucket(stack: Stack) -> bool:
    try:
        if BUCKET not in {one["Name"] for one in stack.s3.list_buckets()["Buckets"]}:
            stack.s3.create_bucket(Bucket=BUCKET)
        stack.s3.put_object(Bucket=BUCKET, Key="_ready", Body=b"ready")
        stack.s3.delete_object(Bucket=BUCKET, Key="_ready")
    except (ClientError, BotoCoreError):
        return False
    return True


def _fill(server: Postgres) -> None:
    """Data with a bit of everything, a role for the tests, and on 18 a tablespace and an artefact of several parts."""
    script = f"create role {AUDITOR} superuser login password '{PASSWORD}'"
    exists = f"select 1 from pg_roles where rolname = '{AUDITOR}'"
    psql = ("psql", "-qAtX", "-h", "/data", "-U", "postgres", "-v", "ON_ERROR_STOP=1")
    if server.run(*psql, "-c", exists).strip() != "1":
        server.run(*psql, "-c", script)
    if server.sql("SELECT 1 FROM pg_database WHERE datname = 'shop'"):
        return
    server.sql(ROLES.replace('CREATE ROLE "backup"', "--"))
    server.sql("CREATE DATABASE shop")
    server.sql(SHOP, "shop")
    if server.major == 18:
        server.run("mkdir", "-p", "/data/fast")
        server.sql("CREATE TABLESPACE fast LOCATION '/data/fast'")
        server.sql("CREATE TABLE on_fast TABLESPACE fast AS SELECT generate_series(1, 3000) AS i", "shop")
        server.sql(NOISE, "shop")
    # Or the first readers and autovacuum would still touch every page, and an incremental would be as large as a full.
    server.sql("VACUUM (FREEZE, ANALYZE)", "shop")
