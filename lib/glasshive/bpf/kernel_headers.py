"""A header tree for bcc, made from the running kernel's BTF, for hosts that have no kernel headers.

bcc compiles against ``<tree>/include/linux/kconfig.h``, which it includes by force before anything else. So that one
file does the work: it brings ``vmlinux.h`` (every type of this very kernel, written by bpftool) and
``kernel_macros.h`` (what BTF does not carry); every other header is a stub that includes it again. libbcc finds the
tree through ``BCC_KERNEL_SOURCE``. Measured in shared/reference/kernel-recipes.md, section 10.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from glasshive.bpf.probe.tools import find_program
from glasshive.errors import CapabilityError, KernelError

VMLINUX_BTF = Path("/sys/kernel/btf/vmlinux")
MACROS = Path(__file__).parent / "static" / "kernel_macros.h"
_INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([a-z0-9_./-]+\.h)[>"]', re.MULTILINE)

# Headers that bcc itself, its tools and most tutorials name. Others that a source names get a stub when it is compiled.
_STUBS = """
linux/types.h linux/version.h linux/sched.h linux/fs.h linux/bpf.h linux/ptrace.h linux/log2.h linux/kernel.h
linux/if_ether.h linux/if_packet.h linux/if_vlan.h linux/if.h linux/ip.h linux/ipv6.h linux/tcp.h linux/udp.h
linux/icmp.h linux/icmpv6.h linux/in.h linux/in6.h linux/socket.h linux/skbuff.h linux/netdevice.h linux/net.h
linux/pkt_cls.h linux/bpf_common.h linux/blkdev.h linux/blk-mq.h linux/blk_types.h linux/mm.h linux/mm_types.h
linux/mount.h linux/nsproxy.h linux/ns_common.h linux/pid_namespace.h linux/utsname.h linux/cred.h linux/dcache.h
linux/path.h linux/file.h linux/fdtable.h linux/signal.h linux/errno.h linux/string.h linux/stddef.h linux/list.h
linux/interrupt.h linux/irq.h linux/workqueue.h linux/delayacct.h linux/oom.h linux/module.h linux/time.h
linux/time64.h linux/jiffies.h linux/cgroup.h linux/byteorder.h linux/compiler.h linux/compiler_types.h
linux/rcupdate.h linux/swap.h linux/kdev_t.h linux/major.h linux/security.h linux/lsm_hooks.h linux/binfmts.h
linux/un.h linux/inet_diag.h linux/perf_event.h linux/uio.h linux/tty.h linux/audit.h net/sock.h net/inet_sock.h
net/tcp.h net/tcp_states.h net/ip.h net/ipv6.h net/udp.h net/net_namespace.h net/request_sock.h
net/inet_connection_sock.h net/af_unix.h net/ip_vs.h net/dst.h net/flow.h net/netfilter/nf_conntrack.h asm/page.h
asm/ptrace.h asm/types.h asm/byteorder.h asm/unistd.h asm/atomic.h asm/errno.h uapi/linux/bpf.h uapi/linux/ptrace.h
uapi/linux/if_ether.h uapi/linux/if_packet.h uapi/linux/ip.h uapi/linux/ipv6.h uapi/linux/tcp.h uapi/linux/udp.h
uapi/linux/in.h uapi/linux/in6.h uapi/linux/icmp.h uapi/linux/pkt_cls.h uapi/linux/limits.h uapi/linux/fs.h
uapi/linux/stat.h uapi/linux/unistd.h uapi/linux/types.h uapi/linux/un.h uapi/linux/perf_event.h
uapi/linux/bpf_perf_event.h uapi/linux/socket.h uapi/linux/errno.h uapi/asm-generic/mman-common.h
generated/uapi/linux/version.h generated/autoconf.h
""".split()  # noqa: SIM905 - a list of words reads better as one
_ARCHITECTURE_FOLDERS = ("include", "include/uapi", "include/generated", "include/generated/uapi")


def installed_headers() -> Path | None:
    """Give the headers of the running kernel, where the distribution's package is installed."""
    build = Path("/lib/modules") / platform.release() / "build"
    return build if (build / "include" / "linux" / "kconfig.h").exists() else None


