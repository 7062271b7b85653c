// Encoders from Hugging Face's folders against what the reference implementation computes with them
// (golden/make_golden.py), their way back to disk, and what bad folders get.
#include "models/pretrained.h"

#include <gmock/gmock.h>

#include "autograd/grad.h"
#include "engine/file.h"
#include "engine/safetensors.h"
#include "models/pretrained/bert_config.h"
#include "models/pretrained/tensor_names.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/temporary_folder.h"
#include "tests/models/models_test_util.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;
using test::distance;
using test::message_of;
using testing::HasSubstr;

fs::path golden_folder(const std::string& name) { return fs::path(METTLE_GOLDEN_DIR) / name; }

struct Golden {
  explicit Golden(const std::string& name)
      : expected(read_safetensors(golden_folder(name) / "expected.safetensors").tensors) {}
  Variable at(const std::string& key) const { return Variable(expected.at(key)); }
  BertInput input() const {
    BertInput in{.ids = at("input_ids"), .valid = cast(at("attention_mask"), DType::u8)};
    if (expected.contains("token_type_ids")) in.token_types = at("token_type_ids");
    return in;
  }
  std::map<std::string, Tensor> expected;
};

/// Sums what padded places hold to nothing: only the rows of tokens are anybody's business.
Variable of_tokens(const Variable& hidden, const Golden& golden) {
  return mul(hidden, unsqueeze(cast(golden.at("attention_mask"), hidden.dtype()), -1));
}

class PretrainedGolden : public testing::TestWithParam<const char*> {};

