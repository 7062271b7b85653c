// Model files that are damaged or hostile: whatever a field of the JSON or a tensor says, the
// answer is an exception that names it, and nothing is made of a size that is not in the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "recsys/neural/recommender.h"
#include "recsys/neural/recommender_file.h"
#include "tests/recsys/neural_test_data.h"

namespace mettle {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class RecommenderFileTest : public testing::Test {
 protected:
  // A ridge model, which uses every option.
  static void SetUpTestSuite() {
    data_ = std::make_unique<Dataset>(test::planted_tastes());
    NeuralTrainingOptions options = test::short_training();
    options.features.factors = 2;
    options.features.max_title_words = 4;
    options.adaptation.ridge_factors = 3;
    options.joint.trainer.epochs = options.meta.trainer.epochs = 1;
    const ColdStartSplit split = split_cold_start(*data_, 3);
    const std::filesystem::path path =
        std::filesystem::path(testing::TempDir()) / "mettle_recommender_file_test.safetensors";
    NeuralTraining(*data_, split, options).train(NeuralMethod::ridge).save(*data_, path);
    good_ = std::make_unique<TensorFile>(read_safetensors(path));
    std::filesystem::remove(path);
  }
  static void TearDownTestSuite() {
    good_.reset();
    data_.reset();
  }

  static std::string refusal(const TensorFile& file) {
    try {
      TrainedRecommender::from_file(*data_, parse_recommender(file, "model"), "model");
    } catch (const FileError& error) {
      return error.message();
    }
    return "nothing was thrown";
  }
  static std::string refusal(const char* key, const std::string& text) {
    TensorFile file = *good_;
    file.metadata[key] = text;
    return refusal(file);
  }
  static json configuration() { return json::parse(good_->metadata.at("configuration")); }
  static std::string refusal_of(const json& configuration) {
    return refusal("configuration", configuration.dump());
  }

