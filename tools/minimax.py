"""Derive the polynomial coefficients of csrc/kernels: vmath, activations, gelu (needs mpmath).

Remez exchange: find the polynomial p of a given degree that minimises max |w(x) (f(x) - p(x))|
on an interval. Prints each coefficient rounded to its type, lowest power first, and the error
that is left.

    python tools/minimax.py
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 100
Fn = Callable[[mp.mpf], mp.mpf]


def remez(f: Fn, w: Fn, lo: float, hi: float, degree: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients of the weighted minimax polynomial of f on [lo, hi], and its error."""
    lo, hi = mp.mpf(lo), mp.mpf(hi)
    n = degree + 2
    nodes = [(lo + hi - (hi - lo) * mp.cos(mp.pi * (2 * i + 1) / (2 * n))) / 2 for i in range(n)]
    grid = [lo + (hi - lo) * i / 2000 for i in range(2001)]
    values = [(x, f(x), w(x)) for x in grid]
    for _ in range(12):
        a = mp.matrix(n, n)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                a[i, j] = x**j
            a[i, degree + 1] = (-1) ** i / w(x)
        solved = mp.lu_solve(a, mp.matrix([f(x) for x in nodes]))
        c = [solved[j] for j in range(degree + 1)]
        errors = [(wx * (fx - mp.polyval(c[::-1], x)), x) for x, fx, wx in values]
        # The largest error in each run of equal sign is the next node.
        peaks: list[tuple[mp.mpf, mp.mpf]] = []
        for e, x in errors:
            if peaks and (e > 0) == (peaks[-1][0] > 0):
                peaks[-1] = max(peaks[-1], (e, x), key=lambda t: abs(t[0]))
            else:
                peaks.append((e, x))
        if len(peaks) < n:
            raise ValueError(f"only {len(peaks)} alternations, {n} needed")
        while len(peaks) > n:
            peaks.pop(0 if abs(peaks[0][0]) < abs(peaks[-1][0]) else -1)
        nodes = [x for _, x in peaks]
        worst = max(abs(e) for e, _ in peaks)
        if worst < abs(solved[n - 1]) * mp.mpf("1.001"):
            break
    return c, worst


def expm1_tail(r: mp.mpf) -> mp.mpf:
    """(e^r - 1 - r) / r^2."""
    return (mp.expm1(r) - r) / r**2 if abs(r) > 1e-20 else mp.mpf(0.5)


def coth(z: mp.mpf) -> mp.mpf:
    """r coth(r / 2) with z = r^2."""
    r = mp.sqrt(abs(z))
    return r * mp.coth(r / 2) if r > 1e-20 else mp.mpf(2)


def tanh_tail(z: mp.mpf) -> mp.mpf:
    """(tanh(r) - r) / r^3 with z = r^2."""
    r = mp.sqrt(abs(z))
    return (mp.tanh(r) - r) / r**3 if r > 1e-20 else mp.mpf(-1) / 3


def log_tail(w: mp.mpf) -> mp.mpf:
    """(log((1+s)/(1-s)) - 2 s) / s^3 with w = s^2."""
    s = mp.sqrt(abs(w))
    return 2 * (mp.atanh(s) - s) / s**3 if s > 1e-20 else mp.mpf(2) / 3


def normal_tail(b: mp.mpf, c: float) -> mp.mpf:
    """Phi(-a) e^(a^2/2) (a + c) with b = a / (a + c)."""
    a = c * b / (1 - b)
    return mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a * a / 2) * (a + c)


def normal(a: mp.mpf) -> mp.mpf:
    """Phi(-a)."""
    return mp.erfc(a / mp.sqrt(2)) / 2


def gelu_tail(a: mp.mpf) -> mp.mpf:
    """a Phi(-a)."""
    return a * normal(a)


def normal_slope(a: mp.mpf) -> mp.mpf:
    """Phi(-a) - a phi(a): the derivative of GELU at -a."""
    return normal(a) - a * mp.npdf(a)


