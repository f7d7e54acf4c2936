"""Attaching to every kind of hook, seen to work by the program's own count; replacing; pins; the way without tcx."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import bpf_objects
from glasshive import bpf
from glasshive.bpf import inspect, link
from glasshive.bpf.clsact import TcFilter
from glasshive.errors import BpfError, CapabilityError, NotFoundError, UsageError

pytestmark = pytest.mark.root
TC, OTHER_TC, XDP_RUN, CONNECT, TRACEPOINT, RAW_TRACEPOINT, USER_FUNCTION, KERNEL_FUNCTION, LOOKUP = range(9)
LO = 1


@pytest.fixture
def obj() -> Iterator[bpf.LoadedObject]:
    spec = bpf.ObjectSpec.open(bpf_objects.compiled("hooks"))
    spec.rodata["only_pid"] = os.getpid()
    with spec.load() as loaded:
        yield loaded


@pytest.fixture
def pin() -> Iterator[Path]:
    bpf.mount_bpffs()
    path = Path(f"/sys/fs/bpf/glasshive-test-link-{os.getpid()}")
    yield path
    path.unlink(missing_ok=True)


def runs(obj: bpf.LoadedObject, which: int) -> int:
    return int(obj.maps[".bss"].get(0)["runs"][which])


def ping() -> None:
    """Send one datagram over lo."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as from_,
    ):
        to.bind(("127.0.0.1", 0))
        to.settimeout(5)
        from_.sendto(b"x", to.getsockname())
        to.recv(16)


needs_tcx = pytest.mark.skipif(not link.has_tcx(), reason="this kernel has no tcx (Linux 6.6)")


@needs_tcx
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_tcx(obj: bpf.LoadedObject, direction: link.Direction) -> None:
    def work() -> None:
        with bpf.expedited_rcu(), link.tcx(obj.programs["on_packet"], LO, direction) as made:
            ping()
            assert runs(obj, TC) == 1
            row = next(row for row in inspect.links() if row.id == made.id)
            assert (row.type, row.attach_type, row.ifindex) == ("tcx", f"tcx_{direction}", LO)
            assert row.program_id == made.program_id == obj.programs["on_packet"].id
            made.update(obj.programs["on_packet_too"])
            assert made.program_id == obj.programs["on_packet_too"].id
            ping()
            assert (runs(obj, TC), runs(obj, OTHER_TC)) == (1, 1)
        ping()
        assert (runs(obj, TC), runs(obj, OTHER_TC)) == (1, 1)

    bpf_objects.in_private_netns(work)


@needs_tcx
def test_pinned_link_is_taken_over_without_a_gap(obj: bpf.LoadedObject, pin: Path) -> None:
    def work() -> None:
        with bpf.expedited_rcu():
            first = link.attach_tc(obj.programs["on_packet"], LO, "ingress", pin)
            assert isinstance(first, link.Link)
            number = first.id
            first.close()
            ping()
            second = link.attach_tc(obj.programs["on_packet_too"], LO, "ingress", pin)
            assert isinstance(second, link.Link)
            assert second.id == number
            ping()
            assert (runs(obj, TC), runs(obj, OTHER_TC)) == (1, 1)
            second.close()
            with link.Link.open(pin) as opened:
                opened.detach()
            third = link.attach_tc(obj.programs["on_packet"], LO, "ingress", pin)  # the pin is of a dead link
            ping()
            assert (runs(obj, TC), runs(obj, OTHER_TC)) == (2, 1)
            pin.unlink()
            third.close()

    bpf_objects.in_private_netns(work)


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_cls_bpf_does_the_same(obj: bpf.LoadedObject, direction: link.Direction) -> None:
    def work() -> None:
        made = TcFilter(obj.programs["on_packet"], LO, direction)
        ping()
        made.update(obj.programs["on_packet_too"])
        ping()
        assert (runs(obj, TC), runs(obj, OTHER_TC)) == (1, 1)
        made.pin("/anywhere")
        made.close()
        ping()
        assert runs(obj, OTHER_TC) == 2
        again = TcFilter(obj.programs["on_packet"], LO, direction)  # as a restarted agent would
        listed = subprocess.run(
            ["tc", "filter", "show", "dev", "lo", direction], check=True, capture_output=True, text=True
        )
        assert listed.stdout.count("handle 0x67") == 1
        ping()
        assert (runs(obj, TC), runs(obj, OTHER_TC)) == (2, 2)
        again.close()
        again.close()
        ping()
        assert (runs(obj, TC), runs(obj, OTHER_TC)) == (2, 2)

    bpf_objects.in_private_netns(work)


def test_attach_tc_without_tcx(obj: bpf.LoadedObject, pin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "has_tcx", lambda: False)

    def work() -> None:
        made = link.attach_tc(obj.programs["on_packet"], LO, "ingress", pin)
        assert isinstance(made, TcFilter)
        ping()
        assert runs(obj, TC) == 1
        made.detach()

    bpf_objects.in_private_netns(work)


