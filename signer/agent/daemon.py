"""Run an agent until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from signer.agent.config import AgentConfig
from signer.agent.control import serving_holders
from signer.agent.log import EventLog
from signer.agent.metrics import Metrics
from signer.agent.notify import notify
from signer.agent.server import HEAD_SECONDS, AgentServer
from signer.agent.socket_path import BACKLOG, listen, passed_listener, remove
from signer.agent.tickets import TicketBook
from signer.custody.batch import Exposure
from signer.custody.custodian import Custodian, module_environment
from signer.custody.desk import Desk, require_pinned
from signer.custody.host_anchor import host_anchor_path
from signer.custody.journal import Journal
from signer.custody.mark import mark_journal, require_marked_journal
from signer.custody.pin_guard import PinGuard
from signer.custody.token_watch import TokenState, TokenWatch
from signer.custody.worker_process import run_worker
from signer.errors import ConfigError, SignerError
from signer.files import fsync_folder, make_folder
from signer.messages.dsse import SignedFile

STOP_SECONDS = 60.0  # a batch under way at SIGTERM may take this long to finish


def run_agent(config: AgentConfig, log: EventLog, witnesses: Sequence[SignedFile] = ()) -> None:
    """Serve `config` until SIGTERM or SIGINT, unless `witnesses` know of a later journal.

    Raises:
        SignerError: the files, the journal or the socket are not in order. Nothing was served.
    """
    os.umask(0o077)
    log.never_wait()
    log.take_over("aiohttp", "asyncio")
    desk = Desk.lay(config.group, config.policy, config.envelope)
    require_pinned(desk.group.network, config.network)
    _state_folder(config.state)
    path = config.state / "journal.jsonl"
    require_marked_journal(config.envelope, path)
    with Journal.open(
        path,
        desk.group,
        desk.index,
        recovered=desk.envelope.binding.recovered,
        host_anchor=(
            host_anchor_path(config.envelope)
            if config.token.profile.journal_anchor == "host"
            else None
        ),
    ) as journal:
        ignored = journal.require_not_behind(witnesses)
        if witnesses:
            log.write("witnesses_read", witnesses=len(witnesses) - ignored, ignored=ignored)
        journal.require_policy(desk.group.amendment_number, desk.policy.digest)
        if not mark_journal(config.envelope, path):
            log.write("journal_not_marked", envelope=str(config.envelope))
        if journal.torn:
            log.write("journal_tail_set_aside", sequence=journal.sequence)
        environment = module_environment(config.token.profile.environment)
        watch = TokenWatch(
            config.token,
            desk.envelope.recipients,
            environment,
            every=config.probe_seconds,
            on_change=lambda state: _log_token(log, state),
        )
        metrics = Metrics()
        custodian = Custodian(
            desk=desk,
            journal=journal,
            token=config.token,
            pin=config.pin,
            guard=PinGuard.open(config.state / "pin-guard.json"),
            environment=environment,
            threads=config.threads,
            worker=watch.during(metrics.timing(run_worker)),
            on_work=lambda exposure: _log_work(log, metrics, exposure),
            require_token=watch.require,
        )
        _check_anchor(custodian, log)
        with watch:
            server = AgentServer(
                custodian,
                config.peers,
                log,
                tickets=TicketBook() if config.control is not None else None,
                token_state=watch.state,
                metrics=metrics,
            )
            asyncio.run(_serve(config, server, log))
    log.write("stopped", sequence=journal.sequence)


async def _serve(config: AgentConfig, server: AgentServer, log: EventLog) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=HEAD_SECONDS,
        shutdown_timeout=STOP_SECONDS,
        handle_signals=False,
    )
    await runner.setup()
    passed = passed_listener(config.socket, os.environ)  # systemd made it, systemd removes it
    listener = listen(config.socket) if passed is None else passed
    bound = config.socket.lstat()
    try:
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        async with serving_holders(config.control, config.holders, server.intake, log):
            log.write("listening", socket=str(config.socket), pid=os.getpid())
            notify("READY=1", os.environ)
            await stop.wait()
            notify("STOPPING=1", os.environ)
            log.write("stopping")
    finally:
        if passed is None:
            remove(config.socket, bound)
        await runner.cleanup()
        server.close()


def _check_anchor(custodian: Custodian, log: EventLog) -> None:
    """Hold the journal against the token's anchor, if nobody is needed for the PIN.

    Raises:
        JournalError, AnchorError: a later journal is known; this agent must not serve.
    """
    profile = custodian.token.profile
    if profile.journal_anchor != "token" or custodian.pin is None or not custodian.pin.unattended:
        log.write(
            "journal_anchor", anchor=profile.journal_anchor, verified=custodian.journal.verified
        )
        return
    try:
        custodian.check_anchor()
    except SignerError as error:
        if error.code in ("E_ROLLBACK", "E_ANCHOR", "E_JOURNAL"):
            raise
        log.write("journal_anchor", anchor="token", verified=False, code=error.code)
    else:
        log.write("journal_anchor", anchor="token", verified=True)


def _state_folder(path: Path) -> None:
    make_folder(path, mode=0o700)
    with contextlib.suppress(OSError):  # of a folder that this user may only pass through
        fsync_folder(path.parent)
    status = path.stat()
    ours = status.st_uid in (os.geteuid(), 0)
    if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022 or not ours:
        raise ConfigError(
            f"others may change the state folder {str(path)!r}", hint=f"chmod 700 {path}"
        )


def _log_token(log: EventLog, state: TokenState) -> None:
    log.write("token_state", state=state.state, reason=state.reason, detail=state.detail)


def _log_work(log: EventLog, metrics: Metrics, exposure: Exposure) -> None:
    """Log what the worker says of itself: how long the share was open, what could not be locked."""
    metrics.unsealed(exposure.milliseconds, exposure.weaknesses)
    log.write(
        "worker_done",
        unsealed_milliseconds=exposure.milliseconds,
        weaknesses=", ".join(exposure.weaknesses)[:200],
    )
