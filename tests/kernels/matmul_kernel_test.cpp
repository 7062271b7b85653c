// Matrix products of every variant: any layout, batches, ragged and empty shapes, against sums in
// f64, with the error that rounding explains.
#include "kernels/matmul.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "kernels/cuda/matmul_plan.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using kernels::GeluForm;

/// How the matrices of an operand lie in memory.
enum class Lies {
  rows,        // dense, row after row
  columns,     // dense, column after column
  padded,      // rows a multiple of 8 elements apart, with a gap
  shifted,     // rows, from an address that is not aligned to a pack
  spread,      // every element apart from the next
  broadcast,   // rows, one matrix for the whole batch
  transposed,  // columns, padded to a multiple of 8, one matrix for the whole batch
};

struct Operand {
  Operand(DType dtype, std::int64_t rows, std::int64_t columns, const Shape& batch, Lies lies,
          unsigned seed)
      : batch_strides(Strides::filled(batch.rank(), 0)) {
    const auto padded = [](std::int64_t x) { return (x + 7) / 8 * 8 + 8; };
    std::int64_t size = rows * columns;
    row = columns;
    column = 1;
    switch (lies) {
      case Lies::rows: break;
      case Lies::columns: row = 1, column = rows; break;
      case Lies::padded: row = padded(columns), size = rows * row; break;
      case Lies::shifted: offset = 1; break;
      case Lies::spread: row = 3 * columns + 1, column = 3, size = rows * row; break;
      case Lies::broadcast: break;
      case Lies::transposed: row = 1, column = padded(rows), size = columns * column; break;
    }
    std::int64_t matrices = 1;
    if (lies != Lies::broadcast && lies != Lies::transposed)
      for (int axis = batch.rank() - 1; axis >= 0; --axis) {
        batch_strides[axis] = batch[axis] == 1 ? 0 : matrices * size;
        matrices *= batch[axis];
      }
    memory.emplace(dtype, random_vec(offset + std::max<std::int64_t>(matrices * size, 1), seed));
    values = memory->values();
  }

  const void* data() {
    return static_cast<const std::uint8_t*>(memory->data()) +
           offset * static_cast<std::int64_t>(size_of(memory->dtype()));
  }
  double at(const std::vector<std::int64_t>& index, std::int64_t i, std::int64_t j) const {
    std::int64_t place = offset + i * row + j * column;
    for (std::size_t axis = 0; axis < index.size(); ++axis)
      place += index[axis] * batch_strides[static_cast<int>(axis)];
    return values[static_cast<std::size_t>(place)];
  }

  std::int64_t row, column, offset = 0;
  Strides batch_strides;
  std::optional<Buffer> memory;
  Vec values;
};

/// Which products a bias belongs to.
enum class Bias { none, shared, each };

struct Ending {
  Bias bias = Bias::none;
  std::optional<GeluForm> gelu = {};
  bool keeps_z = false;
};

struct Row {
  std::int64_t m, n, k;
  Shape batch;
  Lies a = Lies::rows, b = Lies::rows;
  Ending end = {};
};

std::string describe(const Row& row) {
  return fmt::format("{} x {} x {}, batch {}, a {}, b {}, bias {}, gelu {}", row.m, row.n, row.k,
                     to_string(row.batch), static_cast<int>(row.a), static_cast<int>(row.b),
                     static_cast<int>(row.end.bias),
                     row.end.gelu ? static_cast<int>(*row.end.gelu) : -1);
}

double gelu(double z, GeluForm form) {
  if (form == GeluForm::erf) return z * std::erfc(-z / std::numbers::sqrt2) / 2;
  return z / (1 + std::exp(-2 * std::sqrt(2 / std::numbers::pi) * (z + 0.044715 * z * z * z)));
}

struct Product {
  Product(DType t, const Row& r)
      : row(r),
        dtype(t),
        a(t, r.m, r.k, r.batch, r.a, 1),
        b(t, r.k, r.n, r.batch, r.b, 2),
        bias(t, 1, r.n, r.batch, r.end.bias == Bias::each ? Lies::shifted : Lies::broadcast, 3),
        c(t, numel(r.batch) * r.m * r.n),
        z(t, numel(r.batch) * r.m * r.n) {}

