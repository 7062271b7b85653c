// Fuzzes the reader of tokenizer.json. Whatever the bytes are, the outcome is a FileError (from the
// settings that do not fit together, a ValueError) or a tokenizer that keeps its promises.
#include <cstdint>

#include "engine/check.h"
#include "models/tokenizer_files.h"
#include "tests/fuzz/tokenizer_promises.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mettle;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer(parse_tokenizer_json(text, "file"));
    for (std::int32_t id = 0; id < tokenizer.size(); ++id)
      fuzz::require(tokenizer.id_of(tokenizer.token(id)) == id);
    fuzz::check_text(tokenizer, "a ab [MASK]b caf\xc3\xa9, \xe4\xbd\xa0\xff unaffable");
    fuzz::check_text(tokenizer, text.substr(0, 256));
    fuzz::check_pair(tokenizer, {"a ab b", text.substr(0, 64)}, 7);
  } catch (const FileError& error) {
    fuzz::require(error.message().starts_with("file: "));
  } catch (const ValueError&) {  // NOLINT(bugprone-empty-catch)
    // The only other refusal that is allowed; anything else ends the run.
  }
  return 0;
}
