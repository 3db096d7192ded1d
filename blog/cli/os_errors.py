"""Operating-system errors that end a command, in one line that says what to do."""

import os
import stat
import sys

from blog.core.errors import SettingsError
from blog.core.files.data_dir import DISK_FULL, concerning
from blog.core.settings import Settings, load


def message_of(error: OSError) -> str | None:
    """Return the message of an error for people; None if it is not one that they can fix."""
    if _is_of_output(error):
        return f"The output cannot be written: {error.strerror}."
    try:
        unusable = concerning(load(Settings).data_dir, error)
    except SettingsError:
        return None
    return None if unusable is None else unusable.detail


def _is_of_output(error: OSError) -> bool:
    """Return whether it was the output that cannot be written; the output is abandoned then."""
    if error.filename is not None:
        return False
    try:
        sys.stdout.flush()
        kind = stat.S_IFMT(os.fstat(sys.stdout.fileno()).st_mode)
        if kind in (stat.S_IFREG, stat.S_IFCHR) and error.errno in DISK_FULL:
            # a buffer may have dropped what it could not write: only one more byte shows it
            os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        # Python writes the rest at its exit, and would fail once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
