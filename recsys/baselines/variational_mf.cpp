// Coordinate updates of the variational posterior.
//
// One side's vector x = (b, w) given the other side's posteriors y = (c, v) with mean m and
// covariance S: stars - mu = c + a . x + noise with the regressor a = (1, v). Hence
//   precision = L + sum E[a a'] / s2            E[a a'] = a_m a_m' + S without its first row/column
//   rhs       = L p + sum ((stars - mu) a_m - E[c a]) / s2    E[c a] = m_0 a_m + (0, S_10, S_20,
//   ...)
// with a_m = (1, m_1, ...), L the prior precision and p the prior mean.
#include "recsys/baselines/variational_mf.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "recsys/baselines/item_features.h"
#include "recsys/baselines/selection.h"
#include "recsys/small_linalg.h"

namespace mettle {
namespace {

constexpr std::uint64_t kInitOffset = std::uint64_t{4} << 48;
constexpr std::int64_t kChunk = 16;  // users or items per parallel chunk

double normal(Generator& generator) {  // Box and Muller 1958
  const double radius = std::sqrt(-2.0 * std::log(1.0 - generator.uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * generator.uniform());
}

// The ratings of one side's entities, grouped: those of n are edges [begin[n], begin[n + 1]).
struct Edge {
  std::int32_t other;
  double centred;  // stars - mu
};
struct Groups {
  std::vector<std::size_t> begin;
  std::vector<Edge> edges;

  std::size_t count() const { return begin.size() - 1; }
  std::span<const Edge> of(std::size_t n) const {
    return std::span(edges).subspan(begin[n], begin[n + 1] - begin[n]);
  }
};

Groups group_by_user(const Dataset& data, std::span<const std::int32_t> users, double mean) {
  Groups out{{0}, {}};
  for (const std::int32_t user : users) {
    for (const Rating& rating : data.ratings_of(user))
      out.edges.push_back({rating.item, rating.stars - mean});
    out.begin.push_back(out.edges.size());
  }
  return out;
}

Groups transpose(const Groups& by_user, std::size_t items) {
  Groups out{std::vector<std::size_t>(items + 1, 0), std::vector<Edge>(by_user.edges.size())};
  for (const Edge& edge : by_user.edges) ++out.begin[static_cast<std::size_t>(edge.other) + 1];
  for (std::size_t i = 0; i < items; ++i) out.begin[i + 1] += out.begin[i];
  std::vector<std::size_t> next(out.begin.begin(), out.begin.end() - 1);
  for (std::size_t u = 0; u < by_user.count(); ++u)
    for (const Edge& edge : by_user.of(u))
      out.edges[next[static_cast<std::size_t>(edge.other)]++] = {static_cast<std::int32_t>(u),
                                                                 edge.centred};
  return out;
}

// What a rating adds to the other side's normal equations: E[a a'], a_m and E[c a].
struct Regressors {
  std::size_t size;
  std::vector<double> second, first, cross;

  explicit Regressors(const LatentVectors& side) : size(side.size) {
    const std::size_t count = side.mean.size() / size, packed = packed_size(size);
    second.resize(count * packed);
    first.resize(count * size);
    cross.resize(count * size);
    parallel_for(static_cast<std::int64_t>(count), kChunk, [&](std::int64_t b, std::int64_t e) {
      for (auto n = static_cast<std::size_t>(b); n < static_cast<std::size_t>(e); ++n)
        fill(n, side.mean_of(n), side.covariance_of(n));
    });
  }

  void fill(std::size_t n, std::span<const double> m, std::span<const double> s) {
    const auto a = std::span(first).subspan(n * size, size);
    const auto ca = std::span(cross).subspan(n * size, size);
    const auto aa = std::span(second).subspan(n * packed_size(size), packed_size(size));
    std::copy(s.begin(), s.end(), aa.begin());
    for (std::size_t i = 0; i < size; ++i) {
      a[i] = i == 0 ? 1.0 : m[i];
      ca[i] = m[0] * a[i] + (i == 0 ? 0.0 : s[packed_index(i, 0)]);
      aa[packed_index(i, 0)] = 0.0;
    }
    packed_add_outer(aa, a, 1.0);
  }
};

struct Prior {
  std::vector<double> precision;  // diagonal, (size)
  std::vector<double> mean;       // (count, size), or empty for 0
};

// Posterior of every entity of one side, given the other side.
void update_side(LatentVectors& side, const LatentVectors& other, const Groups& groups,
                 const Prior& prior, double noise) {
  const Regressors regressors(other);
  const std::size_t size = side.size, packed = packed_size(size);
  const auto update = [&](std::size_t n) {
    std::vector<double> precision(packed, 0.0), rhs(size, 0.0);
    for (const Edge& edge : groups.of(n)) {
      const auto j = static_cast<std::size_t>(edge.other);
      const double* aa = &regressors.second[j * packed];
      for (std::size_t i = 0; i < packed; ++i) precision[i] += aa[i];
      const double *a = &regressors.first[j * size], *ca = &regressors.cross[j * size];
      for (std::size_t i = 0; i < size; ++i) rhs[i] += edge.centred * a[i] - ca[i];
    }
    for (double& entry : precision) entry /= noise;
    for (std::size_t i = 0; i < size; ++i) {
      precision[packed_index(i, i)] += prior.precision[i];
      const double mean = prior.mean.empty() ? 0.0 : prior.mean[n * size + i];
      rhs[i] = rhs[i] / noise + prior.precision[i] * mean;
    }
    const std::vector<double> covariance = Cholesky(std::move(precision), size).inverse();
    const std::vector<double> mean = packed_times(covariance, rhs);
    std::copy(covariance.begin(), covariance.end(), &side.covariance[n * packed]);
    std::copy(mean.begin(), mean.end(), &side.mean[n * size]);
  };
  parallel_for(static_cast<std::int64_t>(groups.count()), kChunk,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t n = begin; n < end; ++n) update(static_cast<std::size_t>(n));
               });
}

// E[(stars - prediction)^2] under the posterior, without the product of the two covariances of
// factors, which is of second order.
double expected_noise(const LatentVectors& users, const LatentVectors& items,
                      const Groups& groups) {
  std::vector<double> sums(groups.count(), 0.0);  // added in order below: same bits on any machine
  parallel_for(
      static_cast<std::int64_t>(groups.count()), kChunk, [&](std::int64_t begin, std::int64_t end) {
        for (auto u = static_cast<std::size_t>(begin); u < static_cast<std::size_t>(end); ++u) {
          const auto m = users.mean_of(u), s = users.covariance_of(u);
          for (const Edge& edge : groups.of(u)) {
            const auto i = static_cast<std::size_t>(edge.other);
            const auto p = items.mean_of(i), t = items.covariance_of(i);
            double error = edge.centred - m[0] - p[0], variance = s[0] + t[0];
            for (std::size_t d = 1; d < users.size; ++d) {
              error -= m[d] * p[d];
              const std::size_t dd = packed_index(d, d);
              variance += p[d] * p[d] * s[dd] + m[d] * m[d] * t[dd];
            }
            sums[u] += error * error + variance;
          }
        }
      });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total / static_cast<double>(groups.edges.size());
}

LatentVectors make_vectors(std::size_t count, std::size_t size, double variance) {
  LatentVectors out{size, std::vector<double>(count * size, 0.0),
                    std::vector<double>(count * packed_size(size), 0.0)};
  for (std::size_t n = 0; n < count; ++n)
    for (std::size_t i = 0; i < size; ++i)
      out.covariance[n * packed_size(size) + packed_index(i, i)] = variance;
  return out;
}

// Ridge regression of item vectors on features (1, year, popularity, genres); well rated items
// count more.
class FeaturePrior {
 public:
  FeaturePrior(const Dataset& data, const ItemSums& training)
      : width_(3 + data.genres.size()), features_(data.items.size() * width_, 0.0) {
    constexpr double kWeightCap = 20.0, kRidge = 20.0;
    const ItemScales scales(data, training);
    std::vector<double> normal(packed_size(width_), 0.0);
    for (std::size_t i = 0; i < data.items.size(); ++i) {
      double* f = &features_[i * width_];
      f[0] = 1.0;
      f[1] = scales.year(static_cast<std::int32_t>(i));
      f[2] = scales.log_count(training.count[i]);
      for (const std::int32_t genre : data.items[i].genres)
        f[3 + static_cast<std::size_t>(genre)] = 1.0;
      weight_.push_back(std::min(training.count[i], kWeightCap));
      packed_add_outer(normal, std::span<const double>(f, width_), weight_[i]);
    }
    for (std::size_t i = 0; i < width_; ++i) normal[packed_index(i, i)] += kRidge;
    normal_ = std::make_unique<Cholesky>(std::move(normal), width_);
  }

