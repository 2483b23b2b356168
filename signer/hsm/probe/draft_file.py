"""The text of a drafted profile: YAML with a comment where a person has to decide. Pure."""

import json
from typing import Any

from signer.hsm.profile import DeviceProfile

_COMMENTS = {
    "name": "Call it by your device's name, and the file <name>.yaml.",
    "title": "What people call the device.",
    "modules": "Where the module is put, and by whom. The first that exists is loaded.",
    "environment": "Variables that the module reads: a worker inherits these and no others.",
    "initialise": "The command that initialises a token.",
    "seal": "Known-answer tests passed for these; without any, hpke-p256 stands for none.",
    "ceremony": "P-256 keys made on it, raw ECDH, raw ECDSA, all listed, and strict provenance.",
    "provenance": "strict only if keys made on it say so, and no other key does.",
    "key_backup": "Ask the vendor whether keys can be cloned or wrapped out.",
    "software": "true: it protects nothing. CKF_HW_SLOT is the module's word only.",
    "pin": "Lengths by CK_TOKEN_INFO. No wrong PIN is ever tried, so tries and lock are not seen.",
    "sessions": "No more than eight are opened. login: what one login counts for.",
    "objects": "Session objects were tried, none was stored.",
    "journal_anchor": "token needs data objects that stay; that was not tried.",
    "touch": "Whether somebody has to touch the device: none, login, use.",
    "quirks": "hsm_profiles/README.md explains each.",
    "evidence": 'How each fact is known. "run here": seen by the probe.',
}
_HEAD = (
    "# A draft: look at each `not known: fill in`, and at every fact that is `documented`, before\n"
    "# you use it with --profile FILE. hsm_profiles/softhsm2.yaml explains each field.\n"
)


def profile_text(profile: DeviceProfile) -> bytes:
    """Return the bytes of profile.yaml; `DeviceProfile.parse` reads them back."""
    lines = [_HEAD]
    for field, value in profile.to_json().items():
        if field in _COMMENTS:
            lines.append(f"\n# {_COMMENTS[field]}\n")
        if field == "evidence":
            lines.append("evidence:\n")
            lines += [f"  {fact}: {_flow(entry)}\n" for fact, entry in value.items()]
        elif field == "modules" and value:
            lines.append("modules:\n")
            lines += [f"  - {_flow(entry)}\n" for entry in value]
        else:
            lines.append(f"{field}: {_flow(value)}\n")
    return "".join(lines).encode()


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style. Every text is quoted, so none is read as another."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(entry) for entry in value) + "]"
    return json.dumps(value)
