"""A terminal with a process on it."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

DEADLINE_S = 30.0


class Terminal:
    """A process on a terminal of 80 by 24, and all that it has shown."""

    def __init__(self, *command, deaf_to=()):
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background
            for number in deaf_to:
                signal.signal(number, signal.SIG_IGN)
            os.execve(command[0], command, os.environ | {"TERM": "xterm-256color"})
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.shown = b""

    def read(self, within_s):
        """Whether it goes on; what it shows is added."""
        if not select.select([self.screen], [], [], within_s)[0]:
            return True
        try:
            more = os.read(self.screen, 1 << 16)
        except OSError:  # it has ended
            return False
        self.shown += more
        return bool(more)

    def press(self, key):
        os.write(self.screen, key)

    def hang_up(self):
        """Close the terminal, and wait for the process to end."""
        os.close(self.screen)
        end_s = time.monotonic() + DEADLINE_S
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            assert time.monotonic() < end_s, "it lives on without a terminal"
            time.sleep(0.02)

    def ended(self, *, meanwhile):
        end_s = time.monotonic() + DEADLINE_S
        while self.read(0.05):
            meanwhile()
            assert time.monotonic() < end_s, self.shown[-2000:]
        os.close(self.screen)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def until(self, words, *, meanwhile):
        """Until it shows this, after what it was seen to show before."""
        end_s = time.monotonic() + DEADLINE_S
        while words not in self.shown:
            assert self.read(0.05), self.shown[-2000:]
            meanwhile()
            assert time.monotonic() < end_s, self.shown[-2000:]
        self.shown = self.shown.partition(words)[2]
