// What we tell cuBLASLt: a stand-in for the library does on the CPU what its documentation says
// about column-major matrices, and checks what it is given. Whether the library itself does so only
// a GPU can show.
#include "kernels/cuda/matmul_cublaslt.h"

#include <cmath>
#include <map>
#include <numbers>

#include "kernels/cuda/cublaslt.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using kernels::MatmulArgs;
using namespace kernels::cuda;
using Descriptor = CublasLt::Descriptor;

struct Layout {
  int type;
  std::int64_t rows, columns, leading;
  std::int32_t batch = 1;
  std::int64_t stride = 0;
};
struct Desc {
  int compute, scale;
  std::int32_t turns[2] = {0, 0};
  std::uint32_t epilogue = CublasLt::no_epilogue;
  const void* bias = nullptr;
  void* aux = nullptr;
  std::int64_t bias_stride = 0, aux_leading = 0, aux_stride = 0;

  bool has(std::uint32_t what) const { return (epilogue & what) == what; }
};
struct Preference {
  std::map<int, std::uint64_t> values;
};

double tanh_gelu(double z) {
  return z / (1 + std::exp(-2 * std::sqrt(2 / std::numbers::pi) * (z + 0.044715 * z * z * z)));
}

int live = 0, heuristics = 0;
bool has_algorithm = true;
constexpr std::size_t workspace = 1000;

template <class T> int make(Descriptor* made, const T& value) {
  *made = new T(value);
  ++live;
  return 0;
}
template <class T> int destroy(Descriptor d) {
  delete static_cast<T*>(d);
  --live;
  return 0;
}
template <class T> T read(const void* value, std::size_t bytes) {
  EXPECT_EQ(bytes, sizeof(T));
  T out;
  std::memcpy(static_cast<void*>(&out), value, sizeof(T));
  return out;
}

int set_desc(Descriptor d, int attribute, const void* value, std::size_t bytes) {
  auto* desc = static_cast<Desc*>(d);
  switch (attribute) {
    case CublasLt::transpose_a: desc->turns[0] = read<std::int32_t>(value, bytes); break;
    case CublasLt::transpose_b: desc->turns[1] = read<std::int32_t>(value, bytes); break;
    case CublasLt::epilogue: desc->epilogue = read<std::uint32_t>(value, bytes); break;
    case CublasLt::bias_pointer: desc->bias = read<const void*>(value, bytes); break;
    case CublasLt::bias_batch_stride: desc->bias_stride = read<std::int64_t>(value, bytes); break;
    case CublasLt::aux_pointer: desc->aux = read<void*>(value, bytes); break;
    case CublasLt::aux_leading: desc->aux_leading = read<std::int64_t>(value, bytes); break;
    case CublasLt::aux_batch_stride: desc->aux_stride = read<std::int64_t>(value, bytes); break;
    default: ADD_FAILURE() << "unknown attribute " << attribute;
  }
  return 0;
}
int set_layout(Descriptor d, int attribute, const void* value, std::size_t bytes) {
  auto* layout = static_cast<Layout*>(d);
  if (attribute == CublasLt::batch_count)
    layout->batch = read<std::int32_t>(value, bytes);
  else
    layout->stride = read<std::int64_t>(value, bytes);
  return 0;
}
int set_preference(Descriptor d, int attribute, const void* value, std::size_t bytes) {
  static_cast<Preference*>(d)->values[attribute] = attribute == CublasLt::max_workspace
                                                       ? read<std::uint64_t>(value, bytes)
                                                       : read<std::uint32_t>(value, bytes);
  return 0;
}

int get_heuristic(CublasLt::Handle, Descriptor, Descriptor, Descriptor, Descriptor, Descriptor,
                  Descriptor preference, int wanted, CublasLt::Heuristic* found, int* count) {
  ++heuristics;
  auto& values = static_cast<Preference*>(preference)->values;
  EXPECT_EQ(wanted, 1);
  EXPECT_EQ(values[CublasLt::reduction_schemes], CublasLt::reduce_in_compute_type);
  EXPECT_GE(values[CublasLt::max_workspace], workspace);
  for (const int a : {CublasLt::alignment_a, CublasLt::alignment_b, CublasLt::alignment_d}) {
    EXPECT_GE(values[a], 2u);
    EXPECT_LE(values[a], 256u);
  }
  *found = {};
  found->workspace_bytes = workspace;
  *count = has_algorithm ? 1 : 0;
  return 0;
}

