"""What goes wrong, and how long it is borne."""

import email.utils
import random
import time
from collections.abc import Sequence

import msgspec

from buildpeer.client.ranges import Range

_LONGEST_RETRY_AFTER_S = 300.0


class ClientError(Exception):
    """Anything that keeps this client from doing what it was asked."""


class NetworkError(ClientError):
    """No answer, or one that isn't BuildPeer's (a captive portal's page, say). Trying later may help."""


class SilenceError(NetworkError):
    """A connection that stood brought no byte or answer for too long, and was given up."""


class StaleError(NetworkError):
    """The connection was closed while it lay idle: a fresh one is another matter."""


class ApiError(ClientError):
    """BuildPeer answered no. `code` is one of the API's closed list; `title` and `detail` are for people.

    `missing` is what an upload can't be completed without, `challenge` what the second step of a sign-in begins with.
    """

    def __init__(
        self,
        code: str,
        status: int,
        title: str,
        detail: str = "",
        *,
        retry_after_s: float | None = None,
        missing: Sequence[Range] = (),
        challenge: str = "",
    ) -> None:
        super().__init__(detail or title)
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.missing = missing
        self.challenge = challenge

    @property
    def passing(self) -> bool:
        """Whether the same call may well succeed a little later; after too many wrong passwords only people know, and
        after too many uploads tomorrow.
        """
        return self.code not in ("too_many_tries", "too_many_uploads_today") and (
            self.status in (408, 425, 429) or self.status >= 500
        )


class Patience(msgspec.Struct, frozen=True):
    """How long to go on.

    Refusals that may pass: `failures` in a row without progress, with growing pauses between them. A network that
    is away: `away_s` seconds without progress, looking again at least every `probe_s`. All in seconds.
    """

    failures: int = 8
    first_s: float = 1.0
    longest_s: float = 60.0
    away_s: float = 900.0
    probe_s: float = 4.0

    def pause_s(self, failures: int, error: Exception | None = None) -> float:
        """Seconds to wait after this many failures; what the server asked for in Retry-After comes first."""
        jitter = random.uniform(0.5, 1.0)  # noqa: S311  (spreads callers, hides nothing)
        asked = getattr(error, "retry_after_s", None)
        if asked is not None:
            return min(asked, _LONGEST_RETRY_AFTER_S) + self.first_s * jitter
        longest = self.probe_s if isinstance(error, NetworkError) else self.longest_s
        return min(longest, self.first_s * 2.0 ** min(failures - 1, 16)) * jitter


def retry_after_s(value: str | None) -> float | None:
    """Seconds or an HTTP date, as RFC 9110 §10.2.3 has it."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
