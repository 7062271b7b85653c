// The keys of config.json by family, with the defaults that the reference implementation
// (transformers 4 and 5) fills in where a key is absent.
#include "models/pretrained/bert_config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "models/json/checked_json.h"

namespace mettle::detail {
namespace {

constexpr std::int64_t kMostRows = std::int64_t{1} << 31;
constexpr std::int64_t kMostWidth = std::int64_t{1} << 20;

/// Keys that say the same in different words.
struct Keys {
  const char *dim, *layers, *heads, *hidden, *activation, *dropout, *attention_dropout;
};
constexpr Keys kBertKeys = {
    "hidden_size", "num_hidden_layers",   "num_attention_heads",         "intermediate_size",
    "hidden_act",  "hidden_dropout_prob", "attention_probs_dropout_prob"};
constexpr Keys kDistilbertKeys = {"dim",        "n_layers", "n_heads",          "hidden_dim",
                                  "activation", "dropout",  "attention_dropout"};

struct Family {
  BertFamily family;
  std::string_view type;
  const char* architecture;
  const Keys& keys;
  std::int64_t vocabulary, padding_id;  // defaults
  double eps;
};
constexpr std::array<Family, 3> kFamilies = {{
    {BertFamily::bert, "bert", "BertModel", kBertKeys, 30522, 0, 1e-12},
    {BertFamily::roberta, "roberta", "RobertaModel", kBertKeys, 50265, 1, 1e-12},
    {BertFamily::distilbert, "distilbert", "DistilBertModel", kDistilbertKeys, 30522, 0, 1e-12},
}};

const Family& family_of(BertFamily family) {
  return kFamilies.at(static_cast<std::size_t>(family));
}

struct Activation {
  GeluForm form;
  std::string_view name;
};
// The first name of a form is the one that is written.
constexpr std::array<Activation, 4> kActivations = {{{GeluForm::erf, "gelu"},
                                                     {GeluForm::tanh, "gelu_pytorch_tanh"},
                                                     {GeluForm::tanh, "gelu_new"},
                                                     {GeluForm::tanh, "gelu_fast"}}};

GeluForm activation(const JsonSection& file, const char* key) {
  if (!file.has(key)) return GeluForm::erf;
  const std::string name = file.text(key);
  for (const Activation& a : kActivations)
    if (a.name == name) return a.form;
  file.refuse(key, "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast");
}

// Features of the reference implementation that change the result and are not built.
void refuse_others(const JsonSection& file) {
  if (file.has("position_embedding_type")) file.expect("position_embedding_type", "absolute");
  for (const char* key : {"is_decoder", "add_cross_attention"})
    if (file.has(key)) file.expect(key, false);
  if (file.has("pruned_heads")) file.expect("pruned_heads", nlohmann::json::object());
}

const Family& named_family(const JsonSection& file) {
  const std::string type = file.text("model_type");
  for (const Family& family : kFamilies)
    if (family.type == type) return family;
  file.refuse("model_type", "bert, roberta, distilbert");
}

}  // namespace

std::string_view model_type(BertFamily family) { return family_of(family).type; }

BertConfig parse_bert_config(std::string_view text, const std::string& name) {
  const nlohmann::json tree = parse_json(text, name);
  const JsonSection file(tree, "", name);
  const Family& family = named_family(file);
  const Keys& keys = family.keys;
  refuse_others(file);
  const auto integer = [&](const char* key, std::int64_t otherwise, std::int64_t most) {
    return file.has(key) ? file.integer(key, 1, most) : otherwise;
  };
  const auto probability = [&](const char* key) {
    return file.has(key) ? file.number(key, 0.0, 0.999) : 0.1;
  };
  BertOptions options;
  options.vocabulary = integer("vocab_size", family.vocabulary, kMostRows);
  options.positions = integer("max_position_embeddings", 512, kMostRows);
  options.padding_id = file.has("pad_token_id")
                           ? file.integer("pad_token_id", 0, options.vocabulary - 1)
                           : family.padding_id;
  EncoderOptions& encoder = options.encoder;
  encoder.layers = integer(keys.layers, encoder.layers, 1024);
  encoder.dim = integer(keys.dim, encoder.dim, kMostWidth);
  encoder.hidden = integer(keys.hidden, encoder.hidden, kMostWidth);
  encoder.heads = integer(keys.heads, encoder.heads, encoder.dim);
  if (encoder.dim % encoder.heads != 0)
    file.refuse(keys.heads, fmt::format("a divisor of {} = {}", keys.dim, encoder.dim));
  encoder.gelu = activation(file, keys.activation);
  encoder.dropout = probability(keys.dropout);
  encoder.attention_dropout = probability(keys.attention_dropout);
  encoder.eps = family.eps;
  if (family.family == BertFamily::distilbert) {
    options.token_types = 0;
    options.pooler = BertOptions::Pooler::without;
  } else {
    options.token_types = integer("type_vocab_size", 2, kMostWidth);
    if (file.has("layer_norm_eps")) encoder.eps = file.number("layer_norm_eps", 1e-30, 1.0);
  }
  if (family.family == BertFamily::roberta) {
    options.position = BertOptions::Positions::by_token;
    if (options.max_tokens() < 1)
      file.refuse("max_position_embeddings",
                  fmt::format("more than pad_token_id + 1 = {}", options.padding_id + 1));
  }
  return {family.family, options};
}

std::string bert_config_text(const BertConfig& config, DType dtype) {
  const Family& family = family_of(config.family);
  const BertOptions& options = config.options;
  const EncoderOptions& encoder = options.encoder;
  const auto require = [&](bool ok, std::string_view what) {
    METTLE_CHECK(ValueError, ok, "save_bert: the files of {} have {}", family.type, what);
  };
  const bool distilbert = config.family == BertFamily::distilbert;
  require(encoder.norm == EncoderOptions::Norm::after, "norms behind the parts (Norm::after) only");
  require((options.position == BertOptions::Positions::by_token) ==
              (config.family == BertFamily::roberta),
          config.family == BertFamily::roberta ? "positions by_token" : "positions by_place");
  if (distilbert) {
    require(options.token_types == 0, "no token types");
    require(options.pooler == BertOptions::Pooler::without, "no pooler");
    require(encoder.eps == family.eps, "the eps 1e-12");
  } else {
    require(options.token_types > 0, "at least one token type");
  }
  nlohmann::ordered_json out;
  out["architectures"] = {family.architecture};
  out["model_type"] = family.type;
  out["vocab_size"] = options.vocabulary;
  out["max_position_embeddings"] = options.positions;
  out["pad_token_id"] = options.padding_id;
  out[family.keys.layers] = encoder.layers;
  out[family.keys.dim] = encoder.dim;
  out[family.keys.heads] = encoder.heads;
  out[family.keys.hidden] = encoder.hidden;
  for (const Activation& a : kActivations)
    if (a.form == encoder.gelu) {
      out[family.keys.activation] = a.name;
      break;
    }
  out[family.keys.dropout] = encoder.dropout;
  out[family.keys.attention_dropout] = encoder.attention_dropout;
  if (!distilbert) {
    out["type_vocab_size"] = options.token_types;
    out["layer_norm_eps"] = encoder.eps;
  }
  out["torch_dtype"] = dtype == DType::f64    ? "float64"
                       : dtype == DType::bf16 ? "bfloat16"
                       : dtype == DType::f16  ? "float16"
                                              : "float32";
  return out.dump(2) + "\n";
}

}  // namespace mettle::detail
