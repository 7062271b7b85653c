// Trained recommenders as safetensors files. Reading trusts nothing: a size in the JSON makes
// something only once the tensors, whose shapes the file's length bounds, are seen to have it.
#include "recsys/neural/recommender_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/check.h"
#include "models/checkpoint.h"
#include "recsys/neural/json_fields.h"
#include "recsys/neural/recommender.h"

namespace mettle {
namespace {

using nlohmann::json;

constexpr std::string_view kFormat = "mettle recommender 1";
// Keys of the metadata.
constexpr const char *kFormatKey = "format", *kConfiguration = "configuration",
                     *kCatalogue = "catalogue", *kCalibration = "calibration";
// Beginnings of tensor names, and the tables of features.
constexpr std::string_view kWeights = "weights/", kAdaptation = "adaptation/";
constexpr const char *kNumeric = "features/numeric", *kFactors = "features/factors",
                     *kIds = "features/ids";

constexpr std::size_t kMaxCalibrationBytes = 64 << 10;
constexpr int kMaxSupport = 1000;
constexpr std::int64_t kMaxRows = 1 << 24;  // of a table of tokens
// Of a calibration: so that no product of two of them and a logit overflows.
constexpr double kLargest = 1e12, kSmallestSpread = 1e-12;

void put(TensorFile& file, std::string_view group, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) file.tensors[std::string(group) + name] = tensor;
}

NamedTensors take(const TensorFile& file, std::string_view group) {
  NamedTensors out;
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with(group)) out[name.substr(group.size())] = tensor;
  return out;
}

json to_json(const std::map<int, PlattScale>& calibration) {
  json out = json::array();
  for (const auto& [k, scale] : calibration)
    out.push_back({k, scale.intercept, scale.slope, scale.center, scale.spread});
  return out;
}

double calibration_number(const json& value, double low) {
  METTLE_CHECK(FileError,
               value.is_number() && value.get<double>() >= low && value.get<double>() <= kLargest,
               "its calibration: {} is no number from {} to {}", shown(value), low, kLargest);
  return value.get<double>();
}

std::map<int, PlattScale> calibration_from(const std::string& text) {
  const json rows = parse_json(text, kMaxCalibrationBytes, "its calibration");
  METTLE_CHECK(FileError, rows.is_array(), "its calibration is {}, expected a list", shown(rows));
  std::map<int, PlattScale> out;
  for (const json& row : rows) {
    METTLE_CHECK(FileError, row.is_array() && row.size() == 5,
                 "its calibration: a row is {}, expected a list of five numbers",
                 row.is_array() ? fmt::format("a list of {}", row.size()) : shown(row));
    const double k = calibration_number(row[0], 0.0);
    METTLE_CHECK(FileError, k == std::floor(k) && k <= kMaxSupport,
                 "its calibration: {} is no support size from 0 to {}", shown(row[0]), kMaxSupport);
    const bool is_new =
        out.emplace(static_cast<int>(k),
                    PlattScale{.intercept = calibration_number(row[1], -kLargest),
                               .slope = calibration_number(row[2], -kLargest),
                               .center = calibration_number(row[3], -kLargest),
                               .spread = calibration_number(row[4], kSmallestSpread)})
            .second;
    METTLE_CHECK(FileError, is_new, "its calibration has support size {} twice", k);
  }
  return out;
}

// Reads one file; messages are without its name.
class Reader {
 public:
  explicit Reader(const TensorFile& file) : file_(file) {}

  RecommenderFile read() {
    METTLE_CHECK(FileError, text(kFormatKey) == kFormat, "its format is '{}', expected '{}'",
                 text(kFormatKey).substr(0, 2 * kFormat.size()), kFormat);
    try {
      out_.configuration = parse_configuration(text(kConfiguration));
    } catch (const FileError& error) {
      fail<FileError>("its configuration: {}", error.message());
    }
    out_.catalogue = text(kCatalogue);
    out_.calibration = calibration_from(text(kCalibration));
    read_features();
    check_sizes();
    read_learned();
    return std::move(out_);
  }

 private:
  const NeuralConfiguration& options() const { return out_.configuration.options; }

  const std::string& text(const char* key) const {
    const auto found = file_.metadata.find(key);
    METTLE_CHECK(FileError, found != file_.metadata.end(),
                 "not a recommender: its metadata have no '{}'", key);
    return found->second;
  }

  const Tensor& tensor(const std::string& name) const {
    const auto found = file_.tensors.find(name);
    METTLE_CHECK(FileError, found != file_.tensors.end(), "tensor '{}' is missing", name);
    return found->second;
  }