/// What the library's documentation says of the bias, one number for each row of D, and of the
/// gelu, which leaves its operand in the aux.
template <class T>
double finished(const Desc& desc, double sum, std::int64_t batch, std::int64_t i, std::int64_t j) {
  if (desc.has(CublasLt::add_bias))
    sum += static_cast<double>(static_cast<const T*>(desc.bias)[batch * desc.bias_stride + i]);
  if (desc.has(CublasLt::with_gelu_and_aux)) {
    EXPECT_EQ(desc.aux_leading % 8, 0);
    static_cast<T*>(desc.aux)[batch * desc.aux_stride + i + j * desc.aux_leading] =
        static_cast<T>(sum);
  }
  return desc.has(CublasLt::with_gelu) ? tanh_gelu(sum) : sum;
}

template <class T, class Scale>
void multiply(const Desc& desc, Scale alpha, const void* first, const Layout& x, const void* second,
              const Layout& y, void* result, const Layout& d) {
  const auto at = [](const Layout& l, bool turned, std::int64_t batch, std::int64_t i,
                     std::int64_t j) {
    if (turned) std::swap(i, j);
    EXPECT_TRUE(i < l.rows && j < l.columns && l.leading >= l.rows);
    return batch * l.stride + i + j * l.leading;
  };
  const std::int64_t depth = desc.turns[0] ? x.rows : x.columns;
  for (std::int64_t b = 0; b < d.batch; ++b)
    for (std::int64_t i = 0; i < d.rows; ++i)
      for (std::int64_t j = 0; j < d.columns; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < depth; ++k)
          sum += static_cast<double>(static_cast<const T*>(first)[at(x, desc.turns[0], b, i, k)]) *
                 static_cast<double>(static_cast<const T*>(second)[at(y, desc.turns[1], b, k, j)]);
        static_cast<T*>(result)[at(d, false, b, i, j)] =
            static_cast<T>(finished<T>(desc, alpha * sum, b, i, j));
      }
}

int run(CublasLt::Handle, Descriptor desc, const void* alpha, const void* a, Descriptor a_layout,
        const void* b, Descriptor b_layout, const void* beta, const void* c, Descriptor, void* d,
        Descriptor d_layout, const CublasLt::Algorithm*, void* space, std::size_t bytes, void*) {
  const auto& op = *static_cast<Desc*>(desc);
  const auto& x = *static_cast<Layout*>(a_layout);
  const auto& y = *static_cast<Layout*>(b_layout);
  const auto& out = *static_cast<Layout*>(d_layout);
  EXPECT_EQ(c, d);
  EXPECT_TRUE(space != nullptr && bytes == workspace);
  EXPECT_TRUE(x.batch == out.batch && y.batch == out.batch && x.type == out.type);
  if (op.scale == CublasLt::r_64f) {
    EXPECT_EQ(op.compute, CublasLt::compute_64f);
    EXPECT_EQ(*static_cast<const double*>(beta), 0);
    multiply<double>(op, *static_cast<const double*>(alpha), a, x, b, y, d, out);
    return 0;
  }
  EXPECT_EQ(op.compute, CublasLt::compute_32f);  // no TF32
  EXPECT_EQ(*static_cast<const float*>(beta), 0);
  const float scale = *static_cast<const float*>(alpha);
  if (x.type == CublasLt::r_32f) multiply<float>(op, scale, a, x, b, y, d, out);
  if (x.type == CublasLt::r_16bf) multiply<bf16>(op, scale, a, x, b, y, d, out);
  if (x.type == CublasLt::r_16f) multiply<f16>(op, scale, a, x, b, y, d, out);
  return 0;
}

constexpr CublasLt stand_in{[](CublasLt::Handle* made) {
                              static int handle;
                              *made = &handle;
                              return 0;
                            },
                            [](Descriptor* made, int compute, int scale) {
                              return make(made, Desc{compute, scale});
                            },
                            destroy<Desc>,
                            set_desc,
                            [](Descriptor* made, int type, std::uint64_t rows,
                               std::uint64_t columns, std::int64_t leading) {
                              return make(made,
                                          Layout{type, static_cast<std::int64_t>(rows),
                                                 static_cast<std::int64_t>(columns), leading});
                            },
                            destroy<Layout>,
                            set_layout,
                            [](Descriptor* made) { return make(made, Preference{}); },
                            destroy<Preference>,
                            set_preference,
                            get_heuristic,
                            run};

class WithStandIn : public testing::Test {
 protected:
  void SetUp() override { set_cublaslt(&stand_in); }
  void TearDown() override {
    set_cublaslt(nullptr);
    has_algorithm = true;
  }
};
using MatmulCublasLt = WithStandIn;