def rows(f: Fn, w: Fn, count: int, end: float, linear: float, degree: int) -> None:
    """Print c and the coefficients of f(a)'s polynomial in a - c, by columns, for each row.

    a belongs to row round(a (square a + linear)), and `end` is where the last one ends. c is the
    row's end: with all terms of one sign, their rounding errors are no larger than the sum's. Where
    f(0) = 0, so is the first polynomial.
    """
    tiny = mp.mpf("1e-20")
    square = ((count - 0.51) / end - linear) / end

    def start(row: float) -> float:
        u = max(row - 0.5, 0)
        return (math.sqrt(linear**2 + 4 * square * u) - linear) / (2 * square)

    columns: list[list[mp.mpf]] = [[] for _ in range(degree + 2)]
    worst = mp.mpf(0)
    for i in range(count):
        lo, hi = start(i), start(i + 1)
        c = round(hi * 2**10) / 2**10 if i else 0
        if i == 0 and f(mp.mpf(0)) == 0:
            p, e = remez(
                lambda d: f(d + tiny) / (d + tiny),
                lambda d: w(d + tiny) * (d + tiny),
                0,
                hi,
                degree - 1,
            )
            p = [mp.mpf(0), *p]
        else:
            p, e = remez(lambda d, c=c: f(c + d), lambda d, c=c: w(c + d), lo - c, hi - c, degree)
        worst = max(worst, e)
        for column, x in zip(columns, [mp.mpf(c), *p], strict=True):
            column.append(x)
    print(f"{f.__name__}, {count} rows, square {square!r}: error {mp.nstr(worst, 3)}")
    for column in columns:
        print(textwrap.fill("{" + ", ".join(mp.nstr(x, 9) + "f" for x in column) + "},", 94))


def show(name: str, c: list[mp.mpf], error: mp.mpf, double: bool) -> None:
    """Print one table as C literals."""
    print(f"{name}: error {mp.nstr(error, 3)}")
    for x in c:
        if double:
            print(f"    {float(x).hex()},  /* {mp.nstr(x, 17)} */")
        else:
            print(f"    {mp.nstr(x, 9)}f,")


def main() -> None:
    half_ln2 = mp.log(2) / 2
    s_max = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
    for double, exp_degree, log_degree in ((False, 4, 2), (True, 9, 6)):
        kind = "double" if double else "float"
        # The weight, about r^2 / expm1(r), makes the error relative to expm1.
        c, e = remez(expm1_tail, lambda r: abs(r) + 0.02, -half_ln2, half_ln2, exp_degree)
        show(f"expm1, {kind}", c, e, double)
        # e^r = (c + r) / (c - r): the weight makes the error relative to it.
        c, e = remez(
            coth,
            lambda z: 2 * mp.sqrt(z + 1e-4) / (coth(z) ** 2 - z),
            0,
            half_ln2**2,
            5 if double else 2,
        )
        show(f"coth, {kind}", c, e, double)
        c, e = remez(tanh_tail, lambda z: z + 1e-4, 0, half_ln2**2 / 4, 6 if double else 1)
        show(f"tanh, {kind}", c, e, double)
        # The weight, about s^2 / 2, makes the error relative to log((1+s)/(1-s)).
        c, e = remez(log_tail, lambda w: w / 2 + 0.001, 0, s_max**2, log_degree)
        show(f"log, {kind}", c, e, double)
        c, e = remez(log_tail, lambda w: w / 2 + 0.001, 0, mp.mpf(1) / 9, 9 if double else 3)
        show(f"log1p, {kind}", c, e, double)
        shift, mid, high, degree = (3, 0.5, 39, 23) if double else (2.25, 0, 15, 10)
        tail = functools.cache(lambda u, c=shift, mid=mid: normal_tail(u + mid, c))
        end = mp.mpf(high) / (high + shift) - mid
        c, e = remez(tail, lambda u, tail=tail: 1 / tail(u), -mid, end, degree)
        show(f"normal, {kind}", c, e, double)
    c, e = remez(tanh_tail, lambda z: z + 1e-4, 0, mp.mpf(1) / 64, 1)
    show("tanh beside a table of quarters", c, e, False)
    mp.mp.dps = 30
    for count, end, linear, degree in ((16, 5.7, 1.25, 6), (8, 5.1, 0.8, 7)):
        rows(gelu_tail, lambda a: 1 / gelu_tail(a), count, end, linear, degree)
    for count, linear, degree in ((16, 1.5, 7), (8, 0.45, 8)):
        # Relative to the slope, but to its minimum where it changes its sign.
        rows(
            normal_slope,
            lambda a: 1 / max(-normal_slope(a), 0.12 if a < 2 else 0),
            count, 6, linear, degree,
        )  # fmt: skip


if __name__ == "__main__":
    main()
