// The contracts of the gradient walk: what it returns, what it refuses, and how its records live
// and die.
#include "autograd/grad.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "autograd/gradcheck.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "tests/autograd/message_of.h"

namespace mettle {
namespace {

using test::message_of;
using testing::HasSubstr;

Variable leaf(const std::vector<double>& values, const Shape& shape) {
  return Variable(Tensor::from(values, shape), true);
}

TEST(Grad, EveryOrderOfAPolynomial) {
  const Variable x = leaf({1.5}, {});
  Variable y = x * x * x * x * x;  // x^5
  double expected = std::pow(1.5, 5);
  double factor = 1.0;
  for (int order = 1; order <= 6; ++order) {
    factor *= 6 - order;
    expected = factor * std::pow(1.5, 5 - order);
    if (order == 6) {
      // The fifth derivative is constant: it depends on x no more.
      EXPECT_THROW(grad(y, {x}, {.create_graph = true}), AutogradError);
      break;
    }
    y = grad(y, {x}, {.create_graph = true})[0];
    EXPECT_NEAR(y.item(), expected, 1e-9 * std::abs(expected)) << "order " << order;
  }
}

TEST(Grad, InteriorInputsAndSharedUses) {
  const Variable x = leaf({2.0}, {});
  const Variable h = x * x;
  const Variable y = h * h + x;
  const Variables g = grad(y, {h, x, h});
  EXPECT_DOUBLE_EQ(g[0].item(), 8.0);
  EXPECT_DOUBLE_EQ(g[1].item(), 2.0 * 4.0 * 4.0 + 1.0);
  EXPECT_DOUBLE_EQ(g[2].item(), 8.0);
}

TEST(Grad, CotangentsOfSeveralOutputs) {
  const Variable x = leaf({1, 2, 3}, {3});
  const Variables ys{x * 2.0, x * x};
  const Variable u(Tensor::from<double>(std::vector<double>{1, 10, 100}, {3}));
  EXPECT_THAT(grad(ys, std::span(&x, 1), {.grad_outputs = {u, u}})[0].value().to_vector<double>(),
              testing::ElementsAre(4, 60, 800));
}

TEST(Grad, NullCotangentMeansZero) {
  const Variable x = leaf({3.0}, {});
  const Variables ys{x * 2.0, x * x};
  EXPECT_DOUBLE_EQ(
      grad(ys, std::span(&x, 1), {.grad_outputs = {Variable(), full({}, 1.0, DType::f64)}})[0]
          .item(),
      6.0);
}

TEST(Grad, RefusesWithTheRemedy) {
  const Variable x = leaf({1, 2}, {2});
  const Variable other = leaf({1}, {});
  const Variable constant(Tensor::from<double>(std::vector<double>{1.0}, {}));
  EXPECT_THAT(message_of<AutogradError>([&] { grad(x * x, {x}); }), HasSubstr("grad_outputs"));
  EXPECT_THAT(message_of<AutogradError>([&] { grad(sum(x), {other}); }), HasSubstr("allow_unused"));
  EXPECT_FALSE(grad(sum(x), {other}, {.allow_unused = true})[0].defined());
  EXPECT_THAT(message_of<AutogradError>([&] { grad(sum(x), {constant}); }),
              HasSubstr("requires_grad"));
  EXPECT_THAT(message_of<AutogradError>([&] { grad(constant, {x}); }),
              HasSubstr("depends on nothing"));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { grad(x * x, {x}, {.grad_outputs = {full({3}, 1.0, DType::f64)}}); }),
              HasSubstr("(3,)"));
  EXPECT_THAT(message_of<DTypeError>([&] { grad(x * x, {x}, {.grad_outputs = {full({2}, 1.0)}}); }),
              HasSubstr("f32"));
  EXPECT_THROW(Variable(Tensor::zeros({2}, DType::i64), true), DTypeError);
  EXPECT_THROW(Variable().value(), AutogradError);
}

TEST(Grad, ASecondWalkNeedsTheGraphKept) {
  const Variable x = leaf({2.0}, {});
  const Variable y = exp(x * x);
  grad(y, {x});
  EXPECT_THAT(message_of<AutogradError>([&] { grad(y, {x}); }), HasSubstr("retain_graph"));
  const Variable z = exp(x * x);
  const double first = grad(z, {x}, {.retain_graph = true})[0].item();
  EXPECT_DOUBLE_EQ(grad(z, {x})[0].item(), first);
}

TEST(Grad, NoticesAWriteIntoASavedTensor) {
  const Variable x = leaf({2.0}, {});
  const Variable h = x * 3.0;
  const Variable y = h * h;
  h.value().note_write("fill_");
  const std::string message = message_of<AutogradError>([&] { grad(y, {x}); });
  EXPECT_THAT(message, HasSubstr("mul"));
  EXPECT_THAT(message, HasSubstr("fill_"));
}

TEST(Grad, RecordsOnlyWhenAsked) {
  const Variable x = leaf({2.0}, {});
  {
    const NoGrad off;
    EXPECT_FALSE((x * x).requires_grad());
  }
  EXPECT_TRUE((x * x).requires_grad());
  EXPECT_TRUE(x.is_leaf());
  EXPECT_FALSE((x * x).is_leaf());
  EXPECT_TRUE((x * x).detach().is_leaf());
  EXPECT_FALSE((x.detach() * x.detach()).requires_grad());
  EXPECT_FALSE(grad(x * x, {x})[0].requires_grad());
  EXPECT_TRUE(grad(x * x, {x}, {.create_graph = true})[0].requires_grad());
}