  // Fitted values (items, size) for the current item means.
  std::vector<double> means(const LatentVectors& items) const {
    std::vector<double> out(items.mean.size());
    std::vector<double> rhs(width_);
    for (std::size_t d = 0; d < items.size; ++d) {
      std::fill(rhs.begin(), rhs.end(), 0.0);
      for (std::size_t i = 0; i < weight_.size(); ++i) {
        const double target = weight_[i] * items.mean[i * items.size + d];
        for (std::size_t j = 0; j < width_; ++j) rhs[j] += target * features_[i * width_ + j];
      }
      const std::vector<double> w = normal_->solve(rhs);
      for (std::size_t i = 0; i < weight_.size(); ++i)
        out[i * items.size + d] = dot(w, std::span<const double>(&features_[i * width_], width_));
    }
    return out;
  }

 private:
  std::size_t width_;
  std::vector<double> features_;  // (items, width)
  std::vector<double> weight_;    // (items)
  std::unique_ptr<Cholesky> normal_;
};

// A Baseline around the factorisation.
class FoldInMf final : public Baseline {
 public:
  FoldInMf(std::string_view name, VariationalMf model) : name_(name), model_(std::move(model)) {}
  std::string_view name() const override { return name_; }
  bool uses_support() const override { return true; }
  bool predicts_stars() const override { return true; }
  std::vector<double> predict(std::span<const ItemRating> support,
                              std::span<const std::int32_t> items) const override {
    return model_.predict(support, items);
  }

