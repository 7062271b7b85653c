// Central differences against grad(): the numeric side of gradcheck and gradgradcheck.
#include "autograd/gradcheck.h"

#include <cmath>

#include "autograd/ops.h"

namespace mettle {
namespace {

Variables random_cotangents(const Variables& outputs, std::uint64_t seed) {
  Generator generator(seed);
  Variables us;
  for (const Variable& y : outputs)
    us.push_back(is_floating(y.dtype())
                     ? normal(y.shape(), generator.next_key(), 0.0, 1.0, y.dtype(), y.device())
                     : Variable());
  return us;
}

/// <u, f(x)> summed in f64.
double projected(const Function& f, const Variables& inputs, const Variables& us) {
  const NoGrad off;
  const Variables ys = f(inputs);
  double total = 0.0;
  for (std::size_t i = 0; i < ys.size(); ++i) {
    if (!us[i]) continue;
    const auto y = ys[i].value().to_vector<double>(), u = us[i].value().to_vector<double>();
    for (std::size_t j = 0; j < y.size(); ++j) total += y[j] * u[j];
  }
  return total;
}

class Checker {
 public:
  Checker(const Function& f, std::span<const Variable> inputs, const GradcheckOptions& options)
      : f_(f), options_(options) {
    for (const Variable& x : inputs) {
      const bool floating = x && is_floating(x.dtype());
      METTLE_CHECK(DTypeError, !floating || x.dtype() == DType::f64,
                   "gradcheck: inputs must be f64, got {}", describe(x.value()));
      inputs_.push_back(floating ? x.detach_requires_grad() : x);
    }
  }

  GradcheckReport run() {
    Variables outputs, dys;
    {
      const GradMode on(true);
      const Variables all = f_(inputs_);
      us_ = random_cotangents(all, options_.seed);
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (!all[i].requires_grad()) continue;
        outputs.push_back(all[i]);
        dys.push_back(us_[i]);
      }
    }
    Variables wanted;
    for (const Variable& x : inputs_)
      if (x.requires_grad()) wanted.push_back(x);
    Variables gradients(wanted.size());
    if (!outputs.empty())
      gradients = grad(outputs, wanted, {.allow_unused = true, .grad_outputs = dys});
    std::size_t at = 0;
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].requires_grad()) check_input(i, gradients[at++]);
    return report_;
  }

 private:
  void check_input(std::size_t i, const Variable& gradient) {
    const Tensor original = inputs_[i].value();
    const std::vector<double> values = original.to_vector<double>();
    const std::vector<double> analytic =
        gradient ? gradient.value().to_vector<double>() : std::vector<double>(values.size(), 0.0);
    for (std::size_t j = 0; j < values.size(); ++j) {
      const auto at = [&](double offset) {
        std::vector<double> moved = values;
        moved[j] += offset;
        Variables inputs = inputs_;
        inputs[i] = Variable(Tensor::from(moved, original.shape()).to(original.device()));
        return projected(f_, inputs, us_);
      };
      const double h = options_.step;
      const double numeric = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
      note(i, j, analytic[j], numeric);
    }
  }

  void note(std::size_t input, std::size_t element, double analytic, double numeric) {
    const double error = std::abs(analytic - numeric) / (1.0 + std::abs(numeric));
    report_.ok = report_.ok && error <= options_.tolerance;  // false for NaN
    if (error <= report_.worst || std::isnan(report_.worst)) return;
    report_.worst = error;
    report_.where = fmt::format("input {}, element {}: analytic {:.12g}, numeric {:.12g}", input,
                                element, analytic, numeric);
  }

  const Function& f_;
  const GradcheckOptions& options_;
  Variables inputs_;
  Variables us_;
  GradcheckReport report_;
};

}  // namespace

GradcheckReport gradcheck(const Function& f, std::span<const Variable> inputs,
                          const GradcheckOptions& options) {
  return Checker(f, inputs, options).run();
}

Function gradient_of(Function f, std::size_t outputs) {
  return [f = std::move(f), outputs](std::span<const Variable> arguments) {
    METTLE_CHECK(AutogradError, arguments.size() >= outputs,
                 "gradient_of: {} arguments cannot hold {} cotangents", arguments.size(), outputs);
    const auto inputs = arguments.first(arguments.size() - outputs);
    const Variables all = vector_jacobian_product(f, inputs, arguments.last(outputs));
    Variables gradients;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!inputs[i] || !is_floating(inputs[i].dtype())) continue;
      gradients.push_back(all[i] ? all[i] : full_like(inputs[i], 0.0));
    }
    return gradients;
  };
}

GradcheckReport gradgradcheck(const Function& f, std::span<const Variable> inputs,
                              const GradcheckOptions& options) {
  const NoGrad off;
  const Variables outputs = f(inputs);
  Variables arguments(inputs.begin(), inputs.end());
  for (const Variable& u : random_cotangents(outputs, options.seed + 1)) arguments.push_back(u);
  return gradcheck(gradient_of(f, outputs.size()), arguments, options);
}

}  // namespace mettle