  static std::unique_ptr<Dataset> data_;
  static std::unique_ptr<TensorFile> good_;
};
std::unique_ptr<Dataset> RecommenderFileTest::data_;
std::unique_ptr<TensorFile> RecommenderFileTest::good_;

TEST_F(RecommenderFileTest, TheFileAsItWasWrittenIsTaken) {
  EXPECT_EQ(refusal(*good_), "nothing was thrown");
  const RecommenderFile file = parse_recommender(*good_, "model");
  EXPECT_EQ(file.configuration.options.adaptation.ridge_factors, 3);
  EXPECT_EQ(to_json_text(file.configuration), good_->metadata.at("configuration"));
  EXPECT_EQ(file.item_count(), data_->item_count());
  EXPECT_EQ(file.sizes.words, 1);  // "film"
}

// What a field must not be; each row also runs without the field and with values of other types.
struct FieldRow {
  const char* pointer;
  std::vector<json> refused;
  const char* inconsistent = nullptr;  // text of the refusal of the last value: a tensor's name
};

TEST_F(RecommenderFileTest, EveryFieldOfTheConfigurationIsChecked) {
  const json huge = 1e300, beyond_int = std::int64_t{1} << 40, unsigned_huge = ~std::uint64_t{0};
  const FieldRow rows[] = {
      {"/method", {"", "mamml", std::string(1000, 'x')}},
      {"/seed", {-1, 0.5, huge}},
      {"/global_mean", {kNaN, huge, -1e7, "3.5"}},
      {"/features/factors",
       {-1, kNaN, 2.0, beyond_int, unsigned_huge, 1 << 20},
       "features/factors"},
      {"/features/max_title_words", {-1, kNaN, 4.0, beyond_int, unsigned_huge, 0}, "words"},
      {"/features/min_word_count", {-1, kNaN, 4.0, beyond_int, unsigned_huge, 1 << 30}, "words"},
      {"/features/item_ids", {0, 1, kNaN, "true"}},
      {"/features/min_id_ratings", {-1, kNaN, 4.0, beyond_int, unsigned_huge}},
      {"/features/folds", {-1, kNaN, 4.0, beyond_int, unsigned_huge}},
      {"/features/shrinkage", {-1.0, kNaN, huge}},
      {"/features/seed", {-1, 0.5, huge}},
      {"/model/dim", {0, -8, kNaN, 8.0, beyond_int, unsigned_huge, 1 << 20}, "tokens.summary"},
      {"/model/layers", {0, -1, kNaN, 1.0, beyond_int, unsigned_huge, 1 << 20}, "encoder.layer.1"},
      {"/model/heads", {0, -1, kNaN, 2.0, beyond_int, unsigned_huge, 3, 1 << 20}, "heads"},
      {"/model/hidden", {0, -1, kNaN, 8.0, beyond_int, unsigned_huge, 1 << 20}, "up.weight"},
      {"/model/dropout", {-0.1, 1.0, kNaN, huge}},
      {"/adaptation/steps", {0, -1, kNaN, 3.0, beyond_int, unsigned_huge, 1 << 20}},
      {"/adaptation/head_rate", {-0.1, kNaN, huge}},
      {"/adaptation/encoder_rate", {-0.1, kNaN, huge}},
      {"/adaptation/ridge_factors",
       {0, -1, kNaN, 3.0, beyond_int, unsigned_huge, 1 << 20},
       "ridge.directions"},
  };
  std::size_t fields = 0;
  for (const FieldRow& row : rows) {
    SCOPED_TRACE(row.pointer);
    ++fields;
    const json::json_pointer pointer(row.pointer);
    const std::string& key = pointer.back();
    json changed = configuration();
    ASSERT_TRUE(changed.contains(pointer));
    changed.at(pointer.parent_pointer()).erase(key);
    EXPECT_THAT(refusal_of(changed), AllOf(HasSubstr(key + " is missing"), HasSubstr("train")));
    std::vector<json> values = row.refused;
    values.insert(values.end(), {json::array(), json::object(), nullptr});
    for (const json& value : values) {
      changed = configuration();
      changed[pointer] = value;
      EXPECT_THAT(refusal_of(changed), AllOf(HasSubstr("model: "), HasSubstr("train"))) << value;
      EXPECT_THAT(refusal_of(changed), HasSubstr(value.is_structured() ? key : "model"));
    }
    if (row.inconsistent) {
      changed[pointer] = row.refused.back();
      EXPECT_THAT(refusal_of(changed), HasSubstr(row.inconsistent));
    }
  }
  EXPECT_EQ(fields, configuration().flatten().size());
}

TEST_F(RecommenderFileTest, SizesNearTheRightOnesNameTheTensorThatDiffers) {
  const std::tuple<const char*, int, const char*> rows[] = {
      {"/features/factors", 1, "features.factors 1"},
      {"/features/factors", 3, "features.factors 3"},
      {"/model/dim", 4, "model.dim 4"},
      {"/model/dim", 16, "model.dim 16"},
      {"/model/layers", 2, "model.layers 2"},
      {"/model/hidden", 7, "model.hidden 7"},
      {"/model/hidden", 9, "model.hidden 9"},
      {"/adaptation/ridge_factors", 2, "adaptation.ridge_factors 2"},
  };
  for (const auto& [pointer, value, message] : rows) {
    json changed = configuration();
    changed[json::json_pointer(pointer)] = value;
    EXPECT_THAT(refusal_of(changed), AllOf(HasSubstr(message), HasSubstr("tensor '"),
                                           HasSubstr("train the model again")));
  }
}

TEST_F(RecommenderFileTest, TextThatIsNoConfigurationIsRefused) {
  EXPECT_THAT(refusal("configuration", "{"), HasSubstr("not JSON from byte"));
  EXPECT_THAT(refusal("configuration", "[]"), HasSubstr("the whole is a list"));
  EXPECT_THAT(refusal("configuration", R"({"seed":NaN})"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal("configuration", R"({"seed":1e999})"), HasSubstr("configuration"));
  EXPECT_THAT(refusal("configuration", std::string(60000, '[')), HasSubstr("not JSON"));
  EXPECT_THAT(refusal("configuration", std::string(1 << 20, ' ')), HasSubstr("bytes long"));
  json deep = configuration();
  deep["model"]["dim"] = "DEEP";
  std::string text = deep.dump();  // dump() of the list itself would recurse too deep
  text.replace(text.find("\"DEEP\""), 6, std::string(20000, '[') + std::string(20000, ']'));
  EXPECT_THAT(refusal("configuration", text), HasSubstr("model.dim is a list"));
  json more = configuration();
  more["model"]["width"] = 3;
  EXPECT_THAT(refusal_of(more), HasSubstr("model.\"width\""));
}

TEST_F(RecommenderFileTest, CalibrationsAreChecked) {
  const std::pair<const char*, const char*> rows[] = {
      {"{}", "expected a list"},
      {"[3]", "a row is 3"},
      {"[[0,1,1,0]]", "a list of 4"},
      {"[[0,1,1,0,1,1]]", "a list of 6"},
      {"[[0,1,1,0,0]]", "no number from"},      // spread: divided by
      {"[[0,1,1,0,-1]]", "no number from"},     //
      {"[[0,null,1,0,1]]", "null"},             // as NaN is written
      {"[[0,1e300,1,0,1]]", "no number from"},  //
      {"[[-1,1,1,0,1]]", "no number from"},
      {"[[0.5,1,1,0,1]]", "no support size"},
      {"[[1e9,1,1,0,1]]", "no support size"},
      {"[[0,1,1,0,1],[0,1,1,0,1]]", "twice"},
      {"[[0,\"1\",1,0,1]]", "no number"},
      {"[", "not JSON"},
  };
  for (const auto& [text, message] : rows)
    EXPECT_THAT(refusal("calibration", text), AllOf(HasSubstr("calibration"), HasSubstr(message)))
        << text;
}

TEST_F(RecommenderFileTest, TensorsAreChecked) {
  const auto with_value = [](const char* name, float value) {
    return [name, value](TensorFile& f) {
      std::vector<float> values = f.tensors.at(name).to_vector<float>();
      values.back() = value;
      f.tensors[name] = Tensor::from(values, f.tensors.at(name).shape());
    };
  };
  const auto with = [](const char* name, const Tensor& tensor) {
    return [name, tensor](TensorFile& f) { f.tensors[name] = tensor; };
  };
  const auto with_ids = [](std::int64_t id) {
    return [id](TensorFile& f) {
      std::vector<std::int64_t> ids = f.tensors.at("features/ids").to_vector<std::int64_t>();
      ids.back() = id;
      f.tensors["features/ids"] = Tensor::from(ids, {std::ssize(ids)});
    };
  };
  const std::int64_t items = data_->item_count();
  const std::pair<std::function<void(TensorFile&)>, const char*> rows[] = {
      {with_value("weights/head.weight", std::numeric_limits<float>::infinity()), "head.weight"},
      {with_value("weights/tokens.years", NAN), "tokens.years"},
      {with_value("adaptation/ridge.log_noise", NAN), "ridge.log_noise"},
      {with_value("features/numeric", NAN), "features/numeric"},
      {with_value("features/factors", -INFINITY), "features/factors"},
      {with_ids(-1), "features/ids"},
      {with_ids(items + 1), "features/ids"},
      {with_ids(std::numeric_limits<std::int64_t>::max()), "features/ids"},
      {with("features/numeric", Tensor::zeros({items, 4}, DType::f64)), "expected f32"},
      {with("features/ids", Tensor::zeros({items}, DType::f32)), "expected i64"},
      {with("features/numeric", Tensor::zeros({items - 1, 4})), "features/"},
      {with("features/numeric", Tensor::zeros({items})), "two axes"},
      {with("features/numeric", Tensor::zeros({items, 5})), "statistics"},
      {with("features/ids", Tensor::zeros({items, 1}, DType::i64)), "features/ids"},
      {with("weights/head.weight", Tensor::zeros({}, DType::f32)), "head.weight"},
      {with("weights/tokens.words", Tensor::zeros({3, 8})), "words"},
      {with("weights/tokens.words", Tensor::zeros({1000, 8})), "max_title_words"},
      {with("weights/tokens.genres", Tensor::zeros({0, 8})), "tokens.genres"},
      {with("weights/tokens.genres", Tensor::zeros({3, 8})), "ridge.directions"},
      {with("weights/tokens.years", Tensor::zeros({24, 8})), "years"},
      {with("weights/tokens.ids", Tensor::zeros({5, 8})), "tokens.kinds"},
      {with("weights/tokens.years", Tensor::zeros({23})), "tokens.years"},
      {with("weights/extra", Tensor::zeros({1})), "extra"},
      {with("adaptation/extra", Tensor::zeros({1})), "extra"},
      {[](TensorFile& f) { f.tensors.erase("features/ids"); }, "features/ids"},
      {[](TensorFile& f) { f.tensors.erase("adaptation/ridge.directions"); }, "ridge.directions"},
      {[](TensorFile& f) { f.tensors.clear(); }, "is missing"},
      {[](TensorFile& f) { f.metadata.erase("catalogue"); }, "catalogue"},
      {[](TensorFile& f) { f.metadata["catalogue"] = "{}"; }, "other items"},
      {[](TensorFile& f) { f.metadata["format"] = std::string(9999, 'x'); }, "its format is"},
  };
  for (const auto& [change, message] : rows) {
    TensorFile file = *good_;
    change(file);
    EXPECT_THAT(refusal(file), HasSubstr(message));
    EXPECT_LT(refusal(file).size(), 400u);
  }
}

TEST_F(RecommenderFileTest, FiniteWeightsWithoutFinitePredictionsAreSaid) {
  TensorFile file = *good_;
  const Shape shape = file.tensors.at("weights/head.weight").shape();
  file.tensors["weights/head.weight"] =
      Tensor::from(std::vector<float>(static_cast<std::size_t>(numel(shape)), 3e38f), shape);
  const TrainedRecommender model =
      TrainedRecommender::from_file(*data_, parse_recommender(file, "model"), "model");
  const std::vector<std::int32_t> item = {0};
  EXPECT_THROW(model.predict(*data_, {}, item), ValueError);
  EXPECT_THROW(model.predict(*data_, split_cold_start(*data_, 3).test, 0), ValueError);
}

}  // namespace
}  // namespace mettle
