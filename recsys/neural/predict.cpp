// Batches of episodes through a method.
#include "recsys/neural/predict.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"

namespace mettle {
namespace {

constexpr std::int64_t kBatch = 64;  // episodes

void append(std::vector<double>& to, const Variable& values) {
  const std::vector<double> part = values.value().to_vector<double>();
  to.insert(to.end(), part.begin(), part.end());
}

void append(RawPredictions& to, const RatingPrediction& prediction) {
  append(to.like_logit, prediction.like_logit);
  append(to.stars, prediction.stars);
}

// One task: rows of somebody new, with the truth where there is one.
RatingBatch user_batch(const FeatureTable& features, std::span<const std::int32_t> items,
                       std::span<const ItemRating> truth) {
  const Shape shape{1, static_cast<std::int64_t>(items.size())};
  std::vector<std::int64_t> rows;
  for (const std::int32_t item : items) rows.push_back(features.row(-1, item));
  std::vector<float> like(items.size(), 0.0f), stars(like), weight(like);
  for (std::size_t i = 0; i < truth.size(); ++i) {
    like[i] = is_like(truth[i].stars) ? 1.0f : 0.0f;
    stars[i] = static_cast<float>(truth[i].stars - features.global_mean());
    weight[i] = 1.0f;
  }
  return {features.gather(rows, shape), Variable(Tensor::from(like, shape)),
          Variable(Tensor::from(stars, shape)), Variable(Tensor::from(weight, shape))};
}

// log(1 + exp(-x)) without overflow.
double softplus_of_minus(double x) {
  return std::max(-x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

}  // namespace

std::int64_t prediction_batches(std::span<const Episode> episodes) {
  return (std::ssize(episodes) + kBatch - 1) / kBatch;
}

RawPredictions predict_raw(const FewShotMethod& method, const Learned& learned, const Dataset& data,
                           const FeatureTable& features, std::span<const Episode> episodes, int k,
                           const Tick& tick) {
  const NoGrad off;
  RawPredictions out;
  for (std::int64_t begin = 0; begin < std::ssize(episodes); begin += kBatch) {
    const std::int64_t count = std::min(kBatch, std::ssize(episodes) - begin);
    const auto part =
        episodes.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    append(out,
           method.predict(learned, episode_batch(data, features, part, k).to(learned.device())));
    if (tick) tick();
  }
  return out;
}

RawPredictions predict_raw(const FewShotMethod& method, const Learned& learned,
                           const FeatureTable& features, std::span<const ItemRating> support,
                           std::span<const std::int32_t> items) {
  METTLE_CHECK(ValueError, !items.empty(), "predict: no items to predict for");
  const NoGrad off;
  std::vector<std::int32_t> rated;
  for (const ItemRating& rating : support) rated.push_back(rating.item);
  if (rated.empty()) rated.push_back(0);  // one empty slot
  RawPredictions out;
  const MetaBatch batch{user_batch(features, rated, support), user_batch(features, items, {})};
  append(out, method.predict(learned, batch.to(learned.device())));
  return out;
}

double like_loss(const FewShotMethod& method, const Learned& learned, const Dataset& data,
                 const FeatureTable& features, std::span<const Episode> episodes,
                 std::span<const int> support_sizes, const Tick& tick) {
  const std::vector<std::uint8_t> likes = query_likes(data, episodes);
  double sum = 0.0;
  for (const int k : support_sizes) {
    const RawPredictions got = predict_raw(method, learned, data, features, episodes, k, tick);
    for (std::size_t i = 0; i < likes.size(); ++i)
      sum += softplus_of_minus(likes[i] ? got.like_logit[i] : -got.like_logit[i]);
  }
  return sum / static_cast<double>(likes.size() * support_sizes.size());
}

}  // namespace mettle
