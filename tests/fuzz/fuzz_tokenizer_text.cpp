// Fuzzes what is given to encode(). The first byte picks how text is normalised, the second a
// length; the rest is a text, or two with a zero byte between them.
#include <cstdint>

#include "models/tokenizer_files.h"
#include "tests/fuzz/tokenizer_promises.h"

namespace {

// Letters of several scripts, marks, signs and a few whole words.
constexpr std::string_view kVocab =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nab\n##a\n##b\n##ab\n##abc\n\xc3\xa9\n##"
    "\xc3\xa9\ne\n##e\n"
    ".\n,\n#\n[\n]\n\xe4\xbd\xa0\n\xe1\x84\x92\n##\xe1\x85\xa1\n##\xe1\x86\xab\n\xd0\xb0\n##"
    "\xd0\xb9\n##\xe3\x80\xae\n"
    "##\xf0\x9d\x85\xa5\n##\xe0\xb1\x88\nI\ni\n##\xcc\x87\n";

const mettle::Tokenizer& tokenizer(unsigned flags) {
  static const std::vector<mettle::Tokenizer> all = [] {
    std::vector<mettle::Tokenizer> out;
    for (unsigned f = 0; f < 16; ++f) {
      mettle::TokenizerSettings settings =
          mettle::parse_vocab(kVocab,
                              {.lowercase = (f & 1) != 0,
                               .strip_accents = (f & 2) != 0,
                               .clean_text = (f & 4) != 0,
                               .handle_chinese_chars = (f & 8) != 0},
                              "vocab");
      settings.max_word_chars = 10 + f;
      settings.added.back().lstrip = settings.added.front().rstrip = true;
      out.emplace_back(settings);
    }
    return out;
  }();
  return all[flags % 16];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const mettle::Tokenizer& chosen = tokenizer(data[0]);
  mettle::fuzz::check_text(chosen, text);
  const std::size_t zero = std::min(text.find('\0'), text.size());
  mettle::fuzz::check_pair(
      chosen, {text.substr(0, zero), text.substr(std::min(zero + 1, text.size()))}, data[1]);
  return 0;
}
