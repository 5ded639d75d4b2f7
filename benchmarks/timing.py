"""Times of functions, and their ratios, with spread."""

import os
import re
import statistics
import time


def measure(function, repeats, warm_up=1, clock=time.perf_counter):
    """Seconds that a function takes: a list of `repeats` floats.

    Args:
      function: callable without arguments; returns when the work is done.
      repeats: int.
      warm_up: int, calls before the first that counts (compilation, caches).
      clock: callable, seconds; `time.process_time` where the machine is not free.
    """
    for _ in range(warm_up):
        function()
    seconds = []
    for _ in range(repeats):
        start = clock()
        function()
        seconds.append(clock() - start)
    return seconds


def in_turn(functions, rounds, clock=time.perf_counter):
    """Seconds of functions that are called in turn: a dict of lists of `rounds` floats.

    What else the machine does, and how fast its processor happens to run, is then the
    same for each. Of two calls in a row the second counts: the first finds the caches
    full of another's arrays.

    Args:
      functions: dict: name -> callable without arguments.
      rounds: int; one more comes first, for compilation.
      clock: as for `measure`.
    """
    found = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            found[name] += measure(function, 1, clock=clock)
    return {name: seconds[1:] for name, seconds in found.items()}


def median(function, repeats, warm_up=1):
    """The median of `measure`, a float."""
    return statistics.median(measure(function, repeats, warm_up))


def summary(seconds, **more):
    """JSON-able: median, least and most of some seconds, and how many."""
    return {
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "repeats": len(seconds),
        **more,
    }


def scaled(found, factor, measured):
    """An extrapolation: `found` times `factor`, saying what was `measured`."""
    times = {k: found[k] * factor for k in ("median_s", "min_s", "max_s")}
    return {**times, "repeats": found["repeats"], "extrapolated_from": measured}


def ratio(slow, fast):
    """How many times slower one is: median over median, and the two extremes."""
    return {
        "median": slow["median_s"] / fast["median_s"],
        "min": slow["min_s"] / fast["max_s"],
        "max": slow["max_s"] / fast["min_s"],
    }


def sentence(found):
    """A summary or a ratio in words."""
    if "median_s" in found:
        unit = "s (extrapolated)" if "extrapolated_from" in found else "s"
        names = ("median_s", "min_s", "max_s")
    else:
        unit, names = "times", ("median", "min", "max")
    median, low, high = (f"{found[name]:.3g}" for name in names)
    return f"{median} {unit} [{low}, {high}]"


class PeakMemory:
    """The most memory this process held inside a `with` block, beyond the start.

    Linux only: elsewhere `bytes` stays None.
    """

    bytes = None

    def __enter__(self):
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")  # Sets the high-water mark back to the present.
            self._before = _status("VmRSS")
        except OSError:
            self._before = None
        return self

    def __exit__(self, *_):
        if self._before is not None:
            self.bytes = _status("VmHWM") - self._before


def _status(name):
    with open(f"/proc/{os.getpid()}/status", encoding="ascii") as file:
        return int(re.search(rf"{name}:\s+(\d+) kB", file.read())[1]) * 1024
