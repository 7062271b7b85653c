// What training users' ratings say about each item, without leaking a user's own ratings into the
// features of that user: statistics are computed out of fold.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "recsys/dataset.h"

namespace mettle {

/// Per item, over some set of users.
struct ItemStatistics {
  std::vector<double> count;  // ratings; scaled up to all training users where a fold is left out
  std::vector<double> mean;   // of stars, shrunk to the global mean: (sum + beta * mu) / (n + beta)
  std::vector<double> like_rate;  // share of likes, shrunk to the global share in the same way
};

struct OutOfFoldOptions {
  int folds = 5;           // by user
  double shrinkage = 3.0;  // beta, in ratings
  std::uint64_t seed = 0;  // assigns users to folds
};

/// Item statistics for features. The ratings of a training user are described by the statistics of
/// the other folds, those of any other user by the statistics of all training users. (A mean that
/// only leaves out the one rating leaks it: the mean is low exactly where the rating was high.)
struct OutOfFoldStatistics {
  double global_mean = 0.0;       // stars over the training users' ratings
  double global_like_rate = 0.0;  // likes over the same
  ItemStatistics all;
  std::vector<ItemStatistics> without_fold;  // (folds)
  std::vector<std::int32_t> fold_of_user;    // (users): -1 for users who do not train

  const ItemStatistics& for_user(std::int32_t user) const;
};

/// ValueError unless there is a training user, 2 folds or more and a shrinkage above 0.
OutOfFoldStatistics out_of_fold_statistics(const Dataset& data,
                                           std::span<const std::int32_t> train_users,
                                           const OutOfFoldOptions& options = {});

/// Plain counts and sums over the ratings of some users.
struct ItemSums {
  std::vector<double> count, stars, likes;  // (items)
  double total_count = 0.0, total_stars = 0.0, total_likes = 0.0;

  explicit ItemSums(std::int32_t items);
  void add(std::span<const Rating> ratings);
  /// this - other, for sums of which `other` is a part.
  ItemSums without(const ItemSums& other) const;
  double mean_stars() const { return total_stars / total_count; }
};
ItemSums item_sums(const Dataset& data, std::span<const std::int32_t> users);

}  // namespace mettle
