// Out-of-fold item statistics.
#include "recsys/item_statistics.h"

#include <algorithm>

#include "engine/check.h"
#include "engine/random.h"
#include "recsys/shuffle.h"

namespace mettle {
namespace {

constexpr std::uint64_t kFoldOffset = std::uint64_t{2} << 48;

struct Prior {
  double mean, like_rate, weight;
};

ItemStatistics shrink(const ItemSums& sums, const Prior& prior, double count_scale) {
  ItemStatistics out;
  const std::size_t items = sums.count.size();
  out.count.resize(items);
  out.mean.resize(items);
  out.like_rate.resize(items);
  for (std::size_t i = 0; i < items; ++i) {
    const double weight = sums.count[i] + prior.weight;
    out.count[i] = sums.count[i] * count_scale;
    out.mean[i] = (sums.stars[i] + prior.weight * prior.mean) / weight;
    out.like_rate[i] = (sums.likes[i] + prior.weight * prior.like_rate) / weight;
  }
  return out;
}

}  // namespace

ItemSums::ItemSums(std::int32_t items)
    : count(static_cast<std::size_t>(items)), stars(count.size()), likes(count.size()) {}

void ItemSums::add(std::span<const Rating> ratings) {
  for (const Rating& rating : ratings) {
    const auto i = static_cast<std::size_t>(rating.item);
    const double like = is_like(rating.stars) ? 1.0 : 0.0;
    count[i] += 1.0;
    stars[i] += rating.stars;
    likes[i] += like;
    total_count += 1.0;
    total_stars += rating.stars;
    total_likes += like;
  }
}

ItemSums ItemSums::without(const ItemSums& other) const {
  ItemSums out = *this;
  for (std::size_t i = 0; i < count.size(); ++i) {
    out.count[i] -= other.count[i];
    out.stars[i] -= other.stars[i];
    out.likes[i] -= other.likes[i];
  }
  out.total_count -= other.total_count;
  out.total_stars -= other.total_stars;
  out.total_likes -= other.total_likes;
  return out;
}

ItemSums item_sums(const Dataset& data, std::span<const std::int32_t> users) {
  ItemSums sums(data.item_count());
  for (const std::int32_t user : users) sums.add(data.ratings_of(user));
  return sums;
}

const ItemStatistics& OutOfFoldStatistics::for_user(std::int32_t user) const {
  const std::int32_t fold = fold_of_user[static_cast<std::size_t>(user)];
  return fold < 0 ? all : without_fold[static_cast<std::size_t>(fold)];
}

OutOfFoldStatistics out_of_fold_statistics(const Dataset& data,
                                           std::span<const std::int32_t> train_users,
                                           const OutOfFoldOptions& options) {
  METTLE_CHECK(ValueError, !train_users.empty(), "item statistics: no training users");
  METTLE_CHECK(ValueError, options.folds >= 2 && options.shrinkage > 0.0,
               "item statistics: {} folds and shrinkage {}: at least 2 folds and a positive "
               "shrinkage are needed",
               options.folds, options.shrinkage);
  // Folds of equal size: users in random order, dealt out in turn.
  std::vector<std::int32_t> order(train_users.begin(), train_users.end());
  Generator generator(options.seed, kFoldOffset);
  shuffle(order, generator);
  OutOfFoldStatistics out;
  out.fold_of_user.assign(data.user_ids.size(), -1);
  std::vector<ItemSums> folds(static_cast<std::size_t>(options.folds), ItemSums(data.item_count()));
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t fold = i % folds.size();
    out.fold_of_user[static_cast<std::size_t>(order[i])] = static_cast<std::int32_t>(fold);
    folds[fold].add(data.ratings_of(order[i]));
  }
  const ItemSums total = item_sums(data, train_users);
  out.global_mean = total.mean_stars();
  out.global_like_rate = total.total_likes / total.total_count;
  const Prior prior{out.global_mean, out.global_like_rate, options.shrinkage};
  out.all = shrink(total, prior, 1.0);
  const double scale = options.folds / (options.folds - 1.0);
  for (const ItemSums& fold : folds)
    out.without_fold.push_back(shrink(total.without(fold), prior, scale));
  return out;
}

}  // namespace mettle
