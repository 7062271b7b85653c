// Layers as specifications: a layer knows its sizes and the names of its parameters, and computes a
// function of Params.
//
// Common rules. `init` adds the parameters. Weights may have a leading task axis: with
// W (T, in, out) an input x (T, ..., in) runs all T tasks, each with its own weights, as one
// batched product. All parameters of one call have the task axis or none has, except where stated.
#pragma once

#include <cstdint>
#include <string>

#include "autograd/fused.h"
#include "engine/random.h"
#include "models/params.h"

namespace mettle {

/// How a layer's first values are drawn.
struct InitOptions {
  DType dtype = DType::f32;
  /// Deviation of the normal distribution of weights; 0: 1 / sqrt(fan in), which keeps the variance
  /// of activations (LeCun et al., "Efficient BackProp", 1998).
  double deviation = 0.0;
};

/// x (..., in) -> x W + b (..., out).
class Linear {
 public:
  enum class Bias { with, without };

  Linear(const std::string& name, std::int64_t in, std::int64_t out, Bias bias = Bias::with);

  void init(Params& params, Generator& random, const InitOptions& options = {}) const;
  /// ShapeError when x's last axis is not `in` or the task axes differ.
  Variable operator()(const Params& params, const Variable& x) const;
  /// gelu(x W + b) as one operation.
  Variable gelu(const Params& params, const Variable& x, GeluForm form) const;

  std::int64_t in() const { return in_; }
  std::int64_t out() const { return out_; }

 private:
  /// (in, out) or (T, in, out), of which it is known that it fits x.
  const Variable& weight_for(const Params& params, const Variable& x) const;
  /// (out) or (T, out); null without bias.
  Variable bias(const Params& params) const;

  std::string weight_name_, bias_name_;  // no bias name: no bias
  std::int64_t in_, out_;
};

/// Layer norm over the last axis with scale gamma and shift beta, each (dim) or (T, dim).
class LayerNorm {
 public:
  LayerNorm(const std::string& name, std::int64_t dim, double eps = 1e-5);

  void init(Params& params, const InitOptions& options = {}) const;
  Variable operator()(const Params& params, const Variable& x) const;
  /// layer_norm(residual + dropout(x)) and the sum, in one pass.
  ResidualNorm after(const Params& params, const Variable& x, const Variable& residual,
                     double dropout, const RandomKey& key) const;

 private:
  std::string gamma_name_, beta_name_;
  std::int64_t dim_;
  double eps_;
};

/// ids (...) -> rows (..., dim) of a table (rows, dim), or of one table per task: table
/// (T, rows, dim) with ids (T, ...).
class Embedding {
 public:
  /// Positions that hold padding_id read as zeros and send no gradient (-1: none).
  Embedding(const std::string& name, std::int64_t rows, std::int64_t dim,
            std::int64_t padding_id = -1);

  /// Default deviation: 1 / sqrt(dim).
  void init(Params& params, Generator& random, const InitOptions& options = {}) const;
  Variable operator()(const Params& params, const Variable& ids) const;
  /// Whether every task has a table of its own.
  bool per_task(const Params& params) const { return params[table_name_].rank() == 3; }

 private:
  std::string table_name_;
  std::int64_t rows_, dim_, padding_id_;
};

/// down(gelu(up(x) + b)).
class FeedForward {
 public:
  FeedForward(const std::string& name, std::int64_t dim, std::int64_t hidden,
              GeluForm form = GeluForm::erf);

  void init(Params& params, Generator& random, const InitOptions& options = {}) const;
  Variable operator()(const Params& params, const Variable& x) const;

 private:
  Linear up_, down_;
  GeluForm form_;
};

/// Self-attention with one projection to queries, keys and values: x (..., N, dim) -> (..., N,
/// dim).
class MultiHeadAttention {
 public:
  /// ValueError unless heads divides dim.
  MultiHeadAttention(const std::string& name, std::int64_t dim, std::int64_t heads);

  void init(Params& params, Generator& random, const InitOptions& options = {}) const;
  /// Masks, dropout and scale as in attention().
  Variable operator()(const Params& params, const Variable& x,
                      const AttentionOptions& options = {}) const;

 private:
  Linear qkv_, output_;
  std::int64_t dim_, heads_;
};

}  // namespace mettle
