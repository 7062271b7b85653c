// How each layer names, draws and applies its parameters.
#include "models/layers.h"

#include <cmath>

#include "autograd/ops.h"
#include "engine/check.h"

namespace mettle {

Linear::Linear(const std::string& name, std::int64_t in, std::int64_t out, Bias bias)
    : weight_name_(name + ".weight"),
      bias_name_(bias == Bias::with ? name + ".bias" : std::string()),
      in_(in),
      out_(out) {
  METTLE_CHECK(ValueError, in > 0 && out > 0, "linear '{}': sizes {} -> {} must be positive", name,
               in, out);
}

void Linear::init(Params& params, Generator& random, const InitOptions& options) const {
  const double deviation =
      options.deviation > 0 ? options.deviation : 1.0 / std::sqrt(static_cast<double>(in_));
  params.add(
      weight_name_,
      normal({in_, out_}, random.next_key(), 0.0, deviation, options.dtype).detach_requires_grad());
  if (!bias_name_.empty())
    params.add(bias_name_, full({out_}, 0.0, options.dtype).detach_requires_grad());
}

const Variable& Linear::weight_for(const Params& params, const Variable& x) const {
  const Variable& weight = params[weight_name_];
  const bool per_task = weight.rank() == 3;
  METTLE_CHECK(ShapeError,
               x.rank() >= (per_task ? 3 : 1) && x.size(-1) == weight.size(-2) &&
                   (!per_task || x.size(0) == weight.size(0)),
               "linear: input {} does not fit {} {}; expected (..., {}){}", to_string(x.shape()),
               weight_name_, to_string(weight.shape()), weight.size(-2),
               per_task ? " with the task axis first" : "");
  return weight;
}

Variable Linear::bias(const Params& params) const {
  return bias_name_.empty() ? Variable() : params[bias_name_];
}

Variable Linear::operator()(const Params& params, const Variable& x) const {
  return linear(x, weight_for(params, x), bias(params));
}

Variable Linear::gelu(const Params& params, const Variable& x, GeluForm form) const {
  return linear_gelu(x, weight_for(params, x), bias(params), form);
}

LayerNorm::LayerNorm(const std::string& name, std::int64_t dim, double eps)
    : gamma_name_(name + ".gamma"), beta_name_(name + ".beta"), dim_(dim), eps_(eps) {
  METTLE_CHECK(ValueError, dim > 0, "layer norm '{}': size {} must be positive", name, dim);
}

void LayerNorm::init(Params& params, const InitOptions& options) const {
  params.add(gamma_name_, full({dim_}, 1.0, options.dtype).detach_requires_grad());
  params.add(beta_name_, full({dim_}, 0.0, options.dtype).detach_requires_grad());
}

Variable LayerNorm::operator()(const Params& params, const Variable& x) const {
  return layer_norm(x, params[gamma_name_], params[beta_name_], eps_);
}

ResidualNorm LayerNorm::after(const Params& params, const Variable& x, const Variable& residual,
                              double dropout, const RandomKey& key) const {
  return dropout_residual_layer_norm(x, residual, params[gamma_name_], params[beta_name_], dropout,
                                     key, eps_);
}

Embedding::Embedding(const std::string& name, std::int64_t rows, std::int64_t dim,
                     std::int64_t padding_id)
    : table_name_(name + ".table"), rows_(rows), dim_(dim), padding_id_(padding_id) {
  METTLE_CHECK(ValueError, rows > 0 && dim > 0, "embedding '{}': sizes {} x {} must be positive",
               name, rows, dim);
}

void Embedding::init(Params& params, Generator& random, const InitOptions& options) const {
  const double deviation =
      options.deviation > 0 ? options.deviation : 1.0 / std::sqrt(static_cast<double>(dim_));
  params.add(table_name_, normal({rows_, dim_}, random.next_key(), 0.0, deviation, options.dtype)
                              .detach_requires_grad());
}

Variable Embedding::operator()(const Params& params, const Variable& ids) const {
  const Variable& table = params[table_name_];
  if (table.rank() == 2) return embedding(table, ids, padding_id_);
  METTLE_CHECK(ShapeError, table.rank() == 3 && ids.rank() >= 1 && ids.size(0) == table.size(0),
               "embedding: ids {} do not fit {} {}: the first axis of both is the task",
               to_string(ids.shape()), table_name_, to_string(table.shape()));
  // One table of T * rows rows: task t's rows begin at t * rows. Padding stays row padding_id of
  // task 0, which no other id becomes.
  const std::int64_t tasks = table.size(0), rows = table.size(1);
  Shape shape = Dims::filled(ids.rank(), 1);
  shape[0] = tasks;
  const Variable all = cast(ids, DType::i64);
  const Variable valid = where(greater_equal(all, full_like(all, static_cast<double>(rows))),
                               full_like(all, static_cast<double>(tasks * rows)), all);
  const Variable start = mul(reshape(arange(tasks, ids.device()), shape),
                             full({}, static_cast<double>(rows), DType::i64, ids.device()));
  Variable moved = add(valid, start);
  if (padding_id_ >= 0)
    moved = where(equal(all, full_like(all, static_cast<double>(padding_id_))), all, moved);
  return embedding(reshape(table, {tasks * rows, table.size(2)}), moved, padding_id_);
}

FeedForward::FeedForward(const std::string& name, std::int64_t dim, std::int64_t hidden,
                         GeluForm form)
    : up_(name + ".up", dim, hidden), down_(name + ".down", hidden, dim), form_(form) {}

void FeedForward::init(Params& params, Generator& random, const InitOptions& options) const {
  up_.init(params, random, options);
  down_.init(params, random, options);
}

Variable FeedForward::operator()(const Params& params, const Variable& x) const {
  return down_(params, up_.gelu(params, x, form_));
}

MultiHeadAttention::MultiHeadAttention(const std::string& name, std::int64_t dim,
                                       std::int64_t heads)
    : qkv_(name + ".qkv", dim, 3 * dim),
      output_(name + ".output", dim, dim),
      dim_(dim),
      heads_(heads) {
  METTLE_CHECK(ValueError, heads > 0 && dim % heads == 0,
               "attention '{}': {} heads do not divide width {}", name, heads, dim);
}

void MultiHeadAttention::init(Params& params, Generator& random, const InitOptions& options) const {
  qkv_.init(params, random, options);
  output_.init(params, random, options);
}

Variable MultiHeadAttention::operator()(const Params& params, const Variable& x,
                                        const AttentionOptions& options) const {
  Shape packed(x.shape().span().first(x.shape().size() - 1));
  packed.push_back(3);
  packed.push_back(heads_);
  packed.push_back(dim_ / heads_);
  const Variable seen = attention_packed(reshape(qkv_(params, x), packed), options);
  return output_(params, reshape(seen, x.shape()));
}

}  // namespace mettle
