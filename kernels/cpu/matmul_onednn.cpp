// Matrix products through oneDNN, f32 and bf16. Creating a primitive costs many times its execution
// for the sizes of a small encoder, so finished primitives are kept, least recently used first out,
// per thread.
#include <dnnl.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <list>
#include <unordered_map>

#include "engine/parallel.h"
#include "engine/tensor.h"
#include "kernels/copy.h"
#include "kernels/cpu/matmul_blocks.h"
#include "kernels/cpu/matmul_shapes.h"
#include "kernels/cpu/register.h"
#include "kernels/matmul_then_gelu.h"
#include "kernels/reduce.h"

namespace mettle::kernels::cpu {
namespace {

using dims = dnnl::memory::dims;

/// Everything a primitive depends on: a flat value, so that a look-up allocates nothing.
struct Key {
  explicit Key(const MatmulBlock& block) {
    const MatmulArgs& args = block.args;
    const bool bias = args.epilogue.bias != nullptr;
    for (const std::int64_t v :
         {static_cast<std::int64_t>(args.dtype), args.m, args.n, args.k, args.a_row, args.a_column,
          args.b_row, args.b_column, block.c_row, std::int64_t{bias}})
      values[size++] = v;
    if (!args.batch.empty())
      for (const std::int64_t v : {args.batch[0], args.a_batch[0], args.b_batch[0], block.c_batch})
        values[size++] = v;
  }
  friend bool operator==(const Key& a, const Key& b) {
    return std::equal(a.values.begin(), a.values.begin() + a.size, b.values.begin(),
                      b.values.begin() + b.size);
  }

  std::array<std::int64_t, 14> values;
  std::size_t size = 0;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t h = 0x9E3779B97F4A7C15ull;
    for (std::size_t i = 0; i < key.size; ++i)
      h = (h ^ static_cast<std::uint64_t>(key.values[i])) * 0x100000001B3ull + (h >> 29);
    return static_cast<std::size_t>(h);
  }
};

struct Product {
  dnnl::matmul primitive;
  dnnl::memory a, b, c, bias;
};

dnnl::engine& cpu_engine() {
  static auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

class Cache {
 public:
  Product& get(const MatmulBlock& block) {
    const Key key(block);
    if (const auto found = index_.find(key); found != index_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return found->second->second;
    }
    order_.emplace_front(key, make(block));
    index_.emplace(key, order_.begin());
    if (order_.size() > capacity) {
      index_.erase(order_.back().first);
      order_.pop_back();
    }
    return order_.front().second;
  }

 private:
  static constexpr std::size_t capacity = 512;

  // Made and run by one thread: oneDNN plans a primitive for the threads that it sees.
  static Product make(const MatmulBlock& block) {
    const MatmulArgs& args = block.args;
    const auto type =
        args.dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
    dims a, b, c, a_strides, b_strides, c_strides;
    if (!args.batch.empty()) {
      a.push_back(args.a_batch[0] == 0 ? 1 : args.batch[0]);
      b.push_back(args.b_batch[0] == 0 ? 1 : args.batch[0]);
      c.push_back(args.batch[0]);
      a_strides.push_back(args.a_batch[0] == 0 ? args.m * args.k : args.a_batch[0]);
      b_strides.push_back(args.b_batch[0] == 0 ? args.k * args.n : args.b_batch[0]);
      c_strides.push_back(block.c_batch);
    }
    a.insert(a.end(), {args.m, args.k});
    b.insert(b.end(), {args.k, args.n});
    c.insert(c.end(), {args.m, args.n});
    a_strides.insert(a_strides.end(), {args.a_row, args.a_column});
    b_strides.insert(b_strides.end(), {args.b_row, args.b_column});
    c_strides.insert(c_strides.end(), {block.c_row, 1});
    const dnnl::memory::desc ad(a, type, a_strides), bd(b, type, b_strides), cd(c, type, c_strides);
    const dnnl::engine& engine = cpu_engine();
    dims bias(c.size() - 1, 1);
    bias.push_back(args.n);
    const dnnl::memory::desc biasd = args.epilogue.bias
                                         ? dnnl::memory::desc(bias, type, dims(c.size(), 1))
                                         : dnnl::memory::desc();
    const dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(ad, bd, biasd, cd), engine);
    return {dnnl::matmul(pd), dnnl::memory(ad, engine, nullptr), dnnl::memory(bd, engine, nullptr),
            dnnl::memory(cd, engine, nullptr), dnnl::memory(biasd, engine, nullptr)};
  }

  std::list<std::pair<Key, Product>> order_;
  std::unordered_map<Key, std::list<std::pair<Key, Product>>::iterator, KeyHash> index_;
};

void run_block(const MatmulBlock& block) {
  // A bias that changes within a batch would be left to oneDNN's slow reference.
  if (!block.args.batch.empty() && block.args.epilogue.bias &&
      block.args.epilogue.bias_batch[0] != 0) {
    for (std::int64_t i = 0; i < block.args.batch[0]; ++i) run_block(block.item(i));
    return;
  }
  thread_local Cache cache;
  thread_local dnnl::stream stream(cpu_engine());
  Product& product = cache.get(block);
  product.a.set_data_handle(const_cast<void*>(block.args.a));
  product.b.set_data_handle(const_cast<void*>(block.args.b));
  product.c.set_data_handle(block.args.c);
  // The C interface: the C++ one takes its arguments as a map, with four allocations a call.
  dnnl_exec_arg_t arguments[4] = {{DNNL_ARG_SRC, product.a.get()},
                                  {DNNL_ARG_WEIGHTS, product.b.get()},
                                  {DNNL_ARG_DST, product.c.get()}};
  int count = 3;
  if (block.args.epilogue.bias) {
    product.bias.set_data_handle(const_cast<void*>(block.args.epilogue.bias));
    arguments[count++] = {DNNL_ARG_BIAS, product.bias.get()};
  }
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(product.primitive.get(), stream.get(), count, arguments),
      "matmul: oneDNN could not run the product");
}

