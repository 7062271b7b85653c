// The recommenders that tables compare, by the names that users type.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "recsys/baselines/baseline.h"

namespace mettle::command {

/// Every name that --methods takes, groups last: "baselines" stands for all classical ones.
std::vector<std::string> method_names();
/// Groups replaced by their members, repetitions left out. InputError for an unknown name.
std::vector<std::string> expand_methods(const std::vector<std::string>& names);

/// Classical methods of one split, fitted when first asked for.
class BaselineFits {
 public:
  BaselineFits(const Dataset& data, const ColdStartSplit& split) : data_(data), split_(split) {}
  /// By name; an Error when there is no such classical method.
  FittedBaseline fit(std::string_view name);

 private:
  const Dataset& data_;
  const ColdStartSplit& split_;
  std::map<std::string, FittedBaseline, std::less<>> fitted_;
};

}  // namespace mettle::command
