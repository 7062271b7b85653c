// Second-order MAML on sinusoids: find initial weights from which a few gradient steps on ten
// points fit any sine of a family (Finn, Abbeel and Levine, "Model-agnostic meta-learning", 2017).
//
//   maml [meta-steps]                default 1000
//
// All 25 tasks of a meta-step run at once: their weights have a leading task axis.
#include <mettle/mettle.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numbers>

namespace {

using namespace mettle;

constexpr std::int64_t kPoints = 10;
constexpr double kInnerRate = 0.02;

/// Points of T sines y = a sin(x + phase), each (T, points, 1).
struct Sines {
  Variable support_x, support_y, query_x, query_y;

  Sines(std::int64_t tasks, Generator& random) {
    const Variable a = uniform({tasks, 1, 1}, random.next_key(), 0.1, 5.0);
    const Variable phase = uniform({tasks, 1, 1}, random.next_key(), 0.0, std::numbers::pi);
    for (auto [x, y] : {std::pair{&support_x, &support_y}, {&query_x, &query_y}}) {
      *x = uniform({tasks, kPoints, 1}, random.next_key(), -5.0, 5.0);
      *y = a * sin(*x + phase);
    }
  }
};

/// 1 -> 40 -> 40 -> 1 with tanh. Layers hold names and sizes; weights are arguments.
struct Network {
  Linear first{"first", 1, 40}, second{"second", 40, 40}, last{"last", 40, 1};

  Params init(Generator& random) const {
    Params params;
    for (const Linear* layer : {&first, &second, &last}) layer->init(params, random);
    return params;
  }
  Variable operator()(const Params& p, const Variable& x) const {
    return last(p, tanh(second(p, tanh(first(p, x)))));
  }
  /// Mean squared error of each task, summed over tasks: each task's weights see their own only.
  LossFunction loss(const Variable& x, const Variable& y) const {
    return
        [*this, x, y](const Params& p) { return sum(square((*this)(p, x) - y)) * (1.0 / kPoints); };
  }
};

Params meta_train(const Network& network, int meta_steps, Generator& random) {
  constexpr std::int64_t tasks = 25;
  const Params params = network.init(random);
  const Params rates = inner_rates(params, kInnerRate);
  Adam optimizer(params);
  for (int step = 1; step <= meta_steps; ++step) {
    const Sines sines(tasks, random);
    const MetaGradient meta =
        meta_gradient(params, rates, network.loss(sines.support_x, sines.support_y),
                      network.loss(sines.query_x, sines.query_y), {.steps = 1, .tasks = tasks});
    optimizer.step(params.values(), meta.parameters.values(), 1e-2 / tasks);
    if (step % 200 == 0)
      std::printf("meta-step %4d   query loss after one inner step %.3f\n", step,
                  meta.loss.item() / tasks);
  }
  return params;
}

/// Mean squared error on unseen points of unseen sines after `steps` gradient steps.
double error_after(const Network& network, const Params& params, int steps) {
  constexpr std::int64_t tasks = 500;
  Generator random(99);
  const Sines sines(tasks, random);
  const NoGrad off;
  const Params adapted =
      adapt(params, inner_rates(params, kInnerRate), network.loss(sines.support_x, sines.support_y),
            {.steps = steps, .tasks = tasks});
  return network.loss(sines.query_x, sines.query_y)(adapted).item() / tasks;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int meta_steps = argc > 1 ? std::atoi(argv[1]) : 1000;
    const Network network;
    Generator random(1);
    const Params trained = meta_train(network, meta_steps, random);
    const Params untrained = network.init(random);
    std::printf("\ninner steps   random weights   meta-learned weights\n");
    for (const int steps : {0, 1, 5, 10})
      std::printf("%11d   %14.3f   %20.3f\n", steps, error_after(network, untrained, steps),
                  error_after(network, trained, steps));
    return error_after(network, trained, 10) < 0.5 * error_after(network, untrained, 10) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
