// Checks of a step, the state, and how each optimizer fills in its kernel's arguments.
#include "models/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "autograd/ops.h"
#include "engine/exec.h"
#include "kernels/optimizer.h"

namespace mettle {
namespace {

/// The same names, shapes and dtypes without the weights: one element, repeated.
Params layout_of(const Params& parameters) {
  Variables values;
  for (const Variable& p : parameters.values())
    values.emplace_back(Tensor::zeros({}, p.dtype(), p.device()).expand(p.shape()));
  return parameters.with_values(std::move(values));
}

/// Throws ValueError unless 0 <= value < below.
void check_range(const char* optimizer, const char* option, double value, double below) {
  METTLE_CHECK(ValueError, value >= 0 && value < below, "{}: {} is {}; it must be in [0, {})",
               optimizer, option, value, below);
}

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

ParameterRule decay_matrices_only(std::string_view, const Shape& shape) {
  return {.decay_factor = shape.rank() >= 2 ? 1.0 : 0.0};
}

Optimizer::Optimizer(const char* name, const Params& parameters, const ParameterRules& rules,
                     std::vector<std::string> moments)
    : name_(name), moment_names_(std::move(moments)), moments_(moment_names_.size()) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string& parameter = parameters.names()[i];
    const Variable& p = parameters.values()[i];
    METTLE_CHECK(DTypeError, p.dtype() == DType::f32 || p.dtype() == DType::f64,
                 "{}: parameter '{}' is {}; parameters are f32 or f64", name_, parameter,
                 describe(p.value()));
    METTLE_CHECK(DeviceError, p.device() == parameters.values()[0].device(),
                 "{}: parameters '{}' and '{}' are on two devices; make one optimizer for each",
                 name_, parameters.names()[0], parameter);
    rules_.push_back(rules ? rules(parameter, p.shape()) : ParameterRule{});
    check_range(name_, "a rate factor", rules_.back().rate_factor, infinity);
    check_range(name_, "a decay factor", rules_.back().decay_factor, infinity);
    for (auto& of_kind : moments_)
      of_kind.push_back(Tensor::zeros(p.shape(), p.dtype(), p.device()));
  }
  like_ = layout_of(parameters);
  const Device device = parameters.size() == 0 ? Device::cpu() : parameters.values()[0].device();
  steps_ = Tensor::zeros({static_cast<std::int64_t>(parameters.size())}, DType::i64, device);
}

void Optimizer::check(std::span<const Variable> parameters,
                      std::span<const Variable> gradients) const {
  METTLE_CHECK(ShapeError, parameters.size() == like_.size() && gradients.size() == like_.size(),
               "{}: {} parameters and {} gradients for an optimizer of {} parameters", name_,
               parameters.size(), gradients.size(), like_.size());
  for (std::size_t i = 0; i < like_.size(); ++i) {
    const Tensor& like = like_.values()[i].value();
    const auto must_fit = [&](const char* what, const Tensor& t) {
      METTLE_CHECK(ShapeError, t.shape() == like.shape(),
                   "{}: the {} of '{}' is {}; the optimizer was made for {}", name_, what,
                   like_.names()[i], to_string(t.shape()), to_string(like.shape()));
      METTLE_CHECK(DTypeError, t.dtype() == like.dtype(),
                   "{}: the {} of '{}' is {}; the optimizer was made for {}; convert with cast()",
                   name_, what, like_.names()[i], to_string(t.dtype()), to_string(like.dtype()));
      METTLE_CHECK(DeviceError, t.device() == like.device(),
                   "{}: the {} of '{}' is {}; the optimizer was made for {}", name_, what,
                   like_.names()[i], describe(t), describe(like));
    };
    must_fit("value", parameters[i].value());
    if (gradients[i]) must_fit("gradient", gradients[i].value());
    METTLE_CHECK(ShapeError, parameters[i].value().is_contiguous(),
                 "{}: parameter '{}' is a strided view {}, which cannot be updated in place; make "
                 "the parameter with contiguous()",
                 name_, like_.names()[i], to_string(parameters[i].shape()));
  }
  check_memory(parameters, gradients);
}

