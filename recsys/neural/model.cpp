// Tokens, encoder, summary and head of the neural recommender.
#include "recsys/neural/model.h"

#include "autograd/ops.h"
#include "engine/check.h"

namespace mettle {
namespace {

// Streams of one pass's dropout key.
enum Site : std::uint64_t { token_site, encoder_site, summary_site, feed_forward_site };

Variable drop(const Variable& x, double p, const std::optional<RandomKey>& key, Site site) {
  return key ? dropout(x, p, key->fork(site)) : x;
}

// Bucket numbers around 1990 as a fact of about unit variance.
Variable year_fact(const Variable& years, DType dtype) {
  return unsqueeze(affine(cast(years, dtype), 1.0 / 3.0, -16.0 / 3.0), -1);
}

}  // namespace

bool is_encoder_weight(std::string_view name) { return name.starts_with("encoder."); }
bool is_head_weight(std::string_view name) { return name.starts_with("head."); }

NeuralRecommender::NeuralRecommender(const FeatureSizes& sizes, const NeuralOptions& options)
    : sizes_(sizes),
      options_(options),
      encoder_("encoder", {.dim = options.dim,
                           .layers = options.layers,
                           .heads = options.heads,
                           .hidden = options.hidden,
                           .dropout = options.dropout}),
      query_("encoder.summary.query", options.dim, options.dim),
      key_value_("encoder.summary.key_value", options.dim, 2 * options.dim),
      output_("encoder.summary.output", options.dim, options.dim),
      summary_norm_("encoder.summary.norm", options.dim),
      summary_feed_forward_("encoder.summary.feed_forward", options.dim, options.hidden),
      head_("head", representation_size(), 2) {}

void NeuralRecommender::init(Params& params, Generator& random, DType dtype) const {
  const auto table = [&](const char* name, std::int64_t rows, double deviation) {
    if (rows == 0) return;
    params.add(name, normal({rows, options_.dim}, random.next_key(), 0.0, deviation, dtype)
                         .detach_requires_grad());
  };
  table("tokens.summary", 1, 0.1);
  table("tokens.numeric", sizes_.numeric, 0.3);
  table("tokens.years", sizes_.years, 0.1);
  table("tokens.genres", sizes_.genres, 0.1);
  table("tokens.factors", sizes_.factors, 0.2);
  table("tokens.words", sizes_.words, 0.1);
  table("tokens.ids", sizes_.ids, 0.05);
  table("tokens.kinds", token_count(), 0.1);
  encoder_.init(params, random, {.dtype = dtype});
  for (const Linear* layer : {&query_, &key_value_, &output_})
    layer->init(params, random, {.dtype = dtype});
  summary_norm_.init(params, {.dtype = dtype});
  summary_feed_forward_.init(params, random, {.dtype = dtype});
  head_.init(params, random, {.dtype = dtype, .deviation = 0.02});
}

std::int64_t NeuralRecommender::token_count() const {
  std::int64_t count = 3;  // summary, numeric, year
  for (const int size : {sizes_.genres, sizes_.factors, sizes_.words, sizes_.ids})
    count += size > 0 ? 1 : 0;
  return count;
}

std::int64_t NeuralRecommender::representation_size() const {
  return options_.dim + sizes_.numeric + sizes_.factors + sizes_.genres + 1;
}

Variable NeuralRecommender::tokens(const Params& params, const FeatureBatch& rows) const {
  const Shape shape{rows.years.size(0), rows.years.size(1), options_.dim};
  Variables parts{expand(params["tokens.summary"], shape)};
  const auto project = [&](const Variable& facts, std::string_view table) {
    if (!facts) return;
    const Variable flat = reshape(facts, {-1, facts.size(-1)});
    parts.push_back(reshape(matmul(flat, params[table]), shape));
  };
  project(rows.numeric, "tokens.numeric");
  parts.push_back(embedding(params["tokens.years"], rows.years));
  project(rows.genres, "tokens.genres");
  project(rows.factors, "tokens.factors");
  project(rows.words, "tokens.words");
  if (rows.ids) parts.push_back(embedding(params["tokens.ids"], rows.ids));
  return add(stack(parts, 2), params["tokens.kinds"]);
}

// A layer of attention and feed-forward whose only query is the first token: (T, n, N, d) ->
// (T, n, d). Its input is normalised already.
Variable NeuralRecommender::summary(const Params& params, const Variable& x,
                                    const std::optional<RandomKey>& key) const {
  const std::int64_t tasks = x.size(0), rows = x.size(1), count = x.size(2), dim = x.size(3);
  const std::int64_t heads = options_.heads;
  const Variable first = select(x, 2, 0);
  const Variable q = reshape(query_(params, first), {tasks, rows, heads, 1, dim / heads});
  const Variable kv = reshape(key_value_(params, x), {tasks, rows, count, 2, heads, dim / heads});
  const auto part = [&](std::int64_t index) { return transpose(select(kv, 3, index), 2, 3); };
  const Variable seen = reshape(attention(q, part(0), part(1)), {tasks, rows, dim});
  const Variable y = add(first, drop(output_(params, seen), options_.dropout, key, summary_site));
  const Variable fed = summary_feed_forward_(params, summary_norm_(params, y));
  return add(y, drop(fed, options_.dropout, key, feed_forward_site));
}

Variable NeuralRecommender::representation(const Params& params, const Variable& tokens,
                                           const FeatureBatch& rows,
                                           const std::optional<RandomKey>& key) const {
  EncoderInput input;
  if (key) input.dropout_key = key->fork(encoder_site);
  const Variable x = encoder_(params, drop(tokens, options_.dropout, key, token_site), input);
  Variables parts{summary(params, x, key), rows.numeric};
  for (const Variable& facts : {rows.factors, rows.genres})
    if (facts) parts.push_back(facts);
  parts.push_back(year_fact(rows.years, x.dtype()));
  return concat(parts, -1);
}

RatingPrediction NeuralRecommender::head(const Params& params,
                                         const Variable& representation) const {
  const Variable y = head_(params, representation);
  return {select(y, -1, 0), select(y, -1, 1)};
}

RatingPrediction NeuralRecommender::operator()(const Params& params, const FeatureBatch& rows,
                                               const std::optional<RandomKey>& key) const {
  return head(params, representation(params, tokens(params, rows), rows, key));
}

}  // namespace mettle
