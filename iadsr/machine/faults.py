"""Explains errors of the operating system in one line each."""

from __future__ import annotations

import errno
import os

SMALLER = (
    "run fewer jobs at once (--cores 1), choose a smaller batch_size in the protocol, or a larger machine, and repeat "
    "the command: it goes on where it stopped"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of Python, pyarrow or torch says that memory ran out; on a CPU torch has no type for it."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


_REMEDIES = {
    errno.ENOSPC: "free some space and repeat the command: it goes on where it stopped",
    errno.EDQUOT: "free some of your quota and repeat the command: it goes on where it stopped",
    errno.EISDIR: "a folder stands where a file belongs: delete it and repeat the command",
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM),
        "give yourself access to it, or name another folder under `results` in the run file",
    ),
}


def explain(error: OSError) -> str:
    """Explain an error of the operating system in one line: the path, what is wrong, and how to mend it."""
    number = error.errno or 0
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([*names, "; ".join(filter(None, (os.strerror(number), _REMEDIES.get(number))))])
