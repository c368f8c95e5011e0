"""Files written whole or not at all, copied so that nothing is shared, and told apart by their contents."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NAME = 255  # bytes; what common file systems take
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_ROOM = "no space left on this disk; make room and give the same command again, what is done is kept"


def atomic_write(path: str | Path, write: Callable[[BinaryIO], Any], sync: bool = False) -> None:
    """Lets `write` fill a temporary binary file beside `path`, then renames it; nothing is left on failure.

    `sync`: it is on the disk, name and all, when this returns. Many small files are better synced together (sync_all).
    OSError that names `path`, with the sentence NO_ROOM where the disk, or a quota, is full.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex[:16]}")  # short: `path` may have the longest name there is
    try:
        with temporary.open("wb") as file:
            write(file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        if error.errno in FULL or (error.errno is None and "written" in str(error)):  # as NumPy says it
            raise OSError(error.errno or errno.ENOSPC, NO_ROOM, str(path)) from error
        if error.filename == str(temporary):  # which nobody knows
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: str | Path) -> None:
    """Renames in `folder` are on the disk when this returns, where the system can do that (not on Windows)."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sync_file(path: str | Path) -> None:
    """The contents of a file that is there are on the disk when this returns."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_all(folder: str | Path) -> None:
    """Everything below `folder` is on the disk when this returns, names and all.

    Linux syncs the one file system that it lies on, in one go (1,000 new files of 40 KB: .04 s, one by one 3 to 7 s);
    other systems all of them, or file by file.
    """
    if not _sync_file_system(folder):
        if hasattr(os, "sync"):
            os.sync()
            return
        for path in Path(folder).rglob("*"):
            with contextlib.suppress(OSError):
                sync_file(path)


def _sync_file_system(folder: str | Path) -> bool:
    """syncfs of Linux, which does not wait for other disks, and says where one fails; False where there is none."""
    import ctypes

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, TypeError, AttributeError):  # TypeError: Windows
        return False
    number = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(number):
            code = ctypes.get_errno()
            raise OSError(code, NO_ROOM if code in FULL else os.strerror(code), str(folder))
    finally:
        os.close(number)
    return True


@contextlib.contextmanager
def private() -> Iterator[None]:
    """What this process and its children make meanwhile is their user's alone to read (no matter on Windows)."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_text(path: str | Path, text: str, sync: bool = False) -> None:
    """UTF-8, line ends as in `text`; `sync` as in atomic_write."""
    atomic_write(path, lambda file: file.write(text.encode("utf-8")), sync)


def name_of(stem: str, ending: str) -> str:
    """`stem` + `ending` as a file name; where that has more bytes than a name can, the stem's end becomes its hash.

    So that two long stems of one beginning have two names still.
    """
    whole = os.fsencode(stem)
    if len(whole) + len(os.fsencode(ending)) <= LONGEST_NAME:
        return stem + ending
    ending = f"_{hashlib.sha256(whole).hexdigest()[:16]}{ending}"
    return whole[: LONGEST_NAME - len(os.fsencode(ending))].decode("utf-8", "ignore") + ending


def plain_name(name: str) -> bool:
    """Whether a file or folder of that name stays in its folder, on Windows too."""
    return name not in ("", ".", "..") and not any(sign in name for sign in "/\\\0") and name[1:2] != ":"


def write_json(path: str | Path, value: Any) -> None:
    """Strict JSON (no NaN); what JSON does not know is written as its str."""
    content = json.dumps(value, indent=1, default=str, allow_nan=False).encode()
    atomic_write(path, lambda file: file.write(content), sync=True)


def write_table(path: str | Path, frame: pd.DataFrame) -> None:
    """Parquet without the index."""
    atomic_write(path, lambda file: frame.to_parquet(file, index=False), sync=True)


def file_sha256(path: str | Path) -> str:
    """64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: str | Path, target: str | Path) -> None:
    """`target` becomes a copy of `source` that shares nothing a user could change: cloned where the file system can.

    The kernel's copy_file_range clones extents (copy on write) on file systems that know how and copies elsewhere.
    Links are followed. The file appears whole or not at all.
    """
    with open(source, "rb") as read:
        atomic_write(target, lambda file: _copy(read, file))


def take_over(source: str | Path, target: str | Path, digest: str) -> bool:
    """`target` becomes another name of the file `source` of the same disk, which is not written again; whether it does.

    For a file of our own that is about to lose its name. It is copied where the file system gives no second names. No,
    and no file, where `source` is missing or its sha256 is not `digest`.
    """
    target = Path(target)
    target.unlink(missing_ok=True)
    try:
        try:
            os.link(source, target)
        except FileNotFoundError:
            return False
        except OSError:  # FAT, some network drives
            copy_file(source, target)
        if file_sha256(target) == digest:
            return True
    except FileNotFoundError:
        return False
    target.unlink()
    return False


def _copy(read: BinaryIO, file: BinaryIO) -> None:
    if hasattr(os, "copy_file_range"):
        size, done = os.fstat(read.fileno()).st_size, 0
        try:
            while done < size:
                copied = os.copy_file_range(read.fileno(), file.fileno(), size - done, done, done)
                if not copied:
                    break
                done += copied
            if done == size:
                return
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
        with contextlib.suppress(OSError):
            file.truncate(0)
        read.seek(0)
        file.seek(0)
    shutil.copyfileobj(read, file, 1 << 20)
