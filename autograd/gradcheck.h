// Numeric checks of derivatives: a public tool for whoever writes an operation or a loss.
#pragma once

#include <string>

#include "autograd/grad.h"

namespace mettle {

struct GradcheckOptions {
  double step = 1e-3;       // of a four-point central difference, whose error is of order step^4
  double tolerance = 1e-7;  // |analytic - numeric| <= tolerance * (1 + |numeric|)
  std::uint64_t seed = 1;   // of the random cotangents
};

struct GradcheckReport {
  bool ok = true;
  double worst = 0.0;  // largest |analytic - numeric| / (1 + |numeric|)
  std::string where;   // "input 1, element 5: analytic 0.1, numeric 0.2"
  explicit operator bool() const { return ok; }
};

/// Compares grad() of f at `inputs` (f64; every floating input is checked in every element) with
/// central differences of <u, f(inputs)> for random cotangents u. Throws DTypeError unless floating
/// inputs are f64.
GradcheckReport gradcheck(const Function& f, std::span<const Variable> inputs,
                          const GradcheckOptions& options = {});

/// The same for the gradient of f as a function of inputs and cotangents: checks second
/// derivatives.
GradcheckReport gradgradcheck(const Function& f, std::span<const Variable> inputs,
                              const GradcheckOptions& options = {});

/// The gradient of f as a function: inputs followed by cotangents -> gradients of the floating
/// inputs. gradient_of(gradient_of(f)) and so on give the higher orders. `outputs` is the number of
/// f's outputs.
Function gradient_of(Function f, std::size_t outputs);

}  // namespace mettle