def test_absent_device_is_said(obj: bpf.LoadedObject) -> None:
    def work() -> None:
        with pytest.raises(BpfError, match="attach program on_frame to XDP of device 999"):
            link.xdp(obj.programs["on_frame"], 999)

    bpf_objects.in_private_netns(work)


def test_xdp(obj: bpf.LoadedObject) -> None:
    def work() -> None:
        with link.xdp(obj.programs["on_frame"], LO):
            ping()
        assert runs(obj, XDP_RUN) == 1

    bpf_objects.in_private_netns(work)


def test_network_namespace(obj: bpf.LoadedObject) -> None:
    def work() -> None:
        fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        with link.netns(obj.programs["on_lookup"], fd) as made:
            os.close(fd)
            ping()
            assert next(row for row in inspect.links() if row.id == made.id).attach_type == "sk_lookup"
        assert runs(obj, LOOKUP) > 0

    bpf_objects.in_private_netns(work)


@pytest.fixture
def group() -> Iterator[Path]:
    """A cgroup (v2) of our own."""
    mount = next(
        fields.split()[4]
        for fields, _, rest in (line.partition(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
        if rest.split()[0] == "cgroup2"
    )
    made = Path(mount) / f"glasshive-test-link-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


def test_cgroup(obj: bpf.LoadedObject, group: Path) -> None:
    script = "import socket; s = socket.socket(2, 2); s.connect(('127.0.0.1', 9))"
    with link.cgroup(obj.programs["on_connect"], group) as made:
        row = next(row for row in inspect.links() if row.id == made.id)
        assert (row.attach_type, row.cgroup_id) == ("cgroup_inet4_connect", group.stat().st_ino)
        joined = f'echo $$ > {group}/cgroup.procs; exec python3 -c "{script}"'
        subprocess.run(["sh", "-c", joined], check=True)
        assert runs(obj, CONNECT) == 1
        subprocess.run(["python3", "-c", script], check=True)  # outside the cgroup
        assert runs(obj, CONNECT) == 1


def test_every_hook_of_a_cgroup(group: Path) -> None:
    with bpf.ObjectSpec.open(bpf_objects.compiled("cgroup_hooks")).load() as hooks:
        links = {name: link.cgroup(program, group) for name, program in hooks.programs.items()}
        kinds = {links[name].id: hooks.programs[name].attach_type for name in links}
        listed = {row.id: row.attach_type for row in inspect.links() if row.id in kinds}
        for made in links.values():
            made.close()
    assert listed == {number: kind.name.lower() for number, kind in kinds.items() if kind is not None}
    assert len(listed) == 23


def test_cgroup_needs_an_attach_type(obj: bpf.LoadedObject) -> None:
    with pytest.raises(UsageError, match="does not say its attach type"):
        link.cgroup(obj.programs["on_packet"], "/")


def test_tracepoint(obj: bpf.LoadedObject) -> None:
    with link.tracepoint(obj.programs["on_tracepoint"], "syscalls", "sys_enter_getpgid"):
        os.getpgid(0)
    assert runs(obj, TRACEPOINT) == 1
    with pytest.raises(NotFoundError, match="no tracepoint nothing:like_it"):
        link.tracepoint(obj.programs["on_tracepoint"], "nothing", "like_it")


def test_raw_tracepoint(obj: bpf.LoadedObject) -> None:
    with link.raw_tracepoint(obj.programs["on_raw_tracepoint"], "sys_enter"):
        os.getpgid(0)
    assert runs(obj, RAW_TRACEPOINT) > 0


def test_uprobe(obj: bpf.LoadedObject) -> None:
    libc = next(
        line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("libc.so.6")
    )
    with link.uprobe(obj.programs["on_user_function"], libc, "getpgid", pid=os.getpid()):
        ctypes.CDLL(None).getpgid(0)
    assert runs(obj, USER_FUNCTION) == 1
    with pytest.raises(NotFoundError, match="no function 'nothing_like_it'"):
        link.uprobe(obj.programs["on_user_function"], libc, "nothing_like_it")


@pytest.mark.vm
def test_kprobe(obj: bpf.LoadedObject) -> None:
    if not Path("/sys/bus/event_source/devices/kprobe").exists():
        with pytest.raises(CapabilityError, match="this kernel has no kprobes"):
            link.kprobe(obj.programs["on_kernel_function"], "__x64_sys_getpgid")
        pytest.skip("this kernel has no kprobes: the virtual machine lane has them")
    with link.kprobe(obj.programs["on_kernel_function"], "__x64_sys_getpgid"):
        os.getpgid(0)
    assert runs(obj, KERNEL_FUNCTION) == 1


@pytest.mark.vm
def test_lsm() -> None:
    spec = bpf.ObjectSpec.open(bpf_objects.compiled("lsm"))
    try:
        loaded = spec.load()
    except CapabilityError:
        with pytest.raises(CapabilityError, match="does not permit program on_file_open of type lsm"):
            spec.load()
        pytest.skip("this kernel refuses LSM programs: the virtual machine lane has them")
    with loaded, link.lsm(loaded.programs["on_file_open"]):
        Path("/proc/self/stat").read_text()
        assert loaded.maps[".bss"].get(0)["runs"] > 0
