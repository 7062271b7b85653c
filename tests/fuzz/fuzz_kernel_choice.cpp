// Fuzzes the text of METTLE_KERNEL. Whatever the bytes are, the outcome is an InputError that names
// the variable, or every slot tries first what the engine itself reads from the text.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kernel_choice.h"
#include "engine/kernel_slot.h"
#include "kernels/builtin.h"
#include "recsys/command/command.h"
#include "recsys/command/options.h"

namespace {

using mettle::KernelSlotBase;

void require(bool promise) {
  if (!promise) std::abort();
}

const std::vector<KernelSlotBase*>& slots() {
  static const auto all = KernelSlotBase::all(mettle::kernels::register_builtin_kernels);
  return all;
}

std::map<std::string_view, std::string> first_variants() {
  std::map<std::string_view, std::string> out;
  for (KernelSlotBase* slot : slots()) out[slot->name()] = slot->variants().front().name;
  return out;
}

// The entries joined again are the text without its empty entries.
void check_entries(std::string_view text) {
  std::string joined, expected;
  for (const mettle::KernelChoice& choice : mettle::parse_kernel_choices(text)) {
    std::string entry(choice.slot);
    if (choice.variant) entry.append("=").append(*choice.variant);
    require(entry == choice.entry && !entry.empty());
    joined.append(joined.empty() ? "" : ",").append(entry);
  }
  for (const char c : text)
    if (c != ',' || (!expected.empty() && expected.back() != ',')) expected += c;
  if (expected.ends_with(',')) expected.pop_back();
  require(joined == expected);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::map<std::string_view, std::string> by_priority = first_variants();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_entries(text);
  try {
    mettle::command::choose_kernels(text);
    for (const auto& [slot, variant] : first_variants()) {
      const std::string_view chosen = mettle::chosen_variant(text, slot);
      require(variant == (chosen.empty() ? by_priority.at(slot) : chosen));
    }
  } catch (const mettle::command::InputError& error) {
    require(error.message().starts_with("METTLE_KERNEL: "));
  }
  for (KernelSlotBase* slot : slots()) slot->select("");
  require(first_variants() == by_priority);
  return 0;
}
