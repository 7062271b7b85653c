// The table of fused operations: every row is held against its reference composite at all orders,
// against central differences, in every dtype, with every choice of wanted gradients.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "autograd/fused.h"
#include "autograd/fused_reference.h"
#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tests/autograd/message_of.h"

namespace mettle::test {

struct FusedRow {
  std::string name;
  /// f64 for floating ones, which the tests convert; integers and bools stay; null where absent.
  Variables inputs;
  Function fused, reference;
  /// Roundings of the accumulation type, at the size of the largest number of a result, that the
  /// longest chain of sums behind it may bring.
  double roundings = 64;
  /// Inputs that are constants of the operation: masks, weights.
  std::vector<std::size_t> constants = {};
  /// How many gradients, each rounded to the dtype, are added up for one input.
  int parts = 1;
};

inline std::ostream& operator<<(std::ostream& out, const FusedRow& row) { return out << row.name; }

std::vector<FusedRow> attention_rows();
std::vector<FusedRow> bce_with_logits_rows();
std::vector<FusedRow> bias_gelu_rows();
std::vector<FusedRow> cross_entropy_rows();
std::vector<FusedRow> dropout_rows();
std::vector<FusedRow> embedding_rows();
std::vector<FusedRow> layer_norm_rows();

/// f64 normal numbers: number `stream` of a fixed sequence.
inline Variable random(const Shape& shape, std::uint64_t stream, double deviation = 1.0) {
  return normal(shape, {1234, stream}, 0.0, deviation, DType::f64);
}

}  // namespace mettle::test
