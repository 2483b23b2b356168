"""The order that asks a worker only for what every worker says: its weaknesses."""

from typing import Any

from signer.custody.jobs.hygiene import Hygiene
from signer.strict import Fields


def hygiene(fields: Fields) -> dict[str, Any]:
    """Do nothing."""
    Hygiene.parse(fields)
    return {}
