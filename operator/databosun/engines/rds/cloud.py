"""The RDS API of one region: every call bounded, every refusal turned into an error that says who must act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from databosun.api.targets import RDSTarget
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.rds.reasons import Reason

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 10, 30, 4
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "KMSKeyNotAccessibleFault"})
_LOGIN = frozenset(
    {
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
    }
)
_THROTTLED = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"})
_QUOTA = ("QuotaExceeded", "InsufficientDBInstanceCapacity", "InsufficientStorageClusterCapacity")
MISSING = ("NotFound", "NotFoundFault")


class AnswerError(Exception):
    """What the API refused, by its own code: a caller may know better than `fault_of` what it means. `status`: of HTTP;
    below 500 nothing was done."""

    def __init__(self, action: str, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.action = action
        self.code = code
        self.message = message

    @property
    def missing(self) -> bool:
        """What was named is not there."""
        return self.code.endswith(MISSING)

    @property
    def exists(self) -> bool:
        """What was to be made is there already."""
        return self.code.endswith(("AlreadyExists", "AlreadyExistsFault"))

    @property
    def throttled(self) -> bool:
        """The account asks too much at a time."""
        return self.code in _THROTTLED

    @property
    def wrong_state(self) -> bool:
        """It is there, and busy with something else."""
        return self.code.startswith("Invalid") and self.code.endswith(("State", "StateFault"))


class Cloud:
    """The RDS API as one login sees it. Methods raise AnswerError where it refuses, DatabosunError for all else.

    `attempts`: 1 for what must not be done twice; a call whose answer was lost is sent again otherwise.
    """

    def __init__(self, target: Target, region: str | None = None, *, attempts: int | None = None) -> None:
        rds = rds_of(target)
        self.region = region or rds.region
        self.who = f"Secret {rds.secret}" if rds.secret else "the workload identity of the Job's service account"
        keys = target.credentials.cloud
        self._client: Any = boto3.session.Session().client(
            "rds",
            region_name=self.region,
            endpoint_url=rds.endpoint,
            aws_access_key_id=keys[0] if keys else None,
            aws_secret_access_key=keys[1] if keys else None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": attempts or ATTEMPTS, "mode": "standard"},
            ),
        )

    def ask(self, action: str, **given: Any) -> Mapping[str, Any]:
        """One call, such as `describe_db_instances`."""
        try:
            answer: Mapping[str, Any] = getattr(self._client, action)(**given)
        except ClientError as error:
            said = error.response.get("Error", {})
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 400)
            raise AnswerError(_iam(action), said.get("Code", ""), said.get("Message", ""), status) from error
        except NoCredentialsError as error:
            message = (
                "AWS was given no credentials: name a Secret in spec.rds.credentialsSecretRef, or a service account "
                "with an IAM role in podTemplate.serviceAccountName"
            )
            raise UserFault(Reason.CLOUD_CREDENTIALS_INVALID, message) from error
        except BotoCoreError as error:
            message = f"the RDS API of {self.region} does not answer {_iam(action)}: {' '.join(str(error).split())}"
            raise WorldFault(Reason.CLOUD_UNREACHABLE, message[:1000]) from error
        return answer

    def pages(self, action: str, what: str, **given: Any) -> Iterator[Mapping[str, Any]]:
        """The items of a list, page by page."""
        marker: Mapping[str, Any] = {}
        while True:
            answer = self.ask(action, **given, **marker)
            yield from answer.get(what, ())
            if not answer.get("Marker"):
                return
            marker = {"Marker": answer["Marker"]}

    def fault(self, error: AnswerError, doing: str) -> DatabosunError:
        """What a refusal means where nobody knows better."""
        return fault_of(error, doing, self.who, self.region)


def rds_of(target: Target) -> RDSTarget:
    """The instance or cluster that a request names."""
    rds = target.database.rds
    if rds is None:
        raise UserFault(Reason.INSTANCE_MISSING, "the Database says no spec.rds, which engine RDS needs")
    return rds


def fault_of(error: AnswerError, doing: str, who: str, region: str) -> DatabosunError:
    """UserFault for what a grant, a key or a quota mends; WorldFault for what passes."""
    said = f"{doing} in {region}: {error.code}: {' '.join(error.message.split())}"[:800]
    if error.code in _DENIED:
        return UserFault(Reason.CLOUD_PERMISSION_DENIED, f"{said}; grant {error.action} to {who}")
    if error.code in _LOGIN:
        return UserFault(Reason.CLOUD_CREDENTIALS_INVALID, f"{said}; correct {who}")
    if error.throttled:
        return WorldFault(Reason.CLOUD_THROTTLED, f"{said}; the account asks too much of the API")
    if any(word in error.code for word in _QUOTA):
        return UserFault(Reason.CLOUD_QUOTA, f"{said}; have the quota raised, or delete what is not needed")
    if error.missing:
        return UserFault(Reason.INSTANCE_MISSING, f"{said}; correct spec.rds of the Database")
    if error.wrong_state:
        return WorldFault(Reason.INSTANCE_NOT_AVAILABLE, f"{said}; the next attempt looks anew")
    return WorldFault(Reason.CLOUD_FAILED, said)


def _iam(action: str) -> str:
    """The IAM action of a call: `rds:CreateDBSnapshot` of `create_db_snapshot`."""
    words = "".join("DB" if word == "db" else word.capitalize() for word in action.split("_"))
    return f"rds:{words}"
