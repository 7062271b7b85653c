// Batches of both stages and what they are judged by.
#include "recsys/neural/stages.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "autograd/ops.h"
#include "recsys/item_statistics.h"
#include "recsys/neural/loss.h"
#include "recsys/neural/predict.h"
#include "recsys/shuffle.h"

namespace mettle {
namespace {

constexpr std::string_view kBiasSlope = "user_bias.slope";
constexpr double kItemShrinkage = 3.0, kUserShrinkage = 3.0;  // in ratings

// Mean deviation of every training user from the items' shrunk means, shrunk to 0.
std::vector<float> user_biases(const Dataset& data, std::span<const std::int32_t> users) {
  const ItemSums sums = item_sums(data, users);
  std::vector<float> biases(static_cast<std::size_t>(data.user_count()), 0.0f);
  for (const std::int32_t user : users) {
    double total = 0.0;
    const std::span<const Rating> ratings = data.ratings_of(user);
    for (const Rating& r : ratings) {
      const auto i = static_cast<std::size_t>(r.item);
      total += r.stars - (sums.stars[i] + kItemShrinkage * sums.mean_stars()) /
                             (sums.count[i] + kItemShrinkage);
    }
    biases[static_cast<std::size_t>(user)] =
        static_cast<float>(total / (static_cast<double>(ratings.size()) + kUserShrinkage));
  }
  return biases;
}

}  // namespace

JointStage::JointStage(const Dataset& data, const ColdStartSplit& split,
                       const FeatureTable& features, const NeuralRecommender& model,
                       const JointOptions& options)
    : data_(data),
      split_(split),
      features_(features),
      model_(model),
      batch_(options.batch),
      user_bias_(user_biases(data, split.train_users)) {
  METTLE_CHECK(ValueError, batch_ > 0, "joint training: a batch of {} ratings", batch_);
  for (const std::int32_t user : split.train_users)
    rating_count_ += std::ssize(data.ratings_of(user));
}

Params JointStage::initial_adaptation() {
  Params slope;
  slope.add(std::string(kBiasSlope), full({}, 1.5).detach_requires_grad());
  return slope;
}

void JointStage::begin_epoch(Generator& random) {
  order_.clear();
  for (const std::int32_t user : split_.train_users) {
    const auto u = static_cast<std::size_t>(user);
    for (std::int64_t r = data_.user_begin[u]; r < data_.user_begin[u + 1]; ++r)
      order_.push_back(r);
  }
  shuffle(order_, random);
}

std::int64_t JointStage::steps_per_epoch() const { return (rating_count_ + batch_ - 1) / batch_; }

std::span<const std::int64_t> JointStage::batch(std::int64_t step) const {
  const auto begin = static_cast<std::size_t>(step * batch_);
  return std::span(order_).subspan(
      begin, std::min(static_cast<std::size_t>(batch_), order_.size() - begin));
}

Variable JointStage::loss(const Learned& learned, std::int64_t step, Generator& random) const {
  const Device device = learned.device();
  const RatingBatch truth = rating_batch(data_, features_, batch(step), 1).to(device);
  std::vector<float> biases;
  for (const std::int64_t slot : batch(step))
    biases.push_back(
        user_bias_[static_cast<std::size_t>(data_.ratings[static_cast<std::size_t>(slot)].user)]);
  const Variable bias(Tensor::from(biases, truth.stars.shape()).to(device));
  RatingPrediction prediction = model_(learned.weights, truth.features, random.next_key());
  prediction.stars = add(prediction.stars, bias);
  prediction.like_logit = add(prediction.like_logit, mul(learned.adaptation[kBiasSlope], bias));
  return mean_loss(prediction, truth);
}

std::string JointStage::describe_step(std::int64_t step) const {
  const auto slots = batch(step);
  return fmt::format(
      "{} ratings, the first of user {} on item {}", slots.size(),
      data_.user_ids[static_cast<std::size_t>(
          data_.ratings[static_cast<std::size_t>(slots[0])].user)],
      data_.items[static_cast<std::size_t>(data_.ratings[static_cast<std::size_t>(slots[0])].item)]
          .id);
}

double JointStage::validation_loss(const Learned& learned, const Tick& tick) const {
  const auto method = make_method(NeuralMethod::joint, model_, {});
  constexpr int no_support[] = {0};
  return like_loss(*method, learned, data_, features_, split_.validation, no_support, tick);
}

MetaStage::MetaStage(const Dataset& data, const ColdStartSplit& split, const FeatureTable& features,
                     std::shared_ptr<const FewShotMethod> method, std::string_view name,
                     const MetaOptions& options)
    : data_(data),
      split_(split),
      features_(features),
      method_(std::move(method)),
      name_(name),
      options_(options) {
  METTLE_CHECK(ValueError, options.tasks > 0 && options.tasks <= std::ssize(split.train_users),
               "meta-training: {} tasks per step of {} training users", options.tasks,
               split.train_users.size());
}

void MetaStage::begin_epoch(Generator& random) {
  order_ = split_.train_users;
  shuffle(order_, random);
}

// Users beyond the last full batch sit this epoch out.
std::int64_t MetaStage::steps_per_epoch() const {
  return std::ssize(split_.train_users) / options_.tasks;
}

std::span<const std::int32_t> MetaStage::users(std::int64_t step) const {
  const auto count = static_cast<std::size_t>(options_.tasks);
  return std::span(order_).subspan(static_cast<std::size_t>(step) * count, count);
}

Variable MetaStage::loss(const Learned& learned, std::int64_t step, Generator& random) const {
  const MetaBatch batch =
      sample_meta_batch(data_, features_, users(step), options_.batch, random).to(learned.device());
  return mean_loss(method_->predict(learned, batch), batch.query);
}

std::string MetaStage::describe_step(std::int64_t step) const {
  std::vector<std::string_view> ids;
  for (const std::int32_t user : users(step))
    ids.push_back(data_.user_ids[static_cast<std::size_t>(user)]);
  return fmt::format("users {}", fmt::join(ids, ", "));
}

double MetaStage::validation_loss(const Learned& learned, const Tick& tick) const {
  return like_loss(*method_, learned, data_, features_, split_.validation, kSelectionSizes, tick);
}

}  // namespace mettle
