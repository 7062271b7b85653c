// EM for the population of users' weights, and the closed form for a new user.
#include "recsys/baselines/hierarchical_linear.h"

#include <algorithm>

#include "engine/parallel.h"
#include "recsys/baselines/selection.h"
#include "recsys/small_linalg.h"

namespace mettle {
namespace {

constexpr std::int64_t kChunk = 8;  // users per parallel chunk

// Posterior of one user's weights: mean, covariance, and E[|y - X w|^2].
struct WeightPosterior {
  std::vector<double> mean, covariance;
  double residual = 0.0;
};

// Sum of the products of all entries of two symmetric matrices, trace(A B).
double packed_trace_product(std::span<const double> a, std::span<const double> b, std::size_t n) {
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j)
      sum += (i == j ? 1.0 : 2.0) * a[packed_index(i, j)] * b[packed_index(i, j)];
  return sum;
}

WeightPosterior posterior(const UserMoments& user, const WeightPopulation& population,
                          std::span<const double> prior_precision) {
  const std::size_t n = population.mean.size();
  std::vector<double> precision(prior_precision.begin(), prior_precision.end());
  for (std::size_t i = 0; i < precision.size(); ++i) precision[i] += user.xx[i] / population.noise;
  std::vector<double> rhs = packed_times(prior_precision, population.mean);
  for (std::size_t i = 0; i < n; ++i) rhs[i] += user.xy[i] / population.noise;
  WeightPosterior out;
  out.covariance = Cholesky(std::move(precision), n).inverse();
  out.mean = packed_times(out.covariance, rhs);
  out.residual = user.yy - 2.0 * dot(out.mean, user.xy) +
                 dot(out.mean, packed_times(user.xx, out.mean)) +
                 packed_trace_product(out.covariance, user.xx, n);
  return out;
}

// The maximisation step: moments of the posteriors over users.
WeightPopulation maximise(std::span<const WeightPosterior> posteriors, double ratings,
                          std::size_t size) {
  constexpr double kFloor = 1e-4;  // keeps C invertible
  const auto users = static_cast<double>(posteriors.size());
  WeightPopulation out{std::vector<double>(size, 0.0), std::vector<double>(packed_size(size), 0.0),
                       0.0};
  for (const WeightPosterior& p : posteriors) {
    for (std::size_t i = 0; i < size; ++i) out.mean[i] += p.mean[i] / users;
    out.noise += p.residual / ratings;
  }
  std::vector<double> centred(size);
  for (const WeightPosterior& p : posteriors) {
    for (std::size_t i = 0; i < size; ++i) centred[i] = p.mean[i] - out.mean[i];
    packed_add_outer(out.covariance, centred, 1.0 / users);
    for (std::size_t i = 0; i < p.covariance.size(); ++i)
      out.covariance[i] += p.covariance[i] / users;
  }
  for (std::size_t i = 0; i < size; ++i) out.covariance[packed_index(i, i)] += kFloor;
  return out;
}

// Targets shifted by a common linear function: y -> y - X w.
UserMoments shifted(const UserMoments& user, std::span<const double> w) {
  const std::vector<double> xxw = packed_times(user.xx, w);
  UserMoments out = user;
  out.yy += dot(w, xxw) - 2.0 * dot(w, user.xy);
  for (std::size_t i = 0; i < w.size(); ++i) out.xy[i] -= xxw[i];
  return out;
}

// Moments of the training users, features out of fold, targets stars - mu; and X'(user's bias),
// which the shared regression takes out.
struct TrainingMoments {
  std::vector<UserMoments> users;
  std::vector<double> bias_xy;  // sum over ratings of bias_u * x
};

TrainingMoments training_moments(const Dataset& data, const ColdStartSplit& split,
                                 const OutOfFoldStatistics& statistics,
                                 const LinearFeatures& features, double bias_shrinkage) {
  const std::size_t size = features.size();
  TrainingMoments out;
  out.users.resize(split.train_users.size());
  std::vector<std::vector<double>> bias_xy(out.users.size(), std::vector<double>(size, 0.0));
  const auto fill_user = [&](std::size_t n) {
    const std::int32_t user = split.train_users[n];
    const ItemStatistics& seen = statistics.for_user(user);
    UserMoments& moments = out.users[n];
    moments.xx.assign(packed_size(size), 0.0);
    moments.xy.assign(size, 0.0);
    std::vector<double> x(size), x_sum(size, 0.0);
    double residual = 0.0;
    for (const Rating& rating : data.ratings_of(user)) {
      features.fill(rating.item, seen, x);
      const double y = rating.stars - statistics.global_mean;
      packed_add_outer(moments.xx, x, 1.0);
      for (std::size_t i = 0; i < size; ++i) {
        moments.xy[i] += y * x[i];
        x_sum[i] += x[i];
      }
      moments.yy += y * y;
      moments.count += 1.0;
      residual += rating.stars - seen.mean[static_cast<std::size_t>(rating.item)];
    }
    const double bias = residual / (moments.count + bias_shrinkage);
    for (std::size_t i = 0; i < size; ++i) bias_xy[n][i] = bias * x_sum[i];
  };
  parallel_for(static_cast<std::int64_t>(out.users.size()), kChunk,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t n = begin; n < end; ++n) fill_user(static_cast<std::size_t>(n));
               });
  out.bias_xy.assign(size, 0.0);
  for (const auto& user : bias_xy)
    for (std::size_t i = 0; i < size; ++i) out.bias_xy[i] += user[i];
  return out;
}

