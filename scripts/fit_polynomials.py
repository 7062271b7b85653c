#!/usr/bin/env python3
"""Prints the polynomial tables of kernels/cpu/transcendental-inl.h: Chebyshev interpolants computed with
50 digits, lowest power first, each with its largest relative error. Needs mpmath."""
from mpmath import chebyfit, erf, erfc, exp, log, log1p, mp, mpf, nstr, polyval, sqrt

mp.dps = 50


def normal_tail(q, k):
    """(a + k) exp(a^2 / 2) Phi(-a) at a = k (1 + q) / (1 - q)."""
    a = k * (1 + q) / (1 - q)
    return (a + k) * exp(a * a / 2) * erfc(a / sqrt(2)) / 2


def exp_remainder(r):
    return (exp(r) - 1 - r) / r**2 if r else mpf(1) / 2


def bell_ratio(y):
    return (exp(-y / 2) - 1) / y if y else mpf(-1) / 2


def log1p_ratio(z):
    return log1p(z) / z if z else mpf(1)


def erf_ratio(square):
    return erf(sqrt(square)) / sqrt(square) if square else 2 / sqrt(mp.pi)


def table(name, function, low, high, terms, digits):
    fit = chebyfit(function, [low, high], terms)
    points = [low + (high - low) * mpf(i) / 800 for i in range(801)]
    error = max(abs(polyval(fit, x) / function(x) - 1) for x in points)
    print(f"{name}: relative error {nstr(error, 3)}")
    for coefficient in reversed(fit):
        print(f"  {nstr(coefficient, digits)},")


HALF_LN2 = log(2) / 2
table("exp f32", exp_remainder, -HALF_LN2, HALF_LN2, 5, 10)
table("exp f64", exp_remainder, -HALF_LN2, HALF_LN2, 11, 19)
table("log1p f32", log1p_ratio, mpf(0), mpf(1), 10, 10)
table("log1p f64", log1p_ratio, mpf(0), mpf(1), 24, 19)
table("bell f32", bell_ratio, -2 * HALF_LN2, 2 * HALF_LN2, 6, 10)
table("bell f64", bell_ratio, -2 * HALF_LN2, 2 * HALF_LN2, 12, 19)
for dtype, k, largest, terms, digits in ("f32", mpf("3.72"), 15, 9, 10), ("f64", mpf("5.5"), 40, 22, 19):
    high = (largest - k) / (largest + k)
    table(f"normal tail {dtype}", lambda q: normal_tail(q, k), mpf(-1), high, terms, digits)
table("erf f32", erf_ratio, mpf(0), mpf(1), 8, 10)
table("erf f64", erf_ratio, mpf(0), mpf(1), 14, 19)
