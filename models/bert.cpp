// The forward pass of BERT's embeddings, encoder and pooler.
#include "models/bert.h"

#include "autograd/ops.h"
#include "engine/check.h"

namespace mettle {

Bert::Bert(const BertOptions& options, const std::string& name)
    : options_(options),
      words_(name + ".embeddings.word", options.vocabulary, options.encoder.dim),
      positions_(name + ".embeddings.position", options.positions, options.encoder.dim),
      norm_(name + ".embeddings.norm", options.encoder.dim, options.encoder.eps),
      encoder_(name + ".encoder", options.encoder) {
  METTLE_CHECK(ValueError, options.token_types >= 0, "bert '{}': {} token types", name,
               options.token_types);
  METTLE_CHECK(ValueError, options.padding_id >= 0 && options.padding_id < options.vocabulary,
               "bert '{}': padding id {} is not in the vocabulary of {}", name, options.padding_id,
               options.vocabulary);
  METTLE_CHECK(ValueError, options.max_tokens() > 0,
               "bert '{}': {} positions leave none for a token behind padding id {}", name,
               options.positions, options.padding_id);
  if (options.token_types > 0)
    token_types_.emplace(name + ".embeddings.token_type", options.token_types, options.encoder.dim);
  if (options.pooler == BertOptions::Pooler::with)
    pooler_.emplace(name + ".pooler", options.encoder.dim, options.encoder.dim);
}

void Bert::init(Params& params, Generator& random, const InitOptions& init) const {
  InitOptions given = init;
  if (given.deviation <= 0) given.deviation = 0.02;
  words_.init(params, random, given);
  positions_.init(params, random, given);
  if (token_types_) token_types_->init(params, random, given);
  norm_.init(params, given);
  encoder_.init(params, random, given);
  if (pooler_) pooler_->init(params, random, given);
}

Variable Bert::position_rows(const Params& params, const Variable& ids) const {
  if (options_.position == BertOptions::Positions::by_place) {
    const Variable places = arange(ids.size(-1), ids.device());
    return positions_(params, positions_.per_task(params) ? expand(places, ids.shape()) : places);
  }
  const Variable all = cast(ids, DType::i64);
  const Variable padding = full_like(all, static_cast<double>(options_.padding_id));
  const Variable token = cast(not_equal(all, padding), DType::i64);
  return positions_(params, add(mul(cumsum(token, -1), token), padding));
}

Variable Bert::embed(const Params& params, const BertInput& input) const {
  const Variable& ids = input.ids;
  METTLE_CHECK(ShapeError, ids.rank() >= 1 && ids.size(-1) <= options_.max_tokens(),
               "bert: ids {} should be (..., tokens) with at most {} tokens; cut longer texts",
               to_string(ids.shape()), options_.max_tokens());
  METTLE_CHECK(ShapeError, !input.token_types || input.token_types.shape() == ids.shape(),
               "bert: token types {} are not of the ids' shape {}",
               to_string(input.token_types.shape()), to_string(ids.shape()));
  METTLE_CHECK(ValueError, token_types_ || !input.token_types,
               "bert: token types for a model that has none; give none");
  Variable x = add(words_(params, ids), position_rows(params, ids));
  if (token_types_) {
    Variable types = input.token_types;
    if (!types) {  // one row for all, or for all of a task
      const bool per_task = token_types_->per_task(params);
      types = full(per_task ? ids.shape() : Shape{1}, 0.0, DType::i64, ids.device());
    }
    x = add(x, (*token_types_)(params, types));
  }
  x = norm_(params, x);
  const double p = options_.encoder.dropout;
  return input.dropout_key && p > 0 ? dropout(x, p, input.dropout_key->fork(0)) : x;
}

Variable Bert::operator()(const Params& params, const BertInput& input) const {
  METTLE_CHECK(ShapeError, !input.valid || input.valid.shape() == input.ids.shape(),
               "bert: marks of valid tokens {} are not of the ids' shape {}",
               to_string(input.valid.shape()), to_string(input.ids.shape()));
  EncoderInput rest{.key_padding = input.valid};
  if (input.dropout_key) rest.dropout_key = input.dropout_key->fork(1);
  return encoder_(params, embed(params, input), rest);
}

Variable Bert::pooled(const Params& params, const Variable& hidden) const {
  METTLE_CHECK(ValueError, pooler_.has_value(), "bert: this model has no pooler");
  return tanh((*pooler_)(params, select(hidden, -2, 0)));
}

Variable mean_pooling(const Variable& hidden, const Variable& valid) {
  if (!valid) return mean(hidden, {-2});
  const Variable weight = unsqueeze(cast(cast(valid, DType::boolean), hidden.dtype()), -1);
  const Variable count = sum(weight, {-2});  // (..., 1)
  return div(sum(mul(hidden, weight), {-2}), maximum(count, full_like(count, 1.0)));
}

}  // namespace mettle