// The fitted recommender: features of every item as a new user sees them, and the population.
class HierarchicalLinear final : public Baseline {
 public:
  HierarchicalLinear(double mean, std::size_t size, std::vector<double> features)
      : mean_(mean), size_(size), features_(std::move(features)), shared_(size, 0.0) {
    population_.mean.assign(size, 0.0);
  }
  std::string_view name() const override { return "hierarchical Bayes linear"; }
  bool uses_support() const override { return true; }
  bool predicts_stars() const override { return true; }
  std::vector<double> predict(std::span<const ItemRating> support,
                              std::span<const std::int32_t> items) const override {
    const std::vector<double> w = user_weights(support);
    std::vector<double> out;
    out.reserve(items.size());
    for (const std::int32_t item : items) out.push_back(offset(item) + dot(features_of(item), w));
    return out;
  }

  void set_shared(std::vector<double> shared) { shared_ = std::move(shared); }
  const std::vector<double>& shared() const { return shared_; }
  void set_population(WeightPopulation population, double scale) {
    population_ = std::move(population);
    for (double& entry : population_.covariance) entry *= scale;
  }

 private:
  std::span<const double> features_of(std::int32_t item) const {
    return std::span(features_).subspan(static_cast<std::size_t>(item) * size_, size_);
  }
  double offset(std::int32_t item) const { return mean_ + dot(features_of(item), shared_); }

  // E[w_u] = m + C X' (X C X' + s2 I)^-1 (y - X m): a system as large as the support.
  std::vector<double> user_weights(std::span<const ItemRating> support) const {
    std::vector<double> w = population_.mean;
    if (support.empty()) return w;
    std::vector<std::vector<double>> cx;  // C x of each support item
    std::vector<double> gram(packed_size(support.size())), residual;
    for (std::size_t i = 0; i < support.size(); ++i) {
      const auto x = features_of(support[i].item);
      cx.push_back(packed_times(population_.covariance, x));
      for (std::size_t j = 0; j <= i; ++j) gram[packed_index(i, j)] = dot(x, cx[j]);
      gram[packed_index(i, i)] += population_.noise;
      residual.push_back(support[i].stars - offset(support[i].item) - dot(x, population_.mean));
    }
    const std::vector<double> a = Cholesky(std::move(gram), support.size()).solve(residual);
    for (std::size_t i = 0; i < support.size(); ++i)
      for (std::size_t d = 0; d < size_; ++d) w[d] += a[i] * cx[i][d];
    return w;
  }

  double mean_;
  std::size_t size_;
  std::vector<double> features_;  // (items, size)
  std::vector<double> shared_;    // w of the offset
  WeightPopulation population_;
};

// The shared regression on bias-free targets with the best of a grid of ridges.
HierarchicalLinear fit_shared(const Dataset& data, const ColdStartSplit& split,
                              const TrainingMoments& training, const HierarchicalLinear& start) {
  constexpr double kRidges[] = {0.1, 1, 10, 100, 1000};
  const std::size_t size = start.shared().size();
  std::vector<double> xx(packed_size(size), 0.0), xy(size, 0.0);
  for (const UserMoments& user : training.users) {
    for (std::size_t i = 0; i < xx.size(); ++i) xx[i] += user.xx[i];
    for (std::size_t i = 0; i < size; ++i) xy[i] += user.xy[i];
  }
  for (std::size_t i = 0; i < size; ++i) xy[i] -= training.bias_xy[i];
  return select_best(
      kRidges,
      [&](double ridge) {
        std::vector<double> a = xx;
        for (std::size_t i = 0; i < size; ++i) a[packed_index(i, i)] += ridge;
        HierarchicalLinear model = start;
        model.set_shared(Cholesky(std::move(a), size).solve(xy));
        return model;
      },
      [&](const HierarchicalLinear& model) {
        return squared_error(data, split.validation, kNoSupport, [&](auto support, auto items) {
          return model.predict(support, items);
        });
      });
}

}  // namespace

