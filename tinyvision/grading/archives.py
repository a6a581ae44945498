"""Reading a student's zip file, which may be a bomb: nothing is unpacked to disk, nothing believed.

Only ``.py`` and ``.ipynb`` files are inflated, and what comes out is counted: the sizes that an
archive declares are its own claim. An archive inside an archive is not opened.
"""
from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from pathlib import PurePosixPath

MOST_BYTES = 50 << 20                   # of the archive itself, and of all that is taken from it
MOST_ENTRIES, MOST_DIRECTORY = 2000, 1 << 20
MOST_PROGRAMS = 100                     # each may take its time
DEEPEST = 8                             # folders
RATIO, FREE = 200, 1 << 20              # inflated over compressed; below FREE bytes anything goes
NESTED = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
          OSError, OverflowError, UnicodeError)


def read(data: bytes, suffixes, most: int) -> list[tuple[str, bytes]]:
    """(name, bytes) of each file of an archive that has one of the suffixes, hidden ones left out.

    Arguments:
        data: the archive's bytes.
        suffixes: such as ``(".py", ".ipynb")``.
        most: how many bytes one file may have.
    Raises ValueError, one sentence, for what is no archive, is too large in any way, leads outside
    its folder, or holds links.
    """
    try:
        _directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _files(archive, suffixes, most)
    except BROKEN as error:
        raise ValueError(f"it is no zip file that can be read: {error}") from None


def _directory(data: bytes) -> None:
    """Refuse a long list of files before it is read: an entry costs a hundred times its bytes."""
    end = data.rfind(b"PK\5\6", max(0, len(data) - (1 << 16) - 22))
    if end < 0 or len(data) < end + 22:
        raise zipfile.BadZipFile("it has no list of files at its end")
    entries, size = struct.unpack_from("<HI", data, end + 10)
    if entries > MOST_ENTRIES or size > MOST_DIRECTORY:
        raise ValueError(f"it holds {entries} files; at most {MOST_ENTRIES} are read")


def _files(archive: zipfile.ZipFile, suffixes, most: int) -> list[tuple[str, bytes]]:
    entries = [(path_of(entry), entry) for entry in archive.infolist()]
    if len(entries) > MOST_ENTRIES:
        raise ValueError(f"it holds {len(entries)} files; at most {MOST_ENTRIES} are read")
    files, left = [], MOST_BYTES
    for path, entry in entries:
        if entry.is_dir() or path.suffix.lower() not in suffixes or hidden(path):
            continue
        files.append((path.as_posix(), _inflated(archive, entry, min(most, left))))
        left -= len(files[-1][1])
        if len(files) > MOST_PROGRAMS:
            raise ValueError(f"it holds more than {MOST_PROGRAMS} programs; hand in those that are "
                             "asked for")
    nested = [path.as_posix() for path, _ in entries if path.suffix.lower() in NESTED]
    if nested and not files:
        raise ValueError(f"it holds another archive, {nested[0]!r}; hand in the file itself")
    return files


def path_of(entry: zipfile.ZipInfo) -> PurePosixPath:
    """An entry's path; ValueError where it leads outside, is too deep, or is a link."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in entry.filename:
        raise ValueError(f"its entry {str(path)!r} leads outside the archive")
    if len(path.parts) > DEEPEST + 1:
        raise ValueError(f"its folders are nested more than {DEEPEST} deep")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError(f"its entry {str(path)!r} is a symbolic link")
    return path


def hidden(path: PurePosixPath) -> bool:
    """Whether an entry is a system's own: ``__MACOSX/``, ``.ipynb_checkpoints/``."""
    return any(part.startswith((".", "__")) for part in path.parts)


def _inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """An entry's bytes, counted as they come."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its entry {entry.filename!r} is compressed in an unusual way")
    content = bytearray()
    with archive.open(entry) as stream:
        while chunk := stream.read(1 << 16):
            content += chunk
            if len(content) > most:
                raise ValueError(f"its entry {entry.filename!r} is larger than {most >> 20} MB")
            if len(content) > max(FREE, RATIO * entry.compress_size):
                raise ValueError(f"its entry {entry.filename!r} is a bomb: more than {RATIO} times "
                                 "its compressed size")
    return bytes(content)