struct Case {
  std::int64_t m, n, k;
  std::int64_t batch, a_batch, b_batch;  // 0: no batch
  bool columns_a, columns_b;
  std::int64_t gap;  // between rows
};

TEST_F(MatmulCublasLt, TellsLayoutsAndBatches) {
  const Case cases[] = {
      {48, 49, 50, 0, 0, 0, false, false, 0},  {48, 49, 50, 0, 0, 0, true, false, 3},
      {48, 49, 50, 0, 0, 0, false, true, 1},   {48, 49, 50, 0, 0, 0, true, true, 0},
      {48, 50, 49, 3, 1, 1, true, false, 0},   {48, 50, 49, 3, 1, 0, false, true, 0},
      {48, 50, 49, 2, 0, 1, false, false, 2},  {1, 400, 300, 0, 0, 0, false, false, 0},
      {400, 1, 300, 0, 0, 0, false, false, 0}, {400, 300, 1, 0, 0, 0, false, false, 0},
  };
  for (const DType dtype : float_dtypes)
    for (const Case& c : cases) {
      const auto size = [&](std::int64_t rows, std::int64_t columns, bool turned) {
        return turned ? columns * (rows + c.gap) : rows * (columns + c.gap);
      };
      const std::int64_t size_a = size(c.m, c.k, c.columns_a), size_b = size(c.k, c.n, c.columns_b);
      const std::int64_t products = std::max<std::int64_t>(c.batch, 1);
      Buffer a(dtype, random_vec(size_a * products, 1)), b(dtype, random_vec(size_b * products, 2));
      Buffer out(dtype, products * c.m * c.n);
      MatmulArgs args{dtype,
                      c.m,
                      c.n,
                      c.k,
                      a.data(),
                      b.data(),
                      out.data(),
                      c.columns_a ? 1 : c.k + c.gap,
                      c.columns_a ? c.m + c.gap : 1,
                      c.columns_b ? 1 : c.n + c.gap,
                      c.columns_b ? c.k + c.gap : 1,
                      {},
                      {},
                      {}};
      if (c.batch > 0) {
        args.batch = {c.batch};
        args.a_batch = {c.a_batch * size_a};
        args.b_batch = {c.b_batch * size_b};
      }
      ASSERT_TRUE(cublaslt_takes(args) || c.m * c.n * c.k < 48 * 48 * 48);
      run_cublaslt({}, args);
      const Vec va = a.values(), vb = b.values(), got = out.values();
      for (std::int64_t p = 0; p < products; ++p)
        for (std::int64_t i = 0; i < c.m; i += 7)
          for (std::int64_t j = 0; j < c.n; j += 5) {
            double sum = 0, all = 0;
            for (std::int64_t k = 0; k < c.k; ++k) {
              const double term = va[static_cast<std::size_t>(p * c.a_batch * size_a +
                                                              i * args.a_row + k * args.a_column)] *
                                  vb[static_cast<std::size_t>(p * c.b_batch * size_b +
                                                              k * args.b_row + j * args.b_column)];
              sum += term;
              all += std::abs(term);
            }
            ASSERT_NEAR(got[static_cast<std::size_t>((p * c.m + i) * c.n + j)], sum,
                        rounding(dtype) * std::abs(sum) + static_cast<double>(c.k) * 0x1p-53 * all)
                << to_string(dtype) << " case " << (&c - cases) << " (" << i << ", " << j << ")";
          }
    }
}

MatmulArgs plain(void* a, void* b, void* c) {
  return {DType::f32, 64, 64, 64, a, b, c, 64, 1, 64, 1, {}, {}, {}};
}