LinearFeatures::LinearFeatures(const Dataset& data, const ItemSums& training)
    : data_(&data),
      genres_(data.genres.size()),
      global_mean_(training.mean_stars()),
      scales_(data, training) {}

void LinearFeatures::fill(std::int32_t item, const ItemStatistics& statistics,
                          std::span<double> x) const {
  const auto i = static_cast<std::size_t>(item);
  const double quality = statistics.mean[i] - global_mean_;
  const double popularity = scales_.log_count(statistics.count[i]);
  const double year = scales_.year(item);
  std::fill(x.begin(), x.end(), 0.0);
  x[0] = 1.0;
  x[1] = quality;
  x[2] = popularity;
  x[3] = year;
  x[4] = year * year - 1.0;
  x[5] = quality * popularity;
  for (const std::int32_t genre : data_->items[i].genres)
    x[6 + static_cast<std::size_t>(genre)] = 1.0;
}

WeightPopulation fit_population(std::span<const UserMoments> users, std::size_t size,
                                const Tick& tick) {
  WeightPopulation population{std::vector<double>(size, 0.0),
                              std::vector<double>(packed_size(size), 0.0), 0.8};
  for (std::size_t i = 0; i < size; ++i) population.covariance[packed_index(i, i)] = 0.05;
  double ratings = 0.0;
  for (const UserMoments& user : users) ratings += user.count;
  std::vector<WeightPosterior> posteriors(users.size());
  for (int round = 0; round < kPopulationRounds; ++round) {
    const std::vector<double> precision = Cholesky(population.covariance, size).inverse();
    parallel_for(std::ssize(users), kChunk, [&](std::int64_t begin, std::int64_t end) {
      for (auto n = static_cast<std::size_t>(begin); n < static_cast<std::size_t>(end); ++n)
        posteriors[n] = posterior(users[n], population, precision);
    });
    population = maximise(posteriors, ratings, size);
    if (tick) tick();
  }
  return population;
}

FittedBaseline fit_hierarchical_linear(const Dataset& data, const ColdStartSplit& split,
                                       const WorkHooks& hooks) {
  constexpr double kCovarianceScales[] = {0.25, 0.5, 1.0, 1.5, 2.0};
  Work work(hooks, "hierarchical Bayes linear", kPopulationRounds + std::ssize(kCovarianceScales));
  const Tick tick = [&work] { work.advance(); };
  const ItemMeans means = fit_item_means(data, split);
  const double lambda = select_bias_shrinkage(data, split, means);
  const OutOfFoldStatistics statistics = out_of_fold_statistics(
      data, split.train_users, {.shrinkage = means.shrinkage, .seed = split.seed});
  const LinearFeatures features(data, item_sums(data, split.train_users));
  const TrainingMoments training = training_moments(data, split, statistics, features, lambda);

  std::vector<double> item_features(data.items.size() * features.size());
  for (std::int32_t item = 0; item < data.item_count(); ++item)
    features.fill(item, statistics.all,
                  std::span(item_features)
                      .subspan(static_cast<std::size_t>(item) * features.size(), features.size()));
  const HierarchicalLinear shared =
      fit_shared(data, split, training,
                 HierarchicalLinear(statistics.global_mean, features.size(), item_features));

  std::vector<UserMoments> residuals;
  for (const UserMoments& user : training.users)
    residuals.push_back(shifted(user, shared.shared()));
  const WeightPopulation population = fit_population(residuals, features.size(), tick);
  return std::make_shared<HierarchicalLinear>(select_best(
      kCovarianceScales,
      [&](double scale) {
        HierarchicalLinear model = shared;
        model.set_population(population, scale);
        return model;
      },
      [&](const HierarchicalLinear& model) {
        const double error =
            squared_error(data, split.validation, kLargeSupports,
                          [&](auto support, auto items) { return model.predict(support, items); });
        tick();
        return error;
      }));
}

}  // namespace mettle
