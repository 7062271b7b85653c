// Names of methods and what fits them.
#include "recsys/command/methods.h"

#include <algorithm>
#include <array>

#include "recsys/command/command.h"
#include "recsys/command/suggest.h"
#include "recsys/neural/method.h"

namespace mettle::command {
namespace {

constexpr std::string_view kBlend = "blend";
constexpr std::string_view kBlended[] = {"foldin-mf-genre", "hierarchical-linear"};
constexpr char kGroupBaselines[] = "baselines", kGroupNeural[] = "neural", kGroupAll[] = "all";

struct Method {
  std::string_view name;
  // Null: made of others.
  FittedBaseline (*fit)(const Dataset&, const ColdStartSplit&, const WorkHooks&);
};

// A fit that is over before anybody could wish to stop it.
template <auto fit>
FittedBaseline quick(const Dataset& data, const ColdStartSplit& split, const WorkHooks&) {
  return fit(data, split);
}

constexpr std::array kBaselines = {
    Method{"random", quick<fit_random>},
    Method{"global-mean", quick<fit_global_mean>},
    Method{"user-mean", quick<fit_user_mean>},
    Method{"popularity", quick<fit_popularity>},
    Method{"item-mean", quick<fit_item_mean>},
    Method{"shrunk-item-mean", quick<fit_shrunk_item_mean>},
    Method{"item-mean-user-bias", quick<fit_item_mean_user_bias>},
    Method{"foldin-mf", fit_foldin_mf},
    Method{kBlended[0], fit_foldin_mf_genre_prior},
    Method{kBlended[1], fit_hierarchical_linear},
    Method{kBlend, nullptr},
};

}  // namespace

std::vector<std::string> method_names() {
  std::vector<std::string> out;
  for (const Method& method : kBaselines) out.emplace_back(method.name);
  for (const NeuralMethod method : kNeuralMethods) out.emplace_back(method_name(method));
  out.insert(out.end(), {kGroupBaselines, kGroupNeural, kGroupAll});
  return out;
}

std::vector<std::string> neural_method_names() {
  std::vector<std::string> out;
  for (const NeuralMethod method : kNeuralMethods) out.emplace_back(method_name(method));
  return out;
}

bool is_neural(std::string_view name) {
  return std::any_of(std::begin(kNeuralMethods), std::end(kNeuralMethods),
                     [&](NeuralMethod method) { return method_name(method) == name; });
}

std::vector<std::string> expand_methods(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  const auto add = [&](std::string_view name) {
    if (std::find(out.begin(), out.end(), name) == out.end()) out.emplace_back(name);
  };
  const std::vector<std::string> known = method_names();
  for (std::string name : names) {
    CLI::detail::trim(name);  // "blend, maml"
    METTLE_CHECK(InputError, std::find(known.begin(), known.end(), name) != known.end(),
                 "unknown method '{}'{}; there are: {}", name,
                 did_you_mean(CLI::detail::to_lower(name), known), CLI::detail::join(known, ", "));
    const bool baselines = name == kGroupBaselines || name == kGroupAll;
    const bool neural = name == kGroupNeural || name == kGroupAll;
    if (baselines)
      for (const Method& method : kBaselines) add(method.name);
    if (neural)
      for (const NeuralMethod method : kNeuralMethods) add(method_name(method));
    if (!baselines && !neural) add(name);
  }
  return out;
}

FittedBaseline BaselineFits::fit(std::string_view name) {
  if (const auto found = fitted_.find(name); found != fitted_.end()) return found->second;
  const auto* method = std::find_if(kBaselines.begin(), kBaselines.end(),
                                    [&](const Method& m) { return m.name == name; });
  METTLE_CHECK(Error, method != kBaselines.end(), "'{}' is not a classical method", name);
  FittedBaseline out =
      method->fit ? method->fit(data_, split_, hooks_) : blend(fit(kBlended[0]), fit(kBlended[1]));
  fitted_.emplace(name, out);
  return out;
}

}  // namespace mettle::command