void Optimizer::check_number(const char* what, const Tensor& number) const {
  if (!number.defined()) return;
  METTLE_CHECK(ShapeError, number.numel() == 1, "{}: the {} is {}; it must have one element", name_,
               what, describe(number));
  METTLE_CHECK(DTypeError, number.dtype() == DType::f64,
               "{}: the {} is {}; it must be f64; convert with cast()", name_, what,
               describe(number));
  METTLE_CHECK(DeviceError, number.device() == steps_.device(),
               "{}: the {} is {}, the parameters are on {}; move it there", name_, what,
               describe(number), to_string(steps_.device()));
}

// Tensors are updated at the same time, in pieces: none may be written where another is read.
void Optimizer::check_memory(std::span<const Variable> parameters,
                             std::span<const Variable> gradients) const {
  struct Range {
    const std::byte *begin, *end;
    const char* what;
    std::size_t index;
  };
  const auto range = [](const Variable& v, const char* what, std::size_t index) {
    const auto* begin = static_cast<const std::byte*>(v.value().data());
    return Range{begin, begin + v.value().bytes(), what, index};
  };
  constexpr const char *value = "value", *gradient = "gradient";
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    ranges.push_back(range(parameters[i], value, i));
    // A strided gradient is copied first.
    if (gradients[i] && gradients[i].value().is_contiguous())
      ranges.push_back(range(gradients[i], gradient, i));
  }
  std::ranges::sort(ranges, {}, &Range::begin);
  Range furthest{}, furthest_value{};  // of those that begin before the next one
  for (const Range& next : ranges) {
    const Range& before = next.what == value ? furthest : furthest_value;
    METTLE_CHECK(ValueError, before.end <= next.begin || next.begin == next.end,
                 "{}: the {} of '{}' and the {} of '{}' share memory; copy one of them", name_,
                 before.what, like_.names()[before.index], next.what, like_.names()[next.index]);
    if (next.end > furthest.end) furthest = next;
    if (next.what == value && next.end > furthest_value.end) furthest_value = next;
  }
}

void Optimizer::step(std::span<const Variable> parameters, std::span<const Variable> gradients,
                     const StepNumber& learning_rate, const StepNumber& gradient_scale) {
  METTLE_CHECK(ValueError, learning_rate.value() >= 0 && learning_rate.value() < infinity,
               "{}: the learning rate is {}; it must be finite and not negative", name_,
               learning_rate.value());
  METTLE_CHECK(ValueError, std::isfinite(gradient_scale.value()),
               "{}: the gradients' scale is {}; were the gradients finite?", name_,
               gradient_scale.value());
  check_number("learning rate", learning_rate.tensor());
  check_number("gradients' scale", gradient_scale.tensor());
  check(parameters, gradients);
  const NoGrad off;
  Variables dense(gradients.begin(), gradients.end());
  for (Variable& g : dense)
    if (g) g = contiguous(g);
  const Factors factors{gradient_scale.value(), learning_rate.data(), gradient_scale.data()};
  for (const DType dtype : {DType::f32, DType::f64}) {
    std::vector<Update> updates;
    for (std::size_t i = 0; i < dense.size(); ++i)
      if (dense[i] && dense[i].dtype() == dtype)
        updates.push_back({i, &parameters[i].value(), &dense[i].value(),
                           steps_.data<std::int64_t>() + i,
                           learning_rate.value() * rules_[i].rate_factor, rules_[i].decay_factor});
    if (updates.empty()) continue;
    update(current_stream(steps_.device()), dtype, updates, factors);
    for (const Update& u : updates) u.parameter->note_write(name_);
  }
}

