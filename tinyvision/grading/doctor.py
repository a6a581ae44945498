"""`tinyvision doctor`: how far this machine can keep a student's code apart, and what would help.

Every layer is tried, not guessed from versions. Where one is missing the reason and the commands
that bring it are named; what was reached stands in every result.
"""
from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tinyvision.grading import forkserver, jail, sandbox
from tinyvision.grading.inside import landlock, worker
from tinyvision.grading.jail import layers as reached

INSTALL = "apt install bubblewrap (Debian, Ubuntu) or dnf install bubblewrap (Fedora)"
UBUNTU = """\
Ubuntu 23.10 and later allow name spaces only to programs with an AppArmor profile. Write
/etc/apparmor.d/bwrap:
    abi <abi/4.0>,
    include <tunables/global>
    profile bwrap /usr/bin/bwrap flags=(unconfined) {
      userns,
    }
then: systemctl reload apparmor. Or, for every program: sysctl -w
kernel.apparmor_restrict_unprivileged_userns=0 (and the same line in
/etc/sysctl.d/60-userns.conf to keep it)."""
DEBIAN = "sysctl -w kernel.unprivileged_userns_clone=1 (keep it by a line in /etc/sysctl.d/)"
COUNT = "sysctl -w user.max_user_namespaces=10000 (keep it by a line in /etc/sysctl.d/)"
DOCKER = """\
In Docker or Podman start the container with --security-opt seccomp=unconfined
--security-opt apparmor=unconfined --security-opt systempaths=unconfined (or --privileged)."""
LANDLOCK = "Linux 5.13 or later, with landlock in the boot parameter lsm= (see " \
           "/sys/kernel/security/lsm)"
CLONE_NEWUSER = 0x10000000


@dataclass(frozen=True)
class Layer:
    """One layer of the sandbox.

    Attributes:
        name: what it is called.
        works: whether it works here.
        words: what was found.
        fix: what to do where it does not work; "" where nothing helps or is needed.
    """
    name: str
    works: bool
    words: str
    fix: str = ""


def layers() -> list[Layer]:
    """Every layer, tried on this machine."""
    if sys.platform != "linux":
        limits = "rlimits: time, file size" if worker.CAN_FORK else "no fork, no rlimits"
        return [Layer("sandbox", False, f"{sys.platform} has none of Linux's layers ({limits})",
                      "grade in Docker, in a Linux virtual machine or in WSL 2")]
    return [bubblewrap(), namespaces(), filters(), files(), rlimits(), memory(), fork_server()]


def bubblewrap() -> Layer:
    """The program that builds a file system and name spaces for one worker."""
    path = shutil.which("bwrap")
    if path is None:
        return Layer("bubblewrap", False, "not installed", INSTALL)
    version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.split()
    level, why = sandbox.probe()
    works = level == "strong"
    words = f"{' '.join(version[1:]) or '?'} at {path}"
    return Layer("bubblewrap", works, words if works else f"{words}: {why}",
                 "" if works else fix_of(why))


def fix_of(why: str) -> str:
    """What to do where bubblewrap is there but does not work."""
    return "apt install util-linux" if "setpriv" in why else namespaces().fix or DOCKER


def namespaces() -> Layer:
    """User name spaces, without which an unprivileged user has no others."""
    if jail.works(_new_user):
        return Layer("name spaces", True, "an unprivileged user may make them")
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return Layer("name spaces", False, "kernel.unprivileged_userns_clone is 0", DEBIAN)
    if _setting("user/max_user_namespaces") == "0":
        return Layer("name spaces", False, "user.max_user_namespaces is 0", COUNT)
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return Layer("name spaces", False, "AppArmor refuses them to unprivileged users", UBUNTU)
    where = "in this container" if in_container() else "here"
    return Layer("name spaces", False, f"refused {where}", DOCKER)


def _new_user() -> None:
    """Enter a user name space as nobody would."""
    if os.geteuid() == 0:
        os.setgroups([]), os.setgid(int(jail.NOBODY)), os.setuid(int(jail.NOBODY))
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER):
        os._exit(1)


def in_container() -> bool:
    """Whether this looks like a container."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def _setting(name: str) -> str:
    """A kernel setting; "" where there is none of that name."""
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""


def filters() -> Layer:
    """The filter of system calls."""
    works = "seccomp" in jail.guards()
    if works:
        return Layer("seccomp", True, "no programs, processes, sockets, signals to others")
    machine = os.uname().machine
    return Layer("seccomp", False, f"no filter can be set on {machine}",
                 "a kernel with CONFIG_SECCOMP_FILTER on x86_64 or aarch64")


def files() -> Layer:
    """Landlock."""
    if "landlock" in jail.guards():
        return Layer("Landlock", True, f"version {landlock.abi()} of its interface")
    return Layer("Landlock", False, "not in this kernel, or switched off", LANDLOCK)


def rlimits() -> Layer:
    """Limits of one process."""
    limits = jail.Limits()
    return Layer("rlimits", True, f"{limits.memory >> 30} GiB of memory, {limits.file >> 20} MB a "
                 f"file, {limits.cpu_seconds} s of processor time, each process")


def memory() -> Layer:
    """Memory of all processes of a worker together."""
    groups = "a writable cgroup v2 with a memory controller" if _delegated() else "no cgroup"
    alone = "seccomp" in jail.guards()
    words = "one process at a time (seccomp refuses a second), so its own limit is the tree's" \
        if alone else f"{jail.Limits().processes} processes may have their limit each"
    fix = "" if alone else "systemd-run --user --scope -p MemoryMax=4G tinyvision grade ..."
    return Layer("memory, tree", alone, f"{words}; {groups}", fix)


def _delegated() -> bool:
    """Whether this process may give groups of its own a limit of memory."""
    try:
        path = Path("/proc/self/cgroup").read_text().split("0::", 1)[1].split("\n")[0].lstrip("/")
        group = Path("/sys/fs/cgroup", path)
        return os.access(group, os.W_OK) and "memory" in (
            group / "cgroup.subtree_control").read_text().split()
    except (OSError, IndexError):
        return False


@functools.cache
def fork_server() -> Layer:
    """The fork server, which needs name spaces inside name spaces."""
    if sandbox.probe()[0] != "strong":
        return Layer("fork server", False, "needs isolation strong")
    try:
        with sandbox.fork_server():
            sandbox.Session("probe.py", b"", "strong").close()
    except (forkserver.ServerError, sandbox.SandboxError) as error:
        return Layer("fork server", False, str(error), namespaces().fix)
    return Layer("fork server", True, "grade --fork-server is possible")


# ---- the command ---------------------------------------------------------------------------------

def add(subparsers) -> None:
    """Add the command `doctor`."""
    command = subparsers.add_parser(
        "doctor", help="how well this machine can isolate a student's code, and how to improve it")
    command.set_defaults(run=run)


def run(_options) -> int:
    """Print the report: 0 where isolation is strong, else 1."""
    print(text())
    return 0 if sandbox.probe()[0] == "strong" else 1


def text() -> str:
    """The report."""
    level, why = sandbox.probe()
    found = reached(level)
    lines = [f"isolation: {level.upper()} ({', '.join(found) or 'nothing'})"]
    lines += [] if level == "strong" else [f"no better, because {why}"]
    for layer in layers():
        lines.append(f"  {'yes' if layer.works else 'no ':4}{layer.name:14}{layer.words}")
        for line in layer.fix.splitlines():
            lines += textwrap.wrap(line, 90, initial_indent=" " * 20, subsequent_indent=" " * 20,
                                   drop_whitespace=True)
    return "\n".join(lines)