def cache_folder() -> Path:
    """Give where trees are kept: one for each kernel and each state of the macro file."""
    if os.geteuid() == 0:
        root = Path("/var/cache/glasshive")
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "glasshive"
    return root / "headers"


def ensure_tree(*, cache: Path | None = None) -> Path:
    """Give the tree for the running kernel, making it (0.5 s, 4 MB) where it is not there yet.

    Raises CapabilityError where the kernel has no BTF or bpftool is missing, KernelError where bpftool cannot read it.
    """
    if not VMLINUX_BTF.exists():
        raise CapabilityError(
            f"bcc has no kernel headers to compile against: there is no {VMLINUX_BTF}",
            hint=f"use a kernel with CONFIG_DEBUG_INFO_BTF, or install the headers package for {platform.release()}",
        )
    tree = (cache or cache_folder()) / _name()
    if (tree / "include" / "linux" / "kconfig.h").exists():
        return tree
    tree.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix=".making-") as scratch:
        made = Path(scratch) / "tree"
        _make(made)
        # Another process may have been quicker; its tree is the same.
        with contextlib.suppress(OSError):
            made.rename(tree)
    return tree


def add_stubs(tree: Path, source: str) -> list[str]:
    """Give every kernel header that ``source`` names and the tree lacks a stub; gives their names."""
    added = []
    for name in _INCLUDE.findall(source):
        if ".." in name.split("/") or name.startswith(("/", "bcc/")):
            continue
        target = tree / "include" / name
        if not target.exists():
            _stub(target)
            added.append(name)
    return added


def _name() -> str:
    """Name the tree after the kernel, its BTF and our own part in it."""
    state = hashlib.sha256(MACROS.read_bytes() + Path(__file__).read_bytes() + platform.version().encode())
    return f"{platform.release()}-{state.hexdigest()[:12]}"


def _make(tree: Path) -> None:
    include = tree / "include"
    (include / "linux").mkdir(parents=True)
    (include / "vmlinux.h").write_text(_types(), encoding="utf-8")
    shutil.copyfile(MACROS, include / "kernel_macros.h")
    major, minor, patch = (*(int(part) for part in re.findall(r"\d+", platform.release())[:3]), 0, 0, 0)[:3]
    # bcc brings its own copy of linux/bpf.h, whose enums vmlinux.h has too: the guard keeps it out. Access to kernel
    # structs by plain offsets is exact, since the types are those of the running kernel.
    kconfig = f"""#ifndef GLASSHIVE_KCONFIG_H
#define GLASSHIVE_KCONFIG_H
#define _UAPI__LINUX_BPF_H__
#define BPF_NO_PRESERVE_ACCESS_INDEX
#define CONFIG_BPF_SYSCALL 1
#define LINUX_VERSION_CODE {(major << 16) + (minor << 8) + min(patch, 255)}
#include "vmlinux.h"
#include "kernel_macros.h"
#endif
"""
    for name in _STUBS:
        _stub(include / name)
    machine = {"x86_64": "x86", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    for folder in _ARCHITECTURE_FOLDERS:
        (tree / "arch" / machine / folder).mkdir(parents=True, exist_ok=True)
        (tree / folder).mkdir(parents=True, exist_ok=True)
    # Last: its presence says that the tree is whole.
    (include / "linux" / "kconfig.h").write_text(kconfig, encoding="ascii")


def _stub(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("#include <linux/kconfig.h>\n", encoding="ascii")


def _types() -> str:
    bpftool = find_program("bpftool")
    if bpftool is None:
        raise CapabilityError(
            "bpftool is missing, which writes vmlinux.h from the kernel's BTF", hint="apt-get install bpftool"
        )
    command = [bpftool, "btf", "dump", "file", str(VMLINUX_BTF), "format", "c"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode or "struct task_struct" not in done.stdout:
        raise KernelError(f"bpftool could not write vmlinux.h: {done.stderr.strip()[:200] or 'it gave no types'}")
    return done.stdout
