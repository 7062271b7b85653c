// Schedules as closures over their constants.
#include "models/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "engine/check.h"

namespace mettle {
namespace {

double checked(std::int64_t step) {
  METTLE_CHECK(ValueError, step >= 0, "schedule: step is {}; the first one is 0", step);
  return static_cast<double>(step);
}

void check_decay(const char* name, std::int64_t steps, double last) {
  METTLE_CHECK(ValueError, steps >= 1, "{}: {} steps; there must be at least 1", name, steps);
  METTLE_CHECK(ValueError, last >= 0 && last <= 1, "{}: the last factor is {}, outside [0, 1]",
               name, last);
}

}  // namespace

Schedule constant_rate() {
  return [](std::int64_t step) {
    checked(step);
    return 1.0;
  };
}

Schedule linear_decay(std::int64_t steps, double last) {
  check_decay("linear_decay", steps, last);
  return [total = static_cast<double>(steps), last](std::int64_t step) {
    return std::lerp(1.0, last, std::min(checked(step) / total, 1.0));
  };
}

Schedule cosine_decay(std::int64_t steps, double last) {
  check_decay("cosine_decay", steps, last);
  return [total = static_cast<double>(steps), last](std::int64_t step) {
    const double done = std::min(checked(step) / total, 1.0);
    return last + (1.0 - last) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  };
}

Schedule warm_up(std::int64_t steps, Schedule after) {
  METTLE_CHECK(ValueError, steps >= 0, "warm_up: {} steps; there cannot be fewer than 0", steps);
  return [steps, after = std::move(after)](std::int64_t step) {
    const double done = checked(step) + 1.0;
    return step < steps ? done / static_cast<double>(steps) : after(step - steps);
  };
}

}  // namespace mettle
