// What the folder says of pooling, and batches of texts of similar length.
#include "models/sentence_encoder.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "autograd/ops.h"
#include "engine/check.h"
#include "engine/file.h"
#include "models/json/checked_json.h"
#include "models/tokenizer_files.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;
using detail::JsonSection;

constexpr std::size_t kMostBytes = std::size_t{1} << 20;  // of a small configuration file
constexpr std::size_t kBatchTokens = 4096;                // padding included

nlohmann::json small_json(const fs::path& file) {
  return detail::parse_json(read_file(file, kMostBytes), file.string());
}

SentenceOptions::Pooling pooling_of(const fs::path& file) {
  const nlohmann::json tree = small_json(file);
  const JsonSection config(tree, "", file.string());
  for (const auto& [key, value] : config.value().items())
    if (key.starts_with("pooling_mode_") && key != "pooling_mode_mean_tokens" &&
        key != "pooling_mode_cls_token")
      config.expect(key, false);
  const auto is_on = [&](const char* key) { return config.has(key) && config.flag(key); };
  const bool mean = is_on("pooling_mode_mean_tokens"), first = is_on("pooling_mode_cls_token");
  METTLE_CHECK(FileError, mean != first,
               "{}: pooling_mode_mean_tokens is {} and pooling_mode_cls_token is {}, supported: "
               "one of them",
               file.string(), mean, first);
  return mean ? SentenceOptions::Pooling::mean : SentenceOptions::Pooling::first_token;
}

/// modules.json: a Transformer, a Pooling and perhaps a Normalize.
void read_modules(const fs::path& folder, SentenceOptions& options) {
  const fs::path file = folder / "modules.json";
  const nlohmann::json tree = small_json(file);
  METTLE_CHECK(FileError, tree.is_array(), "{}: not a list of modules", file.string());
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const JsonSection module(tree[i], fmt::format("[{}]", i), file.string());
    const std::string type = module.text("type");
    if (type.ends_with(".Transformer")) continue;
    if (type.ends_with(".Normalize"))
      options.length = SentenceOptions::Length::one;
    else if (type.ends_with(".Pooling"))
      options.pooling = pooling_of(folder / "1_Pooling" / "config.json");
    else
      module.refuse("type", "Transformer, Pooling and Normalize");
  }
}

SentenceOptions read_options(const fs::path& folder, const Tokenizer& tokenizer,
                             const BertOptions& bert) {
  SentenceOptions options;
  options.max_tokens = bert.max_tokens();
  const fs::path sentence = folder / "sentence_bert_config.json";
  if (fs::exists(sentence)) {
    const nlohmann::json tree = small_json(sentence);
    const JsonSection config(tree, "", sentence.string());
    if (config.has("max_seq_length"))
      options.max_tokens =
          std::min(options.max_tokens, config.integer("max_seq_length", 3, std::int64_t{1} << 31));
  } else if (tokenizer.max_length()) {
    options.max_tokens = std::min(options.max_tokens, *tokenizer.max_length());
  }
  if (fs::exists(folder / "modules.json")) read_modules(folder, options);
  return options;
}

/// Some encodings side by side, filled up at their ends.
struct Rows {
  Rows(const std::vector<Encoding>& encodings, std::span<const std::size_t> which,
       std::size_t length, std::int64_t padding_id)
      : shape({std::ssize(which), static_cast<std::int64_t>(length)}),
        ids(which.size() * length, padding_id),
        types(ids.size(), 0),
        valid(ids.size(), 0) {
    for (std::size_t i = 0; i < which.size(); ++i) {
      const Encoding& e = encodings[which[i]];
      const auto at = static_cast<std::ptrdiff_t>(i * length);
      std::copy(e.ids.begin(), e.ids.end(), ids.begin() + at);
      std::copy(e.type_ids.begin(), e.type_ids.end(), types.begin() + at);
      std::fill_n(valid.begin() + at, e.ids.size(), std::uint8_t{1});
    }
  }
  template <class T> Variable on(Device device, const std::vector<T>& values) const {
    return Variable(Tensor::from(values, shape).to(device));
  }

  Shape shape;
  std::vector<std::int64_t> ids, types;
  std::vector<std::uint8_t> valid;
};

}  // namespace

