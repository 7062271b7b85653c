// Optimizers: SGD, Adam, AdamW. They hold the moments; the weights stay where they are, in Params,
// and are updated in place in one pass over memory.
//
//   AdamW optimizer(params, {.weight_decay = 0.01}, decay_matrices_only);
//   optimizer.step(params.values(), grad(loss, params.values()), 3e-4 * schedule(step));
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/params.h"

namespace mettle {

/// What sets one parameter apart in every step.
struct ParameterRule {
  double rate_factor = 1.0;   // of the learning rate: layer-wise rates
  double decay_factor = 1.0;  // of the weight decay
};
/// Parameter groups: the rule of each parameter, asked for once, at construction.
using ParameterRules = std::function<ParameterRule(std::string_view name, const Shape& shape)>;

/// No weight decay for biases, gains and other parameters of fewer than two axes.
ParameterRule decay_matrices_only(std::string_view name, const Shape& shape);

/// A number that a step multiplies by: the host's, or that of an f64 tensor of one element on the
/// parameters' device, which is read when the step runs. In a captured graph (engine/cuda_graph.h)
/// that is what was last copied into the tensor before each launch.
class StepNumber {
 public:
  StepNumber(double value) : value_(value) {}                // NOLINT(google-explicit-constructor)
  StepNumber(Tensor tensor) : tensor_(std::move(tensor)) {}  // NOLINT(google-explicit-constructor)

  /// The host's part: 1 beside a tensor.
  double value() const { return value_; }
  /// Undefined for a number of the host.
  const Tensor& tensor() const { return tensor_; }
  const double* data() const { return tensor_.defined() ? tensor_.data<double>() : nullptr; }

 private:
  double value_ = 1.0;
  Tensor tensor_;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates the parameters, those of construction in the same order, by gradients times
  /// `gradient_scale` (see clip_factor()). A parameter whose gradient is null keeps its value and
  /// its moments. The writes count as in-place writes: a graph that saved an old weight can no
  /// longer be differentiated. The same bits for any number of threads. Nothing waits for a device,
  /// and a captured step can be launched again: it counts its steps on the device.
  ///
  /// Before any work: ShapeError, DTypeError, DeviceError for what differs from the parameters of
  /// construction; ShapeError for a strided parameter; ValueError for a learning rate that is
  /// negative or not finite, a scale that is not finite, and a parameter that shares memory with
  /// another or with a gradient. Where a tensor holds a rate or scale that would be refused, the
  /// step changes nothing when it runs.
  void step(std::span<const Variable> parameters, std::span<const Variable> gradients,
            const StepNumber& learning_rate, const StepNumber& gradient_scale = 1.0);

  /// Everything that later steps depend on, by name: "steps" (i64, how many each parameter has
  /// made) and the moments, such as "m.encoder.weight", on the parameters' device. The tensors are
  /// the optimizer's own: the next step writes into them.
  std::map<std::string, Tensor> state() const;
  /// Takes over the values of a state() from any device; from there on every step has the same bits
  /// as after it. ValueError for a missing or unknown name, ShapeError or DTypeError for a tensor
  /// that differs, each before anything is changed.
  void restore(const std::map<std::string, Tensor>& state);

 protected:
  /// One parameter in one step, dense.
  struct Update {
    std::size_t index;  // of the parameter
    const Tensor* parameter;
    const Tensor* gradient;
    std::int64_t* steps_made;  // by this parameter before; the kernel counts it up
    double learning_rate;
    double decay_factor;
  };
  /// What all updates of a step are multiplied by beside their own numbers; see
  /// kernels/optimizer.h.
  struct Factors {
    double gradient_scale;
    const double *rate, *scale;
  };

  /// `moments` names the tensors kept beside each parameter, zeros at first. DTypeError for a
  /// parameter that is not f32 or f64, DeviceError for two devices.
  Optimizer(const char* name, const Params& parameters, const ParameterRules& rules,
            std::vector<std::string> moments);
  void* moment(std::size_t kind, std::size_t index) const { return moments_[kind][index].data(); }

 private:
  virtual void update(const Stream& stream, DType dtype, std::span<const Update> updates,
                      const Factors& factors) = 0;
  void check(std::span<const Variable> parameters, std::span<const Variable> gradients) const;
  void check_number(const char* what, const Tensor& number) const;
  void check_memory(std::span<const Variable> parameters,
                    std::span<const Variable> gradients) const;

  const char* name_;
  Params like_;  // of the parameters' names, shapes, dtypes and devices
  std::vector<ParameterRule> rules_;
  std::vector<std::string> moment_names_;
  std::vector<std::vector<Tensor>> moments_;  // [moment][parameter]
  Tensor steps_;                              // i64, one per parameter, on their device
};

struct SgdOptions {
  double momentum = 0.0;      // in [0, 1)
  bool nesterov = false;      // needs a momentum
  double weight_decay = 0.0;  // L2: added to the gradient
};

/// u = g + weight_decay w,  velocity = momentum velocity + u,  w -= rate velocity; Nesterov's form
/// moves by u + momentum velocity. Sutskever et al., "On the importance of initialization and
/// momentum in deep learning", 2013.
class Sgd final : public Optimizer {
 public:
  /// ValueError for options outside of their range.
  explicit Sgd(const Params& parameters, const SgdOptions& options = {},
               const ParameterRules& rules = nullptr);

 private:
  void update(const Stream& stream, DType dtype, std::span<const Update> updates,
              const Factors& factors) override;
  SgdOptions options_;
};

struct AdamOptions {
  double beta1 = 0.9;  // in [0, 1)
  double beta2 = 0.999;
  double eps = 1e-8;  // positive
  double weight_decay = 0.0;
};

/// m = beta1 m + (1 - beta1) u,  v = beta2 v + (1 - beta2) u^2,
/// w -= rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) at a parameter's t-th step.
class AdamMoments : public Optimizer {
 protected:
  AdamMoments(const char* name, const Params& parameters, const AdamOptions& options,
              const ParameterRules& rules, double l2, double decay);

 private:
  void update(const Stream& stream, DType dtype, std::span<const Update> updates,
              const Factors& factors) final;
  AdamOptions options_;
  double l2_, decay_;
};

/// u = g + weight_decay w. Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
class Adam final : public AdamMoments {
 public:
  /// ValueError for options outside of their range.
  explicit Adam(const Params& parameters, const AdamOptions& options = {},
                const ParameterRules& rules = nullptr)
      : AdamMoments("adam", parameters, options, rules, options.weight_decay, 0.0) {}
};

/// u = g, and w shrinks by rate weight_decay w beside the step. Loshchilov and Hutter, "Decoupled
/// weight decay regularization", 2019.
class AdamW final : public AdamMoments {
 public:
  /// ValueError for options outside of their range.
  explicit AdamW(const Params& parameters, const AdamOptions& options = {},
                 const ParameterRules& rules = nullptr)
      : AdamMoments("adamw", parameters, options, rules, 0.0, options.weight_decay) {}
};

}  // namespace mettle
