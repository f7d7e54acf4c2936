"""Is an answer what it should be? Pure. A pass needs the proof of the one who was meant, not just any answer."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glasshive.connectivity.values import Check, Path, Row
from glasshive.model.check_result import Verdict

SHOWN_PROBLEMS = 3


def judge(check: Check, answer: Mapping[str, Any]) -> Path:
    """Compare one answer of the prober with what its check expects."""
    return Path(
        check.test,
        check.source.name,
        check.target,
        problem_of(check, answer),
        float(answer.get("ms", 0.0)),
        int(answer.get("attempts", 1)),
    )


def problem_of(check: Check, answer: Mapping[str, Any]) -> str:
    """Return what is wrong with an answer, "" if nothing is."""
    if check.too_long:
        return "" if answer.get("too_long") else f"a packet larger than the MTU was not refused: {answer.get('error')}"
    if answer.get("error"):
        return str(answer["error"])
    if check.provers:
        return _unproved(check, answer.get("reply") or {})
    if "mtu" in check.probe and answer.get("mtu") != check.probe["mtu"]:
        return f"learnt a path MTU of {answer.get('mtu')}, told was {check.probe['mtu']}"
    if check.code is not None and answer.get("code") != check.code:
        return f"the name server answered code {answer.get('code')}, expected {check.code}"
    if check.addresses is not None:
        found = {_plain(a) for a in answer.get("addresses") or ()}
        wanted = {_plain(a) for a in check.addresses}
        if found != wanted:
            return f"the name has {', '.join(sorted(found)) or 'no addresses'}, expected {', '.join(sorted(wanted))}"
    return ""


def _unproved(check: Check, reply: Mapping[str, Any]) -> str:
    token, given = str(check.probe["token"]), str(reply.get("proof", ""))
    if not any(hmac.compare_digest(proof(place.secret, token), given) for place in check.provers):
        return f"a stranger answered (calls itself {reply.get('name')!r}): it does not know the secret"
    if check.seen_as:
        seen = _plain(str(reply.get("source", "")))
        if seen not in {_plain(a) for a in check.seen_as}:
            return f"seen as {seen}, expected {' or '.join(sorted(check.seen_as))}"
    return ""


def proof(secret: str, token: str) -> str:
    """Return what only the holder of ``secret`` can answer to ``token``."""
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def _plain(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def rows_of(paths: Iterable[Path], order: Sequence[str]) -> list[Row]:
    """Return a row for each test, in the order in which the tests are listed."""
    by_test: dict[str, list[Path]] = {name: [] for name in order}
    for path in paths:
        by_test.setdefault(path.test, []).append(path)
    return [_row(name, found) for name, found in by_test.items() if found]


def _row(name: str, paths: list[Path]) -> Row:
    bad = [path for path in paths if path.problem]
    slowest = max(path.ms for path in paths)
    if bad:
        shown = "; ".join(f"{p.source} -> {p.target}: {p.problem}" for p in bad[:SHOWN_PROBLEMS])
        more = f"; and {len(bad) - SHOWN_PROBLEMS} more" if len(bad) > SHOWN_PROBLEMS else ""
        detail = f"{len(bad)} of {len(paths)} failed: {shown}{more}"
        return Row(name, Verdict.FAIL, detail, tuple(paths), slowest / 1000)
    again = sum(path.attempts > 1 for path in paths)
    detail = f"{len(paths)} path{'s' if len(paths) > 1 else ''}, slowest {slowest:.0f} ms"
    detail += f", {again} needed another try" if again else ""
    return Row(name, Verdict.PASS, detail, tuple(paths), slowest / 1000)
