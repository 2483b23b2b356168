"""Look at and change the data objects of a SoftHSM token, in a process of its own.

SoftHSM reads SOFTHSM2_CONF when it is loaded, so each token is looked at by another process.
"""

import json
import subprocess
import sys
from typing import Any, NamedTuple

from signer.hsm.data_objects import LABEL
from signer.testing.softhsm import USER_PIN, SoftHSM, module_path


class Found(NamedTuple):
    """A data object with the anchor's label."""

    name: str
    value: bytes
    private: bool


def data_objects(token: SoftHSM) -> list[Found]:
    """Return the data objects of the anchor's label."""
    return [
        Found(name, bytes.fromhex(value), private) for name, value, private in _do(token, "list")
    ]


def make_data_object(token: SoftHSM, name: str, value: bytes, *, private: bool = True) -> None:
    """Put an object there."""
    _do(token, "make", name=name, value=value.hex(), private=private)


def remove_data_objects(token: SoftHSM) -> None:
    """Remove every object of the anchor's label."""
    _do(token, "remove")


def _do(token: SoftHSM, what: str, **details: Any) -> Any:
    order = {"what": what, "module": str(module_path()), "token": token.label, "pin": USER_PIN}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(order | {"label": LABEL} | details),
        env=token.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


_PROGRAM = """
import json, sys
import pkcs11
from pkcs11 import Attribute as A, ObjectClass

order = json.load(sys.stdin)
token = pkcs11.lib(order["module"]).get_token(token_label=order["token"])
with token.open(rw=True, user_pin=order["pin"]) as session:
    search = {A.CLASS: ObjectClass.DATA, A.LABEL: order["label"]}
    found = list(session.get_objects(search))
    rows = []
    if order["what"] == "make":
        value = bytes.fromhex(order["value"])
        session.create_object({**search, A.TOKEN: True, A.PRIVATE: order["private"],
                               A.APPLICATION: order["name"], A.VALUE: value})
    elif order["what"] == "remove":
        for entry in found:
            entry.destroy()
    else:
        rows = [[e[A.APPLICATION], e[A.VALUE].hex(), e[A.PRIVATE]] for e in found]
print(json.dumps(rows))
"""
