// Synthetic users with a planted taste: half of them like the one genre and dislike the other, half
// the other way round, so that nothing but a user's own ratings tells what to recommend.
#pragma once

#include <string>

#include "engine/random.h"
#include "recsys/cold_start.h"
#include "recsys/dataset.h"
#include "recsys/neural/training.h"

namespace mettle::test {

inline Dataset planted_tastes(int users = 80, int items = 40) {
  Dataset data;
  data.name = "planted";
  data.genres = {"Comedy", "Horror"};
  data.stars = {0.5, 5.0};
  Generator random(11);
  for (int i = 0; i < items; ++i)
    data.items.push_back({.id = std::to_string(i + 1),
                          .title = "Film " + std::to_string(i + 1),
                          .year = 1980 + i % 30,
                          .genres = {static_cast<std::int32_t>(i % 2)}});
  data.user_begin.push_back(0);
  for (int u = 0; u < users; ++u) {
    data.user_ids.push_back(std::to_string(u + 1));
    for (int i = 0; i < items; ++i) {
      if (random.uniform() < 0.25) continue;
      const bool liked = i % 2 == u % 2;
      const double noise = static_cast<double>(random.below(3)) * 0.5;
      data.ratings.push_back({u, i, (liked ? 4.0 : 1.5) + noise, 0});
    }
    data.user_begin.push_back(std::ssize(data.ratings));
  }
  return data;
}

/// A model and a training short enough for a test.
inline NeuralTrainingOptions short_training(std::uint64_t seed = 3) {
  NeuralTrainingOptions options;
  options.features = {.folds = 2, .factors = 0, .max_title_words = 0};
  options.model = {.dim = 8, .layers = 1, .heads = 2, .hidden = 8};
  options.joint = {.batch = 256, .trainer = {.epochs = 2}};
  options.meta = {.tasks = 8,
                  .batch = {.support = 5, .query = 8, .support_sizes = {5}},
                  .trainer = {.epochs = 4, .learning_rate = 5e-3}};
  options.seed = seed;
  return options;
}

}  // namespace mettle::test
