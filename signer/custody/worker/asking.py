"""Ask a person for a PIN and put it into a pipe. Whoever hired us holds the pipe, unread."""

import os
from typing import Any

from signer.custody.jobs.asking import AskPin
from signer.custody.worker.desk_token import pin_source
from signer.strict import Fields


def ask_pin(fields: Fields) -> dict[str, Any]:
    """Carry out the order. A pipe takes a PIN at once; one that nobody reads is our error."""
    job = AskPin.parse(fields)
    with pin_source(job.pin).read(job.token) as pin:
        os.write(job.into, pin.expose())
    os.close(job.into)
    return {}
