#!/usr/bin/env python3
"""Prints the polynomial tables of kernels/cpu/transcendental-inl.h: Chebyshev interpolants computed with
50 digits, lowest power first, each with its largest relative error. Needs mpmath."""
from mpmath import chebyfit, erf, erfc, exp, fac2, log, log1p, mp, mpf, nstr, pi, polyval, sqrt

mp.dps = 50


def normal_tail(q, k):
    """(a + k) exp(a^2 / 2) Phi(-a) at a = k (1 + q) / (1 - q)."""
    if q >= 1:
        return 1 / sqrt(2 * pi)
    a = k * (1 + q) / (1 - q)
    if a < 200:
        mills = exp(a * a / 2) * erfc(a / sqrt(2)) / 2
    else:  # asymptotic series, where exp would overflow
        mills = sum((-1) ** n * fac2(2 * n - 1) / a ** (2 * n) for n in range(12)) / a / sqrt(2 * pi)
    return mills * (a + k)


def exp_remainder(r):
    return (exp(r) - 1 - r) / r**2 if r else mpf(1) / 2


def log1p_ratio(z):
    return log1p(z) / z if z else mpf(1)


def erf_ratio(square):
    return erf(sqrt(square)) / sqrt(square) if square else 2 / sqrt(pi)


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
table("normal tail f32", lambda q: normal_tail(q, mpf("3.5")), mpf(-1), mpf(1), 11, 10)
table("normal tail f64", lambda q: normal_tail(q, mpf(5)), mpf(-1), mpf(1), 24, 19)
table("erf f32", erf_ratio, mpf(0), mpf(1), 8, 10)
table("erf f64", erf_ratio, mpf(0), mpf(1), 14, 19)
