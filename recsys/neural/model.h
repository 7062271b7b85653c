// The neural recommender: a (user, item) row becomes a handful of tokens, one for each kind of
// fact, which a BERT-style encoder reads; a wide linear head turns its summary, beside the plain
// facts, into the logit of a like and into stars. A specification: weights are arguments.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "models/encoder.h"
#include "recsys/features.h"

namespace mettle {

struct NeuralOptions {
  int dim = 32;          // of a token
  int layers = 1;        // of the encoder below the layer that makes the summary
  int heads = 4;         // of attention
  int hidden = 64;       // of the feed-forward parts
  double dropout = 0.1;  // of tokens and of what the layers add, where a pass is given a key
};

/// What the model says of rows of shape (T, n).
struct RatingPrediction {
  Variable like_logit;  // (T, n): log odds that the user likes the item
  Variable stars;       // (T, n): stars minus the training users' mean
};

/// Names of parameters that adapt to a user: those of the encoder and the head. Token tables are
/// shared by all users.
bool is_encoder_weight(std::string_view name);
bool is_head_weight(std::string_view name);

class NeuralRecommender {
 public:
  /// ValueError for sizes that make no model.
  NeuralRecommender(const FeatureSizes& sizes, const NeuralOptions& options);

  /// Adds all weights; f64 serves numeric checks.
  void init(Params& params, Generator& random, DType dtype = DType::f32) const;

  /// The tokens of rows: (T, n, tokens, dim). Their weights have no task axis.
  Variable tokens(const Params& params, const FeatureBatch& rows) const;
  /// What the head reads: the encoder's summary of each row, then its plain facts:
  /// (T, n, representation_size()). Without a key there is no dropout.
  Variable representation(const Params& params, const Variable& tokens, const FeatureBatch& rows,
                          const std::optional<RandomKey>& dropout_key = {}) const;
  RatingPrediction head(const Params& params, const Variable& representation) const;
  /// All three.
  RatingPrediction operator()(const Params& params, const FeatureBatch& rows,
                              const std::optional<RandomKey>& dropout_key = {}) const;

  std::int64_t representation_size() const;

 private:
  std::int64_t token_count() const;
  Variable summary(const Params& params, const Variable& x,
                   const std::optional<RandomKey>& dropout_key) const;

  FeatureSizes sizes_;
  NeuralOptions options_;
  Encoder encoder_;
  // The last layer, of which only the summary token is read.
  Linear query_, key_value_, output_;
  LayerNorm summary_norm_;
  FeedForward summary_feed_forward_;
  Linear head_;
};

}  // namespace mettle
