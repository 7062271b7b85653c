// Baselines with at most one number per item and one per user.
#include <algorithm>
#include <cmath>
#include <string>

#include "engine/check.h"
#include "engine/random.h"
#include "recsys/baselines/item_means.h"
#include "recsys/baselines/selection.h"
#include "recsys/item_statistics.h"

namespace mettle {
namespace {

constexpr double kShrinkageGrid[] = {0.5, 1, 2, 3, 4, 5, 6, 8, 9, 12, 20};

// What a simple baseline is, besides its formula.
struct Traits {
  std::string_view name;
  bool uses_support, predicts_stars;
};

// A baseline made of a function (support, items) -> predictions.
template <class Predict> class Simple final : public Baseline {
 public:
  Simple(const Traits& traits, Predict predict) : traits_(traits), predict_(std::move(predict)) {}
  std::string_view name() const override { return traits_.name; }
  bool uses_support() const override { return traits_.uses_support; }
  bool predicts_stars() const override { return traits_.predicts_stars; }
  std::vector<double> predict(std::span<const ItemRating> support,
                              std::span<const std::int32_t> items) const override {
    return predict_(support, items);
  }

 private:
  Traits traits_;
  Predict predict_;
};

template <class Predict> FittedBaseline simple(const Traits& traits, Predict predict) {
  return std::make_shared<Simple<Predict>>(traits, std::move(predict));
}

// A baseline of one number per item, whoever the user is.
FittedBaseline per_item(const Traits& traits, std::vector<double> value) {
  return simple(traits, [value = std::move(value)](std::span<const ItemRating>,
                                                   std::span<const std::int32_t> items) {
    std::vector<double> out;
    out.reserve(items.size());
    for (const std::int32_t item : items) out.push_back(value[static_cast<std::size_t>(item)]);
    return out;
  });
}

double shrunk_mean_of(std::span<const ItemRating> support, double prior, double weight) {
  double sum = prior * weight;
  for (const ItemRating& rating : support) sum += rating.stars;
  return sum / (static_cast<double>(support.size()) + weight);
}

}  // namespace

ItemMeans fit_item_means(const Dataset& data, const ColdStartSplit& split) {
  const ItemSums sums = item_sums(data, split.train_users);
  const auto make = [&](double beta) {
    ItemMeans means{sums.mean_stars(), beta, {}};
    means.mean.reserve(sums.count.size());
    for (std::size_t i = 0; i < sums.count.size(); ++i)
      means.mean.push_back((sums.stars[i] + beta * means.global_mean) / (sums.count[i] + beta));
    return means;
  };
  return select_best(kShrinkageGrid, make, [&](const ItemMeans& means) {
    return squared_error(data, split.validation, kNoSupport,
                         [&](std::span<const ItemRating>, std::span<const std::int32_t> items) {
                           std::vector<double> out;
                           for (const std::int32_t item : items)
                             out.push_back(means.mean[static_cast<std::size_t>(item)]);
                           return out;
                         });
  });
}

double user_bias(const ItemMeans& means, double lambda, std::span<const ItemRating> support) {
  double sum = 0.0;
  for (const ItemRating& rating : support)
    sum += rating.stars - means.mean[static_cast<std::size_t>(rating.item)];
  return sum / (static_cast<double>(support.size()) + lambda);
}

namespace {

// mean_i + user bias.
auto biased_means(const ItemMeans& means, double lambda) {
  return
      [&means, lambda](std::span<const ItemRating> support, std::span<const std::int32_t> items) {
        const double bias = user_bias(means, lambda, support);
        std::vector<double> out;
        out.reserve(items.size());
        for (const std::int32_t item : items)
          out.push_back(means.mean[static_cast<std::size_t>(item)] + bias);
        return out;
      };
}

}  // namespace

double select_bias_shrinkage(const Dataset& data, const ColdStartSplit& split,
                             const ItemMeans& means) {
  return select_best(
      kShrinkageGrid, [](double lambda) { return lambda; },
      [&](double lambda) {
        return squared_error(data, split.validation, kSmallSupports, biased_means(means, lambda));
      });
}

FittedBaseline fit_random(const Dataset&, const ColdStartSplit& split) {
  constexpr std::uint64_t kRandomOffset = std::uint64_t{3} << 48;
  return simple({"random", false, false}, [seed = split.seed](std::span<const ItemRating>,
                                                              std::span<const std::int32_t> items) {
    // The list itself names the stretch of the stream: repeatable, but unrelated between lists.
    std::uint64_t list = kRandomOffset;
    for (const std::int32_t item : items)
      list = list * 6364136223846793005u + static_cast<std::uint64_t>(item) + 1;
    Generator generator(seed, list);
    std::vector<double> out(items.size());
    for (double& score : out) score = generator.uniform();
    return out;
  });
}

FittedBaseline fit_global_mean(const Dataset& data, const ColdStartSplit& split) {
  const double mean = item_sums(data, split.train_users).mean_stars();
  return per_item({"global mean", false, true}, std::vector<double>(data.items.size(), mean));
}

FittedBaseline fit_user_mean(const Dataset& data, const ColdStartSplit& split) {
  const double mean = item_sums(data, split.train_users).mean_stars();
  const auto make = [mean](double weight) {
    return
        [mean, weight](std::span<const ItemRating> support, std::span<const std::int32_t> items) {
          return std::vector<double>(items.size(), shrunk_mean_of(support, mean, weight));
        };
  };
  auto best = select_best(
      kShrinkageGrid, [](double weight) { return weight; },
      [&](double weight) {
        return squared_error(data, split.validation, kSmallSupports, make(weight));
      });
  return simple({"user mean", true, true}, make(best));
}

FittedBaseline fit_popularity(const Dataset& data, const ColdStartSplit& split) {
  std::vector<double> score = item_sums(data, split.train_users).count;
  for (double& count : score) count = std::log1p(count);
  return per_item({"popularity", false, false}, std::move(score));
}

FittedBaseline fit_item_mean(const Dataset& data, const ColdStartSplit& split) {
  const ItemSums sums = item_sums(data, split.train_users);
  std::vector<double> mean;
  for (std::size_t i = 0; i < sums.count.size(); ++i)
    mean.push_back(sums.count[i] > 0 ? sums.stars[i] / sums.count[i] : sums.mean_stars());
  return per_item({"item mean", false, true}, std::move(mean));
}

FittedBaseline fit_shrunk_item_mean(const Dataset& data, const ColdStartSplit& split) {
  return per_item({"shrunk item mean", false, true}, fit_item_means(data, split).mean);
}

FittedBaseline fit_item_mean_user_bias(const Dataset& data, const ColdStartSplit& split) {
  ItemMeans means = fit_item_means(data, split);
  const double lambda = select_bias_shrinkage(data, split, means);
  return simple({"item mean + user bias", true, true},
                [means = std::move(means), lambda](std::span<const ItemRating> support,
                                                   std::span<const std::int32_t> items) {
                  return biased_means(means, lambda)(support, items);
                });
}

FittedBaseline blend(FittedBaseline a, FittedBaseline b) {
  METTLE_CHECK(ValueError, a->predicts_stars() && b->predicts_stars(),
               "blend: '{}' and '{}' must both predict stars", a->name(), b->name());
  return simple({"blend of MF and linear", true, true},
                [a = std::move(a), b = std::move(b)](std::span<const ItemRating> support,
                                                     std::span<const std::int32_t> items) {
                  std::vector<double> out = a->predict(support, items);
                  const std::vector<double> other = b->predict(support, items);
                  for (std::size_t i = 0; i < out.size(); ++i) out[i] = 0.5 * (out[i] + other[i]);
                  return out;
                });
}

}  // namespace mettle
