// Matrix products by cuBLASLt. It counts along columns: a dense row-major C (m, n) is its (n, m),
// and
//   C^T = B^T A^T
// with B's matrix first; a bias is added to the rows of C^T. What it finds out about a shape,
// layouts and algorithm, is kept. Descriptors hold the addresses of bias and Z, so each call with
// an epilogue makes one of its own.
//
// Sums over parts of k are added in f32 in a separate step, in fixed order, never in place.
#include "kernels/cuda/matmul_cublaslt.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <memory>
#include <mutex>

#include "engine/check.h"
#include "kernels/cpu/matmul_shapes.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/scratch.h"
#include "kernels/matmul_then_gelu.h"

namespace mettle::kernels::cuda {
namespace {

constexpr std::uint64_t most_workspace = std::uint64_t{32} << 20;
// Below this many FMAs a matrix, our own small tiles save the library's launch of a large one.
constexpr std::int64_t small_product = 48 * 48 * 48;

/// A matrix as the library sees it, column after column.
struct Stored {
  std::int64_t rows = 0, columns = 0, leading = 0;
  bool dense_outer = false;  // its columns run along m or n, else along k
  bool possible = false;
};

Stored stored(std::int64_t outers, std::int64_t k, std::int64_t outer_stride,
              std::int64_t k_stride) {
  const auto along = [](std::int64_t rows, std::int64_t columns, std::int64_t step,
                        std::int64_t leading, bool dense_outer) -> Stored {
    if (columns == 1) leading = rows;
    return {rows, columns, leading, dense_outer, (step == 1 || rows == 1) && leading >= rows};
  };
  const Stored outer = along(outers, k, outer_stride, k_stride, true);
  return outer.possible ? outer : along(k, outers, k_stride, outer_stride, false);
}

std::int64_t alignment(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | 256;
  return static_cast<std::int64_t>(address & (~address + 1));
}

int type_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return CublasLt::r_64f;
    case DType::bf16: return CublasLt::r_16bf;
    case DType::f16: return CublasLt::r_16f;
    default: return CublasLt::r_32f;
  }
}

/// What a shape needs; `algorithm` only if `possible`.
struct Plan {
  explicit Plan(const CublasLt& l) : lt(l) {}
  ~Plan() {
    if (desc) lt.destroy_desc(desc);
    for (CublasLt::Descriptor layout : {first, second, result})
      if (layout) lt.destroy_layout(layout);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const CublasLt& lt;
  CublasLt::Handle handle = nullptr;
  int compute = CublasLt::compute_32f;
  CublasLt::Transpose turn_first{}, turn_second{};
  CublasLt::Descriptor desc = nullptr, first = nullptr, second = nullptr, result = nullptr;
  CublasLt::Heuristic found{};
  bool possible = false;
};

/// The descriptor of one call.
struct OwnDesc {
  explicit OwnDesc(const CublasLt& l) : lt(l) {}
  ~OwnDesc() {
    if (desc) lt.destroy_desc(desc);
  }
  OwnDesc(const OwnDesc&) = delete;
  OwnDesc& operator=(const OwnDesc&) = delete;

