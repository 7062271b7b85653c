// Texts to vectors: tokenizer, encoder and pooling from one folder, as sentence-transformers has
// them (Reimers and Gurevych, "Sentence-BERT", 2019).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "models/pretrained.h"
#include "models/tokenizer.h"

namespace mettle {

struct SentenceOptions {
  enum class Pooling { mean, first_token };
  Pooling pooling = Pooling::mean;
  enum class Length { as_it_is, one };  // of a vector
  Length length = Length::as_it_is;
  std::int64_t max_tokens = 512;  // longer texts lose their end
};

class SentenceEncoder {
 public:
  /// Reads what load_bert() reads; tokenizer.json, or vocab.txt with tokenizer_config.json; and,
  /// where they are, modules.json, 1_Pooling/config.json and sentence_bert_config.json. Without
  /// these: the mean of the tokens as it is. FileError as load_bert(), and for a kind of pooling or
  /// module that is not built.
  explicit SentenceEncoder(const std::filesystem::path& folder, DType dtype = DType::f32,
                           Device device = Device::cpu());

  /// Told the number of texts done so far.
  using Report = std::function<void(std::int64_t done)>;
  /// A row for each text: (texts, dim), on the CPU, f32 (f64 for an encoder in f64). Texts of
  /// similar length run together, so memory is bounded and little is padding.
  Tensor embed(std::span<const std::string_view> texts, const Report& report = {}) const;

  const SentenceOptions& options() const { return options_; }
  /// ValueError for max_tokens below 3 or beyond what the encoder takes.
  void set_options(const SentenceOptions& options);
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const PretrainedBert& model() const { return model_; }

 private:
  Variable pooled(const Variable& ids, const Variable& types, const Variable& valid) const;

  PretrainedBert model_;
  Bert bert_;
  Tokenizer tokenizer_;
  SentenceOptions options_;
};

/// The tokenizer of a folder. FileError when it has none.
Tokenizer load_tokenizer(const std::filesystem::path& folder);

}  // namespace mettle
