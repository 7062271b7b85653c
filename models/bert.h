// BERT: embeddings of tokens, positions and token types in front of the encoder. The options also
// describe its relatives RoBERTa and DistilBERT; see pretrained.h for their checkpoints.
// Devlin et al., "BERT", 2019; Liu et al., "RoBERTa", 2019; Sanh et al., "DistilBERT", 2019.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "models/encoder.h"

namespace mettle {

struct BertOptions {
  std::int64_t vocabulary = 30522;
  std::int64_t positions = 512;  // rows of the table of positions
  std::int64_t token_types = 2;  // 0: no table of token types
  /// Which row of the table a token reads. by_place: its place in the sequence. by_token: the i-th
  /// token (from 1) that is not padding_id reads row padding_id + i, padding reads row padding_id.
  enum class Positions { by_place, by_token };
  Positions position = Positions::by_place;
  std::int64_t padding_id = 0;
  /// tanh(W h + b) of the first token.
  enum class Pooler { with, without };
  Pooler pooler = Pooler::with;
  EncoderOptions encoder = {.dim = 768,
                            .layers = 12,
                            .heads = 12,
                            .hidden = 3072,
                            .norm = EncoderOptions::Norm::after,
                            .dropout = 0.1,
                            .attention_dropout = 0.1,
                            .eps = 1e-12};

  /// The longest sequence.
  std::int64_t max_tokens() const {
    return position == Positions::by_place ? positions : positions - padding_id - 1;
  }
};

struct BertInput {
  Variable ids;               // i64 or i32 (..., N), N <= max_tokens()
  Variable token_types = {};  // i64 or i32, of ids' shape; null: all 0
  Variable valid = {};        // bool or u8, of ids' shape: nonzero marks a token; null: all are
  /// Randomness of this pass's dropout; none: no dropout, as in evaluation.
  std::optional<RandomKey> dropout_key = {};
};

class Bert {
 public:
  /// ValueError for sizes that make no encoder. Parameters are called NAME.embeddings.... and so
  /// on.
  explicit Bert(const BertOptions& options, const std::string& name = "bert");

  /// Default deviation: 0.02, as in the paper.
  void init(Params& params, Generator& random, const InitOptions& init = {}) const;
  /// (..., N, dim). ShapeError for a sequence beyond max_tokens().
  Variable operator()(const Params& params, const BertInput& input) const;
  /// The pooler on what the encoder gave: (..., N, dim) -> (..., dim). ValueError without a pooler.
  Variable pooled(const Params& params, const Variable& hidden) const;

  const BertOptions& options() const { return options_; }

 private:
  Variable embed(const Params& params, const BertInput& input) const;
  Variable position_rows(const Params& params, const Variable& ids) const;

  BertOptions options_;
  Embedding words_, positions_;
  std::optional<Embedding> token_types_;
  LayerNorm norm_;
  Encoder encoder_;
  std::optional<Linear> pooler_;
};

/// The mean of the valid tokens' rows: hidden (..., N, dim), valid as in BertInput -> (..., dim).
/// Zeros where no token is valid.
Variable mean_pooling(const Variable& hidden, const Variable& valid);

}  // namespace mettle
