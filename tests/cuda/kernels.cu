// Kernels of the back end's tests.
#include "tests/cuda/kernels.h"

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/errors.h"
#include "kernels/cuda/fault.cuh"

namespace mettle::test {
namespace {

using kernels::cuda::FaultReporter;

METTLE_DEVICE std::int64_t element() {
  return std::int64_t{dev::block_index().x} * dev::block_size().x + dev::thread_index().x;
}

METTLE_GLOBAL(128) void affine_kernel(float* x, std::int64_t n, float a, float b) {
  if (const std::int64_t i = element(); i < n) x[i] = a * x[i] + b;
}

METTLE_GLOBAL(128) void add_kernel(const float* x, float* y, std::int64_t n) {
  if (const std::int64_t i = element(); i < n) y[i] += x[i];
}

METTLE_GLOBAL(128) void check_kernel(const float* x, std::int64_t n, FaultReporter fault) {
  const std::int64_t i = element();
  if (i < n && x[i] < 0) kernels::cuda::report_fault(fault, i, static_cast<std::int64_t>(x[i]));
}

METTLE_GLOBAL(32) void past_kernel(float* x, std::int64_t n) {
  if (element() == 0) x[n] = 1;
}

dev::LaunchShape shape(std::int64_t n) { return {{static_cast<int>((n + 127) / 128)}, {128}}; }

void explain(std::int64_t, std::int64_t, std::int64_t) {
  kernels::cuda::throw_value_error("check: a value is negative");
}

}  // namespace

void affine(const Stream& stream, float* x, std::int64_t n, float a, float b) {
  dev::launch(affine_kernel, shape(n), stream, x, n, a, b);
}
void add_to(const Stream& stream, const float* x, float* y, std::int64_t n) {
  dev::launch(add_kernel, shape(n), stream, x, y, n);
}
void check_not_negative(const Stream& stream, const float* x, std::int64_t n) {
  dev::launch(check_kernel, shape(n), stream, x, n, kernels::cuda::fault_reporter(stream, explain));
}
void write_past(const Stream& stream, float* x, std::int64_t n) {
  dev::launch(past_kernel, {{1}, {32}}, stream, x, n);
}

}  // namespace mettle::test