// The descriptor of a call is gone after it, and its pointers are those of the call.
TEST_F(MatmulCublasLt, TellsBiasAndGelu) {
  constexpr std::int64_t tasks = 2, m = 40, n = 56, k = 64;
  for (const DType dtype : float_dtypes)
    for (const bool each : {false, true})
      for (const bool gelu : {false, true})
        for (const bool keeps_z : {false, true}) {
          const Buffer a(dtype, random_vec(tasks * m * k, 1)), b(dtype, random_vec(k * n, 2));
          const Buffer bias(dtype, random_vec(tasks * n, 3));
          Buffer out(dtype, tasks * m * n), z(dtype, tasks * m * n);
          MatmulArgs args{dtype,    m,          n,       k,   a.data(),
                          b.data(), out.data(), k,       1,   n,
                          1,        {tasks},    {m * k}, {0}, {bias.data(), {each ? n : 0}}};
          if (gelu) args.epilogue.gelu = kernels::GeluForm::tanh;
          if (gelu && keeps_z) args.epilogue.z = z.data();
          ASSERT_TRUE(cublaslt_takes(args));
          const int descriptors = live;
          run_cublaslt({}, args);
          EXPECT_EQ(live, descriptors);
          const Vec va = a.values(), vb = b.values(), vbias = bias.values(), got = out.values(),
                    got_z = z.values();
          for (std::size_t at = 0; at < got.size(); at += 3) {
            const std::size_t row = at / n, column = at % n;
            double sum = vbias[column + (each ? row / m * n : 0)], all = std::abs(sum);
            for (std::size_t i = 0; i < k; ++i) {
              const double term = va[row * k + i] * vb[i * n + column];
              sum += term;
              all += std::abs(term);
            }
            const double error = rounding(dtype) * std::abs(sum) + 0x1p-46 * all;
            ASSERT_NEAR(got[at], gelu ? tanh_gelu(sum) : sum, error);
            if (gelu && keeps_z) {
              ASSERT_NEAR(got_z[at], sum, error);
            }
          }
        }
}

TEST_F(MatmulCublasLt, HasNoGeluOfTheErfFormAndNoneForOddRowsOfZ) {
  alignas(256) float memory[1] = {};
  MatmulArgs args = plain(memory, memory, memory);
  args.epilogue.gelu = kernels::GeluForm::erf;
  EXPECT_FALSE(cublaslt_takes(args));
  EXPECT_THROW(run_cublaslt({}, args), DeviceError);
  args.epilogue.gelu = kernels::GeluForm::tanh;
  args.epilogue.z = memory;
  EXPECT_TRUE(cublaslt_takes(args));
  args.n = args.b_row = 68;
  EXPECT_FALSE(cublaslt_takes(args));
  args.epilogue.z = nullptr;
  EXPECT_TRUE(cublaslt_takes(args));
}

TEST_F(MatmulCublasLt, KeepsWhatItFoundOutAboutAShape) {
  Buffer a(DType::f32, Vec(4096, 1.0)), b(DType::f32, Vec(4096, 1.0)), c(DType::f32, 4096);
  const MatmulArgs args = plain(a.data(), b.data(), c.data());
  run_cublaslt({}, args);
  const int before = heuristics, descriptors = live;
  for (int i = 0; i < 3; ++i) run_cublaslt({}, args);
  EXPECT_EQ(heuristics, before);
  EXPECT_EQ(live, descriptors);
  EXPECT_EQ(c.values()[5], 64);
}

TEST_F(MatmulCublasLt, LeavesToOthersWhatItCannotOrShouldNotDo) {
  alignas(256) float memory[1] = {};
  const MatmulArgs good = plain(memory, memory, memory);
  EXPECT_TRUE(cublaslt_takes(good));
  MatmulArgs args = good;
  args.m = 10;
  args.k = 40;
  EXPECT_FALSE(cublaslt_takes(args)) << "small";
  args = good;
  args.k = 0;
  EXPECT_FALSE(cublaslt_takes(args)) << "nothing to sum";
  args = good;
  args.a_column = 2;
  EXPECT_FALSE(cublaslt_takes(args)) << "no dense axis";
  args = good;
  args.b_row = 0;
  EXPECT_FALSE(cublaslt_takes(args)) << "broadcast within a matrix";
  args = good;
  args.batch = {2, 3};
  args.a_batch = {4096, 99};
  args.b_batch = {0, 4096};
  EXPECT_FALSE(cublaslt_takes(args)) << "two batch axes";
  args = good;
  args.dtype = DType::i32;
  EXPECT_FALSE(cublaslt_takes(args)) << "integers";
  args = good;
  args.n = 65;
  args.b_row = 65;
  has_algorithm = false;
  EXPECT_FALSE(cublaslt_takes(args)) << "no algorithm";
  EXPECT_THROW(run_cublaslt({}, args), DeviceError);
  static CublasLt too_new = stand_in;  // plans are kept for ever
  too_new.create = [](CublasLt::Handle*) { return 1; };
  set_cublaslt(&too_new);
  EXPECT_FALSE(cublaslt_takes(good)) << "does not start";
  set_cublaslt(nullptr);
  EXPECT_FALSE(cublaslt_takes(good)) << "no library";
  EXPECT_THROW(run_cublaslt({}, good), DeviceError);
}

}  // namespace
}  // namespace mettle::test