  const CublasLt& lt;
  CublasLt::Descriptor desc = nullptr;
};

template <class T>
bool set(CublasLt::Set function, CublasLt::Descriptor of, int attribute, T value) {
  return function(of, attribute, static_cast<const void*>(&value), sizeof value) == 0;
}

/// The library's number for it; 0: it has none.
std::uint32_t epilogue_of(const MatmulArgs& args) {
  const MatmulEpilogue& end = args.epilogue;
  std::uint32_t number = 0;
  if (end.gelu) {
    if (*end.gelu != GeluForm::tanh || (end.z && args.n % 8 != 0)) return 0;
    number = end.z ? CublasLt::with_gelu_and_aux : CublasLt::with_gelu;
  }
  if (end.bias) number |= CublasLt::add_bias;
  return number == 0 ? std::uint32_t{CublasLt::no_epilogue} : number;
}

/// Of a product with at most one batch axis. It is made even where false is returned.
bool make_desc(const Plan& plan, CublasLt::Descriptor* made, const MatmulArgs& args) {
  const CublasLt& lt = plan.lt;
  const MatmulEpilogue& end = args.epilogue;
  const auto put = [&](int attribute, auto value) {
    return set(lt.set_desc, *made, attribute, value);
  };
  const bool f64 = args.dtype == DType::f64;
  return lt.create_desc(made, plan.compute, f64 ? CublasLt::r_64f : CublasLt::r_32f) == 0 &&
         put(CublasLt::transpose_a, plan.turn_first) &&
         put(CublasLt::transpose_b, plan.turn_second) &&
         put(CublasLt::epilogue, epilogue_of(args)) &&
         (!end.bias || (put(CublasLt::bias_pointer, end.bias) &&
                        put(CublasLt::bias_batch_stride,
                            args.batch.empty() ? std::int64_t{0} : end.bias_batch[0]))) &&
         (!end.z || (put(CublasLt::aux_pointer, end.z) && put(CublasLt::aux_leading, args.n) &&
                     put(CublasLt::aux_batch_stride, args.m * args.n)));
}

bool make_layout(const CublasLt& lt, CublasLt::Descriptor* made, DType dtype, const Stored& s,
                 std::int64_t batch, std::int64_t batch_stride) {
  return lt.create_layout(made, type_of(dtype), static_cast<std::uint64_t>(s.rows),
                          static_cast<std::uint64_t>(s.columns), s.leading) == 0 &&
         set(lt.set_layout, *made, CublasLt::batch_count, static_cast<std::int32_t>(batch)) &&
         set(lt.set_layout, *made, CublasLt::batch_stride, batch_stride);
}

/// Asks the library for its algorithm, with the alignment of these operands.
bool choose(Plan& plan, const MatmulArgs& args) {
  const CublasLt& lt = plan.lt;
  CublasLt::Descriptor preference = nullptr;
  if (lt.create_preference(&preference) != 0) return false;
  const auto aligned = [](const void* x) { return static_cast<std::uint32_t>(alignment(x)); };
  int count = 0;
  const bool found = set(lt.set_preference, preference, CublasLt::max_workspace, most_workspace) &&
                     set(lt.set_preference, preference, CublasLt::reduction_schemes,
                         CublasLt::reduce_in_compute_type) &&
                     set(lt.set_preference, preference, CublasLt::alignment_a, aligned(args.b)) &&
                     set(lt.set_preference, preference, CublasLt::alignment_b, aligned(args.a)) &&
                     set(lt.set_preference, preference, CublasLt::alignment_c, aligned(args.c)) &&
                     set(lt.set_preference, preference, CublasLt::alignment_d, aligned(args.c)) &&
                     lt.get_heuristic(plan.handle, plan.desc, plan.first, plan.second, plan.result,
                                      plan.result, preference, 1, &plan.found, &count) == 0 &&
                     count > 0 && plan.found.status == 0;
  lt.destroy_preference(preference);
  return found;
}

/// Of a product with at most one batch axis.
std::shared_ptr<const Plan> make_plan(const CublasLt& lt, CublasLt::Handle handle,
                                      const MatmulArgs& args, bool tf32) {
  auto plan = std::make_shared<Plan>(lt);
  plan->handle = handle;
  const Stored a = stored(args.m, args.k, args.a_row, args.a_column);
  const Stored b = stored(args.n, args.k, args.b_column, args.b_row);
  const Stored c{args.n, args.m, args.n, true, true};
  const bool one = args.batch.empty();
  const std::int64_t batch = one ? 1 : args.batch[0];
  if (!handle) return plan;
  if (epilogue_of(args) == 0) return plan;
  if (!a.possible || !b.possible || batch > std::numeric_limits<std::int32_t>::max()) return plan;
  if (args.dtype == DType::f64)
    plan->compute = CublasLt::compute_64f;
  else if (tf32)
    plan->compute = CublasLt::compute_32f_fast_tf32;
  // The first operand is to be (n, k), the second (k, m).
  const auto turned = [](bool turn) { return turn ? CublasLt::transposed : CublasLt::as_stored; };
  plan->turn_first = turned(!b.dense_outer);
  plan->turn_second = turned(a.dense_outer);
  plan->possible =
      make_desc(*plan, &plan->desc, args) &&
      make_layout(lt, &plan->first, args.dtype, b, batch, one ? 0 : args.b_batch[0]) &&
      make_layout(lt, &plan->second, args.dtype, a, batch, one ? 0 : args.a_batch[0]) &&
      make_layout(lt, &plan->result, args.dtype, c, batch, args.m * args.n) && choose(*plan, args);
  return plan;
}

class Plans {
 public:
  std::shared_ptr<const Plan> get(const CublasLt& lt, int device, const MatmulArgs& args,
                                  bool tf32) {
    Key key{reinterpret_cast<std::intptr_t>(&lt),
            device,
            static_cast<std::int64_t>(args.dtype),
            tf32,
            args.m,
            args.n,
            args.k,
            args.a_row,
            args.a_column,
            args.b_row,
            args.b_column,
            alignment(args.a),
            alignment(args.b),
            alignment(args.c),
            epilogue_of(args),
            alignment(args.epilogue.bias),
            alignment(args.epilogue.z),
            -1,
            0,
            0,
            0};
    if (!args.batch.empty())
      key[17] = args.batch[0], key[18] = args.a_batch[0], key[19] = args.b_batch[0],
      key[20] = args.epilogue.bias_batch[0];
    const std::lock_guard lock(mutex_);
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
    if (plans_.size() >= most_plans) plans_.clear();
    return plans_[key] = make_plan(lt, handle(lt, device), args, tf32);
  }

