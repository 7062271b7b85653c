// The recommenders that tables compare, by the names that users type.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "recsys/baselines/baseline.h"

namespace mettle::command {

/// Every name that --methods takes; the groups "baselines", "neural" and "all" come last.
std::vector<std::string> method_names();
/// Names of the neural methods.
std::vector<std::string> neural_method_names();
bool is_neural(std::string_view name);
/// Groups replaced by their members, repetitions left out. InputError for an unknown name.
std::vector<std::string> expand_methods(const std::vector<std::string>& names);

/// Classical methods of one split, fitted when first asked for.
class BaselineFits {
 public:
  BaselineFits(const Dataset& data, const ColdStartSplit& split, const WorkHooks& hooks)
      : data_(data), split_(split), hooks_(hooks) {}
  /// By name; an Error when there is no such classical method. Interrupted.
  FittedBaseline fit(std::string_view name);

 private:
  const Dataset& data_;
  const ColdStartSplit& split_;
  const WorkHooks& hooks_;
  std::map<std::string, FittedBaseline, std::less<>> fitted_;
};

}  // namespace mettle::command
