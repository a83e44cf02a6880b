"""Runs a command in a terminal of its own and repeats what it says, until stdin ends: that closes the terminal."""

import os
import pty
import select
import sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
is_open = True
while is_open:
    ready, _, _ = select.select([0, terminal], [], [])
    is_open = 0 not in ready
    if terminal in ready:
        os.write(1, os.read(terminal, 65536))
os.close(terminal)
_, status = os.waitpid(pid, 0)
print("\nended:", -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