 private:
  std::string_view name_;
  VariationalMf model_;
};

FittedBaseline fit_best(std::string_view name, const Dataset& data, const ColdStartSplit& split,
                        std::span<const VariationalMfOptions> candidates, const WorkHooks& hooks) {
  Work work(hooks, std::string(name), std::ssize(candidates) * VariationalMfOptions{}.iterations);
  return std::make_shared<FoldInMf>(
      name, select_best(
                candidates,
                [&](VariationalMfOptions options) {
                  options.seed = split.seed;
                  return VariationalMf(data, split.train_users, options,
                                       [&work] { work.advance(); });
                },
                [&](const VariationalMf& model) {
                  return squared_error(
                      data, split.validation, kLargeSupports,
                      [&](auto support, auto items) { return model.predict(support, items); });
                }));
}

}  // namespace

std::span<const double> LatentVectors::mean_of(std::size_t n) const {
  return std::span(mean).subspan(n * size, size);
}
std::span<const double> LatentVectors::covariance_of(std::size_t n) const {
  return std::span(covariance).subspan(n * packed_size(size), packed_size(size));
}

VariationalMf::VariationalMf(const Dataset& data, std::span<const std::int32_t> users,
                             const VariationalMfOptions& options, const Tick& tick) {
  METTLE_CHECK(ValueError, !users.empty() && options.factors >= 1 && options.iterations >= 1,
               "matrix factorisation: {} users, {} factors, {} iterations: each must be at least 1",
               users.size(), options.factors, options.iterations);
  const ItemSums training = item_sums(data, users);
  global_mean_ = training.mean_stars();
  const Groups by_user = group_by_user(data, users, global_mean_);
  const Groups by_item = transpose(by_user, data.items.size());

  const std::size_t size = 1 + static_cast<std::size_t>(options.factors);
  Prior user_prior{std::vector<double>(size, 1.0), {}};
  Prior item_prior{std::vector<double>(size, 1.0 / options.factor_variance), {}};
  user_prior.precision[0] = 1.0 / options.user_bias_variance;
  item_prior.precision[0] = 1.0 / options.item_bias_variance;
  user_precision_ = user_prior.precision;

  LatentVectors user_vectors = make_vectors(users.size(), size, 1.0);
  items_ = make_vectors(data.items.size(), size, 1e-4);
  Generator generator(options.seed, kInitOffset);
  for (std::size_t i = 0; i < items_.mean.size(); ++i)
    if (i % size != 0) items_.mean[i] = 0.1 * normal(generator);

  std::unique_ptr<FeaturePrior> features;
  if (options.genre_prior) features = std::make_unique<FeaturePrior>(data, training);
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    update_side(user_vectors, items_, by_user, user_prior, noise_);
    update_side(items_, user_vectors, by_item, item_prior, noise_);
    if (features) item_prior.mean = features->means(items_);
    noise_ = expected_noise(user_vectors, items_, by_user);
    if (tick) tick();
  }
}

