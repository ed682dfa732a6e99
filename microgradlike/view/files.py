"""Files, written whole: whoever reads one meanwhile, or after a crash, finds the old content or the new."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file beside the one at `path`, then put it in its place: all of `content`, or nothing. Return `path`.

    An existing file keeps its permissions and, where this is allowed, its owner; a symbolic link
    stays, and the file that it leads to is replaced. Raises OSError, naming `path`, where that fails
    and whatever `writable` refuses.
    """
    old = writable(path)
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{uuid.uuid4().hex}")  # however long the name itself is, this one is allowed
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode)  # of what is open, the umask takes its part
    try:
        with open(beside, "xb", opener=lambda name, flags: os.open(name, flags, mode & 0o777)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            with suppress(OSError, AttributeError):  # another's file; Windows
                os.chown(beside, old.st_uid, old.st_gid)
            beside.chmod(mode)
        os.replace(beside, target)
        return path
    except OSError as error:
        raise type(error)(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            beside.unlink()


def writable(path: Path) -> os.stat_result | None:
    """Return what is known of the file at `path`, or None where there is none yet and one can be made.

    Raises OSError for a folder that does not exist, a file that may not be written to, and for all
    that is no file: a folder, a device such as /dev/full, a pipe.
    """
    cannot, found = f"cannot write {str(path)!r}", None
    try:
        folder = path.parent.is_dir()
        with suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
    except OSError as error:
        raise type(error)(f"{cannot}: {error.strerror}") from error
    if not folder:
        raise FileNotFoundError(f"{cannot}: there is no folder {str(path.parent)!r}")
    if found and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{cannot}: it is a folder")
    if found and not stat.S_ISREG(found.st_mode):
        raise OSError(f"{cannot}: it is a device or a pipe, expected a file or a new name")
    if found and not os.access(path, os.W_OK):
        raise PermissionError(f"{cannot}: it is read-only")
    return found