  // A tensor of two axes; `said` is what the configuration says of its size.
  const Tensor& tensor(const std::string& name, std::int64_t rows, std::int64_t columns,
                       const std::string& said) const {
    METTLE_CHECK(FileError, file_.tensors.contains(name),
                 "its configuration says {}, but tensor '{}' is missing", said, name);
    const Tensor& found = tensor(name);
    METTLE_CHECK(FileError, found.shape() == Shape({rows, columns}),
                 "its configuration says {}, but tensor '{}' has shape {}, not {}", said, name,
                 to_string(found.shape()), to_string(Shape{rows, columns}));
    return found;
  }

  static void require_dtype(const char* name, const Tensor& tensor, DType wanted) {
    METTLE_CHECK(FileError, tensor.dtype() == wanted, "tensor '{}' is {}, expected {}", name,
                 to_string(tensor.dtype()), to_string(wanted));
  }

  static void require_finite(const std::string& name, const Tensor& tensor) {
    const auto* values = tensor.data<float>();
    const auto* end = values + tensor.numel();
    const auto* bad = std::find_if_not(values, end, [](float v) { return std::isfinite(v); });
    METTLE_CHECK(FileError, bad == end, "tensor '{}' has {} as its element {}", name, *bad,
                 bad - values);
  }

  void read_features() {
    out_.numeric = tensor(kNumeric);
    METTLE_CHECK(FileError, out_.numeric.rank() == 2, "tensor '{}' has shape {}, expected two axes",
                 kNumeric, to_string(out_.numeric.shape()));
    const std::int64_t items = out_.item_count();
    const int factors = options().features.factors;
    out_.factors = tensor(kFactors, items, factors, fmt::format("features.factors {}", factors));
    out_.ids = tensor(kIds);
    METTLE_CHECK(FileError, out_.ids.shape() == Shape({items}),
                 "tensor '{}' has shape {}, expected one number for each of {} items", kIds,
                 to_string(out_.ids.shape()), items);
    require_dtype(kNumeric, out_.numeric, DType::f32);
    require_dtype(kFactors, out_.factors, DType::f32);
    require_dtype(kIds, out_.ids, DType::i64);
    require_finite(kNumeric, out_.numeric);
    require_finite(kFactors, out_.factors);
    for (const std::int64_t id : out_.ids.to_vector<std::int64_t>())
      METTLE_CHECK(FileError, id >= 0 && id <= items,
                   "tensor '{}' has {}, expected from 0 to the number of items, {}", kIds, id,
                   items);
  }

  // Rows of the table of tokens of one kind; 0 where the model has none.
  int token_rows(const char* kind) const {
    const std::string name = std::string(kWeights) + "tokens." + kind;
    const auto found = file_.tensors.find(name);
    if (found == file_.tensors.end()) return 0;
    const Shape& shape = found->second.shape();
    const int dim = options().model.dim;
    METTLE_CHECK(FileError,
                 shape.rank() == 2 && shape[1] == dim && shape[0] > 0 && shape[0] <= kMaxRows,
                 "its configuration says model.dim {}, but tensor '{}' has shape {}", dim, name,
                 to_string(shape));
    return static_cast<int>(shape[0]);
  }

  // Afterwards every size that a weight's shape is made of is that of tensors in the file, and so
  // are the products that the large ones are: (dim, dim), (dim, hidden), as often as there are
  // layers. A model of these sizes is not larger than a few times the file.
  void check_sizes() {
    const NeuralOptions& m = options().model;
    const std::string weights(kWeights);
    const std::string width = fmt::format("model.dim {}", m.dim);
    tensor(weights + "tokens.summary", 1, m.dim, width);
    tensor(weights + "encoder.summary.query.weight", m.dim, m.dim, width);
    tensor(weights + "encoder.summary.feed_forward.up.weight", m.dim, m.hidden,
           fmt::format("model.hidden {}", m.hidden));
    for (int layer = 0; layer < m.layers; ++layer) {
      const std::string said = fmt::format("model.layers {}", m.layers);
      const std::string part = fmt::format("{}encoder.layer.{}.", weights, layer);
      tensor(part + "attention.output.weight", m.dim, m.dim, said);
      tensor(part + "feed_forward.up.weight", m.dim, m.hidden, said);
    }
    out_.sizes = {.numeric = token_rows("numeric"),
                  .factors = token_rows("factors"),
                  .genres = token_rows("genres"),
                  .words = token_rows("words"),
                  .years = token_rows("years"),
                  .ids = token_rows("ids")};
    METTLE_CHECK(FileError, out_.sizes.words <= options().features.max_title_words,
                 "its configuration says features.max_title_words {}, but there are tokens of {} "
                 "words",
                 options().features.max_title_words, out_.sizes.words);
  }

