// A whole training step on a device as one graph: forward pass with dropout, backward pass,
// clipping, optimizer. Its launches have the bits of the steps made one by one.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "autograd/grad.h"
#include "engine/cuda_graph.h"
#include "models/clip.h"
#include "models/encoder.h"
#include "models/optimizer.h"
#include "models/schedule.h"
#include "tests/autograd/message_of.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using testing::HasSubstr;

constexpr std::int64_t batch = 3, tokens = 5, width = 8, words = 7, classes = 3;
constexpr double max_norm = 0.6;

/// A classifier of sentences: token and position embeddings, an encoder layer, a head.
class Model {
 public:
  explicit Model(DType dtype) {
    const OnCpu cpu;
    Generator random(5);
    Params params;
    words_.init(params, random, {.dtype = dtype});
    positions_.init(params, random, {.dtype = dtype});
    encoder_.init(params, random, {.dtype = dtype});
    head_.init(params, random, {.dtype = dtype});
    Variables moved;
    for (const Variable& p : params.values())
      moved.push_back(to(p, device_under_test()).detach_requires_grad());
    params_ = params.with_values(std::move(moved));
  }

  const Params& params() const { return params_; }
  Variable loss(const Variable& ids, const Variable& labels, const RandomKey& key) const {
    const Variable x = add(words_(params_, ids), positions_(params_, arange(tokens, ids.device())));
    const Variable y = encoder_(params_, x, {.dropout_key = key});
    return cross_entropy(head_(params_, mean(y, {1})), labels);
  }

 private:
  Embedding words_{"words", words, width}, positions_{"positions", tokens, width};
  Encoder encoder_{"encoder",
                   {.dim = width,
                    .layers = 1,
                    .heads = 2,
                    .hidden = 12,
                    .dropout = 0.2,
                    .attention_dropout = 0.1}};
  Linear head_{"head", width, classes};
  Params params_;
};

struct Batch {
  Tensor ids, labels;  // of the host

  explicit Batch(std::int64_t number) {
    std::vector<std::int64_t> words_of(batch * tokens), label_of(batch);
    for (std::int64_t i = 0; i < batch * tokens; ++i)
      words_of[static_cast<std::size_t>(i)] = (i * i + 3 * number) % words;
    for (std::int64_t i = 0; i < batch; ++i)
      label_of[static_cast<std::size_t>(i)] = (i + number) % classes;
    ids = Tensor::from(words_of, {batch, tokens});
    labels = Tensor::from(label_of, {batch});
  }
};

using Make = std::function<std::unique_ptr<Optimizer>(const Params&)>;
const std::pair<const char*, Make> kinds[] = {
    {"adamw",
     [](const Params& p) {
       return std::make_unique<AdamW>(p, AdamOptions{.weight_decay = 0.1}, decay_matrices_only);
     }},
    {"sgd", [](const Params& p) {
       return std::make_unique<Sgd>(p, SgdOptions{0.9, true, 0.1});
     }}};

/// Everything that a step changes, as numbers that hold the bits.
std::vector<Vec> state_of(const Model& model, const Optimizer& optimizer) {
  std::vector<Vec> all;
  for (const Variable& p : model.params().values()) all.push_back(p.value().to_vector<double>());
  for (const auto& [name, tensor] : optimizer.state()) all.push_back(tensor.to_vector<double>());
  return all;
}

double rate_of(std::int64_t step) {
  static const Schedule schedule = warm_up(3, cosine_decay(4));
  return 0.05 * schedule(step);
}

/// Steps one by one, by numbers of the host.
class OneByOne {
 public:
  OneByOne(DType dtype, const Make& make) : model(dtype), optimizer(make(model.params())) {}

  double step(std::int64_t number) {
    const Batch b(number);
    const Device device = device_under_test();
    const Variable loss =
        model.loss(Variable(b.ids.to(device)), Variable(b.labels.to(device)), random.next_key());
    const Variables gradients = grad(loss, model.params().values());
    const double factor = clip_factor(gradient_norm(gradients), max_norm);
    clipped += factor < 1;
    optimizer->step(model.params().values(), gradients, rate_of(number), factor);
    return loss.item();
  }

  Model model;
  std::unique_ptr<Optimizer> optimizer;
  Generator random{11};
  int clipped = 0;
};

