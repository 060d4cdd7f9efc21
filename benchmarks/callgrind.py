# SPDX-License-Identifier: Apache-2.0
"""Instructions of parts of a program under valgrind's callgrind, counted from inside it.

The program asks callgrind itself, by valgrind's client requests: sequences of instructions that do nothing on a real
processor. So start-up runs at a tenth of the normal speed instead of a fiftieth, one process counts many parts, and no
compiler is needed: the sequence is four rotations and an exchange, called through ctypes.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# unsigned long request(unsigned long *arguments), by machine: see valgrind.h, VALGRIND_DO_CLIENT_REQUEST_EXPR.
# mov rax, rdi; xor edx, edx; rol rdi, 3, 13, 61 and 51; xchg rbx, rbx; mov rax, rdx; ret
SEQUENCES = {"x86_64": "4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3"}
BASE = ord("C") << 24 | ord("T") << 16
ZERO, DUMP_AT, START, STOP = BASE + 1, BASE + 3, BASE + 4, BASE + 5

_LABEL = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
_MISSES = re.compile(r"^totals: \d+ \d+ \d+ \d+ \d+ \d+ (\d+) (\d+) (\d+)", re.MULTILINE)
# A second-level cache of 1 MiB, as one core of the processor has on which the page was made.
CACHE = ("--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,8,64")


def missing() -> str:
    """Say why nothing can be counted here; empty if it can."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed (make apt installs it)"
    if platform.machine() not in SEQUENCES:
        return f"instructions are counted on {', '.join(SEQUENCES)} only, this is {platform.machine()}"
    return ""


class Requests:
    """Valgrind's client requests, for the process that is counted."""

    def __init__(self) -> None:
        code = bytes.fromhex(SEQUENCES[platform.machine()])
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._call = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(address)
        self._empty = self._arguments(START), self._arguments(STOP), self._arguments(ZERO)

    def count(self, label: str, run: Callable[[], object]) -> None:
        """Count what `run()` takes; `counts` finds it under `label`."""
        begin, end, zero = (ctypes.addressof(arguments) for arguments in self._empty)
        call = self._call
        gc.collect()
        gc.freeze()  # else a collection of everything imported falls into one part and not into the other
        gc.disable()
        call(zero)
        call(begin)
        run()
        call(end)
        gc.enable()
        text = ctypes.create_string_buffer(label.encode())
        dump = self._arguments(DUMP_AT, ctypes.addressof(text))
        call(ctypes.addressof(dump))

    @staticmethod
    def _arguments(request: int, argument: int = 0) -> ctypes.Array[ctypes.c_ulong]:
        return (ctypes.c_ulong * 6)(request, argument)


def counts(
    program: Path,
    arguments: Sequence[str],
    python: str = sys.executable,
    environment: Mapping[str, str] = os.environ,
    given: str = "",
    *,
    misses: bool = False,
) -> dict[str, int]:
    """Run `python program arguments` under callgrind; returns the instructions of the parts that it counted, by label.

    With `misses` returns instead how often something was not in a cache of 1 MiB, by callgrind's simulation.

    Raises:
        SystemExit: the program failed; its error output is in the message.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={directory}/out"]
        done = subprocess.run(
            [*command, *(CACHE if misses else ()), python, str(program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**environment, "PYTHONHASHSEED": "0"},
            input=given,
        )
        if done.returncode:
            raise SystemExit(f"{program.name} {' '.join(arguments)}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
        found = {}
        for path in Path(directory).iterdir():
            text = path.read_text()
            label, total = _LABEL.search(text), (_MISSES if misses else _TOTAL).search(text)
            if label and total:
                found[label[1]] = sum(map(int, total.groups()))
    return found