  void read_learned() {
    const NeuralRecommender model(out_.sizes, options().model);
    if (options().method == NeuralMethod::ridge)
      tensor(std::string(kAdaptation) + "ridge.directions", model.representation_size(),
             options().adaptation.ridge_factors,
             fmt::format("adaptation.ridge_factors {}", options().adaptation.ridge_factors));
    Generator unused;
    Learned like;
    model.init(like.weights, unused);
    like.adaptation = make_method(options().method, model, options().adaptation)
                          ->initial_adaptation(like.weights, unused);
    out_.learned = {params_like(like.weights, take(file_, kWeights)),
                    params_like(like.adaptation, take(file_, kAdaptation))};
    for (const auto& [group, params] : {std::pair(kWeights, &out_.learned.weights),
                                        std::pair(kAdaptation, &out_.learned.adaptation)})
      for (const std::string& name : params->names())
        require_finite(std::string(group) + name, (*params)[name].value());
  }

  const TensorFile& file_;
  RecommenderFile out_;
};

}  // namespace

std::string item_catalogue(const Dataset& data) {
  json ids = json::array();
  for (const Item& item : data.items) ids.push_back(item.id);
  return json{{"genres", data.genres}, {"items", std::move(ids)}}.dump();
}

RecommenderFile parse_recommender(const TensorFile& file, std::string_view name) {
  METTLE_CHECK(FileError, !is_checkpoint(file),
               "{}: is the checkpoint of a training, not a recommender; `mettle train --resume` "
               "goes on with it",
               name);
  try {
    return Reader(file).read();
  } catch (const MemoryError&) {
    throw;
  } catch (const Error& error) {
    fail<FileError>("{}: {}; the file was damaged or changed: train the model again", name,
                    error.message());
  }
}

RecommenderFile read_recommender(const std::filesystem::path& path) {
  return parse_recommender(read_safetensors(path), path.string());
}

void TrainedRecommender::save(const Dataset& data, const std::filesystem::path& path) const {
  write_safetensors(path, to_file(data));
}

TensorFile TrainedRecommender::to_file(const Dataset& data) const {
  TensorFile file;
  const Learned learned = learned_.to(Device::cpu());
  put(file, kWeights, named_tensors(learned.weights));
  put(file, kAdaptation, named_tensors(learned.adaptation));
  file.tensors[kNumeric] = features_->new_user_numeric();
  file.tensors[kFactors] = features_->new_user_factors();
  file.tensors[kIds] = features_->item_ids();
  file.metadata[kFormatKey] = kFormat;
  file.metadata[kConfiguration] = to_json_text({configuration_, features_->global_mean()});
  file.metadata[kCatalogue] = item_catalogue(data);
  file.metadata[kCalibration] = to_json(calibration_).dump();
  return file;
}

TrainedRecommender TrainedRecommender::load(const Dataset& data,
                                            const std::filesystem::path& path) {
  return from_file(data, read_recommender(path), path.string());
}

TrainedRecommender TrainedRecommender::from_file(const Dataset& data, const RecommenderFile& file,
                                                 std::string_view name) {
  METTLE_CHECK(FileError, file.catalogue == item_catalogue(data),
               "{}: trained on other items than those of data set '{}'; point to the data that it "
               "was trained on",
               name, data.name);
  // The file has a token for each word that was found: no more are looked for in the titles.
  FeatureOptions options = file.configuration.options.features;
  options.max_title_words = file.sizes.words;
  try {
    auto features = std::make_shared<const FeatureTable>(
        data, options, file.configuration.global_mean, file.numeric, file.factors, file.ids);
    METTLE_CHECK(FileError, features->sizes() == file.sizes,
                 "its tokens of genres, words, years or ids are not as many as data set '{}' has; "
                 "point to the data that it was trained on",
                 data.name);
    TrainedRecommender out(file.configuration.options, std::move(features), file.learned);
    out.calibration_ = file.calibration;
    return out;
  } catch (const MemoryError&) {
    throw;
  } catch (const Error& error) {
    fail<FileError>("{}: {}", name, error.message());
  }
}

}  // namespace mettle