TEST_P(PretrainedGolden, ForwardAndGradientsAreTheReferences) {
  const Golden golden(GetParam());
  for (const auto& [dtype, tolerance] : {std::pair{DType::f64, 1e-13}, {DType::f32, 2e-6}}) {
    SCOPED_TRACE(to_string(dtype));
    const PretrainedBert model = load_bert(golden_folder(GetParam()), dtype);
    const Bert bert(model.options);
    const Variable hidden = bert(model.params, golden.input());
    EXPECT_LT(distance(of_tokens(hidden, golden), of_tokens(golden.at("hidden"), golden)),
              tolerance);
    Variable loss = sum(mul(of_tokens(hidden, golden), cast(golden.at("cotangent"), dtype)));
    if (golden.expected.contains("pooled")) {
      const Variable pooled = bert.pooled(model.params, hidden);
      EXPECT_LT(distance(pooled, golden.at("pooled")), tolerance);
      loss = add(loss, sum(pooled));
    }
    const Params gradients =
        model.params.with_values(grad({loss}, model.params.values(), {.allow_unused = true}));
    for (const detail::ParamSource& source : detail::bert_sources(model.family, model.options)) {
      const Variable& whole = gradients[source.param];
      ASSERT_TRUE(whole) << source.param;
      const std::int64_t width = whole.size(-1) / static_cast<std::int64_t>(source.tensors.size());
      for (std::size_t i = 0; i < source.tensors.size(); ++i) {
        SCOPED_TRACE(source.tensors[i]);
        const std::int64_t start = static_cast<std::int64_t>(i) * width;
        Variable part = slice(whole, -1, start, start + width);
        if (source.layout == detail::ParamSource::Layout::transposed) part = transpose(part, 0, 1);
        EXPECT_LT(distance(part, golden.at("gradient." + source.tensors[i])), 10 * tolerance);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, PretrainedGolden,
                         testing::Values("bert", "roberta", "distilbert", "masked_language_model"));

TEST(Pretrained, HeadsAreNamedAndLeft) {
  const PretrainedBert model = load_bert(golden_folder("masked_language_model"));
  EXPECT_EQ(model.options.pooler, BertOptions::Pooler::without);
  EXPECT_THAT(model.unused, testing::UnorderedElementsAre(
                                "cls.predictions.bias", "cls.predictions.transform.LayerNorm.bias",
                                "cls.predictions.transform.LayerNorm.weight",
                                "cls.predictions.transform.dense.bias",
                                "cls.predictions.transform.dense.weight"));
  EXPECT_TRUE(load_bert(golden_folder("bert")).unused.empty());
}

TEST(Pretrained, ParametersAreThoseOfBertInItsOrder) {
  for (const char* name : {"bert", "roberta", "distilbert"}) {
    const PretrainedBert model = load_bert(golden_folder(name));
    Params params;
    Generator random(1);
    Bert(model.options).init(params, random);
    EXPECT_EQ(model.params.names(), params.names());
    for (std::size_t i = 0; i < params.size(); ++i) {
      EXPECT_EQ(model.params.values()[i].shape(), params.values()[i].shape());
      EXPECT_TRUE(model.params.values()[i].requires_grad());
    }
  }
}

TEST(Pretrained, PartsOfAShardedFolderMakeTheWhole) {
  const Params whole = load_bert(golden_folder("bert")).params;
  const Params parts = load_bert(golden_folder("sharded")).params;  // rounded to f16
  ASSERT_EQ(parts.names(), whole.names());
  for (std::size_t i = 0; i < whole.size(); ++i)
    EXPECT_EQ(parts.values()[i].value().to_vector<float>(),
              cast(cast(whole.values()[i], DType::f16), DType::f32).value().to_vector<float>());
}

TEST(Pretrained, PoolingIsTheMeanOfValidTokens) {
  const Variable hidden = test::random({2, 3, 4}, 1);
  const Variable valid(Tensor::from(std::vector<std::uint8_t>{1, 0, 7, 0, 0, 0}, {2, 3}));
  const Variable first = select(hidden, 0, 0);
  const Variable want =
      stack(std::vector<Variable>{mul(add(select(first, 0, 0), select(first, 0, 2)), 0.5),
                                  full({4}, 0.0, DType::f64)},
            0);
  EXPECT_LT(distance(mean_pooling(hidden, valid), want), 1e-15);
  EXPECT_LT(distance(mean_pooling(hidden, Variable()), mean(hidden, {1})), 1e-15);
}

// ---- back to disk -------------------------------------------------------------------------------

class PretrainedFolder : public test::TemporaryFolder {
 protected:
  void copy_golden(const std::string& name) {
    for (const auto& entry : fs::directory_iterator(golden_folder(name)))
      if (entry.path().filename() != "expected.safetensors")
        fs::copy(entry.path(), folder_ / entry.path().filename());
  }
  TensorFile weights() const { return read_safetensors(folder_ / "model.safetensors"); }
  void write(const TensorFile& content) const {
    write_safetensors(folder_ / "model.safetensors", content);
  }
  std::string refusal() const {
    return message_of<FileError>([&] { load_bert(folder_); });
  }
};

TEST_F(PretrainedFolder, WhatWasReadIsWrittenWithTheSameBits) {
  for (const char* name : {"bert", "roberta", "distilbert"}) {
    const PretrainedBert model = load_bert(golden_folder(name));
    save_bert(folder_ / name, model);
    const TensorFile original = read_safetensors(golden_folder(name) / "model.safetensors");
    const TensorFile written = read_safetensors(folder_ / name / "model.safetensors");
    ASSERT_EQ(written.tensors.size(), original.tensors.size());
    for (const auto& [key, tensor] : original.tensors) {
      SCOPED_TRACE(key);
      ASSERT_TRUE(written.tensors.contains(key));
      EXPECT_EQ(written.tensors.at(key).shape(), tensor.shape());
      EXPECT_EQ(written.tensors.at(key).to_vector<float>(), tensor.to_vector<float>());
    }
    const PretrainedBert again = load_bert(folder_ / name);
    EXPECT_EQ(again.family, model.family);
    EXPECT_EQ(detail::bert_config_text({again.family, again.options}, DType::f32),
              detail::bert_config_text({model.family, model.options}, DType::f32));
  }
}

TEST_F(PretrainedFolder, OptionsThatAFamilyCannotExpressAreRefused) {
  PretrainedBert model = load_bert(golden_folder("bert"));
  model.family = BertFamily::distilbert;
  EXPECT_THAT(message_of<ValueError>([&] { save_bert(folder_ / "x", model); }),
              HasSubstr("the files of distilbert have no token types"));
  model.family = BertFamily::roberta;
  EXPECT_THAT(message_of<ValueError>([&] { save_bert(folder_ / "x", model); }),
              HasSubstr("positions by_token"));
  model = load_bert(golden_folder("bert"));
  model.options.encoder.norm = EncoderOptions::Norm::before;
  EXPECT_THAT(message_of<ValueError>([&] { save_bert(folder_ / "x", model); }),
              HasSubstr("Norm::after"));
  model = load_bert(golden_folder("bert"));
  model.params = model.params.select([](std::string_view n) { return !n.ends_with(".gamma"); });
  model.params.add("other", full({2}, 1.0));
  EXPECT_THAT(message_of<ValueError>([&] { save_bert(folder_ / "x", model); }),
              HasSubstr("5 faults of the parameters:\n  bert.embeddings.norm.gamma is missing"));
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

// ---- old and bad folders ------------------------------------------------------------------------

TEST_F(PretrainedFolder, OldFilesReadLikeNewOnes) {
  copy_golden("bert");
  TensorFile old;
  for (auto& [name, tensor] : weights().tensors) {
    std::string key = "bert." + name;
    if (key.ends_with("LayerNorm.weight")) key.replace(key.size() - 6, 6, "gamma");
    if (key.ends_with("LayerNorm.bias")) key.replace(key.size() - 4, 4, "beta");
    old.tensors.emplace(key, tensor);
  }
  old.tensors.emplace("bert.embeddings.position_ids",
                      Tensor::from(std::vector<std::int64_t>(10), {1, 10}));
  write(old);
  const PretrainedBert model = load_bert(folder_), now = load_bert(golden_folder("bert"));
  EXPECT_TRUE(model.unused.empty());
  for (std::size_t i = 0; i < now.params.size(); ++i)
    EXPECT_EQ(model.params.values()[i].value().to_vector<float>(),
              now.params.values()[i].value().to_vector<float>());
}

TEST_F(PretrainedFolder, EveryFaultOfTheTensorsIsListed) {
  copy_golden("bert");
  TensorFile content = weights();
  content.tensors.erase("pooler.dense.bias");
  content.tensors.erase("encoder.layer.1.attention.self.key.weight");
  content.tensors["embeddings.LayerNorm.weight"] = Tensor::zeros({13});
  content.tensors["encoder.layer.0.output.dense.bias"] = Tensor::zeros({12}, DType::i32);
  content.tensors["encoder.layer.2.output.dense.bias"] = Tensor::zeros({12});
  content.tensors["bert.embeddings.LayerNorm.bias"] = Tensor::zeros({12});
  write(content);
  const std::string message = refusal();
  for (const char* fault :
       {"6 faults", "pooler.dense.bias (12,) is missing",
        "encoder.layer.1.attention.self.key.weight (12, 12) is missing",
        "\"embeddings.LayerNorm.weight\" is (13,), the configuration makes it (12,)",
        "\"encoder.layer.0.output.dense.bias\" is of i32, supported are f64, f32, bf16, f16",
        "\"encoder.layer.2.output.dense.bias\" is none of this model's",
        "\"bert.embeddings.LayerNorm.bias\" and \"embeddings.LayerNorm.bias\" are the same tensor"})
    EXPECT_THAT(message, HasSubstr(fault));
}

TEST_F(PretrainedFolder, MissingAndDamagedFilesAreNamed) {
  EXPECT_THAT(refusal(), HasSubstr("config.json"));
  copy_golden("bert");
  fs::remove(folder_ / "model.safetensors");
  EXPECT_THAT(refusal(),
              HasSubstr("neither model.safetensors nor model.safetensors.index.json is there"));
  write_file(folder_ / "pytorch_model.bin", "x");
  EXPECT_THAT(refusal(), HasSubstr("its pytorch_model.bin is a pickle"));
  const std::string bytes = read_file(golden_folder("bert") / "model.safetensors");
  write_file(folder_ / "model.safetensors", bytes.substr(0, bytes.size() - 1));
  EXPECT_THAT(refusal(), HasSubstr("of the data, which has"));
}

TEST_F(PretrainedFolder, AnIndexIsChecked) {
  copy_golden("sharded");
  const fs::path index = folder_ / "model.safetensors.index.json";
  const std::string text = read_file(index);
  const std::string key = R"("encoder.layer.0.output.dense.bias": ")";
  const std::size_t at = text.find(key) + key.size();
  ASSERT_NE(text.find(key), text.npos);
  const auto with_part = [&](const std::string& part) {
    write_file(index, text.substr(0, at) + part + text.substr(text.find('"', at)));
    return refusal();
  };
  EXPECT_THAT(with_part("../model.safetensors"), HasSubstr("a file in the same folder"));
  EXPECT_THAT(with_part("absent.safetensors"), HasSubstr("absent.safetensors"));
  const bool in_first = text.substr(at).starts_with("model-00001");
  EXPECT_THAT(
      with_part(in_first ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors"),
      testing::AllOf(HasSubstr("2 faults"), HasSubstr("is not in"),
                     HasSubstr("which the index does not say")));
  write_file(index, "{}");
  EXPECT_THAT(refusal(), HasSubstr("there is no weight_map"));
}

struct BadConfig {
  const char* text;
  const char* message;
};

TEST(PretrainedConfig, BadOnesAreRefusedByKeyAndValue) {
  const std::string deep = std::string(13, '[');
  const BadConfig table[] = {
      {"", "c: not JSON from byte"},
      {"{", "c: not JSON from byte"},
      {"[]", "c: the file is [], supported: an object"},
      {"{}", "c: there is no model_type"},
      {R"({"model_type":"gpt2"})", R"(model_type is "gpt2", supported: bert, roberta, distilbert)"},
      {R"({"model_type":"bert","model_type":"bert"})", R"("model_type" occurs twice)"},
      {R"({"model_type":"bert","hidden_size":0})",
       "hidden_size is 0, supported: an integer from 1 to 1048576"},
      {R"({"model_type":"bert","hidden_size":768.5})",
       "hidden_size is 768.5, supported: an integer"},
      {R"({"model_type":"bert","hidden_size":18446744073709551615})", "supported: an integer"},
      {R"({"model_type":"bert","num_attention_heads":7})",
       "num_attention_heads is 7, supported: a divisor of hidden_size = 768"},
      {R"({"model_type":"bert","hidden_act":"relu"})", R"(hidden_act is "relu", supported: gelu)"},
      {R"({"model_type":"bert","position_embedding_type":"relative_key"})",
       R"(position_embedding_type is "relative_key", supported: "absolute")"},
      {R"({"model_type":"bert","is_decoder":true})", "is_decoder is true, supported: false"},
      {R"({"model_type":"bert","hidden_dropout_prob":1})", "hidden_dropout_prob is 1, supported:"},
      {R"({"model_type":"bert","pad_token_id":30522})", "pad_token_id is 30522, supported:"},
      {R"({"model_type":"bert","pruned_heads":{"1":[2]}})", "pruned_heads is"},
      {R"({"model_type":"roberta","max_position_embeddings":2})",
       "max_position_embeddings is 2, supported: more than pad_token_id + 1 = 2"},
      {deep.c_str(), "more than 12 levels"},
  };
  for (const BadConfig& bad : table)
    EXPECT_THAT(message_of<FileError>([&] { detail::parse_bert_config(bad.text, "c"); }),
                HasSubstr(bad.message))
        << bad.text;
}

TEST(PretrainedConfig, NullsAndAbsentKeysTakeTheDefaults) {
  const auto config =
      detail::parse_bert_config(R"({"model_type":"bert","hidden_act":null,"x":[1]})", "c");
  EXPECT_EQ(config.options.encoder.dim, 768);
  EXPECT_EQ(config.options.encoder.layers, 12);
  EXPECT_EQ(config.options.encoder.gelu, GeluForm::erf);
  EXPECT_EQ(config.options.max_tokens(), 512);
  const auto roberta =
      detail::parse_bert_config(R"({"model_type":"roberta","max_position_embeddings":514})", "c");
  EXPECT_EQ(roberta.options.max_tokens(), 512);
  EXPECT_EQ(roberta.options.vocabulary, 50265);
}

TEST(Bert, InputsThatDoNotFitAreRefused) {
  const PretrainedBert model = load_bert(golden_folder("bert"));
  const Bert bert(model.options);
  const auto refused = [&](const BertInput& input) {
    return message_of<ShapeError>([&] { bert(model.params, input); });
  };
  const Variable ids = full({2, 11}, 3.0, DType::i64);
  EXPECT_THAT(refused({.ids = ids}), HasSubstr("at most 10 tokens"));
  const Variable fits = slice(ids, 1, 0, 5);
  EXPECT_THAT(refused({.ids = fits, .token_types = ids}), HasSubstr("token types (2, 11)"));
  EXPECT_THAT(refused({.ids = fits, .valid = ids}), HasSubstr("marks of valid tokens (2, 11)"));
  const PretrainedBert other = load_bert(golden_folder("distilbert"));
  EXPECT_THAT(message_of<ValueError>(
                  [&] { Bert(other.options)(other.params, {.ids = fits, .token_types = fits}); }),
              HasSubstr("token types for a model that has none"));
  EXPECT_THAT(message_of<ValueError>([&] {
                Bert(other.options).pooled(other.params, full({1, 2, 12}, 0.0));
              }),
              HasSubstr("no pooler"));
}

TEST(Bert, TasksHaveWeightsOfTheirOwn) {
  BertOptions options = load_bert(golden_folder("bert")).options;
  for (const auto position : {BertOptions::Positions::by_place, BertOptions::Positions::by_token}) {
    options.position = position;
    const Bert bert(options);
    Params one, two;
    Generator random(7);
    bert.init(one, random, {.dtype = DType::f64});
    bert.init(two, random, {.dtype = DType::f64});
    Variables both;
    for (std::size_t i = 0; i < one.size(); ++i)
      both.push_back(stack(std::vector<Variable>{one.values()[i], two.values()[i]}, 0));
    const Variable ids = randint({2, 3, 5}, {5, 6}, 1, 30);
    const Variable got = bert(one.with_values(both), {.ids = ids});
    EXPECT_LT(distance(select(got, 0, 0), bert(one, {.ids = select(ids, 0, 0)})), 1e-13);
    EXPECT_LT(distance(select(got, 0, 1), bert(two, {.ids = select(ids, 0, 1)})), 1e-13);
  }
}

}  // namespace
}  // namespace mettle
