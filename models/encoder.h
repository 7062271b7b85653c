// The encoder of BERT: layers of self-attention and feed-forward, each followed by dropout, the
// residual sum and a layer norm, which one fused operation computes.
#pragma once

#include <optional>
#include <vector>

#include "models/layers.h"

namespace mettle {

struct EncoderOptions {
  std::int64_t dim = 64;
  std::int64_t layers = 2;
  std::int64_t heads = 4;
  std::int64_t hidden = 256;  // of the feed-forward part
  /// after: as in BERT, norm(x + part(x)). before: x + part(norm(x)) and a norm at the end, which
  /// trains without warm-up (Xiong et al., "On layer normalization in the transformer
  /// architecture", 2020).
  enum class Norm { after, before };
  Norm norm = Norm::before;
  GeluForm gelu = GeluForm::erf;
  double dropout = 0.0;            // of what attention and feed-forward add
  double attention_dropout = 0.0;  // of attention's probabilities
  double eps = 1e-5;
};

/// What a forward pass is given beside its input.
struct EncoderInput {
  Variable key_padding = {};  // bool or u8 (..., N): nonzero marks a real token; null: all are
  Variable mask = {};         // added to the scores, see AttentionOptions
  /// Randomness of this pass's dropout; none: no dropout, as in evaluation.
  std::optional<RandomKey> dropout_key = {};
};

class Encoder {
 public:
  /// ValueError for sizes that make no encoder.
  Encoder(const std::string& name, const EncoderOptions& options);

  void init(Params& params, Generator& random, const InitOptions& init = {}) const;
  /// x (..., N, dim) -> (..., N, dim). With parameters of T tasks x is (T, ..., N, dim).
  Variable operator()(const Params& params, const Variable& x,
                      const EncoderInput& input = {}) const;

  const EncoderOptions& options() const { return options_; }

 private:
  /// One layer. `attention_norm` and `feed_forward_norm` follow the part (Norm::after) or precede
  /// it.
  struct Layer {
    MultiHeadAttention attention;
    LayerNorm attention_norm;
    FeedForward feed_forward;
    LayerNorm feed_forward_norm;
  };

  EncoderOptions options_;
  std::vector<Layer> layers_;
  LayerNorm final_norm_;  // only in use for Norm::before
};

}  // namespace mettle