/// The same steps, of which those after the first are launches of one graph.
class Captured {
 public:
  Captured(DType dtype, const Make& make) : steps(dtype, make) {
    const Batch b(0);
    const Device device = device_under_test();
    ids = b.ids.to(device);
    labels = b.labels.to(device);
    key = to_tensor(PhiloxKey{}).to(device);
    rate = Tensor::zeros({}, DType::f64, device);
  }

  void capture() {
    graph = CudaGraph::capture(device_under_test(), [&] {
      const Params& params = steps.model.params();
      const Variable l = steps.model.loss(Variable(ids), Variable(labels), RandomKey(key));
      const Variables gradients = grad(l, params.values());
      steps.optimizer->step(params.values(), gradients, rate,
                            clip_factor(gradient_norm_tensor(gradients), max_norm));
      loss = l.value();
    });
  }
  void set(std::int64_t number, const PhiloxKey& of_step, double rate_of_step) {
    const Batch b(number);
    ids.copy_from(b.ids);
    labels.copy_from(b.labels);
    key.copy_from(to_tensor(of_step));
    rate.copy_from(Tensor::from(Vec{rate_of_step}, {}));
  }
  double launch() {
    graph->launch();
    return loss.item();
  }
  double step(std::int64_t number) {
    set(number, steps.random.next_key(), rate_of(number));
    return launch();
  }
  std::vector<Vec> state() const { return state_of(steps.model, *steps.optimizer); }

  OneByOne steps;
  Tensor ids, labels, key, rate, loss;
  std::optional<CudaGraph> graph;
};

TEST(CapturedStep, LaunchesHaveTheBitsOfStepsOneByOne) {
  for (const auto& [name, make] : kinds)
    for (const DType dtype : {DType::f32, DType::f64}) {
      SCOPED_TRACE(fmt::format("{} {}", name, to_string(dtype)));
      OneByOne eager(dtype, make);
      Captured captured(dtype, make);
      EXPECT_EQ(captured.steps.step(0), eager.step(0));
      captured.capture();
      EXPECT_EQ(captured.state(), state_of(eager.model, *eager.optimizer));  // nothing ran
      for (std::int64_t number = 1; number <= 5; ++number) {
        EXPECT_EQ(captured.step(number), eager.step(number)) << "loss of step " << number;
        EXPECT_EQ(captured.state(), state_of(eager.model, *eager.optimizer)) << "step " << number;
      }
      EXPECT_EQ(captured.steps.optimizer->state().at("steps").to_vector<double>(),
                Vec(eager.model.params().size(), 6.0));
      EXPECT_GT(eager.clipped, 0);
    }
}

TEST(CapturedStep, EveryLaunchDropsByTheKeyThatItFinds) {
  Captured captured(DType::f32, kinds[0].second);
  captured.steps.step(0);
  captured.capture();
  const auto loss_with = [&](std::uint64_t offset) {
    captured.set(1, {4, offset}, 0.0);  // a rate of zero: the weights stay
    return captured.launch();
  };
  const double first = loss_with(1);
  EXPECT_NE(loss_with(2), first);
  EXPECT_NE(loss_with(3), first);
  EXPECT_EQ(loss_with(1), first);
}

TEST(CapturedStep, ALaunchThatMustNotStepLeavesWeightsAndCounts) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto& [name, make] : kinds) {
    Captured captured(DType::f64, make);
    captured.steps.step(0);
    captured.capture();
    captured.step(1);
    const auto before = captured.state();
    for (const double bad : {std::nan(""), infinity, -0.1}) {
      captured.set(2, {4, 4}, bad);
      captured.launch();
      EXPECT_EQ(captured.state(), before) << name << " " << bad;
    }
    // A weight that is not finite makes the gradients so.
    const Tensor bias = captured.steps.model.params()["head.bias"].value();
    const Vec kept = bias.to_vector<double>();
    bias.copy_from(Tensor::from(Vec{infinity, 0, 0}, {classes}));
    const auto spoilt = captured.state();
    captured.set(2, {4, 4}, 0.1);
    EXPECT_FALSE(std::isfinite(captured.launch()));
    EXPECT_EQ(captured.state(), spoilt) << name;
    bias.copy_from(Tensor::from(kept, {classes}));
    EXPECT_EQ(captured.state(), before) << name;
    captured.launch();
    EXPECT_NE(captured.state(), before) << name;
  }
}

