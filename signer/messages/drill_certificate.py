"""A drill certificate: who has shown, and when, that his share can still be used.

It is about one group in one epoch, and holds reports under the orders that they answer. Whatever
can be read as one was verified: see `DrillReport`. Where t holders answered the same order, their
partials were combined as well, in sets that use each of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import InputError
from signer.messages.drill import DrillOrder
from signer.messages.drill_report import (
    DEVICE_ROLES,
    SCRATCH,
    Drilled,
    DrillReport,
    signed_report,
)
from signer.messages.group_file import GroupFile
from signer.messages.group_id import MAX_EPOCH
from signer.strict import Fields, canonical, parse_object
from signer.threshold.covering import combine_each
from signer.threshold.params import MAX_HOLDERS

MAX_BYTES = 4 * 1024 * 1024
MAX_DRILLS = 500  # of one certificate


@dataclass(frozen=True, slots=True)
class Drill:
    """One order and the reports about it, in index order."""

    order: DrillOrder
    reports: tuple[DrillReport, ...]


@dataclass(frozen=True, slots=True)
class DrillCertificate:
    """Reports that were verified, the newest drill first. There is no other way to get one."""

    group: GroupFile
    drills: tuple[Drill, ...]

    @classmethod
    def of(cls, group: GroupFile, drills: Iterable[Drill]) -> Self:
        """Keep of `drills` what tells the last time of each device; what stands first wins a tie.

        Raises:
            ValueError: there is no report at all.
        """
        found = [(report, drill.order) for drill in drills for report in drill.reports]
        if not found:
            raise ValueError("a drill certificate needs a report")
        seen: set[tuple[int, bytes | str]] = set()
        kept: dict[bytes, tuple[DrillOrder, dict[int, DrillReport]]] = {}
        for report, order in sorted(found, key=lambda pair: -pair[0].body.moment):
            keys = {_device_key(report, device) for device in report.body.devices}
            if not keys <= seen:
                seen |= keys
                reports = kept.setdefault(order.digest, (order, {}))[1]
                reports.setdefault(int(report.index), report)
        merged = [
            Drill(order, tuple(reports[index] for index in sorted(reports)))
            for order, reports in kept.values()
        ]
        merged.sort(key=lambda drill: (-drill.order.moment, drill.order.digest))
        certificate = cls(group, tuple(merged[:MAX_DRILLS]))
        certificate.combined_sets()
        return certificate

    @property
    def missing(self) -> tuple[int, ...]:
        """The share indices without a report."""
        there = {report.index for drill in self.drills for report in drill.reports}
        return tuple(int(index) for index in self.group.indices if index not in there)

    def combined_sets(self) -> list[tuple[int, ...]]:
        """Combine each order's partials, if there are t, so that each is used; return the sets.

        Raises:
            EngineError: this machine erred.
        """
        sets: list[tuple[int, ...]] = []
        for drill in self.drills:
            if len(drill.reports) >= self.group.threshold.t:
                partials = {report.index: report.partial for report in drill.reports}
                sets += combine_each(drill.order.point, partials, self.group.vector)
        return sets

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as a JSON object."""
        return {
            "type": "signer-drill-certificate",
            "version": 1,
            "group": self.group.group_id.hex(),
            "epoch": self.group.epoch,
            "drills": [
                {
                    "order": drill.order.to_json(),
                    "reports": [report.signed.to_json() for report in drill.reports],
                }
                for drill in self.drills
            ],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, newline at the end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, group: GroupFile, now: int, what: str) -> Self:
        """Read a certificate and verify all of it under `group`'s cards and public shares.

        Args:
            raw: the bytes of its file.
            group: of the file, never of the certificate.
            now: Unix seconds; what is dated later proves nothing.
            what: what to call it in errors.

        Raises:
            SchemaError: not this format.
            InputError: E_DRILL, E_PARTIAL_…: it does not hold; says whose report.
        """
        fields = Fields(parse_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("type", "signer-drill-certificate")
        fields.constant("version", 1)
        group_id = fields.hex_bytes("group", 32)
        epoch = fields.integer("epoch", low=1, high=MAX_EPOCH)
        entries = fields.array("drills", low=1, high=MAX_DRILLS)
        fields.done()
        if (group_id, epoch) != (group.group_id, group.epoch):
            raise InputError(
                f"{what}: it is of another group or epoch",
                code="E_DRILL",
                hint="shares of a new epoch need a drill of their own",
            )
        drills = [_drill(entry, group, now, what) for entry in entries]
        _refuse_repeats(drills, what)
        certificate = cls(group, tuple(drills))
        certificate.combined_sets()
        return certificate


@dataclass(frozen=True, slots=True)
class LastDrill:
    """When a device was last seen to open the share."""

    index: int
    device: Drilled
    moment: int  # Unix seconds


def last_drills(certificates: Sequence[DrillCertificate]) -> list[LastDrill]:
    """Return the last drill of each device in `certificates`, by holder, the primary first."""
    last: dict[tuple[int, bytes | str], LastDrill] = {}
    for report in (r for c in certificates for drill in c.drills for r in drill.reports):
        for device in report.body.devices:
            key = _device_key(report, device)
            if key not in last or last[key].moment < report.body.moment:
                last[key] = LastDrill(int(report.index), device, report.body.moment)
    return sorted(last.values(), key=_by_holder)


def _by_holder(entry: LastDrill) -> tuple[int, int, bytes]:
    return entry.index, DEVICE_ROLES.index(entry.device.role), entry.device.kex


def _device_key(report: DrillReport, device: Drilled) -> tuple[int, bytes | str]:
    """Tell devices apart by their keys; a scratch token is another one every time."""
    return int(report.index), SCRATCH if device.role == SCRATCH else device.kex


def _drill(entry: Any, group: GroupFile, now: int, what: str) -> Drill:
    fields = Fields(entry, f"{what}: drill")
    order = DrillOrder.take(fields.nested("order"))
    values = fields.array("reports", low=1, high=MAX_HOLDERS)
    fields.done()
    if (order.group_id, order.epoch) != (group.group_id, group.epoch):
        raise InputError(f"{what}: an order is of another group or epoch", code="E_DRILL")
    reports = []
    for number, value in enumerate(values, start=1):
        name = f"{what}: report {number}"
        reports.append(DrillReport.open(signed_report(value, name), order, group, now, name))
    return Drill(order, tuple(reports))


def _refuse_repeats(drills: Sequence[Drill], what: str) -> None:
    orders = [drill.order.digest for drill in drills]
    twice = len(set(orders)) != len(orders)
    for drill in drills:
        indices = [report.index for report in drill.reports]
        twice = twice or len(set(indices)) != len(indices)
    if twice:
        raise InputError(f"{what}: an order or a holder stands in it twice", code="E_DRILL")
