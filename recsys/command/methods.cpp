// Names of methods and what fits them.
#include "recsys/command/methods.h"

#include <algorithm>
#include <array>

#include "recsys/command/command.h"
#include "recsys/command/suggest.h"

namespace mettle::command {
namespace {

constexpr std::string_view kBlend = "blend";
constexpr std::string_view kBlended[] = {"foldin-mf-genre", "hierarchical-linear"};
constexpr std::string_view kAllBaselines = "baselines";

struct Method {
  std::string_view name;
  FittedBaseline (*fit)(const Dataset&, const ColdStartSplit&);  // null: made of others
};

constexpr std::array kBaselines = {
    Method{"random", fit_random},
    Method{"global-mean", fit_global_mean},
    Method{"user-mean", fit_user_mean},
    Method{"popularity", fit_popularity},
    Method{"item-mean", fit_item_mean},
    Method{"shrunk-item-mean", fit_shrunk_item_mean},
    Method{"item-mean-user-bias", fit_item_mean_user_bias},
    Method{"foldin-mf", fit_foldin_mf},
    Method{kBlended[0], fit_foldin_mf_genre_prior},
    Method{kBlended[1], fit_hierarchical_linear},
    Method{kBlend, nullptr},
};

}  // namespace

std::vector<std::string> method_names() {
  std::vector<std::string> out;
  for (const Method& method : kBaselines) out.emplace_back(method.name);
  out.emplace_back(kAllBaselines);
  return out;
}

std::vector<std::string> expand_methods(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  const auto add = [&](std::string_view name) {
    if (std::find(out.begin(), out.end(), name) == out.end()) out.emplace_back(name);
  };
  const std::vector<std::string> known = method_names();
  for (const std::string& name : names) {
    METTLE_CHECK(InputError, std::find(known.begin(), known.end(), name) != known.end(),
                 "unknown method '{}'{}; there are: {}", name, did_you_mean(name, known),
                 CLI::detail::join(known, ", "));
    if (name == kAllBaselines)
      for (const Method& method : kBaselines) add(method.name);
    else
      add(name);
  }
  return out;
}

FittedBaseline BaselineFits::fit(std::string_view name) {
  if (const auto found = fitted_.find(name); found != fitted_.end()) return found->second;
  const auto* method = std::find_if(kBaselines.begin(), kBaselines.end(),
                                    [&](const Method& m) { return m.name == name; });
  METTLE_CHECK(Error, method != kBaselines.end(), "'{}' is not a classical method", name);
  FittedBaseline out =
      method->fit ? method->fit(data_, split_) : blend(fit(kBlended[0]), fit(kBlended[1]));
  fitted_.emplace(name, out);
  return out;
}

}  // namespace mettle::command
