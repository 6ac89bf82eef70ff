"""`python -m tests.hardened UNIT ARGUMENT...`: flexportd under what a unit of systemd restricts by seccomp.

SystemCallFilter=, SystemCallErrorNumber=, RestrictAddressFamilies= and MemoryDenyWriteExecute= become filters as
systemd makes them (systemd.exec(5)), with the sets of the systemd that is installed. The rest of the unit needs systemd
itself.
"""

import ctypes
import ctypes.util
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EQUAL, MASKED_EQUAL = 4, 7  # comparisons of libseccomp
LAST_FAMILY = 45  # AF_MCTP; systemd refuses all that it does not name
WRITE, EXECUTE = 2, 4  # protections of memory


class Condition(ctypes.Structure):
    """`struct scmp_arg_cmp`: what an argument of a call has to be for a rule to apply."""

    _fields_ = [
        ("argument", ctypes.c_uint),
        ("comparison", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


class Filter:
    """A seccomp filter of this process and whatever it executes."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(default))

    def add(self, action: int, name: str, *conditions: Condition) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # a system call of this architecture
            array = (Condition * len(conditions))(*conditions)
            rule = self._library.seccomp_rule_add_array
            code = rule(self._context, ctypes.c_uint32(action), number, len(conditions), array)
            assert code == 0, (name, code)

    def load(self) -> None:
        assert self._library.seccomp_load(self._context) == 0


def directives(unit: Path, name: str) -> list[str]:
    """The values of a directive in their order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def calls(names: list[str]) -> Iterator[str]:
    """System calls by name, those of a set (`@name`) one by one."""
    for name in names:
        if name.startswith("@"):
            shown = subprocess.run(
                ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
            ).stdout
            inner = [line.strip() for line in shown.splitlines()[1:]]
            yield from calls([one for one in inner if one and not one.startswith("#")])
        else:
            yield name


def restrict(unit: Path) -> None:
    """Install the filters."""
    error = ERRNO | getattr(errno, directives(unit, "SystemCallErrorNumber")[-1])
    allowed = set(calls(["@default"]))
    for value in directives(unit, "SystemCallFilter"):
        named = set(calls(value.removeprefix("~").split()))
        allowed = allowed - named if value.startswith("~") else allowed | named
    (families,) = directives(unit, "RestrictAddressFamilies")
    memory, network, program = Filter(ALLOW), Filter(ALLOW), Filter(error)
    if directives(unit, "MemoryDenyWriteExecute") == ["yes"]:
        both = WRITE | EXECUTE
        memory.add(ERRNO | errno.EPERM, "mmap", Condition(2, MASKED_EQUAL, both, both))
        memory.add(ERRNO | errno.EPERM, "mprotect", Condition(2, MASKED_EQUAL, EXECUTE, EXECUTE))
        memory.add(ERRNO | errno.EPERM, "pkey_mprotect", Condition(2, MASKED_EQUAL, EXECUTE, EXECUTE))
        memory.add(ERRNO | errno.EPERM, "shmat", Condition(2, MASKED_EQUAL, 0o100000, 0o100000))
    for number in set(range(LAST_FAMILY + 1)) - {getattr(socket, name) for name in families.split()}:
        network.add(ERRNO | errno.EAFNOSUPPORT, "socket", Condition(0, EQUAL, number))
    for name in allowed:
        program.add(ALLOW, name)
    memory.load()
    network.load()
    program.load()


if __name__ == "__main__":
    restrict(Path(sys.argv[1]))
    os.execv(sys.executable, [sys.executable, "-m", "flexportd", *sys.argv[2:]])