std::vector<double> VariationalMf::fold_in(std::span<const ItemRating> support) const {
  const std::size_t size = items_.size;
  std::vector<double> precision(packed_size(size), 0.0), rhs(size, 0.0), a(size);
  for (std::size_t i = 0; i < size; ++i) precision[packed_index(i, i)] = user_precision_[i];
  for (const ItemRating& rating : support) {
    const auto item = static_cast<std::size_t>(rating.item);
    const auto m = items_.mean_of(item), s = items_.covariance_of(item);
    const double weight = 1.0 / (noise_ + s[0]);
    std::copy(m.begin(), m.end(), a.begin());
    a[0] = 1.0;
    packed_add_outer(precision, a, weight);
    for (std::size_t i = 1; i < size; ++i)
      for (std::size_t j = 1; j <= i; ++j)
        precision[packed_index(i, j)] += weight * s[packed_index(i, j)];
    const double centred = rating.stars - global_mean_ - m[0];
    for (std::size_t i = 0; i < size; ++i)
      rhs[i] += weight * (centred * a[i] - (i == 0 ? 0.0 : s[packed_index(i, 0)]));
  }
  return Cholesky(std::move(precision), size).solve(rhs);
}

std::vector<double> VariationalMf::predict(std::span<const ItemRating> support,
                                           std::span<const std::int32_t> items) const {
  const std::vector<double> user = fold_in(support);
  std::vector<double> out;
  out.reserve(items.size());
  for (const std::int32_t item : items) {
    const auto m = items_.mean_of(static_cast<std::size_t>(item));
    double stars = global_mean_ + m[0] + user[0];
    for (std::size_t d = 1; d < user.size(); ++d) stars += m[d] * user[d];
    out.push_back(stars);
  }
  return out;
}

FittedBaseline fit_foldin_mf(const Dataset& data, const ColdStartSplit& split,
                             const WorkHooks& hooks) {
  const VariationalMfOptions candidates[] = {{.factors = 4, .factor_variance = 0.1},
                                             {.factors = 8, .factor_variance = 0.1},
                                             {.factors = 8, .factor_variance = 0.05},
                                             {.factors = 16, .factor_variance = 0.05}};
  return fit_best("fold-in MF", data, split, candidates, hooks);
}

FittedBaseline fit_foldin_mf_genre_prior(const Dataset& data, const ColdStartSplit& split,
                                         const WorkHooks& hooks) {
  const VariationalMfOptions candidates[] = {
      {.factors = 8, .factor_variance = 0.05, .genre_prior = true},
      {.factors = 16, .factor_variance = 0.05, .genre_prior = true},
      {.factors = 16, .factor_variance = 0.025, .genre_prior = true}};
  return fit_best("fold-in MF, genre prior", data, split, candidates, hooks);
}

}  // namespace mettle
