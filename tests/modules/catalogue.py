"""The modules that the token suite runs on, by name."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.modules.memory import memory
from tests.modules.nss import nss
from tests.modules.opencryptoki import opencryptoki
from tests.modules.p11_kit import p11_kit
from tests.modules.softhsm import piv, rsa_card, softhsm
from tests.modules.tpm2 import tpm2
from tests.modules.under_test import ModuleUnderTest

Start = Callable[[Path], AbstractContextManager[ModuleUnderTest]]

MODULES: Mapping[str, Start] = {
    "memory": memory,
    "softhsm2": softhsm,
    "softhsm2-piv": piv,
    "softhsm2-rsa-card": rsa_card,
    "nss": nss,
    "opencryptoki": opencryptoki,
    "tpm2": tpm2,
    "p11-kit": p11_kit,
}
