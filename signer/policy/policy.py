"""The policy a pool agreed on: what its key may sign, for whom, and when a person must say yes.

Its digest stands in the group file, the first one's in every envelope too, so nobody changes it
alone. The digest is over the canonical form, in which every default is written out: comments, order
and spelling in the YAML file do not count, and two policies with one digest say the same.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from signer.errors import SchemaError
from signer.messages.address import ExecutionAddress
from signer.messages.items import KINDS, Change
from signer.policy.deposits import LABEL_PATTERN, DepositRule
from signer.policy.quantities import DAY, MINUTE, parse_seconds, seconds_text
from signer.policy.ranges import MAX_ENTRIES, Ranges, in_ranges, parse_ranges, ranges_json
from signer.strict import Fields, canonical

MAX_BYTES = 256 * 1024
MAX_ADDRESSES = 1000
MAX_UIDS = 64  # of a kind
_MAX_UID = 2**32 - 2
_DEFAULT_WINDOW, MAX_WINDOW = 14 * DAY, 90 * DAY
_MAX_DRILL = 1000 * DAY
_ALLOWED = {True: "allowed", False: "denied"}
_MAX_ABOVE = 19_999  # items; no request has more than one more, and `never` has to say so


@dataclass(frozen=True, slots=True)
class Approval:
    """When a person has to say yes: for more than `above` items; never, if that is None."""

    above: int | None

    def needed(self, items: int) -> bool:
        """Tell whether a person is needed before `items` items are signed."""
        return self.above is not None and items > self.above

    def to_json(self) -> str | dict[str, int]:
        """Return the canonical form."""
        if self.above is None:
            return "never"
        return {"above": self.above} if self.above else "always"

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """Take the field `approval`; always, if it is not there."""
        if not fields.has("approval"):
            return cls(0)
        value = fields.take("approval")
        if isinstance(value, dict):
            source = Fields(value, f"{fields.what}: approval")
            above = source.integer("above", low=1, high=_MAX_ABOVE)
            source.done()
            return cls(above)
        choice = Fields({"approval": value}, fields.what).choice("approval", ("always", "never"))
        return cls(0 if choice == "always" else None)


ALWAYS, NEVER = Approval(0), Approval(None)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Default deny: what is not here is not signed."""

    labels: Mapping[ExecutionAddress, str] = field(default_factory=dict)
    validators: Mapping[ExecutionAddress, Ranges] = field(default_factory=dict)  # absent: any
    exits: bool = False
    deposits: DepositRule | None = None
    requesters: Mapping[str, frozenset[int]] | None = None  # uids by kind; None: whoever may ask
    expiry_window: int = _DEFAULT_WINDOW  # seconds from now to the latest `expires`
    approval: Approval = ALWAYS
    drill_every: int | None = None  # seconds

    def useful_to(self, role: str) -> bool:
        """Tell whether a key of `role` can sign anything under it."""
        if role == "withdrawal":
            return bool(self.labels)
        return role != "validator" or self.exits or self.deposits is not None

    def to_json(self) -> dict[str, Any]:
        """Return the canonical form: every field, lists in ascending order."""
        addresses = [self._address_json(address) for address in sorted(self.labels)]
        uids = {kind: sorted(uids) for kind, uids in (self.requesters or {}).items()}
        every = self.drill_every
        return {
            "version": 2,
            "addresses": addresses or "none",
            "exits": "allowed" if self.exits else "denied",
            "deposits": "denied" if self.deposits is None else self.deposits.to_json(),
            "requesters": "anyone" if self.requesters is None else uids,
            "expiry_window": seconds_text(self.expiry_window),
            "approval": self.approval.to_json(),
            "drill": "never" if every is None else {"every": seconds_text(every)},
        }

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical(self.to_json())).digest()

    def allows(self, change: Change) -> bool:
        """Tell whether this validator may pay to this address."""
        validator_index, address = change
        if address not in self.labels:
            return False
        ranges = self.validators.get(address)
        return ranges is None or in_ranges(validator_index, ranges)

    def _address_json(self, address: ExecutionAddress) -> dict[str, Any]:
        ranges = self.validators.get(address)
        return {
            "address": address.wire,
            "label": self.labels[address],
            "validators": "any" if ranges is None else ranges_json(ranges),
        }

    @classmethod
    def parse(cls, value: Mapping[str, Any], what: str = "policy") -> Self:
        """Read a policy from its YAML or JSON object.

        Raises:
            SchemaError: not this format, something twice, or nothing that it would let through.
            AddressError: an address malformed, with a wrong checksum, or nobody's.
        """
        fields = Fields(dict(value), what)
        fields.constant("version", 2)
        labels, validators = _addresses(fields)
        deposits = _either(fields, "deposits", "denied")
        requesters = _either(fields, "requesters", "anyone")
        drill = _either(fields, "drill", "never")
        policy = cls(
            labels=labels,
            validators=validators,
            exits=fields.has("exits")
            and fields.choice("exits", ("allowed", "denied")) == "allowed",
            deposits=None if deposits is None else DepositRule.parse(deposits),
            requesters=None if requesters is None else _requesters(requesters),
            expiry_window=_seconds(fields, "expiry_window", MINUTE, MAX_WINDOW)
            if fields.has("expiry_window")
            else _DEFAULT_WINDOW,
            approval=Approval.take(fields),
            drill_every=None if drill is None else _drill(drill),
        )
        fields.done()
        if not (policy.labels or policy.exits or policy.deposits):
            raise SchemaError(
                f"{what}: it lets nothing through", hint="list addresses, exits or deposits"
            )
        return policy


