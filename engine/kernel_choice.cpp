// Splits at commas, then at the first equals sign.
#include "engine/kernel_choice.h"

namespace mettle {

std::vector<KernelChoice> parse_kernel_choices(std::string_view text) {
  std::vector<KernelChoice> out;
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(','));
    text.remove_prefix(entry.size() < text.size() ? entry.size() + 1 : entry.size());
    if (entry.empty()) continue;
    KernelChoice choice{.entry = entry, .slot = entry.substr(0, entry.find('=')), .variant = {}};
    if (choice.slot.size() < entry.size()) choice.variant = entry.substr(choice.slot.size() + 1);
    out.push_back(choice);
  }
  return out;
}

std::string_view chosen_variant(std::string_view text, std::string_view slot) {
  std::string_view out;
  for (const KernelChoice& choice : parse_kernel_choices(text))
    if (choice.variant && choice.slot == slot) out = *choice.variant;
  return out;
}

}  // namespace mettle
