# SPDX-License-Identifier: Apache-2.0
"""OTLP JSON lines in a directory: one file a process, each line one Export*ServiceRequest.

A file that a process is writing is locked (flock), which ends with the process, however it ends, and is true across
containers that share the directory, where pids are not. Whoever gets the lock of a file may remove it. Lines are
written in one go and never left half: what did not fit is cut off again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

from otel_openstack.exporters.sink import Encoding, Outcome, Signal
from otel_openstack.runtime import notices, originals, process
from otel_openstack.runtime.originals import monotonic

SUFFIX = ".jsonl"
FILE_MODE, DIRECTORY_MODE = 0o640, 0o750
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
SWEEP_SHARE = 64  # the directory is swept when this part of the bound has been written
RESERVE_SHARE = 8  # and this part of it is kept free
LEAST_FILES = 4  # into which the bound is divided, so that making room never takes everything
SMALLEST = 64 * 1024  # bytes below which a file is not closed early to make room
PAUSE = 5.0  # seconds before a failed directory is tried again
ATTEMPTS = 100


class OtlpFile:
    """A sink that appends to files of its own in `directory`."""

    encoding: Encoding = "json"

    def __init__(self, directory: str, service: Callable[[], str], max_bytes: int, total_bytes: int) -> None:
        """Prepare; nothing is opened before the first line.

        Args:
            directory: made if missing; relative to the working directory of the process as it is now.
            service: returns the first part of the files' names; asked when a file is begun, for it is learned late.
            max_bytes: size at which a new file is begun.
            total_bytes: bound over all files of the directory, other processes' included.

        """
        self.directory = Path(directory).expanduser().absolute()
        self._service = service
        self._max_bytes = min(max_bytes, total_bytes // LEAST_FILES)
        self._total_bytes = total_bytes
        self._descriptor = -1
        self._owner = 0
        self._size = 0
        self._number = 0
        self._unswept = 0
        self._failing = False
        self._not_before = 0.0
        process.on_child(self._forget)

    def send(self, signal: Signal, payload: bytes, items: int, deadline: float) -> tuple[Outcome, int]:
        """See `Sink.send`."""
        line = payload + b"\n"
        if len(line) > self._max_bytes:
            notices.say("warning", f"a line of {len(line)} bytes is longer than a file may be; dropped")
            return Outcome.REJECTED, 0
        if monotonic() < self._not_before:
            return Outcome.RETRY, 0
        try:
            self._make_room(len(line))
            self._write(line)
        except OSError as error:
            self._failed(error)
            return Outcome.RETRY, 0
        if self._failing:
            self._failing = False
            notices.say("info", f"export to {self.directory} works again")
        return Outcome.DELIVERED, 0

    def close(self) -> None:
        """Close the file; the next line begins a new one."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def describe(self) -> str:
        """See `Sink.describe`."""
        return f"files in {self.directory}"

    def _make_room(self, length: int) -> None:
        if self._descriptor >= 0 and (self._size + length > self._max_bytes or not _exists(self._descriptor)):
            self.close()
        self._unswept += length
        if self._descriptor < 0 or self._unswept >= self._total_bytes // SWEEP_SHARE:
            self._sweep(length)
        if self._descriptor < 0:
            self._open()

    def _sweep(self, length: int) -> None:
        self.directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        self._unswept = 0
        # With a reserve: other processes write on while this one counts.
        allowed = self._total_bytes - max(length, self._total_bytes // RESERVE_SHARE)
        if remove_oldest(self.directory, allowed) > allowed and self._size > SMALLEST:
            self.close()  # from now on it can be removed like any other
            remove_oldest(self.directory, allowed)

    def _open(self) -> None:
        service = _safe(self._service())
        start = process.start_time_unix_nano() // 1_000_000
        for _ in range(ATTEMPTS):
            number = f".{self._number}" if self._number else ""
            name = f"{service}-{process.pid()}-{start}{number}{SUFFIX}"
            self._number += 1
            with contextlib.suppress(FileExistsError):
                self._descriptor, self._size = originals.open_file(self.directory / name, FLAGS, FILE_MODE), 0
                os.fchmod(self._descriptor, FILE_MODE)
                if _locked(self._descriptor) and _exists(self._descriptor):
                    return
                self.close()  # another process took it for a dead one's between its creation and the lock
        raise FileExistsError(errno.EEXIST, "no free name for a file", self.directory)

    def _write(self, line: bytes) -> None:
        written = originals.write(self._descriptor, line)
        if written == len(line):
            self._size += written
            return
        os.ftruncate(self._descriptor, self._size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.directory)

    def _failed(self, error: OSError) -> None:
        self.close()
        self._not_before = monotonic() + PAUSE
        if not self._failing:
            self._failing = True
            reason = (error.strerror or str(error)).lower()
            notices.say(
                "error",
                f"cannot write telemetry to {self.directory}: {reason}; make it writable for this user, or set "
                f"OTEL_OPENSTACK_FILE_DIRECTORY; the service goes on, the data is dropped and counted",
            )

    def _forget(self) -> None:
        self.close()
        self._number = self._unswept = 0
        self._failing, self._not_before = False, 0.0


def remove_oldest(directory: Path, allowed: int) -> int:
    """Remove files that nobody is writing, oldest first, until `directory` holds at most `allowed` bytes.

    Returns:
        The bytes that are left.

    Raises:
        OSError: the directory cannot be read.

    """
    with os.scandir(directory) as entries:
        files = [entry for entry in entries if entry.name.endswith(SUFFIX)]
    found = []
    for entry in files:
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime_ns, entry.path, status.st_size))
    total = sum(size for _, _, size in found)
    for _, path, size in sorted(found):
        if total <= allowed:
            break
        if _remove_if_dead(path):
            total -= size
    return total


def _remove_if_dead(path: str) -> bool:
    try:
        descriptor = originals.open_file(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(path).unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: then nobody else removes files either
        pass
    return True


def _exists(descriptor: int) -> bool:
    return os.fstat(descriptor).st_nlink > 0


def _safe(service: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in service)[:64]
    return kept.lstrip(".") or "unknown_service"
