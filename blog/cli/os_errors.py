"""Errors of the operating system that end a command, in one line that says what to do."""

import os
import stat
import sys

from blog.core.errors import SettingsError
from blog.core.files.data_dir import DISK_FULL, concerning
from blog.core.settings import Settings, load


def said_of(error: OSError) -> str | None:
    """Return what to tell people of an error; None where it is nothing that they can mend."""
    if _is_of_output(error):
        return f"The output cannot be written: {error.strerror}."
    try:
        wrong = concerning(load(Settings).data_dir, error)
    except SettingsError:
        return None
    return None if wrong is None else wrong.detail


def _is_of_output(error: OSError) -> bool:
    """Return whether it was the output that takes no more; it is given up then."""
    if error.filename is not None:
        return False
    try:
        sys.stdout.flush()
        kind = stat.S_IFMT(os.fstat(sys.stdout.fileno()).st_mode)
        if kind in (stat.S_IFREG, stat.S_IFCHR) and error.errno in DISK_FULL:
            # a buffer may have dropped what it could not write: only one more byte tells
            os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        # Python writes at its end what is left, and would fail once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
