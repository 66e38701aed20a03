"""What became of a step that failed: whether to wait, to look for the master anew, or to give it up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.redis.faults import reply_fault
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError

GRANTS = "+info +select +multi +discard +scan +dbsize +pttl +memory|usage +object|idletime +eval +unlink +pexpire"
# Inside of a script a server of version 6 has the word in the middle of what it says.
_GONE = re.compile(r"\b(READONLY|LOADING|MASTERDOWN|NOMASTERLINK|NOAUTH)\b")
_BUSY = re.compile(r"\b(BUSY|NOREPLICAS|MISCONF|OOM|TRYAGAIN)\b")


@contextmanager
def stepping(doing: str, user: str) -> Iterator[None]:
    """Turn what fails inside into a RuleFault. A connection that was lost is LOST, and so is a server that takes no
    writes any more; what another attempt would fail at too is PERMANENT."""
    try:
        yield
    except ReplyError as error:
        fault = fault_of(error, doing, user)
        raise RuleFault(fault.reason, fault.message, _trouble(str(error))) from error
    except WorldFault as fault:
        raise RuleFault(fault.reason, f"{doing}: {fault.message}", Trouble.LOST) from fault


def fault_of(error: ReplyError, doing: str, user: str) -> DatabosunError:
    """What it says, and for a grant that is missing what lifecycles need."""
    said = " ".join(str(error).split())[:500]
    if not re.search(r"\bNOPERM\b", said):
        return reply_fault(error, doing, user)
    message = (
        f"{doing}: {said}; run `ACL SETUSER {user or 'default'} ~PATTERN {GRANTS}` with the rule's pattern on every"
        " node, and keep it (ACL SAVE, or CONFIG REWRITE)"
    )
    return UserFault(Reason.PERMISSION_DENIED, message)


def _trouble(said: str) -> Trouble:
    if _GONE.search(said):
        return Trouble.LOST
    return Trouble.BUSY if _BUSY.search(said) else Trouble.PERMANENT