  void run() {
    kernels::matmul(stream_under_test(),
                    {dtype,
                     row.m,
                     row.n,
                     row.k,
                     a.data(),
                     b.data(),
                     c.data(),
                     a.row,
                     a.column,
                     b.row,
                     b.column,
                     row.batch,
                     a.batch_strides,
                     b.batch_strides,
                     {row.end.bias == Bias::none ? nullptr : bias.data(), bias.batch_strides,
                      row.end.gelu, row.end.keeps_z ? z.data() : nullptr}});
  }

  // Each of k products and sums may err by a rounding, and Z and C by one of their type. A gelu is
  // steeper than 1 by at most an eighth.
  void expect_right() const {
    const Vec got = c.values(), got_z = z.values();
    const double unit = rounding(statistics_dtype(dtype));
    std::size_t place = 0;
    std::vector<std::int64_t> index(row.batch.size(), 0);
    for (std::int64_t matrix = 0; matrix < numel(row.batch); ++matrix) {
      for (std::int64_t i = 0; i < row.m; ++i)
        for (std::int64_t j = 0; j < row.n; ++j, ++place) {
          double sum = 0, size = 0;
          for (std::int64_t q = 0; q < row.k; ++q) {
            const double term = a.at(index, i, q) * b.at(index, q, j);
            sum += term;
            size += std::abs(term);
          }
          if (row.end.bias != Bias::none) sum += bias.at(index, 0, j), size += std::abs(sum);
          const double error =
              static_cast<double>(row.k + 1) * unit * size + rounding(dtype) * std::abs(sum);
          const auto where = [&] {
            return fmt::format("{} {}, matrix {} element ({}, {})", describe(row), to_string(dtype),
                               matrix, i, j);
          };
          if (row.end.keeps_z) {
            ASSERT_NEAR(got_z[place], sum, error) << "z of " << where();
          }
          const double y = row.end.gelu ? gelu(sum, *row.end.gelu) : sum;
          const double more =
              row.end.gelu ? error / 8 + (rounding(dtype) + 8 * unit) * std::abs(y) : 0;
          ASSERT_NEAR(got[place], y, error + more) << where();
        }
      for (int axis = row.batch.rank() - 1; axis >= 0; --axis) {
        auto& at = index[static_cast<std::size_t>(axis)];
        if (++at < row.batch[axis]) break;
        at = 0;
      }
    }
  }

  Row row;
  DType dtype;
  Operand a, b, bias;
  Buffer c, z;
};

/// Those of this device; the ones with a priority below zero are for comparisons only.
std::vector<VariantInfo> variants() {
  const DeviceType device = device_under_test().type;
  std::vector<VariantInfo> found = kernels::matmul.variants();
  std::erase_if(found, [&](const VariantInfo& v) { return v.device != device; });
  return found;
}

/// Variants and types that are not better tested under another name.
template <class F> void each_variant_and_type(F&& f) {
  for (const VariantInfo& variant : variants())
    for (const DType dtype : float_dtypes) {
      if (variant.name.starts_with("mma") && size_of(dtype) != 2) continue;
      if (variant.name == "simt_large" && dtype != DType::f32) continue;
      SCOPED_TRACE(variant.name);
      const Selected pinned({&kernels::matmul}, variant.name.c_str());
      f(variant, dtype);
    }
}

void expect_right(DType dtype, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Product product(dtype, row);
    product.run();
    product.expect_right();
  }
}

