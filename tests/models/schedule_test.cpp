// Learning-rate schedules against their tables.
#include "models/schedule.h"

#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "engine/check.h"
#include "tests/autograd/message_of.h"

namespace mettle::test {
namespace {

using testing::DoubleNear;
using testing::HasSubstr;
using testing::Pointwise;

struct Row {
  const char* name;
  Schedule schedule;
  std::vector<double> factors;  // of steps 0, 1, ...
};

TEST(Schedule, Tables) {
  const double root = std::sqrt(0.5);  // cos(pi / 4)
  const Row rows[] = {
      {"constant", constant_rate(), {1, 1, 1}},
      {"linear", linear_decay(4), {1, .75, .5, .25, 0, 0, 0}},
      {"linear to a rest", linear_decay(4, .2), {1, .8, .6, .4, .2, .2}},
      {"one step", linear_decay(1), {1, 0, 0}},
      {"cosine", cosine_decay(4), {1, (1 + root) / 2, .5, (1 - root) / 2, 0, 0}},
      {"cosine to a rest", cosine_decay(2, .4), {1, .7, .4, .4}},
      {"warm-up", warm_up(4, constant_rate()), {.25, .5, .75, 1, 1, 1}},
      {"warm-up, linear", warm_up(2, linear_decay(2)), {.5, 1, 1, .5, 0, 0}},
      {"warm-up, cosine", warm_up(1, cosine_decay(2)), {1, 1, .5, 0, 0}},
      {"no warm-up", warm_up(0, linear_decay(2)), {1, .5, 0}},
      {"twice", warm_up(2, warm_up(2, constant_rate())), {.5, 1, .5, 1, 1}},
  };
  for (const Row& row : rows) {
    std::vector<double> got;
    for (std::size_t step = 0; step < row.factors.size(); ++step)
      got.push_back(row.schedule(static_cast<std::int64_t>(step)));
    EXPECT_THAT(got, Pointwise(DoubleNear(1e-15), row.factors)) << row.name;
  }
}

TEST(Schedule, FarBeyondTheEndItStays) {
  EXPECT_EQ(linear_decay(3, .1)(std::int64_t{1} << 62), .1);
  EXPECT_EQ(cosine_decay(3, .1)(std::int64_t{1} << 62), .1);
}

TEST(Schedule, RefusesWithTheValue) {
  EXPECT_THAT(message_of<ValueError>([] { linear_decay(0); }), HasSubstr("linear_decay: 0 steps"));
  EXPECT_THAT(message_of<ValueError>([] { cosine_decay(5, 1.5); }), HasSubstr("1.5"));
  EXPECT_THAT(message_of<ValueError>([] { cosine_decay(5, std::nan("")); }), HasSubstr("nan"));
  EXPECT_THAT(message_of<ValueError>([] { warm_up(-1, constant_rate()); }), HasSubstr("-1"));
  for (const Schedule& schedule :
       {constant_rate(), linear_decay(3), cosine_decay(3), warm_up(3, constant_rate())})
    EXPECT_THAT(message_of<ValueError>([&] { schedule(-2); }), HasSubstr("step is -2"));
}

}  // namespace
}  // namespace mettle::test