TEST(Grad, TellsOfFinishedGradientsBeforeTheWalkEnds) {
  const Variable early = leaf({1.0}, {}), late = leaf({1.0}, {});
  Variable h = early * 1.0;
  for (int i = 0; i < 10; ++i) h = sin(h);
  const Variable y = h * late;
  std::vector<std::size_t> order;
  const Variable inputs[] = {early, late};
  const std::size_t before = Node::live_count();
  grad(y, inputs, {.on_ready = [&](std::size_t i, const Variable& g) {
         EXPECT_TRUE(g.defined());
         order.push_back(i);
       }});
  EXPECT_EQ(Node::live_count(), before);
  EXPECT_THAT(order, testing::ElementsAre(1, 0));
}

TEST(Grad, TwoHundredThousandNodesInAChain) {
  const std::size_t before = Node::live_count();
  {
    const Variable x = leaf({1.0}, {});
    Variable y = x;
    for (int i = 0; i < 200000; ++i) y = y + 1.0;
    const Variable first = grad(y, {x}, {.create_graph = true})[0];
    EXPECT_DOUBLE_EQ(first.item(), 1.0);
    Variable z = x;
    for (int i = 0; i < 200000; ++i) z = z * 1.0000001;
    const Variable slope = grad(z * z, {x}, {.create_graph = true})[0];
    EXPECT_NEAR(grad(slope, {x})[0].item(), 2.0 * std::exp(2 * 0.02), 1e-4);
  }
  EXPECT_EQ(Node::live_count(), before);
}

TEST(Grad, NoCycleKeepsOutputsAlive) {
  const std::size_t nodes = Node::live_count(), storages = Storage::live_count();
  {
    const Variable x = leaf({0.3, 0.4}, {2});
    const Variable y = sum(tanh(exp(x)));
    const Variable g = grad(y, {x}, {.create_graph = true})[0];
    grad(sum(g * g), {x}, {.create_graph = true});
  }
  EXPECT_EQ(Node::live_count(), nodes);
  EXPECT_EQ(Storage::live_count(), storages);
}

TEST(Grad, CheckpointRepeatsTheFunctionAtEveryOrder) {
  const Function f = [](std::span<const Variable> in) {
    return Variables{tanh(matmul(in[0], in[1])) * exp(in[0])};
  };
  const Variable a = leaf({.1, .2, .3, .4}, {2, 2}), b = leaf({.5, -.6, .7, .8}, {2, 2});
  const Variable inputs[] = {a, b};
  const Function kept = [&](std::span<const Variable> in) { return checkpoint(f, in); };
  EXPECT_TRUE(gradcheck(kept, inputs));
  EXPECT_TRUE(gradgradcheck(kept, inputs));
  const Variable direct = sum(f(inputs)[0]), recomputed = sum(kept(inputs)[0]);
  EXPECT_EQ(direct.item(), recomputed.item());
  EXPECT_EQ(grad(direct, inputs)[1].value().to_vector<double>(),
            grad(recomputed, inputs)[1].value().to_vector<double>());
}

TEST(Grad, HessianVectorProduct) {
  // f = x0^2 x1 + x1^3: H = [[2 x1, 2 x0], [2 x0, 6 x1]].
  const Function f = [](std::span<const Variable> in) {
    const Variable x0 = select(in[0], 0, 0), x1 = select(in[0], 0, 1);
    return Variables{x0 * x0 * x1 + x1 * x1 * x1};
  };
  const Variable x = leaf({2, 3}, {2}), v = leaf({1, -1}, {2});
  EXPECT_THAT(
      hessian_vector_product(f, std::span(&x, 1), std::span(&v, 1))[0].value().to_vector<double>(),
      testing::ElementsAre(6 - 4, 4 - 18));
}

TEST(Gradcheck, FindsAWrongRule) {
  // The rule claims 3 x^2 for the derivative of x^2.
  const Function wrong = [](std::span<const Variable> in) {
    const NoGrad off;
    Tensor y = square(in[0]).value();
    const GradMode on(true);
    return Variables{
        record("wrong", y, {&in[0]}, [x = Saved(in[0])](const Backward& g) -> Variables {
          return {g.dy() * g(x) * g(x) * 3.0};
        })};
  };
  const Variable x = leaf({1.0, 2.0}, {2});
  const GradcheckReport report = gradcheck(wrong, std::span(&x, 1));
  EXPECT_FALSE(report);
  EXPECT_THAT(report.where, HasSubstr("input 0"));
}

TEST(Grad, ThreadsDifferentiateSharedLeaves) {
  const Variable x = leaf(std::vector<double>(100, 0.5), {100});
  std::vector<std::thread> team;
  std::vector<double> results(4);
  for (std::size_t t = 0; t < results.size(); ++t)
    team.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) results[t] = sum(grad(sum(exp(x * x)), {x})[0]).item();
    });
  for (std::thread& t : team) t.join();
  for (const double r : results) EXPECT_EQ(r, results[0]);
}

}  // namespace
}  // namespace mettle
