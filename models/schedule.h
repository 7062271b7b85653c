// Learning-rate schedules: pure functions from the number of steps already made to a factor of the
// base learning rate.
//
//   const Schedule schedule = warm_up(100, cosine_decay(900));
//   optimizer.step(params.values(), gradients, base_rate * schedule(step));
#pragma once

#include <cstdint>
#include <functional>

namespace mettle {

/// Step 0 is the first. ValueError for a negative one.
using Schedule = std::function<double(std::int64_t step)>;

/// 1, always.
Schedule constant_rate();

/// From 1 at step 0 down to `last` at step `steps` in a straight line, and `last` from there on.
/// ValueError unless steps >= 1 and 0 <= last <= 1.
Schedule linear_decay(std::int64_t steps, double last = 0.0);

/// The same along half a cosine: last + (1 - last) (1 + cos(pi step / steps)) / 2. Loshchilov and
/// Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, one period.
Schedule cosine_decay(std::int64_t steps, double last = 0.0);

/// 1/n, 2/n, ..., 1 in the first n steps, then `after` from its beginning. ValueError for n < 0.
Schedule warm_up(std::int64_t steps, Schedule after);

}  // namespace mettle
