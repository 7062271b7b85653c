#!/usr/bin/env python3
"""Writes what tests/models/tokenizer_test.cpp expects, as the reference implementation answers.

    pip install tokenizers==0.23.3
    tests/models/tokenizer/make_golden.py TEXT.tsv.gz     # English text to learn a small vocabulary from

tokenizer.json  a vocabulary of 1,500 tokens and the settings of BERT, uncased
golden.json     texts of many scripts and broken ones with their ids, pairs with their truncation, decoded
                text, and a hash over all code points in several contexts for each way to normalise
"""
import gzip
import json
import pathlib
import sys

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

TEXTS = [
    "", " ", "a", "Hello, world!", "The quick brown fox jumps over the lazy dog.", "don't we'll it's I'm",
    "  many\t\tkinds \r\n of\u00a0white\u2003space\u3000here  ", "1,234.56 + 7e-8 = $9.99 (50%)",
    "e-mail@example.com https://example.org/a_b?c=d&e=f#g", "UPPER lower MiXeD", "snake_case camelCase",
    "[CLS] typed by hand [SEP]", "[MASK]ed[MASK] [mask] [MASK", "[[MASK]]", "[UNK][PAD]", "##ing #hash ##",
    "caf\u00e9 cafe\u0301 na\u00efve r\u00e9sum\u00e9 \u00c5ngstr\u00f6m \u212bngstr\u00f6m", "\u00df \u1e9e \u0130stanbul I\u0307 \u0131",
    "\u01c4 \u01c5 \u01c6 \ufb01ne \ufb03", "Ti\u1ebfng Vi\u1ec7t r\u1ea5t \u0111\u1eb9p", "Za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0401\u043b\u043a\u0430 \u0439 \u0457", "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5 \u03a3\u03a3 \u03c2 \u1f86 \u037e",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627\u060c \u061f",
    "\u202eright to left\u202c \u200fmark\u200e \u2067isolate\u2069", "\u4f60\u597d\u4e16\u754c\u3002\u4e2d\u6587abc\u6df7\u5408", "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3067\u3059\u3002\u30ab\u30bf\u30ab\u30ca \uff76\uff9e \u304c \u304b\u3099",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5 \u1112\u1161\u11ab \uac00\uac01", "\U00020000\U0002a6df\U0002a700\U0002b81f\U0002b820\U0002b91f\U0002b920\U0002ceaf\U0002f800 \uf900\ufa0e\ufaff",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e \u0958 \u0915\u093c", "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd \u0c28\u0c2e\u0c38\u0c4d\u0c15\u0c3e\u0c30\u0c02 \u0cc0\u0cca \u0dde", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01 \u0e40\u0e01\u0e33",
    "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0 \u1c92\u10d0 \u0532\u0561\u0580\u0565\u0582 \u13a0\uab70 \U00010400\U00010428 \U0001e900", "\u1019\u103c\u1014\u103a\u1019\u102c \u1026 \u1780\u17c4 \u0f42\u0fb7 \u0f43 \u0f76 \u0f81",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f 1\ufe0f\u20e3", "\U0001f600\U0001f600\U0001f600good\U0001f600",
    "\U0001d400\U0001d41a \u24b6 \u2167 \u00bd \u00b2 \uff21\uff22\uff23\uff01", "\U0001d15e\U0001d160 \U0001d157\U0001d165\U0001d16e",
    "a\u0300\u0316\u302e\u0345\U0001d165b\u302f\u302e\u0315c", "a\u0344\u302eb\u0c48\u302ec \u034f\u302e", "z" + "\u0301" * 300 + "x", "q" + "\u302e" * 150,
    "x" * 99, "x" * 100, "x" * 101, "x" * 5000, "ab" * 50 + "\u00e9", "\u00e9" * 100, "\u00e9" * 101, "\uac01" * 33 + "a", "\uac01" * 34, "!" * 120,
    "nul\x00inside \x00 \x01\x02\x1f\x7f\x80\x9f soft\u00adhyphen \ufeffbom\ufeff zero\u200bwidth\u200djoiner",
    "\u0085next\u2028line\u2029paragraph\u000bvertical\u000cform", "\ufffd\ufffe\uffff \ue000\uf8ff \U000f0000\U0010ffff \U000e0001\U000e0041",
    "\u2014 \u2013 \u2026 \u201cquoted\u201d \u2018single\u2019 \u00ab\u00bb \u00bfqu\u00e9? \u00a1s\u00ed!", "\u20ac \u00a3 \u00a5 \u20bf \u00a9 \u00ae \u2122 \u00b0 \u00b5 \u03bc \u2126 \u2260 \u226e \u2000",
    "a,b;c:d!e?f.g'h\"i(j)k[l]m{n}o<p>q|r\\s/t~u`v@w#x$y%z^0&1*2-3_4+5=6",
]
BROKEN = [
    b"\xff", b"a\x80b", b"\xc0\xaf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"caf\xe9 au lait",
    b"\xe4\xbd\xa0\xe5\xa5", b"\xef\xbb\xbfbom first", b"x\xc3\xa9\xc3y", b"\xf8\x88\x80\x80\x80 \xfe\xff", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA",
]
PAIRS = [(a, b, n) for n in (3, 4, 7, 8, 9, 16, 64) for a, b in [
    ("one two three four five six", "seven eight"), ("one", "two three four five six seven eight nine"),
    ("red red red red", "blue blue blue blue"), ("", "only the second"), ("the same length here", "and here the same too"),
    ("unbelievably long incomprehensible words", "unbelievably long incomprehensible words indeed")]]
