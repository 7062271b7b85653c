// Fuzzes what a resumed run keeps of an old metrics.jsonl. The first byte is the step that it goes
// on with. Whatever the rest is, the outcome is a FileError or whole lines of earlier steps.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/check.h"
#include "engine/jsonl.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const std::size_t kept = mettle::bytes_before_step(text, data[0], "file");
    require(kept <= text.size());
    require(kept == 0 || text[kept - 1] == '\n');
    // What was kept is kept again, and no later step is left in it.
    const std::string_view rest = text.substr(0, kept);
    require(mettle::bytes_before_step(rest, data[0], "file") == kept);
    require(mettle::bytes_before_step(rest, 256, "file") == kept);
  } catch (const mettle::FileError&) {  // NOLINT(bugprone-empty-catch)
    // The only refusal that is allowed; anything else ends the run.
  }
  return 0;
}
