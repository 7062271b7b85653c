// Second-order meta-learning on a device: the meta-gradient through inner steps is the CPU's, and
// the whole meta-step, gradients of gradients and all, is one graph that can be launched again.
#include "engine/cuda_graph.h"
#include "tests/autograd/fused_maml.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace fused_maml;

Variables leaves_on(const Variables& weights, Device device) {
  Variables leaves;
  for (const Variable& w : weights) leaves.push_back(to(w, device).detach_requires_grad());
  return leaves;
}

/// The meta-loss and its gradient with respect to every weight.
Variables meta_step(const Variables& weights, const MetaBatch& batch, int steps) {
  const Variable loss = meta_loss(weights, batch, steps);
  Variables results = grad(loss, weights);
  results.insert(results.begin(), loss.detach());
  return results;
}

void expect_equal(const Variables& got, const Variables& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const Vec g = got[i].value().to_vector<double>(), w = want[i].value().to_vector<double>();
    ASSERT_EQ(g.size(), w.size());
    for (std::size_t k = 0; k < g.size(); ++k)
      ASSERT_NEAR(g[k], w[k], 1e-11 * (1 + std::abs(w[k]))) << "result " << i << " element " << k;
  }
}

TEST(DeviceMaml, TheMetaGradientIsThatOfTheCpu) {
  const Variables weights = initial_weights();
  for (const int steps : {0, 1, 2}) {
    SCOPED_TRACE(steps);
    const Variables want = meta_step(leaves_on(weights, Device::cpu()), MetaBatch(), steps);
    const Device device = device_under_test();
    expect_equal(meta_step(leaves_on(weights, device), MetaBatch(device), steps), want);
  }
}

TEST(DeviceMaml, AWholeMetaStepIsOneGraph) {
  const Device device = device_under_test();
  const MetaBatch batch(device);
  const Variables start = initial_weights();
  const Variables weights = leaves_on(start, device);
  meta_step(weights, batch, 2);  // what is set up at the first use is set up here
  Variables results;
  CudaGraph graph = CudaGraph::capture(device, [&] { results = meta_step(weights, batch, 2); });

  Variables moved = start;
  for (int launch = 0; launch < 3; ++launch) {
    SCOPED_TRACE(launch);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      moved[i] = moved[i] * 0.9 + 0.01;
      weights[i].value().copy_from(contiguous(moved[i]).value());
    }
    graph.launch();
    expect_equal(results, meta_step(leaves_on(moved, Device::cpu()), MetaBatch(), 2));
  }
}

}  // namespace
}  // namespace mettle::test
