// Fuzzes config.json of encoders. Whatever the bytes are, the outcome is a FileError that names the
// file or a configuration that is written and read again as the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/check.h"
#include "models/pretrained/bert_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace detail = mettle::detail;
  try {
    const detail::BertConfig config =
        detail::parse_bert_config({reinterpret_cast<const char*>(data), size}, "file");
    const std::string text = bert_config_text(config, mettle::DType::f32);
    if (bert_config_text(detail::parse_bert_config(text, "own"), mettle::DType::f32) != text)
      std::abort();
  } catch (const mettle::FileError& error) {
    if (!error.message().starts_with("file:")) std::abort();
  }
  return 0;
}
