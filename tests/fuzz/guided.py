"""One target under atheris: `python -m tests.fuzz.guided TARGET CORPUS [libFuzzer's options]`."""

import sys

import atheris

with atheris.instrument_imports(include=["signer"]):
    from tests.fuzz.targets import targets

TARGET = targets()[sys.argv.pop(1)]


def once(data: bytes) -> None:
    """Feed one input."""
    TARGET.feed(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()
