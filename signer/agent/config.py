"""agent.yaml: what one agent holds and whom it serves. Paths start at the file's folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from signer.custody.jobs.sources import SecretSource, TokenChoice, display_variables
from signer.errors import ConfigError, InputError, SchemaError
from signer.files import read_file
from signer.hsm.profile import load_profile
from signer.hsm.uri import TokenUri, is_uri
from signer.messages.networks import MAX_FILE_BYTES, Network, parse_network_file
from signer.strict import Fields
from signer.strict_yaml import parse_yaml_object

MAX_BYTES = 64 * 1024
MAX_SOCKET_PATH = 107  # bytes, sun_path of unix(7) without its NUL
_METHODS = ("status", "sign")
_OPTIONAL_METHODS = ("drill", "metrics")  # unless named: nobody; metrics as status
_PIN_KINDS = ("file", "credential", "descriptor", "pinentry", "pad", "ask")
_PATH = r"[^\x00\n]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """One agent's settings, parsed and with absolute paths."""

    socket: Path
    state: Path  # folder of the journal
    group: Path
    envelope: Path
    policy: Path
    token: TokenChoice
    pin: SecretSource | None  # None: each approval brings the PIN
    peers: Mapping[str, frozenset[int]]  # method to uids
    network: Network | None  # custom, pinned by digest
    threads: int
    probe_seconds: int = 10  # from one look at the token to the next
    control: Path | None = None  # the holder's private socket; without it nobody can approve
    holders: frozenset[int] = frozenset()  # uids that may use it

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path` strictly.

        Raises:
            InputError: it cannot be read.
            ConfigError: not this format, or a network file that is not the pinned one.
        """
        raw = read_file(path, what="agent configuration", max_bytes=MAX_BYTES)
        if path.stat().st_mode & 0o002:
            raise ConfigError(
                f"agent configuration {str(path)!r}: anybody may change it", hint="chmod o-w"
            )
        try:
            return cls._parse(raw, path)
        except SchemaError as error:
            raise ConfigError(error.message, hint="see deploy/agent.example.yaml") from None

    @classmethod
    def _parse(cls, raw: bytes, path: Path) -> Self:
        what = f"agent configuration {str(path)!r}"
        base = path.resolve().parent
        fields = Fields(parse_yaml_object(raw, what=what, max_bytes=MAX_BYTES), what)
        fields.constant("version", 1)
        token, pin_file = _token(fields.nested("token"), base)
        config = cls(
            socket=_path(fields, "socket", base),
            state=_path(fields, "state", base),
            group=_path(fields, "group", base),
            envelope=_path(fields, "envelope", base),
            policy=_path(fields, "policy", base),
            token=token,
            pin=_pin_beside(pin_file, fields, base),
            peers=_peers(fields.nested("peers")),
            network=_network(fields.nested("network"), base) if fields.has("network") else None,
            threads=fields.integer("threads", low=1, high=64) if fields.has("threads") else 1,
            probe_seconds=(
                fields.integer("probe_seconds", low=1, high=3600)
                if fields.has("probe_seconds")
                else 10
            ),
            control=_path(fields, "control", base) if fields.has("control") else None,
            holders=(
                _uids(fields, "holders") if fields.has("holders") else frozenset({os.geteuid()})
            ),
        )
        fields.done()
        for place in (config.socket, config.control):
            if place is not None and len(str(place).encode()) > MAX_SOCKET_PATH:
                raise ConfigError(f"{what}: a socket's path is over {MAX_SOCKET_PATH} bytes")
        if config.control == config.socket:
            raise ConfigError(f"{what}: 'control' and 'socket' must be two sockets")
        return config


def _path(fields: Fields, name: str, base: Path) -> Path:
    return base / fields.string(name, pattern=_PATH, max_length=4096)


def _token(fields: Fields, base: Path) -> tuple[TokenChoice, str | None]:
    """Take which token, and the PIN file if its URI names one."""

    def optional(name: str, pattern: str) -> str | None:
        return fields.string(name, pattern=pattern, max_length=4096) if fields.has(name) else None

    profile = fields.string("profile", pattern=_PATH, max_length=4096)
    if "/" in profile:
        profile = str(base / profile)
    module = optional("module", _PATH)
    place = None if module is None else str(base / module)
    uri = TokenUri()
    if fields.has("uri"):
        text = fields.string("uri", pattern=r".*", max_length=4096)
        uri = TokenUri.parse(text, f"{fields.what}: field 'uri'")
        if fields.has("label") or fields.has("serial"):
            fields.fail("uri", "says which token; 'label' or 'serial' beside it does too")
        if place is not None and uri.module not in (None, place):
            fields.fail("module", "is another than the URI's module-path")
        choice = TokenChoice.by_uri(load_profile(profile), uri, place or uri.module)
    else:
        choice = TokenChoice(
            profile=load_profile(profile),
            module=place,
            label=optional("label", r"[^\x00\n]{1,32}"),
            serial=optional("serial", r"[^\x00\n]{1,32}"),
        )
        if choice.label is not None and is_uri(choice.label):
            fields.fail("label", "is a URI: write 'uri'")
    fields.done()
    if choice.label is None and not choice.serial:
        fields.fail("uri", "with 'token' or 'serial' in it, or 'serial' or 'label', must say which")
    return choice, uri.pin_file


def _pin_beside(pin_file: str | None, fields: Fields, base: Path) -> SecretSource | None:
    """Take the source of the PIN; a URI that names its file stands for `pin`, or says the same."""
    if pin_file is None or fields.has("pin"):
        pin = _pin(fields.nested("pin"), base)
        if pin_file is not None and pin != SecretSource(file=pin_file):
            fields.fail("pin", "is another source than the pin-source of token.uri")
        return pin
    return SecretSource(file=pin_file)


def _pin(fields: Fields, base: Path) -> SecretSource | None:
    """Take the one source of the PIN; None where each approval brings it."""
    kinds = [name for name in _PIN_KINDS if fields.has(name)]
    if len(kinds) != 1:
        fields.fail("file", f"or another one of {', '.join(_PIN_KINDS)} must be given, just one")
    kind = kinds[0]
    if kind in ("ask", "pad"):
        if fields.boolean(kind) is not True:
            fields.fail(kind, "must be true, or absent")
        source = SecretSource(pad=True) if kind == "pad" else None
    elif kind == "file":
        source = SecretSource(file=str(_path(fields, "file", base)))
    elif kind == "credential":
        source = SecretSource(credential=_credential(fields))
    elif kind == "descriptor":
        source = SecretSource(descriptor=fields.integer("descriptor", low=3, high=1024))
    else:
        program = fields.nested("pinentry")
        source = SecretSource(
            pinentry=str(_path(program, "program", base)),
            display=display_variables(program.nested("environment"))
            if program.has("environment")
            else {},
        )
        program.done()
    fields.done()
    return source


def _credential(fields: Fields) -> str:
    """Return the path of a credential: absolute, or a name in what systemd made for the unit."""
    name = fields.string("credential", pattern=_PATH, max_length=4096)
    if name.startswith("/"):
        return name
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder.startswith("/") or "/" in name or name in ("", ".", ".."):
        fields.fail("credential", "is a name, and systemd has given this process no credentials")
    return f"{folder}/{name}"


def _peers(fields: Fields) -> dict[str, frozenset[int]]:
    peers = {}
    for method in (*_METHODS, *(name for name in _OPTIONAL_METHODS if fields.has(name))):
        peers[method] = _uids(fields, method)
    fields.done()
    return {"metrics": peers["status"], **peers}


def _uids(fields: Fields, name: str) -> frozenset[int]:
    uids = fields.array(name, low=0, high=64)
    if not all(type(uid) is int and 0 <= uid < 2**32 - 1 for uid in uids):
        fields.fail(name, "must be a list of user ids")
    return frozenset(uids)


def _network(fields: Fields, base: Path) -> Network:
    path = _path(fields, "file", base)
    pinned = fields.hex_bytes("digest", 32)
    fields.done()
    try:
        raw = read_file(path, what="network file", max_bytes=MAX_FILE_BYTES)
    except InputError as error:
        raise ConfigError(error.message) from None
    network = parse_network_file(raw, f"network file {str(path)!r}")
    if network.digest != pinned:
        raise ConfigError(
            f"network file {str(path)!r} is not the one pinned here",
            hint=f"its digest is {network.digest.hex()}; pin that only if you checked the file",
        )
    return network
