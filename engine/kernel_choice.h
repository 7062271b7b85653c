// The text of METTLE_KERNEL: which variant each kernel slot tries first. One parser for the engine,
// which ignores names that it does not know, and for programs that refuse them.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace mettle {

/// One entry of "slot=variant,slot=variant".
struct KernelChoice {
  std::string_view entry;                   // as it stands
  std::string_view slot;                    // what is left of the first '='
  std::optional<std::string_view> variant;  // missing where there is no '='
};

/// The entries in their order, empty ones left out. They point into `text`.
std::vector<KernelChoice> parse_kernel_choices(std::string_view text);

/// The variant that `text` chooses for a slot; of several the last; "" when it chooses none.
std::string_view chosen_variant(std::string_view text, std::string_view slot);

}  // namespace mettle
