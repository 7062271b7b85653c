// Grid search by climbing: from a starting point to the best neighbour until there is none.
#include "recsys/neural/finetune.h"

#include <limits>
#include <map>
#include <utility>

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

AdaptationOptions options_of(Point point, double encoder_share) {
  const double rate = kRates[point.first];
  return {.steps = kSteps[point.second], .head_rate = rate, .encoder_rate = encoder_share * rate};
}

// Climbs from the middle of the grid to a point without a better neighbour.
template <class Loss> std::pair<Point, double> search(const Loss& loss) {
  std::map<Point, double> known;
  const auto loss_at = [&](Point point) {
    const auto found = known.find(point);
    return found != known.end() ? found->second : known[point] = loss(point);
  };
  Point best{6, 1};  // rate 0.1, 3 steps
  for (bool moved = true; moved;) {
    moved = false;
    const Point center = best;
    for (int dr = -1; dr <= 1; ++dr) {
      for (int ds = -1; ds <= 1; ++ds) {
        const Point next{center.first + dr, center.second + ds};
        if (next.first < 0 || next.first >= std::ssize(kRates) || next.second < 0 ||
            next.second >= std::ssize(kSteps))
          continue;
        if (loss_at(next) < loss_at(best) - kWorthwhile) {
          best = next;
          moved = true;
        }
      }
    }
  }
  return {best, loss_at(best)};
}

}  // namespace

FinetuneChoice choose_finetuning(const NeuralRecommender& model, const Params& weights,
                                 const Dataset& data, const FeatureTable& features,
                                 std::span<const Episode> validation) {
  FinetuneChoice best{.options = {}, .validation_loss = std::numeric_limits<double>::infinity()};
  for (const double share : kEncoderShares) {
    const auto [point, loss] = search([&](Point at) {
      const auto method = make_method(NeuralMethod::finetune, model, options_of(at, share));
      Generator unused;
      const Learned learned{weights, method->initial_adaptation(weights, unused)};
      return like_loss(*method, learned, data, features, validation, kSelectionSizes);
    });
    if (loss < best.validation_loss) best = {options_of(point, share), loss};
  }
  return best;
}

}  // namespace mettle