Tokenizer load_tokenizer(const fs::path& folder) {
  if (fs::exists(folder / "tokenizer.json")) return load_tokenizer_json(folder / "tokenizer.json");
  METTLE_CHECK(FileError, fs::exists(folder / "vocab.txt"),
               "{}: neither tokenizer.json nor vocab.txt is there", folder.string());
  VocabOptions options;
  const fs::path file = folder / "tokenizer_config.json";
  if (fs::exists(file)) {
    const nlohmann::json tree = small_json(file);
    const JsonSection config(tree, "", file.string());
    if (config.has("do_lower_case")) options.lowercase = config.flag("do_lower_case");
    if (config.has("strip_accents")) options.strip_accents = config.flag("strip_accents");
    if (config.has("tokenize_chinese_chars"))
      options.handle_chinese_chars = config.flag("tokenize_chinese_chars");
  }
  return load_vocab(folder / "vocab.txt", options);
}

SentenceEncoder::SentenceEncoder(const fs::path& folder, DType dtype, Device device)
    : model_(load_bert(folder, dtype)), bert_(model_.options), tokenizer_(load_tokenizer(folder)) {
  METTLE_CHECK(FileError, tokenizer_.size() <= model_.options.vocabulary,
               "{}: the tokenizer has {} tokens, the encoder takes {}", folder.string(),
               tokenizer_.size(), model_.options.vocabulary);
  model_.params = model_.params.detached().to(device);
  set_options(read_options(folder, tokenizer_, model_.options));
}

void SentenceEncoder::set_options(const SentenceOptions& options) {
  METTLE_CHECK(ValueError,
               options.max_tokens >= 3 && options.max_tokens <= model_.options.max_tokens(),
               "sentence encoder: {} tokens at most; this model takes 3 to {}", options.max_tokens,
               model_.options.max_tokens());
  options_ = options;
}

Variable SentenceEncoder::pooled(const Variable& ids, const Variable& types,
                                 const Variable& valid) const {
  BertInput input{.ids = ids, .valid = valid};
  if (model_.options.token_types > 1) input.token_types = types;
  Variable hidden = bert_(model_.params, input);
  if (hidden.dtype() != DType::f64) hidden = cast(hidden, DType::f32);
  Variable out = options_.pooling == SentenceOptions::Pooling::mean ? mean_pooling(hidden, valid)
                                                                    : select(hidden, -2, 0);
  if (options_.length == SentenceOptions::Length::one) {
    const Variable size = norm(out, {-1}, true);
    out = div(out, maximum(size, full_like(size, 1e-12)));
  }
  return out;
}

Tensor SentenceEncoder::embed(std::span<const std::string_view> texts, const Report& report) const {
  const NoGrad no_grad;
  const std::vector<Encoding> encodings =
      tokenizer_.encode_batch(texts, {.max_length = options_.max_tokens});
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  // Longest first: whether memory is enough shows at once.
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::size_t first = encodings[a].ids.size(), second = encodings[b].ids.size();
    return first != second ? first > second : a < b;
  });
  const Variable& any = model_.params.values()[0];
  const DType dtype = any.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor out = Tensor::empty({std::ssize(texts), model_.options.encoder.dim}, dtype);
  for (std::size_t begin = 0; begin < order.size();) {
    const std::size_t longest = std::max<std::size_t>(1, encodings[order[begin]].ids.size());
    const std::size_t rows =
        std::min(order.size() - begin, std::max<std::size_t>(1, kBatchTokens / longest));
    const std::span batch = std::span(order).subspan(begin, rows);
    const Rows in(encodings, batch, longest, model_.options.padding_id);
    const Tensor vectors = pooled(in.on(any.device(), in.ids), in.on(any.device(), in.types),
                                  in.on(any.device(), in.valid))
                               .value()
                               .to(Device::cpu());
    for (std::size_t i = 0; i < rows; ++i) {
      const auto from = static_cast<std::int64_t>(i), to = static_cast<std::int64_t>(batch[i]);
      out.slice(0, to, to + 1).copy_from(vectors.slice(0, from, from + 1));
    }
    begin += rows;
    if (report) report(static_cast<std::int64_t>(begin));
  }
  return out;
}

}  // namespace mettle