 private:
  using Key = std::array<std::int64_t, 21>;
  static constexpr std::size_t most_plans = 4096;

  // Null where the library does not start: on a driver that is older than it.
  CublasLt::Handle handle(const CublasLt& lt, int device) {
    const auto [at, first] = handles_.try_emplace({&lt, device}, nullptr);
    if (first && lt.create(&at->second) != 0) at->second = nullptr;
    return at->second;
  }

  std::mutex mutex_;
  std::map<Key, std::shared_ptr<const Plan>> plans_;
  std::map<std::pair<const CublasLt*, int>, CublasLt::Handle> handles_;
};

Plans& plans() {
  static auto* kept = new Plans;  // outlives everybody who may still multiply at exit
  return *kept;
}

void run_exact(const Stream& stream, const MatmulArgs& args) { run_cublaslt(stream, args); }
void run_tf32(const Stream& stream, const MatmulArgs& args) { run_cublaslt(stream, args, true); }
bool takes_before_gelu(const MatmulArgs& args) { return cublaslt_takes(without_gelu(args)); }

}  // namespace

bool cublaslt_takes(const MatmulArgs& original) {
  const CublasLt* lt = cublaslt();
  if (!lt || !is_floating(original.dtype)) return false;
  const MatmulArgs args = cpu::merge_batch(original);
  return args.batch.rank() <= 1 && numel(args.batch) > 0 &&
         args.m * args.n * args.k >= small_product && plans().get(*lt, 0, args, false)->possible;
}

void run_cublaslt(const Stream& stream, const MatmulArgs& original, bool tf32) {
  const MatmulArgs args = cpu::merge_batch(original);
  const CublasLt* lt = cublaslt();
  METTLE_CHECK(DeviceError, lt, "matmul: there is no cuBLASLt; choose another variant");
  const auto plan = plans().get(*lt, stream.device.index, args, tf32);
  METTLE_CHECK(DeviceError, plan->possible,
               "matmul: cuBLASLt has no algorithm for {} x {} x {} of {}; choose another variant",
               args.m, args.n, args.k, to_string(args.dtype));
  static constexpr float one = 1, zero = 0;
  static constexpr double one_f64 = 1, zero_f64 = 0;
  const bool f64 = args.dtype == DType::f64;
  const void* alpha = f64 ? static_cast<const void*>(&one_f64) : &one;
  const void* beta = f64 ? static_cast<const void*>(&zero_f64) : &zero;
  OwnDesc own{*lt};
  const bool plain = epilogue_of(args) == CublasLt::no_epilogue;
  METTLE_CHECK(DeviceError, plain || make_desc(*plan, &own.desc, args),
               "matmul: cuBLASLt does not take the bias or gelu; choose another variant");
  const std::size_t bytes = plan->found.workspace_bytes;
  Scratch scratch(stream, bytes);
  void* workspace = bytes > 0 ? scratch.take<std::byte>(bytes) : nullptr;
  const int status =
      lt->matmul(plan->handle, plain ? plan->desc : own.desc, alpha, args.b, plan->first, args.a,
                 plan->second, beta, args.c, plan->result, args.c, plan->result,
                 &plan->found.algorithm, workspace, bytes, stream.handle);
  METTLE_CHECK(DeviceError, status == 0, "matmul: cuBLASLt failed with status {}", status);
}

void register_matmul_cublaslt() {
  constexpr const char* taken =
      "a cuBLASLt library (libcublasLt.so.13 or .12), one dense axis a matrix, one batch axis, "
      "matrices that are not small";
  matmul.add(
      {"cublaslt", DeviceType::cuda, 20, takes_before_gelu, matmul_then_gelu<run_exact>, taken});
  // Only when asked for by name: 10 bits of the mantissa.
  matmul.add(
      {"cublaslt_tf32", DeviceType::cuda, -20,
       [](const MatmulArgs& args) { return args.dtype == DType::f32 && takes_before_gelu(args); },
       matmul_then_gelu<run_tf32>, taken});
  // Only when asked for by name: how exact the library's gelu is where its values are small has not
  // been measured.
  matmul.add({"cublaslt_gelu", DeviceType::cuda, -20, cublaslt_takes, run_exact,
              "what cublaslt takes, with a gelu of the tanh form only"});
}

}  // namespace mettle::kernels::cuda