std::map<std::string, Tensor> Optimizer::state() const {
  std::map<std::string, Tensor> all{{"steps", steps_}};
  for (std::size_t kind = 0; kind < moments_.size(); ++kind)
    for (std::size_t i = 0; i < like_.size(); ++i)
      all.emplace(moment_names_[kind] + "." + like_.names()[i], moments_[kind][i]);
  return all;
}

void Optimizer::restore(const std::map<std::string, Tensor>& saved) {
  const std::map<std::string, Tensor> own = state();
  for (const auto& [key, tensor] : saved)
    METTLE_CHECK(ValueError, own.contains(key),
                 "{}: the saved state has '{}', which this optimizer does not have", name_, key);
  for (const auto& [key, tensor] : own) {
    const auto found = saved.find(key);
    METTLE_CHECK(ValueError, found != saved.end(), "{}: the saved state lacks '{}'", name_, key);
    METTLE_CHECK(ShapeError, found->second.shape() == tensor.shape(),
                 "{}: the saved '{}' is {}, this optimizer's is {}", name_, key,
                 describe(found->second), describe(tensor));
    METTLE_CHECK(DTypeError, found->second.dtype() == tensor.dtype(),
                 "{}: the saved '{}' is {}, this optimizer's is {}", name_, key,
                 describe(found->second), describe(tensor));
  }
  for (const auto& [key, tensor] : own)
    tensor.copy_from(contiguous(Variable(saved.at(key))).value());
}

Sgd::Sgd(const Params& parameters, const SgdOptions& options, const ParameterRules& rules)
    : Optimizer(
          "sgd", parameters, rules,
          options.momentum > 0 ? std::vector<std::string>{"velocity"} : std::vector<std::string>{}),
      options_(options) {
  check_range("sgd", "momentum", options.momentum, 1.0);
  check_range("sgd", "weight_decay", options.weight_decay, infinity);
  METTLE_CHECK(ValueError, !options.nesterov || options.momentum > 0,
               "sgd: Nesterov's form needs a momentum above 0");
}

void Sgd::update(const Stream& stream, DType dtype, std::span<const Update> updates,
                 const Factors& factors) {
  std::vector<kernels::SgdTensor> tensors;
  for (const Update& u : updates)
    tensors.push_back({u.parameter->data(), u.gradient->data(),
                       options_.momentum > 0 ? moment(0, u.index) : nullptr, u.parameter->numel(),
                       u.learning_rate, u.decay_factor * options_.weight_decay, u.steps_made});
  kernels::sgd_step(
      stream, {dtype, tensors.data(), std::ssize(tensors), options_.momentum, options_.nesterov,
               factors.gradient_scale, factors.rate, factors.scale});
}

AdamMoments::AdamMoments(const char* name, const Params& parameters, const AdamOptions& options,
                         const ParameterRules& rules, double l2, double decay)
    : Optimizer(name, parameters, rules, {"m", "v"}), options_(options), l2_(l2), decay_(decay) {
  check_range(name, "beta1", options.beta1, 1.0);
  check_range(name, "beta2", options.beta2, 1.0);
  check_range(name, "weight_decay", options.weight_decay, infinity);
  METTLE_CHECK(ValueError, static_cast<float>(options.eps) > 0 && options.eps < infinity,
               "{}: eps is {}; it must be positive, in f32 too", name, options.eps);
}

void AdamMoments::update(const Stream& stream, DType dtype, std::span<const Update> updates,
                         const Factors& factors) {
  std::vector<kernels::AdamTensor> tensors;
  for (const Update& u : updates)
    tensors.push_back({u.parameter->data(), u.gradient->data(), moment(0, u.index),
                       moment(1, u.index), u.parameter->numel(), 1, u.learning_rate,
                       u.decay_factor * l2_, u.decay_factor * decay_, u.steps_made});
  kernels::adam_step(stream,
                     {dtype, tensors.data(), std::ssize(tensors), options_.beta1, options_.beta2,
                      options_.eps, factors.gradient_scale, factors.rate, factors.scale});
}

}  // namespace mettle
