"""iptables and nftables: text in, the kernel's rules out. Runs in the network namespace of the caller."""

from __future__ import annotations

import shutil
import subprocess

from glasshive.errors import CapabilityError, KernelError

LOCK_SECONDS = 10
_HINT = "install the packages iptables and nftables (`make lab` does)"


def iptables_program(*, ipv4: bool, verb: str = "") -> str:
    """``iptables``, or with a verb ``iptables-restore`` and ``iptables-save``; the legacy kind where there is one.

    Legacy is what "iptables" has meant in comparisons, and lives beside nftables rules without mixing with them.
    """
    family = "iptables" if ipv4 else "ip6tables"
    tail = f"-{verb}" if verb else ""
    for name in (f"{family}-legacy{tail}", f"{family}{tail}"):
        if found := shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin"):
            return found
    raise CapabilityError(f"{family}{tail} is not installed", hint=_HINT)


def iptables_restore(text: str, *, ipv4: bool) -> None:
    """Apply a text as ``iptables-restore --noflush`` reads it: each table at once. KernelError says what it said."""
    _run([iptables_program(ipv4=ipv4, verb="restore"), "--noflush", "-w", str(LOCK_SECONDS)], text)


def iptables_chains(table: str, *, ipv4: bool) -> set[str]:
    """Chains of a table, the built-in ones included."""
    saved = _run([iptables_program(ipv4=ipv4, verb="save"), "-t", table], "")
    return {line[1:].split()[0] for line in saved.splitlines() if line.startswith(":")}


def iptables_rules(table: str, chain: str, *, ipv4: bool) -> list[str]:
    """Rules of one chain as ``-S`` prints them."""
    listed = _run([iptables_program(ipv4=ipv4), "-w", str(LOCK_SECONDS), "-t", table, "-S", chain], "")
    return [line for line in listed.splitlines() if line.startswith("-A")]


def nft(text: str) -> None:
    """Apply a text as ``nft -f`` reads it: one transaction. KernelError says what it said."""
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise CapabilityError("nft is not installed", hint=_HINT)
    _run([program, "-f", "-"], text)


def _run(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise KernelError(f"{' '.join(command[:1])}: {said[0] if said else f'status {done.returncode}'}", 0)
    return done.stdout