# Every code point in the middle.
CONTEXTS = [("", ""), ("a", "b"), ("e\u302e", "\u0301\u302e\U0001d165\u0345\U0001d16d\u0323x")]
WAYS = [dict(clean_text=c, handle_chinese_chars=h, strip_accents=s, lowercase=l)
        for c, h, s, l in [(True, True, True, True), (True, True, False, False), (False, False, True, False), (False, True, False, True)]]


def settings(tokenizer, lowercase):
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids)


def learn(path):
    lines = gzip.open(path, "rt", encoding="utf-8").read().splitlines()
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # Both cases, so that one vocabulary serves both kinds of test, and the letters of the texts below.
    lines += [line.lower() for line in lines]
    stripped = normalizers.BertNormalizer().normalize_str
    extra = [t for text in TEXTS for t in (text, stripped(text))] * 40
    tokenizer.train_from_iterator(lines + extra, trainers.WordPieceTrainer(
        vocab_size=1500, special_tokens=SPECIAL, show_progress=False))
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)


def make(vocabulary, lowercase):
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    settings(tokenizer, lowercase)
    return tokenizer


def in_bytes(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [at[i] for pair in offsets for i in pair]


def fnv(words_of):
    """FNV-1a with 64 bits over the words of all code points: each with a 0xff behind it, each text with a 0xfe."""
    value = 0xCBF29CE484222325
    for c in range(0x110000):
        if 0xD800 <= c <= 0xDFFF:
            continue
        for byte in b"".join(word.encode() + b"\xff" for word in words_of(chr(c))) + b"\xfe":
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def all_code_points(way):
    normalize = normalizers.BertNormalizer(**way).normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    return [fnv(lambda s: [w for w, _ in split(normalize(a + s + b))]) for a, b in CONTEXTS]


def main():
    uncased = make(learn(sys.argv[1]), True)
    vocabulary = sorted(uncased.get_vocab(), key=uncased.get_vocab().get)
    cased = make(vocabulary, False)
    (HERE / "tokenizer.json").write_text(uncased.to_str() + "\n", encoding="utf-8")
    texts = []
    for raw in [t.encode() for t in TEXTS] + BROKEN:
        text = raw.decode("utf-8", "replace")
        u, c = uncased.encode(text), cased.encode(text)
        case = {"hex": raw.hex(), "uncased": u.ids, "cased": c.ids, "decoded": cased.decode(c.ids)}
        # Where canonical order moves a mark, the reference numbers places by their rank, not by their characters.
        if raw.decode("utf-8", "ignore").encode() == raw and not any(d in text for d in "\u302e\u302f\U0001d165"):
            case["spans"] = in_bytes(text, u.offsets)
        texts.append(case)
    pairs = []
    for a, b, n in PAIRS:
        uncased.enable_truncation(n)
        e = uncased.encode(a, b)
        pairs.append({"first": a, "second": b, "max_length": n, "ids": e.ids, "type_ids": e.type_ids})
    ways = [{**way, "hashes": all_code_points(way)} for way in WAYS]
    golden = {"reference": "tokenizers " + tokenizers.__version__, "texts": texts, "pairs": pairs,
              "contexts": [{"before": a, "after": b} for a, b in CONTEXTS], "ways": ways}
    (HERE / "golden.json").write_text(json.dumps(golden, separators=(",", ":")).replace('{"hex"', '\n{"hex"') + "\n")


if __name__ == "__main__":
    main()
