// The names by family, as the reference implementation has them.
#include "models/pretrained/tensor_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "models/pretrained/bert_config.h"

namespace mettle::detail {
namespace {

constexpr std::string_view kPooler = "pooler.dense";

struct LayerNames {
  const char* layers;  // in front of the layer's number
  const char *query, *key, *value, *attention_output, *attention_norm;
  const char *up, *down, *feed_forward_norm;
};
constexpr LayerNames kBertLayer = {
    "encoder.layer",        "attention.self.query",   "attention.self.key",
    "attention.self.value", "attention.output.dense", "attention.output.LayerNorm",
    "intermediate.dense",   "output.dense",           "output.LayerNorm"};
constexpr LayerNames kDistilbertLayer = {
    "transformer.layer", "attention.q_lin",   "attention.k_lin",
    "attention.v_lin",   "attention.out_lin", "sa_layer_norm",
    "ffn.lin1",          "ffn.lin2",          "output_layer_norm"};

class Sources {
 public:
  using Layout = ParamSource::Layout;

  void table(const std::string& param, const std::string& tensor, std::int64_t rows,
             std::int64_t dim) {
    out_.push_back({param + ".table", {tensor + ".weight"}, Layout::same, {rows, dim}});
  }
  void norm(const std::string& param, const std::string& tensor, std::int64_t dim) {
    out_.push_back({param + ".gamma", {tensor + ".weight"}, Layout::same, {dim}});
    out_.push_back({param + ".beta", {tensor + ".bias"}, Layout::same, {dim}});
  }
  /// `out` of each tensor.
  void linear(const std::string& param, const std::vector<std::string>& tensors, std::int64_t in,
              std::int64_t out) {
    ParamSource weight = {param + ".weight", {}, Layout::transposed, {out, in}};
    ParamSource bias = {param + ".bias", {}, Layout::same, {out}};
    for (const std::string& tensor : tensors) {
      weight.tensors.push_back(tensor + ".weight");
      bias.tensors.push_back(tensor + ".bias");
    }
    out_.push_back(std::move(weight));
    out_.push_back(std::move(bias));
  }
  std::vector<ParamSource> take() { return std::move(out_); }

 private:
  std::vector<ParamSource> out_;
};

}  // namespace

Shape ParamSource::param_shape() const {
  Shape out = shape;
  if (layout == Layout::transposed) out = {shape[1], shape[0]};
  out[out.rank() - 1] *= static_cast<std::int64_t>(tensors.size());
  return out;
}

std::vector<ParamSource> bert_sources(BertFamily family, const BertOptions& options) {
  const std::int64_t dim = options.encoder.dim, hidden = options.encoder.hidden;
  Sources sources;
  sources.table("bert.embeddings.word", "embeddings.word_embeddings", options.vocabulary, dim);
  sources.table("bert.embeddings.position", "embeddings.position_embeddings", options.positions,
                dim);
  if (options.token_types > 0)
    sources.table("bert.embeddings.token_type", "embeddings.token_type_embeddings",
                  options.token_types, dim);
  sources.norm("bert.embeddings.norm", "embeddings.LayerNorm", dim);
  const LayerNames& names = family == BertFamily::distilbert ? kDistilbertLayer : kBertLayer;
  for (std::int64_t i = 0; i < options.encoder.layers; ++i) {
    const std::string to = fmt::format("bert.encoder.layer.{}.", i);
    const std::string from = fmt::format("{}.{}.", names.layers, i);
    sources.linear(to + "attention.qkv", {from + names.query, from + names.key, from + names.value},
                   dim, dim);
    sources.linear(to + "attention.output", {from + names.attention_output}, dim, dim);
    sources.norm(to + "attention_norm", from + names.attention_norm, dim);
    sources.linear(to + "feed_forward.up", {from + names.up}, dim, hidden);
    sources.linear(to + "feed_forward.down", {from + names.down}, hidden, dim);
    sources.norm(to + "feed_forward_norm", from + names.feed_forward_norm, dim);
  }
  if (options.pooler == BertOptions::Pooler::with)
    sources.linear("bert.pooler", {std::string(kPooler)}, dim, dim);
  return sources.take();
}

std::string canonical_name(std::string_view stored, BertFamily family) {
  const std::string prefix = std::string(model_type(family)) + ".";
  if (stored.starts_with(prefix)) stored.remove_prefix(prefix.size());
  for (const auto& [old, now] : {std::pair{".LayerNorm.gamma", ".LayerNorm.weight"},
                                 std::pair{".LayerNorm.beta", ".LayerNorm.bias"}})
    if (stored.ends_with(old))
      return std::string(stored.substr(0, stored.size() - std::string_view(old).size())) + now;
  return std::string(stored);
}

bool is_encoder_tensor(std::string_view name) {
  constexpr std::array<std::string_view, 3> kParts = {"embeddings.", "encoder.", "transformer."};
  return std::any_of(kParts.begin(), kParts.end(),
                     [&](std::string_view part) { return name.starts_with(part); });
}

bool is_derived_tensor(std::string_view name) {
  return name == "embeddings.position_ids" || name == "embeddings.token_type_ids";
}

}  // namespace mettle::detail
