// Forward passes of the encoder in both arrangements of its norms.
#include "models/encoder.h"

#include "engine/check.h"

namespace mettle {

Encoder::Encoder(const std::string& name, const EncoderOptions& options)
    : options_(options), final_norm_(name + ".norm", options.dim, options.eps) {
  METTLE_CHECK(ValueError, options.layers > 0, "encoder '{}': {} layers", name, options.layers);
  for (const double p : {options.dropout, options.attention_dropout})
    METTLE_CHECK(ValueError, p >= 0 && p < 1, "encoder '{}': dropout {} is not in [0, 1)", name, p);
  for (std::int64_t i = 0; i < options.layers; ++i) {
    const std::string layer = name + ".layer." + std::to_string(i);
    layers_.push_back({{layer + ".attention", options.dim, options.heads},
                       {layer + ".attention_norm", options.dim, options.eps},
                       {layer + ".feed_forward", options.dim, options.hidden, options.gelu},
                       {layer + ".feed_forward_norm", options.dim, options.eps}});
  }
}

void Encoder::init(Params& params, Generator& random, const InitOptions& init) const {
  for (const Layer& layer : layers_) {
    layer.attention.init(params, random, init);
    layer.attention_norm.init(params, init);
    layer.feed_forward.init(params, random, init);
    layer.feed_forward_norm.init(params, init);
  }
  if (options_.norm == EncoderOptions::Norm::before) final_norm_.init(params, init);
}

Variable Encoder::operator()(const Params& params, const Variable& x,
                             const EncoderInput& input) const {
  METTLE_CHECK(ShapeError, x.rank() >= 2 && x.size(-1) == options_.dim,
               "encoder: input {} should be (..., tokens, {})", to_string(x.shape()), options_.dim);
  const double p = input.dropout_key ? options_.dropout : 0.0;
  AttentionOptions attention{.mask = input.mask, .key_padding = input.key_padding};
  attention.dropout = input.dropout_key ? options_.attention_dropout : 0.0;
  std::uint64_t sites = 0;  // of dropout: each draws from a stream of its own
  const auto key_of_site = [&](double probability) {
    const std::uint64_t site = sites++;
    return probability > 0 ? input.dropout_key->fork(site) : RandomKey();
  };

  // Every part reads `normal` and is added to `residual`. The norms before the parts are shifted by
  // one: the sum after a part is normalised for the next part in the same pass over memory.
  const bool before = options_.norm == EncoderOptions::Norm::before;
  Variable normal = before ? layers_[0].attention_norm(params, x) : x;
  Variable residual = x;
  const auto add = [&](const Variable& part, const LayerNorm& norm) {
    ResidualNorm next = norm.after(params, part, residual, p, key_of_site(p));
    normal = std::move(next.normalized);
    residual = before ? std::move(next.sum) : normal;
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const LayerNorm& next = i + 1 < layers_.size() ? layers_[i + 1].attention_norm : final_norm_;
    attention.key = key_of_site(attention.dropout);
    add(layer.attention(params, normal, attention),
        before ? layer.feed_forward_norm : layer.attention_norm);
    add(layer.feed_forward(params, normal), before ? next : layer.feed_forward_norm);
  }
  return normal;
}

}  // namespace mettle