// docs/cuda-graphs.md, whose code this is.
TEST(CapturedStep, ThePageIsTrue) {
  const Device device = device_under_test();
  const Batch of_host(3);
  const Variable ids(of_host.ids.to(device)), labels(of_host.labels.to(device));
  const Schedule schedule = cosine_decay(6);
  const Model model(DType::f32), other(DType::f32);
  const Params& params = model.params();
  AdamW optimizer(params), other_optimizer(other.params());

  Generator random(11);
  const Tensor key = to_tensor(random.next_key()).to(device);
  const Tensor rate = Tensor::from(std::vector{0.01}, {1}).to(device);
  Tensor loss;
  const auto step = [&] {
    const Variable l = model.loss(ids, labels, RandomKey(key));
    const Variables gradients = grad(l, params.values());
    const Tensor norm = gradient_norm_tensor(gradients);
    optimizer.step(params.values(), gradients, rate, clip_factor(norm, 1.0));
    loss = l.value();
  };

  step();  // the first step by itself: what is set up at the first use is set up before the capture
  CudaGraph graph = CudaGraph::capture(device, step);  // notes the step, runs nothing
  for (std::int64_t number = 1; number < 6; ++number) {
    key.copy_from(to_tensor(random.next_key()));
    rate.copy_from(Tensor::from(std::vector{0.01 * schedule(number)}, {1}));
    graph.launch();
  }

  Generator again(11);
  double other_loss = 0;
  for (std::int64_t number = 0; number < 6; ++number) {
    const Variable l = other.loss(ids, labels, again.next_key());
    const Variables gradients = grad(l, other.params().values());
    other_optimizer.step(other.params().values(), gradients, 0.01 * schedule(number),
                         clip_factor(gradient_norm(gradients), 1.0));
    other_loss = l.item();
  }
  EXPECT_EQ(loss.item(), other_loss);
  EXPECT_EQ(state_of(model, optimizer), state_of(other, other_optimizer));
}

// What a checkpoint holds lies on the host.
TEST(CapturedStep, GoesOnFromAStateOfTheHost) {
  for (const auto& [name, make] : kinds) {
    Captured first(DType::f32, make), second(DType::f32, make);
    first.steps.step(0);
    second.steps.step(0);
    first.capture();
    second.capture();
    for (std::int64_t number = 1; number <= 2; ++number) first.step(number);
    std::map<std::string, Tensor> saved;
    for (const auto& [key, tensor] : first.steps.optimizer->state())
      saved[key] = tensor.to(Device::cpu());
    second.steps.optimizer->restore(saved);
    second.steps.random = first.steps.random;
    for (std::size_t i = 0; i < first.steps.model.params().size(); ++i)
      second.steps.model.params().values()[i].value().copy_from(
          first.steps.model.params().values()[i].value());
    EXPECT_EQ(second.step(3), first.step(3)) << name;
    EXPECT_EQ(second.state(), first.state()) << name;
  }
}

TEST(CapturedStep, WhatCannotBeCapturedSaysSoAndWhatToDo) {
  const Device device = device_under_test();
  Captured captured(DType::f32, kinds[0].second);
  const auto capture = [&](const std::function<void()>& work) {
    return message_of<DeviceError>([&] { CudaGraph::capture(device, work); });
  };
  const Variable x(captured.rate);
  EXPECT_THAT(capture([&] { gradient_norm(Variables{x}); }),
              HasSubstr("copying to the host is not possible while a graph is captured"));
  EXPECT_THAT(capture([&] {
                to_tensor(PhiloxKey{1, 2}).to(device);
              }),
              HasSubstr("keep what the work needs in tensors of the device"));
  EXPECT_THAT(message_of<DeviceError>([&] {
                dropout(x, 0.5, RandomKey(to_tensor(PhiloxKey{1, 2})));
              }),
              HasSubstr("dropout: the random key stands on cpu"));
  EXPECT_EQ(captured.rate.item(), 0);  // and the device goes on
}

}  // namespace
}  // namespace mettle::test