void run_onednn(const Stream& caller, const MatmulArgs& original);

/// oneDNN does not broadcast both operands over a batch.
bool broadcasts_both(const MatmulArgs& args) {
  return args.batch.rank() == 1 && args.a_batch[0] == 0 && args.b_batch[0] == 0;
}

/// One call for each index of the first batch axis.
void run_by_first_axis(const Stream& caller, const MatmulArgs& args) {
  MatmulArgs part = args;
  part.batch.erase(0);
  part.a_batch.erase(0);
  part.b_batch.erase(0);
  part.epilogue.bias_batch.erase(0);
  const std::int64_t size = numel(part.batch) * args.m * args.n;
  for (std::int64_t i = 0; i < args.batch[0]; ++i) {
    part.a = moved(args.a, args.dtype, i * args.a_batch[0]);
    part.b = moved(args.b, args.dtype, i * args.b_batch[0]);
    part.c = const_cast<void*>(moved(args.c, args.dtype, i * size));
    part.epilogue.bias = moved(args.epilogue.bias, args.dtype, i * args.epilogue.bias_batch[0]);
    run_onednn(caller, part);
  }
}

constexpr std::int64_t inner_block = 1024;

/// A^T B of two tall matrices, the gradient of a small layer's weights, is too few blocks to share
/// between threads unless its long sum is cut.
bool sum_needs_cutting(const MatmulArgs& args) {
  return args.dtype == DType::f32 && args.batch.empty() && !args.epilogue.bias &&
         args.k > 2 * inner_block && args.m * args.n <= 1 << 16;
}

/// Cuts the sum at fixed places and adds the parts in order.
void run_by_inner_blocks(const Stream& caller, const MatmulArgs& args) {
  const std::int64_t whole = args.k / inner_block, rest = args.k % inner_block;
  const std::int64_t size = args.m * args.n;
  const Tensor parts = Tensor::empty({whole + (rest > 0), size}, DType::f32);
  MatmulArgs part = args;
  part.c = parts.data();
  part.k = inner_block;
  part.batch = {whole};
  part.a_batch = {inner_block * args.a_column};
  part.b_batch = {inner_block * args.b_row};
  part.epilogue.bias_batch = {0};
  run_onednn(caller, part);
  if (rest > 0) {
    part.k = rest;
    part.a = moved(args.a, args.dtype, whole * part.a_batch[0]);
    part.b = moved(args.b, args.dtype, whole * part.b_batch[0]);
    part.c = const_cast<void*>(moved(parts.data(), args.dtype, whole * size));
    part.batch = part.a_batch = part.b_batch = part.epilogue.bias_batch = {};
    run_onednn(caller, part);
  }
  reduce(caller, {ReduceOp::sum, DType::f32, parts.data(), args.c, parts.shape(), parts.strides(),
                  1u << 0});
}

