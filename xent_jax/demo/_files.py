"""Output files: found writable before the work, and then written whole or not at all."""

import os
import tempfile
from pathlib import Path

from ._errors import DemoError


def check_writable(option: str, path: Path) -> None:
    """Raise a `DemoError` unless a file can be made at ``path`` or replaced there."""
    try:
        regular = path.is_file() or not path.exists()
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise _cannot_write(f"{option} {path}", error) from None
    if not regular:
        raise DemoError(f"{option} {path}: not a regular file; give the name of a file")


def write_whole(path: Path, content: bytes) -> None:
    """Write beside ``path``, then rename: an interruption leaves the old file or the new one."""
    path = path.resolve()  # a symbolic link keeps pointing at the file
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise _cannot_write(str(path), error) from None
    finally:
        part.unlink(missing_ok=True)


def _cannot_write(path: str, error: OSError) -> DemoError:
    reason = error.strerror or error
    return DemoError(f"{path}: {reason}; give a file in a folder that can be written to")
