// Second-order meta-learning through an encoder layer made of the fused operations: the gradient
// with respect to the initial weights, through inner steps that are gradients themselves, against
// central differences.
#include "tests/autograd/fused_maml.h"

namespace mettle::test {
namespace {

using namespace fused_maml;

class FusedMaml : public testing::TestWithParam<int> {};

TEST_P(FusedMaml, GradientThroughInnerStepsIsThatOfCentralDifferences) {
  const Function f = [](std::span<const Variable> initial) {
    // The inner loop differentiates, so recording must be on; gradcheck's numeric side turns it
    // off.
    const GradMode on(true);
    Variables w;
    for (const Variable& x : initial) w.push_back(x.requires_grad() ? x : x.detach_requires_grad());
    return Variables{meta_loss(w, MetaBatch(), GetParam())};
  };
  const Variables weights = initial_weights();
  const auto report = gradcheck(f, weights);
  EXPECT_TRUE(report) << report.where;
  EXPECT_LT(report.worst, 1e-8);
}

INSTANTIATE_TEST_SUITE_P(Steps, FusedMaml, testing::Values(0, 1, 3));

TEST(FusedMaml, TheSecondOrderPartIsThere) {
  Variables w;
  for (const Variable& x : initial_weights()) w.push_back(x.detach_requires_grad());
  const auto constant = [](const Variable& dx) { return dx.detach(); };
  const Variable second = grad(meta_loss(w, MetaBatch(), 3), {w[qkv]})[0];
  const Variable first = grad(meta_loss(w, MetaBatch(), 3, constant), {w[qkv]})[0];
  EXPECT_GT(sum(square(second - first)).item(), 1e-4 * sum(square(second)).item());
}

}  // namespace
}  // namespace mettle::test
