"""Checking a bitácora with nothing but its file and, to know who made it, a public key."""

from typing import Any

import msgspec
import pypdfium2 as pdfium

from buildpeer.modules.reports.rules import bitacora as rules
from buildpeer.modules.reports.rules import paper
from buildpeer.modules.reports.rules.paper import Bundle, Statement
from buildpeer.modules.reports.service.exporting import print_bundle, signatures_hash
from buildpeer.platform.signing import SignatureError, read_signed


class Checked(msgspec.Struct, frozen=True):
    """What a file turned out to be: good, if there are no problems. `trusted`: signed by a key that was given."""

    problems: list[str]
    trusted: bool = False
    statement: Statement | None = None
    bundle: Bundle | None = None


async def check_file(content: bytes, trusted_keys: list[dict[str, Any]] | None) -> Checked:
    """Check a bundle, or a PDF that holds one: the signature, the chain of notes, every signature of a party, and that
    the pages of a PDF say what its bundle says. Without keys the bundle's own is taken, which proves that nothing was
    changed after it was exported, not who exported it.
    """
    try:
        pages, attached = _open(content) if content.startswith(b"%PDF") else (None, content)
        bundle = msgspec.json.decode(attached, type=Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError, pdfium.PdfiumError, LookupError) as exc:
        return Checked([f"this is no exported bitácora: {exc}"])
    statement = _statement(bundle, trusted_keys)
    if statement is None or not bundle.format == statement.format == paper.FORMAT:
        return Checked(["the statement is not signed by the key" + (" that was given" if trusted_keys else " in it")])
    problems = rules.chain_problems([(note.content, note.hash) for note in bundle.notes], bundle.signatures)
    problems += _differences(bundle, statement)
    if pages is not None and not problems:
        problems += await _compare(pages, bundle, statement)
    return Checked(problems, trusted_keys is not None, statement, bundle)


async def _compare(pages: list[str], bundle: Bundle, statement: Statement) -> list[str]:
    """What the pages say otherwise than when they are printed anew."""
    try:
        printed, _ = _open(await print_bundle(bundle, statement))
    except (KeyError, ValueError) as exc:  # of a zone or a language that there isn't; signed by whoever made it
        return [f"it can't be printed: {exc}"]
    problems = [
        f"page {number} does not say what was signed"
        for number, (page, should) in enumerate(zip(pages, printed, strict=False), start=1)
        if page != should
    ]
    if len(pages) != len(printed):
        problems.append(f"it has {len(pages)} pages, and not the {len(printed)} that were printed")
    return problems


def _open(content: bytes) -> tuple[list[str], bytes]:
    """The text of each page of a PDF, and the bundle in it. Raises LookupError if there is none."""
    with pdfium.PdfDocument(content) as pdf:
        pages = [page.get_textpage().get_text_bounded() for page in pdf]
        for number in range(pdf.count_attachments()):
            attached = pdf.get_attachment(number)
            if attached.get_name() == paper.BUNDLE_FILE:
                return pages, bytes(attached.get_data())
    raise LookupError("no bundle is attached to it")


def _statement(bundle: Bundle, trusted_keys: list[dict[str, Any]] | None) -> Statement | None:
    for key in [bundle.public_key] if trusted_keys is None else trusted_keys:
        try:
            return msgspec.json.decode(read_signed(bundle.statement, key), type=Statement)
        except (SignatureError, msgspec.DecodeError):
            continue
    return None


def _differences(bundle: Bundle, statement: Statement) -> list[str]:
    head = bundle.notes[-1].hash if bundle.notes else ""
    problems: list[str] = []
    if (len(bundle.notes), head) != (statement.notes, statement.head):
        problems.append(f"these are not the {statement.notes} notes that were exported")
    if signatures_hash(bundle.signatures) != statement.signatures_hash:
        problems.append(f"these are not the {statement.signatures} signatures that were exported")
    for number, note in enumerate(bundle.notes, start=1):
        if f'"bitacora_id":"{statement.bitacora_id}"' not in note.content:
            problems.append(f"note {number} is of another bitácora")
    return problems