// The parts of k that blocks of a GPU sum cover k, and no part is empty.
TEST(Matmul, PlansCoverK) {
  using namespace kernels::cuda;
  constexpr TileShape tiles[] = {{16, 32, 32, 0.4}, {64, 64, 16, 0.75}, {128, 128, 8, 1}};
  bool splits = false, each[3] = {};
  for (const std::int64_t m : {1, 40, 700, 16000})
    for (const std::int64_t n : {1, 130, 4000})
      for (const std::int64_t k : {0, 1, 100, 3000, 100000})
        for (const std::int64_t products : {1, 7, 1000}) {
          const MatmulPlan plan = plan_matmul(m, n, k, products, tiles);
          EXPECT_GE(plan.splits * plan.k_per_split, k);
          EXPECT_LT((plan.splits - 1) * plan.k_per_split, std::max<std::int64_t>(k, 1));
          EXPECT_EQ(plan.k_per_split % tiles[plan.tile].k, 0);
          splits = splits || plan.splits > 1;
          each[plan.tile] = true;
        }
  EXPECT_TRUE(splits && each[0] && each[1] && each[2]);
}

constexpr Lies layouts[] = {Lies::rows,   Lies::columns,   Lies::padded,    Lies::shifted,
                            Lies::spread, Lies::broadcast, Lies::transposed};

TEST(Matmul, RaggedShapes) {
  each_variant_and_type([](const VariantInfo&, DType dtype) {
    expect_right(dtype, {{1, 1, 1, {}},
                         {1, 40, 40, {}},
                         {33, 1, 9, {}},
                         {17, 35, 7, {}},
                         {16, 32, 64, {}},
                         {70, 66, 18, {}, Lies::padded, Lies::padded},
                         {65, 130, 45, {}, Lies::transposed, Lies::transposed}});
  });
}

TEST(Matmul, EveryLayout) {
  std::vector<Row> all, some;
  for (const Lies a : layouts) {
    for (const Lies b : layouts) all.push_back({24, 40, 40, {2}, a, b});
    some.push_back({24, 40, 40, {2}, a, a});
  }
  // What a type's layouts share is tested with one type where a device is slow.
  const bool slow = device_under_test() != Device::cpu();
  each_variant_and_type([&](const VariantInfo& variant, DType dtype) {
    const DType thorough = variant.name == "mma" ? DType::bf16 : DType::f32;
    const bool every = variant.priority >= 0 && (dtype == thorough || !slow);
    expect_right(dtype, every ? all : some);
  });
}

TEST(Matmul, Batches) {
  each_variant_and_type([](const VariantInfo& variant, DType dtype) {
    if (variant.priority < 0) return;
    expect_right(dtype, {{10, 40, 40, {5}},
                         {10, 1, 40, {5}},
                         {10, 40, 1, {3}, Lies::rows, Lies::broadcast},
                         {40, 40, 10, {3}, Lies::columns, Lies::rows},
                         {8, 8, 8, {2, 1, 3}},
                         {5, 7, 3, {2, 3}, Lies::broadcast, Lies::rows},
                         {6, 16, 24, {3, 2}, Lies::spread, Lies::transposed}});
  });
}

/// The row with every kind of ending.
std::vector<Row> with_endings(Row row) {
  std::vector<Row> all;
  for (const Ending& end :
       {Ending{Bias::shared}, Ending{Bias::each}, Ending{Bias::each, GeluForm::erf, true},
        Ending{Bias::shared, GeluForm::tanh}, Ending{Bias::none, GeluForm::erf},
        Ending{Bias::none, GeluForm::tanh, true}}) {
    row.end = end;
    all.push_back(row);
  }
  return all;
}

TEST(Matmul, BiasAndGelu) {
  const bool slow = device_under_test() != Device::cpu();
  each_variant_and_type([&](const VariantInfo& variant, DType dtype) {
    expect_right(dtype, with_endings({10, 19, 7, {2}}));
    if (variant.priority < 0 || (slow && size_of(dtype) != 2)) return;
    for (const Row& row : {Row{20, 72, 40, {2}}, Row{9, 16, 24, {3}, Lies::rows, Lies::broadcast},
                           Row{5, 7, 3, {2, 3}, Lies::broadcast, Lies::rows}, Row{3, 8, 0, {2}},
                           Row{8, 16, 1504, {2}, Lies::columns}})
      expect_right(dtype, with_endings(row));
    if (slow) return;
    expect_right(dtype, with_endings({70, 530, 24, {}, Lies::padded, Lies::padded}));
    expect_right(dtype, with_endings({6, 16, 24, {3, 2}, Lies::spread, Lies::transposed}));
  });
}

