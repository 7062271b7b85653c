// Draws tasks and lays their ratings out as tensors.
#include "recsys/meta_batch.h"

#include <algorithm>

#include "autograd/ops.h"

namespace mettle {

RatingBatch RatingBatch::to(Device device) const {
  return {features.to(device), mettle::to(like, device), mettle::to(stars, device),
          mettle::to(weight, device)};
}

RatingBatch rating_batch(const Dataset& data, const FeatureTable& features,
                         std::span<const std::int64_t> slots, std::int64_t tasks) {
  METTLE_CHECK(ShapeError, tasks > 0 && static_cast<std::int64_t>(slots.size()) % tasks == 0,
               "rating_batch: {} slots do not divide into {} tasks", slots.size(), tasks);
  const Shape shape{tasks, static_cast<std::int64_t>(slots.size()) / tasks};
  std::vector<std::int64_t> rows;
  std::vector<float> like, stars, weight;
  for (const std::int64_t slot : slots) {
    if (slot < 0) {
      rows.push_back(0);
      like.push_back(0.0f);
      stars.push_back(0.0f);
      weight.push_back(0.0f);
      continue;
    }
    const Rating& rating = data.ratings[static_cast<std::size_t>(slot)];
    rows.push_back(features.row(rating.user, rating.item));
    like.push_back(is_like(rating.stars) ? 1.0f : 0.0f);
    stars.push_back(static_cast<float>(rating.stars - features.global_mean()));
    weight.push_back(1.0f);
  }
  return {features.gather(rows, shape), Variable(Tensor::from(like, shape)),
          Variable(Tensor::from(stars, shape)), Variable(Tensor::from(weight, shape))};
}

MetaBatch sample_meta_batch(const Dataset& data, const FeatureTable& features,
                            std::span<const std::int32_t> users, const MetaBatchOptions& options,
                            Generator& generator) {
  const auto support_slots = static_cast<std::size_t>(options.support);
  const auto query_slots = static_cast<std::size_t>(options.query);
  std::vector<std::int64_t> support, query;
  for (const std::int32_t user : users) {
    const std::int64_t begin = data.user_begin[static_cast<std::size_t>(user)];
    const auto count =
        static_cast<std::size_t>(data.user_begin[static_cast<std::size_t>(user) + 1] - begin);
    std::vector<std::int64_t> drawn(count);
    for (std::size_t i = 0; i < count; ++i) drawn[i] = begin + static_cast<std::int64_t>(i);
    const std::size_t needed = std::min(count, support_slots + query_slots);
    for (std::size_t i = 0; i < needed; ++i)
      std::swap(drawn[i], drawn[i + generator.below(count - i)]);
    const auto wanted = static_cast<std::size_t>(
        options.support_sizes[generator.below(options.support_sizes.size())]);
    // Somebody with few ratings keeps at least half of them as query.
    const std::size_t used = std::min({wanted, support_slots, needed / 2});
    const std::size_t reserved = std::min(support_slots, needed / 2);
    for (std::size_t i = 0; i < support_slots; ++i) support.push_back(i < used ? drawn[i] : -1);
    for (std::size_t i = 0; i < query_slots; ++i)
      query.push_back(reserved + i < needed ? drawn[reserved + i] : -1);
  }
  const auto tasks = static_cast<std::int64_t>(users.size());
  return {rating_batch(data, features, support, tasks), rating_batch(data, features, query, tasks)};
}

MetaBatch episode_batch(const Dataset& data, const FeatureTable& features,
                        std::span<const Episode> episodes, int k) {
  std::vector<std::int64_t> support, query;
  for (const Episode& episode : episodes) {
    METTLE_CHECK(ShapeError, episode.query.size() == episodes[0].query.size(),
                 "episode_batch: queries of {} and {} ratings do not share a batch",
                 episode.query.size(), episodes[0].query.size());
    const auto first = episode.first_support(k);
    support.insert(support.end(), first.begin(), first.end());
    if (k == 0) support.push_back(-1);
    query.insert(query.end(), episode.query.begin(), episode.query.end());
  }
  const auto tasks = static_cast<std::int64_t>(episodes.size());
  return {rating_batch(data, features, support, tasks), rating_batch(data, features, query, tasks)};
}

}  // namespace mettle
