// Grid search by climbing: from a starting point to the best neighbour until there is none.
#include "recsys/neural/finetune.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "recsys/neural/predict.h"
#include "recsys/neural/stages.h"

namespace mettle {
namespace {

constexpr double kRates[] = {1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0};
constexpr int kSteps[] = {1, 3, 10, 30, 100};
constexpr double kEncoderShares[] = {0.0, 0.03, 0.3};  // of the head's rate
// An improvement of the loss that counts: a tenth of what the validation users' sample can tell. It
// keeps the search from trading ten times the steps for a tenth of the rate.
constexpr double kWorthwhile = 5e-4;

using Point = std::pair<int, int>;  // positions in kRates and kSteps
constexpr Point kStart{6, 1};       // rate 0.1, 3 steps

AdaptationOptions options_of(Point point, double encoder_share) {
  const double rate = kRates[point.first];
  return {.steps = kSteps[point.second], .head_rate = rate, .encoder_rate = encoder_share * rate};
}

// The point and its neighbours.
std::vector<Point> around(Point center) {
  std::vector<Point> out;
  for (int rate = center.first - 1; rate <= center.first + 1; ++rate)
    for (int steps = center.second - 1; steps <= center.second + 1; ++steps)
      if (0 <= rate && rate < std::ssize(kRates) && 0 <= steps && steps < std::ssize(kSteps))
        out.emplace_back(rate, steps);
  return out;
}

std::int64_t gradient_steps(const std::vector<Point>& points) {
  std::int64_t steps = 0;
  for (const Point& point : points) steps += kSteps[point.second];
  return steps;
}

// Climbs from the start to a point without a better neighbour. `measure` adds the losses of points
// to those that are known.
template <class Measure> std::pair<Point, double> climb(const Measure& measure) {
  std::map<Point, double> known;
  Point best = kStart;
  while (true) {
    const Point center = best;
    std::vector<Point> unknown;
    for (const Point& point : around(center))
      if (!known.contains(point)) unknown.push_back(point);
    measure(unknown, known);
    for (const Point& point : around(center))
      if (known.at(point) < known.at(best) - kWorthwhile) best = point;
    if (best == center) return {best, known.at(best)};
  }
}

}  // namespace

FinetuneChoice choose_finetuning(const NeuralRecommender& model, const Params& weights,
                                 const Dataset& data, const FeatureTable& features,
                                 std::span<const Episode> validation, const WorkHooks& hooks) {
  const std::int64_t batches = std::ssize(kSelectionSizes) * prediction_batches(validation);
  const std::int64_t least = batches * gradient_steps(around(kStart));  // for each share
  std::int64_t shares_left = std::ssize(kEncoderShares), planned = 0;
  Work work(hooks, "joint+finetune search", shares_left * least);
  FinetuneChoice best{.options = {}, .validation_loss = std::numeric_limits<double>::infinity()};
  double lowest = best.validation_loss;
  for (const double share : kEncoderShares) {
    --shares_left;
    const auto [point, loss] = climb([&](const std::vector<Point>& points, auto& known) {
      planned += batches * gradient_steps(points);
      work.set_total(planned + shares_left * least);
      for (const Point& at : points) {
        const auto method = make_method(NeuralMethod::finetune, model, options_of(at, share));
        Generator unused;
        const Learned learned{weights, method->initial_adaptation(weights, unused)};
        known[at] = like_loss(*method, learned, data, features, validation, kSelectionSizes,
                              [&] { work.advance(kSteps[at.second]); });
        work.set_loss(lowest = std::min(lowest, known[at]));
      }
    });
    if (loss < best.validation_loss) best = {options_of(point, share), loss};
  }
  return best;
}

}  // namespace mettle