// Whether a variant applies the gelu on the way to memory or leaves it to a kernel of its own, and
// whether anybody wants Z, does not show in the bits.
TEST(Matmul, TheGeluIsThatOfTheRoundedZ) {
  each_variant_and_type([](const VariantInfo&, DType dtype) {
    for (const GeluForm form : {GeluForm::erf, GeluForm::tanh})
      for (Row row : {Row{10, 16, 8, {2}}, Row{8, 15, 24, {}}}) {
        row.end = {Bias::each, form, true};
        Product both(dtype, row);
        row.end.keeps_z = false;
        Product alone(dtype, row);
        const std::int64_t rows = numel(row.batch) * row.m;
        Buffer y(dtype, rows * row.n);
        both.run();
        alone.run();
        kernels::bias_gelu_forward(stream_under_test(),
                                   {dtype, form, rows, row.n, 1, both.z.data(), nullptr, y.data()});
        EXPECT_TRUE(both.c == y) << describe(row);
        EXPECT_TRUE(alone.c == y) << describe(row);
      }
  });
}

TEST(Matmul, NothingToDoAndNothingToSum) {
  each_variant_and_type([](const VariantInfo&, DType dtype) {
    for (const Row& empty : {Row{0, 3, 4, {}}, Row{3, 0, 4, {2}}, Row{3, 4, 5, {0}}})
      for (const Row& row : with_endings(empty)) Product(dtype, row).run();
    expect_right(dtype, {{3, 4, 0, {2}}, {20, 72, 0, {}}});
  });
}

// A long k with few elements of C: parts of k are summed by different blocks of a GPU.
TEST(Matmul, LongSums) {
  each_variant_and_type([](const VariantInfo& variant, DType dtype) {
    if (variant.priority >= 0)
      expect_right(dtype, {{9, 12, 1600, {}}, {8, 8, 1504, {2}, Lies::columns}});
  });
}

TEST(Matmul, BroadcastStridesWithinAMatrix) {
  const Buffer left(DType::f32, Vec{2}), right(DType::f32, Vec{1, 2, 3});
  Buffer c(DType::f32, 6);
  kernels::matmul(
      stream_under_test(),
      {DType::f32, 2, 3, 4, left.data(), right.data(), c.data(), 0, 0, 0, 1, {}, {}, {}});
  EXPECT_EQ(c.values(), (Vec{8, 16, 24, 8, 16, 24}));
}

TEST(Matmul, SameBitsOnRepeat) {
  each_variant_and_type([](const VariantInfo& variant, DType dtype) {
    if (variant.priority < 0) return;
    for (const Row& row : {Row{20, 40, 48, {2}}, Row{8, 16, 1504, {}}}) {
      Product first(dtype, row), second(dtype, row);
      first.run();
      second.run();
      EXPECT_TRUE(first.c == second.c) << describe(row);
    }
  });
}

TEST(Matmul, InfinityAndNanStayInTheirRowsAndColumns) {
  each_variant_and_type([](const VariantInfo&, DType dtype) {
    Vec values = random_vec(18 * 24, 5);
    values[3 * 24 + 7] = std::numeric_limits<double>::infinity();
    values[17 * 24] = std::numeric_limits<double>::quiet_NaN();
    Buffer a(dtype, values), b(dtype, random_vec(24 * 24, 6, 0.5, 1)), c(dtype, 18 * 24);
    kernels::matmul(stream_under_test(),
                    {dtype, 18, 24, 24, a.data(), b.data(), c.data(), 24, 1, 24, 1, {}, {}, {}});
    const Vec got = c.values();
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::size_t row = i / 24;
      EXPECT_EQ(std::isnan(got[i]), row == 17) << i;
      EXPECT_EQ(std::isinf(got[i]), row == 3) << i;
    }
  });
}

}  // namespace
}  // namespace mettle::test
