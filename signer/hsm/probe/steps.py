"""What a probe tries, one step after another, and what can be seen of a step. Pure.

The order is that of growing risk and cost: keys of RSA are slow to make on cards, two threads may
crash a module, a login anew forgets whatever the token knew. So what is lost by a step is little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from signer.strict import MAX_INTEGER, Fields

# works: the known answer was right. refused: a return value said no. wrong: it was done, and the
# answer is false. crashed: the process of the module died. late: no answer in time. skipped: not
# tried, the detail says why.
OUTCOMES = ("works", "refused", "wrong", "crashed", "late", "skipped")
MAX_DETAIL = 200
MAX_TIMES = 32
CODE_PATTERN = r"(CKR_[A-Z0-9_]{1,48}|0x[0-9a-f]{1,16})?"
# After one of these the PIN is not given again, right or not.
PIN_REFUSED = frozenset(
    (
        "CKR_PIN_INCORRECT",
        "CKR_PIN_INVALID",
        "CKR_PIN_LEN_RANGE",
        "CKR_PIN_EXPIRED",
        "CKR_PIN_LOCKED",
        "CKR_USER_PIN_NOT_INITIALIZED",
    )
)

# Facts that steps tell beside their outcome: booleans, or numbers.
FACT_NAMES = (
    "always_sensitive",
    "count_low_after",
    "count_low_before",
    "explicit_refused",
    "extractable",
    "host_checked",
    "largest",
    "local",
    "missing_raises",
    "never_extractable",
    "objects",
    "open",
    "point_raw",
    "process",
    "rsa_bits",
    "sensitive",
    "signatures",
)
HISTORY = ("local", "always_sensitive", "never_extractable")  # what a key says of its past


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is tried."""

    name: str
    title: str
    claims: tuple[str, ...] = ()  # mechanisms that a token which lists them claims to do it with
    needs: tuple[str, ...] = ()  # steps that must have worked before


STEPS = (
    Step("mechanisms", "mechanism list"),
    Step("login", "login with the PIN"),
    Step("token-objects", "objects on the token"),
    Step("login-scope", "one login for all sessions"),
    Step("second-login", "login while logged in"),
    Step("sessions", "sessions at once"),
    Step("random", "random generator"),
    Step("data-objects", "private data objects"),
    Step("p256-keys", "P-256 keys made on it", ("CKM_EC_KEY_PAIR_GEN",)),
    Step("hpke-p256", "ECDH for hpke-p256", ("CKM_ECDH1_DERIVE",), ("p256-keys",)),
    Step("ecdsa-p256", "ECDSA over a digest", ("CKM_ECDSA",), ("p256-keys",)),
    Step("find", "finding a key by its label", (), ("p256-keys",)),
    Step("attributes", "attributes of keys", (), ("p256-keys",)),
    Step("p256-made", "origin of a P-256 key made on it", (), ("p256-keys",)),
    Step("p256-imported", "origin of a P-256 key brought in"),
    Step("p256-extractable", "origin of a P-256 key made extractable", (), ("p256-keys",)),
    Step("aes-keys", "AES keys made on it", ("CKM_AES_KEY_GEN",)),
    Step("aes-256-gcm", "aes-256-gcm with AAD", ("CKM_AES_GCM",), ("aes-keys",)),
    Step("aes-made", "origin of an AES key made on it", (), ("aes-keys",)),
    Step("aes-imported", "origin of an AES key brought in"),
    Step("aes-extractable", "origin of an AES key made extractable", (), ("aes-keys",)),
    Step("rsa-keys", "RSA keys made on it", ("CKM_RSA_PKCS_KEY_PAIR_GEN",)),
    Step("rsa-oaep-sha256", "rsa-oaep-sha256", ("CKM_RSA_PKCS_OAEP",), ("rsa-keys",)),
    Step("rsa-oaep-sha1", "rsa-oaep-sha1", ("CKM_RSA_PKCS_OAEP",), ("rsa-keys",)),
    Step("rsa-made", "origin of an RSA key made on it", (), ("rsa-keys",)),
    Step("threads", "two threads at once", (), ("ecdsa-p256",)),
    Step("login-again", "login after a logout"),
    Step("objects-left", "objects on the token afterwards", (), ("token-objects",)),
)
STEP_NAMES = tuple(step.name for step in STEPS)
BY_NAME = {step.name: step for step in STEPS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one step."""

    step: str  # one of STEP_NAMES
    outcome: str  # one of OUTCOMES
    code: str = ""  # the return value that refused it, or that is part of the answer
    detail: str = ""  # printable ASCII, no name and no serial number of the token
    facts: Mapping[str, int] = field(default_factory=dict)  # of FACT_NAMES
    times: tuple[int, ...] = ()  # microseconds of each try

    @property
    def works(self) -> bool:
        """Whether the known answer was right."""
        return self.outcome == "works"

    @classmethod
    def skipped(cls, step: str, why: str) -> Self:
        """Return that a step was not tried."""
        return cls(step=step, outcome="skipped", detail=why)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "step": self.step,
            "outcome": self.outcome,
            "code": self.code,
            "detail": self.detail,
            "facts": dict(self.facts),
            "times": list(self.times),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take one from `fields`.

        Raises:
            SchemaError: it is none.
        """
        seen = cls(
            step=fields.choice("step", STEP_NAMES),
            outcome=fields.choice("outcome", OUTCOMES),
            code=fields.string("code", pattern=CODE_PATTERN, max_length=64),
            detail=fields.string("detail", pattern=r"[ -~]*", max_length=MAX_DETAIL),
            facts=_facts(fields.nested("facts")),
            times=_times(fields),
        )
        fields.done()
        return seen


def reason_to_skip(step: str, outcomes: Mapping[str, str]) -> str | None:
    """Return why `step` cannot be tried after `outcomes` of earlier ones; None if it can."""
    missing = [name for name in BY_NAME[step].needs if outcomes.get(name) != "works"]
    return f"needs {BY_NAME[missing[0]].title}" if missing else None


def letters(says: Mapping[str, int]) -> str:
    """Return LOCAL, ALWAYS_SENSITIVE and NEVER_EXTRACTABLE as T/F/F; `-` for one not told."""
    told = (says.get(name) for name in HISTORY)
    return "/".join("-" if value is None else "T" if value else "F" for value in told)


def _facts(fields: Fields) -> dict[str, int]:
    facts: dict[str, int] = {}
    for name in FACT_NAMES:
        if fields.has(name):
            value = fields.take(name)
            if type(value) is not bool and (
                type(value) is not int or not 0 <= value <= MAX_INTEGER
            ):
                fields.fail(name, "must be true, false or a number")
            facts[name] = value
    fields.done()
    return facts


def _times(fields: Fields) -> tuple[int, ...]:
    times = fields.array("times", low=0, high=MAX_TIMES)
    if any(type(time) is not int or not 0 <= time <= MAX_INTEGER for time in times):
        fields.fail("times", "must be microseconds")
    return tuple(times)
