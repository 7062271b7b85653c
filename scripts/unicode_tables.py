#!/usr/bin/env python3
"""Writes models/tokenizer/unicode_tables.cpp: what the reference tokenizer does with each code point.

    pip install tokenizers==0.23.3
    scripts/unicode_tables.py > models/tokenizer/unicode_tables.cpp

The reference mixes three releases of Unicode (its categories are the oldest, its case mappings the
newest), so that no release of a Unicode library gives the same answers. Every answer is therefore asked
of the reference itself, one code point at a time, through its public normalizers.
"""
import sys
import unicodedata

import tokenizers
from tokenizers import normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HANGUL = range(0xAC00, 0xAC00 + 11172)
MAX_FOLD = 3


def bert(**chosen):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **chosen}).normalize_str


clean, chinese = bert(clean_text=True), bert(handle_chinese_chars=True)
strip, lower = bert(strip_accents=True), bert(lowercase=True)
nfd = normalizers.NFD().normalize_str
split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def words(c):
    return [word for word, _ in split("a" + chr(c) + "b")]


def classes():
    out = {name: [] for name in ("space", "control", "chinese", "punctuation", "mark", "nonstarter")}
    for c in CODE_POINTS:
        s = chr(c)
        if clean("a" + s + "b") == "ab":
            out["control"].append(c)
        if chinese(s) == " " + s + " ":
            out["chinese"].append(c)
        parts = words(c)
        if parts == ["a", "b"]:
            out["space"].append(c)
        elif parts == ["a", s, "b"]:
            out["punctuation"].append(c)
        if nfd(s) == s and strip(s) == "":
            out["mark"].append(c)
        # Of what decomposes, only what is stripped altogether: U+0344 and its like.
        if nfd(s) == s and is_nonstarter(s) or nfd(s) != s and all(is_nonstarter(d) for d in nfd(s)):
            out["nonstarter"].append(c)
    return out


LOWEST, HIGHEST = "\u0334", "\u0345"  # of the combining classes 1 and 240


def is_nonstarter(s):
    """Whether canonical order moves s: in front of the highest class, or behind the lowest."""
    return nfd("a" + HIGHEST + s) == "a" + s + HIGHEST or nfd("a" + s + LOWEST) == "a" + LOWEST + s


def ladder():
    """One character of each combining class, by class."""
    out = {}
    for c in CODE_POINTS:
        value = unicodedata.combining(chr(c))
        if value and value not in out and nfd(chr(c)) == chr(c) and is_nonstarter(chr(c)):
            out[value] = chr(c)
    return out


def combining_classes(survivors):
    """Classes of the nonstarters that stripping keeps; only their order is ever looked at."""
    rungs = ladder()
    return {
        c: max(v for v, rung in rungs.items() if nfd("a" + rung + chr(c)) == "a" + rung + chr(c))
        for c in survivors
    }


def folds(marks):
    """c -> what is left of its canonical decomposition without marks; Hangul is arithmetic."""
    out = {}
    for c in CODE_POINTS:
        s = chr(c)
        if c in HANGUL or nfd(s) == s:
            continue
        left = strip(s)
        assert left == "".join(d for d in nfd(s) if ord(d) not in marks)
        assert len(left) <= MAX_FOLD
        out[c] = [ord(d) for d in left]
    return out


def lowers():
    out = {}
    for c in CODE_POINTS:
        s = lower(chr(c))
        if c == 0x130:
            assert s == "i\u0307"
        elif s != chr(c):
            assert len(s) == 1
            out[c] = ord(s)
    return out


def ranges(values):
    out = []
    for c in values:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def lower_ranges(table):
    """(first, last, step, to): first + k step becomes to + k step."""
    out = []
    for c, to in table.items():
        if out:
            first, last, step, start = out[-1]
            gap = c - last
            if to - c == start - first and (gap == step or (first == last and gap <= 2)):
                out[-1] = (first, c, gap, start)
                continue
        out.append((c, c, 1, to))
    return out


def emit(declaration, rows):
    print(f"{declaration} = {{")
    line = "    "
    for row in rows:
        item = "{" + ",".join(hex(v) if v > 9 else str(v) for v in row) + "},"
        if len(line) + len(item) > 100:
            print(line)
            line = "    "
        line += item
    print(line + "\n};\n")


def main():
    found = classes()
    marks = set(found["mark"])
    fold, low = folds(marks), lowers()
    survivors = [c for c in found["nonstarter"] if c not in marks and c not in fold]
    # What the reader of words takes for granted.
    splitting = set(found["space"] + found["punctuation"])
    nonstarters = set(found["nonstarter"])
    for c, left in fold.items():
        assert len(left) < 2 or not splitting & set(left)
        if any(ord(d) in marks - nonstarters for d in nfd(chr(c))):
            assert not nonstarters & set(left)
    assert not set(low) & (splitting | nonstarters)

    print(f"""// Written by scripts/unicode_tables.py from the answers of tokenizers {tokenizers.__version__}: classes of
// characters, what stripping accents leaves of a character, lower case. Do not edit.
// clang-format off
#include "models/tokenizer/unicode.h"

namespace mettle::detail {{
namespace {{
""")
    for name, values in found.items():
        emit(f"constexpr CharRange k_{name}[]", ranges(values))
    runs = []
    for c, value in combining_classes(survivors).items():
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == value:
            runs[-1][1] = c
        else:
            runs.append([c, c, value])
    emit("constexpr CombiningRange k_combining[]", runs)
    emit("constexpr Fold k_folds[]", [[c, *left] for c, left in fold.items()])
    emit("constexpr LowerRange k_lowers[]", lower_ranges(low))
    fields = [f".{name} = k_{name}" for name in [*found, "combining", "folds", "lowers"]]
    print("}  // namespace\n\nconst UnicodeTables& unicode_tables() {")
    print("  static constexpr UnicodeTables tables{\n      " + ",\n      ".join(fields) + "};")
    print("  return tables;\n}\n\n}  // namespace mettle::detail")
    counts = {**{k: len(ranges(v)) for k, v in found.items()}, "folds": len(fold), "lowers": len(lower_ranges(low))}
    print(f"entries: {counts}, combining {len(runs)}", file=sys.stderr)


if __name__ == "__main__":
    main()