def _either(fields: Fields, name: str, word: str) -> Fields | None:
    """Take an object; None if `word` stands there instead, or nothing."""
    if not fields.has(name):
        return None
    value = fields.take(name)
    return None if value == word else Fields(value, f"{fields.what}: {name}")


def _list(fields: Fields, name: str, word: str, most: int) -> list[Any]:
    """Take a list that is not empty; an empty one if `word` stands there instead, or nothing."""
    if not fields.has(name):
        return []
    value = fields.take(name)
    return [] if value == word else Fields({name: value}, fields.what).array(name, low=1, high=most)


def _addresses(
    fields: Fields,
) -> tuple[dict[ExecutionAddress, str], dict[ExecutionAddress, Ranges]]:
    labels: dict[ExecutionAddress, str] = {}
    validators: dict[ExecutionAddress, Ranges] = {}
    names: set[str] = set()
    for entry in _list(fields, "addresses", "none", MAX_ADDRESSES):
        source = Fields(entry, f"{fields.what}: address")
        address = ExecutionAddress.parse(source.take("address"), fields.what)
        label = source.string("label", pattern=LABEL_PATTERN, max_length=64)
        indices = _list(source, "validators", "any", MAX_ENTRIES)
        source.done()
        if address in labels:
            raise SchemaError(f"{fields.what}: {address} stands twice")
        if label in names:
            raise SchemaError(f"{fields.what}: label {label!r} stands twice")
        names.add(label)
        labels[address] = label
        if indices:
            validators[address] = parse_ranges(indices, f"{fields.what}: {label}: validators")
    return labels, validators


def _requesters(fields: Fields) -> dict[str, frozenset[int]]:
    requesters = {}
    for kind in KINDS:
        if not fields.has(kind):
            continue
        uids = fields.array(kind, low=0, high=MAX_UIDS)
        if not all(type(uid) is int and 0 <= uid <= _MAX_UID for uid in uids):
            fields.fail(kind, "must be a list of user ids")
        if len(set(uids)) != len(uids):
            fields.fail(kind, "names a user id twice")
        requesters[kind] = frozenset(uids)
    fields.done()
    return requesters


def _drill(fields: Fields) -> int:
    every = _seconds(fields, "every", DAY, _MAX_DRILL)
    fields.done()
    return every


def _seconds(fields: Fields, name: str, low: int, high: int) -> int:
    what = f"{fields.what}: field {name!r}"
    return parse_seconds(fields.take(name), what, low=low, high=high)
