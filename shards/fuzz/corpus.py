#!/usr/bin/env python3
"""Writes the corpus of the fuzz target `step`: lists of operations that get somewhere, for mutation to start from.

Which octet means which operation stands in step.rs. Run it in this folder.
"""

import pathlib
import random

RUN, ACCEPT, BIND, SUBMIT, VENDOR_BINDS, ANSWER, DELIVER, TAKE = 31, 0, 3, 5, 10, 12, 15, 17
REQUEST, PART, ALL, SHORT, LONG, SENT, LOSE, VERDICT, CONNECT, DISK, OTHER = 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 30
OK, REFUSED = 0, 6


def run(turns=3):
    return [RUN, turns]


def ready(hosts=1):
    """Vendors are bound, and a customer is."""
    octets = run(4)
    for host in range(hosts):
        for link in range(4):
            octets += [VENDOR_BINDS, host << 7 | link, ALL, host << 7 | link] + run(1)
    return octets + [ACCEPT, 0, BIND, 0] + run(5)


def submit(shape, length=10, place=0):
    return [SUBMIT, place, shape, length]


def answer(status=OK, place=0, choice=0):
    return [ANSWER | status << 5, place, choice]


def script(setup, *parts):
    return bytes([setup] + [octet for part in parts for octet in part])


def written():
    for setup in range(8):
        hosts = 1 + (setup & 1)
        begin = ready(hosts)
        name = f"{setup:02x}"
        yield name + "-answered", script(
            setup, begin, submit(4) * 3, run(), answer() * 3, run(), [DELIVER, 0, 2, 0, DELIVER, 0, 3, 1], run(),
            [TAKE, 0, 0, TAKE, 0, 0], run())
        yield name + "-late", script(
            setup, begin, submit(4), run(), [LONG | 2 << 5, 250, SHORT, 250], run(), answer(choice=0xC0), run(),
            [LONG | 1 << 5, 250], run(), answer(), run(), [DELIVER, 0, 2, 0, DELIVER, 0, 3, 0], run(), [TAKE, 0, 0], run())
        yield name + "-other", script(
            setup, begin, submit(5) * 2, run(), [LONG | 4 << 5, 250], run(), answer(choice=0xC0, place=1), answer(place=2),
            run(), [LOSE, 1], run(), [LONG | 5 << 5, 200], run(15))
        yield name + "-lost", script(
            setup, begin, submit(4) * 5, run(), [LOSE, 1], run(), [LOSE, 0, LOSE, 0], run(), [LONG | 6 << 5, 250], run(15))
        yield name + "-refused", script(
            setup, begin, submit(6) * 2, run(), answer(REFUSED), answer(4), answer(5), run(), [LONG | 3 << 5, 250], run())
        yield name + "-restarted", script(
            setup, begin, submit(4) * 3, run(), answer(), run(), [OTHER | 7 << 5, 1], ready(2), answer(), run(),
            [DELIVER, 0, 2, 0, DELIVER, 128, 2, 0], run(), [OTHER | 7 << 5, 0], ready(), [TAKE, 0, 0], run())
        yield name + "-failing", script(
            setup, begin, submit(4), [ALL, 0, DISK, 0, DISK, 15], submit(4), run(), [SHORT, 250] * 3, run())
        yield name + "-garbled", script(
            setup, begin, submit(4), [PART, 0, 9, PART, 0, 30], [2 | 7 << 5, 0] + [0x41] * 57, run(), [2, 1, 0xFF], run())
        yield name + "-stopped", script(
            setup, begin, submit(4) * 2, run(), [OTHER | 6 << 5, 0], submit(4), run(), answer(), run(),
            [OTHER | 6 << 5, 1], run(), [OTHER | 6 << 5, 2], run(15))
    chance = random.Random(3)
    for number in range(24):
        setup = chance.randrange(256)
        octets = script(setup, ready(1 + (setup & 1)))
        for _ in range(chance.randrange(20, 120)):
            octets += bytes([chance.randrange(256), chance.randrange(4) | chance.choice([0, 128])])
            if chance.random() < 0.3:
                octets += bytes(run(chance.randrange(4)))
        yield f"random-{number:02}", octets


def main():
    folder = pathlib.Path(__file__).parent / "corpus" / "step"
    folder.mkdir(parents=True, exist_ok=True)
    for name, octets in written():
        (folder / name).write_bytes(octets)


main()
