"""Lambda function InstallLibraries: unpacks the libraries archive onto the shared files, for LibrariesSource=efs.

{"task": "install-libraries"}
{"task": "install-libraries", "digest": "6b2f…"}      only if this is the archive that the stack was deployed with
{"task": "install-libraries", "remove_others": true}  older libraries, too, that no worker has loaded for a day

Again is harmless: what is there stays. After a time-out it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from contracts.errors import InvalidMessage
from contracts.messages import is_probe
from contracts.stack_errors import ArchiveNotFound
from handlers import wiring
from handlers.probe import answer_probe
from handlers.warm_trainer import places
from libraries.install import install
from libraries.load import current_digest, deployed_digest

TASK = "install-libraries"
FIELDS = frozenset({"task", "digest", "remove_others"})


def handler(event: Mapping[str, Any], _context: wiring.LambdaContext) -> dict[str, Any]:
    """Install, or answer a probe.

    Returns:
        digest, files, bytes, seconds, unpacked (now, or before), removed (digests).
    """
    if is_probe(event):
        return answer_probe(TASK, current_digest(places()))
    digest, remove_others = event.get("digest", ""), event.get("remove_others", False)
    if event.get("task", TASK) != TASK or not event or not event.keys() <= FIELDS:
        raise InvalidMessage("event", str(dict(event))[:200], f'{{"task": "{TASK}"}}')
    if not isinstance(digest, str) or not isinstance(remove_others, bool):
        raise InvalidMessage("event", str(dict(event))[:200], "digest as a text, remove_others as true or false")
    where = places()
    trusted = deployed_digest(where)
    if digest not in ("", trusted):
        raise ArchiveNotFound("stack", f"it was deployed with {trusted}", digest)
    return asdict(install(wiring.objects(), where.shared, wanted=trusted, remove_others=remove_others))
