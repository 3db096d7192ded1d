"""Regular file: read with a limit, and without ever blocking. Only light modules are imported."""

import os
import stat


def read_regular_file(path: str, limit: int) -> bytes:
    """Return the content of a file, at most `limit` bytes; reading a pipe, say, could block.

    Raises OSError, or ValueError where it is not a regular file.
    """
    # O_NONBLOCK: opening a pipe without a writer would block as well
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a file")
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)