void run_onednn(const Stream& caller, const MatmulArgs& original) {
  const MatmulArgs args = merge_batch(original);
  if (numel(args.batch) == 0 || args.m == 0 || args.n == 0) return;
  if (args.batch.rank() > 1 || broadcasts_both(args)) return run_by_first_axis(caller, args);
  if (sum_needs_cutting(args)) return run_by_inner_blocks(caller, args);
  const MatmulBlocks blocks(args);
  parallel_for(blocks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    const OneThread alone;
    for (std::int64_t i = begin; i < end; ++i) run_block(blocks[i]);
  });
}

// oneDNN wants one of the two strides of a matrix to be 1 and the other to reach past a row.
bool is_plain(std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column) {
  return (column == 1 && (row >= columns || rows == 1)) ||
         (row == 1 && (column >= rows || columns == 1));
}

bool onednn_takes(const MatmulArgs& args) {
  const bool type =
      args.dtype == DType::f32 ||
      (args.dtype == DType::bf16 && dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core);
  return type && args.k > 0 && is_plain(args.m, args.k, args.a_row, args.a_column) &&
         is_plain(args.k, args.n, args.b_row, args.b_column);
}

/// A matrix batch as dense f32: what is left for types and strides that no other variant takes.
Tensor widen(const MatmulArgs& args, const void* x, std::int64_t rows, std::int64_t columns,
             std::int64_t row, std::int64_t column, const Strides& batch) {
  CopyArgs copy_args;
  copy_args.x = x;
  copy_args.x_dtype = args.dtype;
  copy_args.y_dtype = DType::f32;
  copy_args.shape = args.batch;
  copy_args.x_strides = batch;
  copy_args.shape.push_back(rows);
  copy_args.shape.push_back(columns);
  copy_args.x_strides.push_back(row);
  copy_args.x_strides.push_back(column);
  const Tensor y = Tensor::empty(copy_args.shape, DType::f32);
  copy_args.y = y.data();
  copy_args.y_strides = y.strides();
  copy({Device::cpu()}, copy_args);
  return y;
}

void run_widened(const Stream& stream, const MatmulArgs& original) {
  MatmulArgs args = merge_batch(original);
  const std::int64_t products = numel(args.batch);
  if (products * args.m * args.n == 0) return;
  const Tensor a = widen(args, args.a, args.m, args.k, args.a_row, args.a_column, args.a_batch);
  const Tensor b = widen(args, args.b, args.k, args.n, args.b_row, args.b_column, args.b_batch);
  const Tensor c = Tensor::empty({products, args.m, args.n}, DType::f32);
  MatmulArgs wide{DType::f32,
                  args.m,
                  args.n,
                  args.k,
                  a.data(),
                  b.data(),
                  c.data(),
                  args.k,
                  1,
                  args.n,
                  1,
                  args.batch,
                  contiguous_strides(args.batch),
                  contiguous_strides(args.batch)};
  Tensor bias;
  if (args.epilogue.bias) {
    bias = widen(args, args.epilogue.bias, 1, args.n, 0, 1, args.epilogue.bias_batch);
    wide.epilogue = {bias.data(), wide.a_batch};
  }
  for (int i = 0; i < args.batch.rank(); ++i) {
    wide.a_batch[i] *= args.m * args.k;
    wide.b_batch[i] *= args.k * args.n;
    if (bias.defined()) wide.epilogue.bias_batch[i] *= args.n;
  }
  matmul(stream, wide);
  copy(stream, {c.data(), args.c, DType::f32, args.dtype, c.shape(), c.strides(), c.strides()});
}

bool is_16_bit(const MatmulArgs& args) {
  return args.dtype == DType::bf16 || args.dtype == DType::f16;
}

}  // namespace

void register_matmul_onednn() {
  matmul.add({"onednn", DeviceType::cpu, 10, onednn_takes, matmul_then_gelu<run_onednn>});
  matmul.add({"widened", DeviceType::cpu, 0, is_16_bit, matmul_then_gelu<run_widened>});
}

}  // namespace mettle::kernels::cpu
