"""The closed list of problems that people and programs may meet, as RFC 9457 problem details.

A service raises `Problem("code", …)`; the http door turns it into `application/problem+json`. A code that is not
in `CODES` can't be raised, so the list is whole.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from buildpeer.platform import messages


class Code(msgspec.Struct, frozen=True):
    """One kind of problem: its HTTP status and a title that never changes."""

    status: int
    title: str


CODES: dict[str, Code] = {
    "bad_request": Code(400, "The request can't be read"),
    "bad_credentials": Code(401, "E-mail or password is wrong"),
    "not_signed_in": Code(401, "Sign in first"),
    "token_expired": Code(401, "The access token has expired"),
    "session_ended": Code(401, "The session has ended; sign in again"),
    "code_needed": Code(401, "A code is needed as well"),
    "code_wrong": Code(401, "The code is wrong or was used"),
    "pin_wrong": Code(401, "The PIN is wrong"),
    "device_locked": Code(403, "The device needs a manager's approval"),
    "not_allowed": Code(403, "Your role does not allow this"),
    "tenant_suspended": Code(403, "The company is suspended: it can be read, not changed"),
    "project_archived": Code(403, "The project is archived: it can be read, not changed"),
    "not_a_party": Code(403, "Only parties of the bitácora do this"),
    "not_found": Code(404, "There is no such thing, or it is not yours to see"),
    "method_not_allowed": Code(405, "This address does not take that method"),
    "last_owner": Code(409, "A company keeps at least one owner"),
    "totp_on": Code(409, "Two-step sign-in is on already"),
    "account_shared": Code(409, "The account belongs to another company, too"),
    "code_taken": Code(409, "Another project has this code"),
    "drawing_taken": Code(409, "Another drawing has this number"),
    "revision_filed": Code(409, "The drawing has this revision already"),
    "sheet_published": Code(409, "The sheet is published"),
    "sheets_unreviewed": Code(409, "Some sheets are not reviewed"),
    "document_filed": Code(409, "Drawings are made of this document"),
    "upload_conflict": Code(409, "This upload id is taken by another upload"),
    "upload_closed": Code(409, "The upload takes no more bytes"),
    "upload_incomplete": Code(409, "Some parts have not arrived"),
    "rfi_state": Code(409, "In its state the RFI does not take this"),
    "rfi_manager_missing": Code(409, "The RFI has no manager to go to"),
    "id_taken": Code(409, "This id is taken by something else"),
    "name_taken": Code(409, "Something else here has this name"),
    "location_cycle": Code(409, "A place can't lie in itself"),
    "log_open": Code(409, "The day is not completed"),
    "log_closed": Code(409, "The day is completed"),
    "conflict_resolved": Code(409, "Somebody has decided already"),
    "bitacora_not_open": Code(409, "The bitácora is not open yet"),
    "bitacora_closed": Code(409, "The bitácora is closed"),
    "bitacora_unsigned": Code(409, "Notes wait for signatures"),
    "report_published": Code(409, "The report is published"),
    "report_not_published": Code(409, "The report is not published"),
    "report_corrected": Code(409, "The report was corrected already"),
    "note_changed": Code(409, "The note says something else"),
    "party_taken": Code(409, "Somebody acts in one role only"),
    "folder_cycle": Code(409, "A folder can't lie in itself"),
    "folder_not_empty": Code(409, "Something lies in the folder"),
    "link_expired": Code(410, "The link has expired or was used"),
    "changed_meanwhile": Code(412, "It has changed since it was read"),
    "body_too_large": Code(413, "The request body is too large"),
    "unsupported_media_type": Code(415, "The request body must be JSON"),
    "if_match_needed": Code(428, "Say which version is to be changed"),
    "invalid": Code(422, "A field does not hold what it should"),
    "webhook_url_refused": Code(422, "Nothing may be sent to this address"),
    "webhook_disabled": Code(409, "The endpoint is disabled"),
    "too_many_webhooks": Code(409, "The company has as many endpoints as it may"),
    "reference_unknown": Code(422, "The request refers to what is not there"),
    "location_too_deep": Code(422, "Places lie at most ten deep"),
    "log_date_invalid": Code(422, "There is no such day yet, or it is too long ago"),
    "folder_too_deep": Code(422, "Folders lie at most twenty deep"),
    "archive_too_large": Code(422, "Too much for one archive"),
    "batch_too_large": Code(422, "Too many uploads in one call"),
    "batch_empty": Code(422, "No uploads in the call"),
    "file_empty": Code(422, "The file is empty"),
    "file_too_large": Code(422, "The file is too large"),
    "quota_exceeded": Code(403, "The company's storage is full"),
    "name_invalid": Code(422, "The name can't be a file name"),
    "id_invalid": Code(422, "The id is not a UUIDv7"),
    "password_weak": Code(422, "The password is too short"),
    "too_many_tries": Code(429, "Too many tries; wait"),
    "too_many_requests": Code(429, "Too many requests; wait"),
    "too_many_uploads_today": Code(429, "The company has opened as many uploads today as it may"),
    "too_many_jobs": Code(429, "Too many jobs are waiting; let some end first"),
    "too_many_streams": Code(429, "Too many open event streams"),
    "internal": Code(500, "Something broke on our side"),
    "unavailable": Code(503, "A part of the service is away; try again"),
}


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """An expected failure, told to the caller.

    People read the sentence that `messages.PROBLEMS` has for the code, in their language, with `facts` filled in;
    `detail` replaces it where only a programmer can help. The facts are members of the answer as well, `headers` go
    beside it.
    """

    headers: Mapping[str, str] = {}

    def __init__(self, code: str, detail: str = "", **facts: Any) -> None:
        self.code = code
        self.kind = CODES[code]
        self.facts = facts
        self._detail = detail
        super().__init__(f"{code}: {self.detail('en')}")

    def detail(self, language: str) -> str:
        """A sentence about this very case."""
        return self._detail or messages.PROBLEMS[self.code][language].format(**self.facts)

    def body(self, language: str) -> dict[str, Any]:
        """The problem as the fields of RFC 9457, plus our stable `code`."""
        return {
            "type": f"https://buildpeer.dev/problems/{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail(language),
            "code": self.code,
            **self.facts,
        }
