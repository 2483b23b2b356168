"""What a participant's own machine remembers of a repair, and what of that goes into the folder."""

from collections.abc import Mapping
from typing import Any

from signer.ceremony.repair_delta import DeltaFile
from signer.ceremony.repair_sigma import SigmaBody, SigmaFile
from signer.ceremony.repair_steps import RepairMemory
from signer.ceremony.steps import Me
from signer.custody.ceremony_state import ACKNOWLEDGEMENT, COMPLAINT, CeremonyState
from signer.custody.ceremony_state import file_name as name_of
from signer.errors import CeremonyError
from signer.strict import Fields, canonical, parse_object

HELPED, ADDED_UP, REPLACED = "helped.json", "sigma.json", "replacement.json"
_MAX_KEPT = 256 * 1024


def memory_of(desk: CeremonyState) -> RepairMemory:
    """Return what was done so far.

    Raises:
        SignerError: the state folder is damaged.
    """
    delta, transcript = None, None
    if desk.get(HELPED) is not None:
        delta = DeltaFile.parse(helped_of(desk)["delta"].encode(), HELPED).digest
    if (raw := desk.get(ADDED_UP)) is not None:
        signed = SigmaFile.parse(raw, ADDED_UP).signed
        transcript = SigmaBody.parse(signed.payload, ADDED_UP).transcript
    return RepairMemory(
        delta=delta,
        transcript=transcript,
        replaced=desk.get(REPLACED) is not None,
        finished=desk.get(ACKNOWLEDGEMENT) is not None,
        complained=desk.get(COMPLAINT) is not None,
    )


def outgoing(desk: CeremonyState, me: Me) -> Mapping[str, bytes]:
    """Return what this desk has to show, by the name it has in the folder."""
    files: dict[str, bytes] = {}
    index = me.member if me.dealer is None else me.dealer
    if index is None:
        return files
    if desk.get(HELPED) is not None:
        files[name_of("delta", index)] = helped_of(desk)["delta"].encode()
    for kind, kept in (
        ("sigma", ADDED_UP), ("ack", ACKNOWLEDGEMENT), ("replacement", REPLACED),
    ):  # fmt: skip
        if (data := desk.get(kept)) is not None:
            files[name_of(kind, index)] = data
    if (data := desk.get(COMPLAINT)) is not None:
        said = Fields(parse_object(data, what=COMPLAINT, max_bytes=_MAX_KEPT), COMPLAINT)
        helper = said.integer("helper", low=1, high=2**16)
        files[name_of("complaint", index, helper)] = canonical(said.take("signed")) + b"\n"
    for path in sorted(desk.path.glob("opening-*.json")):
        files[path.name] = desk.get(path.name) or b""
    return files


def helped_of(desk: CeremonyState) -> dict[str, Any]:
    """Return the deltas that were made, and the sealed session seed that they came of."""
    raw = desk.get(HELPED)
    value = {} if raw is None else parse_object(raw, what=HELPED, max_bytes=_MAX_KEPT)
    if set(value) != {"session", "delta"} or not isinstance(value["delta"], str):
        raise CeremonyError(f"{HELPED} in the state folder is damaged", code="E_CEREMONY_STATE")
    return value
