// Fuzzes the reader of vocab.txt. The first byte picks the options, the rest is the file. Whatever
// the bytes are, the outcome is a FileError or a tokenizer that keeps its promises.
#include <cstdint>

#include "engine/check.h"
#include "models/tokenizer_files.h"
#include "tests/fuzz/tokenizer_promises.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mettle;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const VocabOptions options{.lowercase = (data[0] & 1) != 0, .clean_text = (data[0] & 2) != 0};
  try {
    const Tokenizer tokenizer(parse_vocab(text, options, "file"));
    for (std::int32_t id = 0; id < tokenizer.size(); ++id)
      fuzz::require(tokenizer.id_of(tokenizer.token(id)) == id);
    fuzz::check_text(tokenizer, text);
  } catch (const FileError& error) {
    fuzz::require(error.message().starts_with("file: "));
  }
  return 0;
}
