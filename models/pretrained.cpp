// A folder is read in three steps: the configuration, the list of what must be there against what
// is, the tensors one by one. Nothing is made before the lists agree.
#include "models/pretrained.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "autograd/ops.h"
#include "engine/check.h"
#include "engine/file.h"
#include "engine/safetensors.h"
#include "models/json/checked_json.h"
#include "models/pretrained/bert_config.h"
#include "models/pretrained/tensor_names.h"
#include "models/pretrained/weight_files.h"

namespace mettle {
namespace {

using detail::ParamSource;
using detail::shown;
using detail::WeightFiles;

constexpr std::size_t kMostConfigBytes = std::size_t{1} << 24;

/// Canonical names of a folder's tensors -> their names there.
using StoredNames = std::map<std::string, std::string>;

StoredNames stored_names(const WeightFiles& files, BertFamily family,
                         std::vector<std::string>& faults) {
  StoredNames out;
  for (const std::string& stored : files.names()) {
    const auto [at, is_new] = out.emplace(detail::canonical_name(stored, family), stored);
    if (!is_new)
      faults.push_back(fmt::format("{} and {} are the same tensor of the model", shown(at->second),
                                   shown(stored)));
  }
  return out;
}

/// What the sources want and the folder does not have. Takes what they use out of `names`.
void check_sources(const std::vector<ParamSource>& sources, const WeightFiles& files,
                   StoredNames names, std::vector<std::string>& faults,
                   std::vector<std::string>& unused) {
  for (const ParamSource& source : sources)
    for (const std::string& tensor : source.tensors) {
      const auto found = names.find(tensor);
      if (found == names.end()) {
        faults.push_back(fmt::format("{} {} is missing", tensor, to_string(source.shape)));
        continue;
      }
      const StoredTensor& stored = *files.find(found->second);
      if (stored.shape != source.shape)
        faults.push_back(fmt::format("{} is {}, the configuration makes it {}",
                                     shown(found->second), to_string(stored.shape),
                                     to_string(source.shape)));
      if (!is_floating(stored.dtype))
        faults.push_back(fmt::format("{} is of {}, supported are f64, f32, bf16, f16",
                                     shown(found->second), to_string(stored.dtype)));
      names.erase(found);
    }
  for (const auto& [name, stored] : names) {
    if (detail::is_derived_tensor(name)) continue;
    if (detail::is_encoder_tensor(name))
      faults.push_back(fmt::format("{} is none of this model's", shown(stored)));
    else
      unused.push_back(stored);
  }
}

Variable read_param(const ParamSource& source, const WeightFiles& files, const StoredNames& names,
                    DType dtype) {
  Variables parts;
  for (const std::string& tensor : source.tensors) {
    const Variable stored(files.read(names.at(tensor)));
    parts.push_back(
        cast(source.layout == ParamSource::Layout::transposed ? transpose(stored, 0, 1) : stored,
             dtype));
  }
  const Variable whole = parts.size() == 1 ? contiguous(parts[0]) : concat(parts, -1);
  return whole.detach_requires_grad();
}

/// The tensors of a parameter, as views of it where it is on the CPU.
void split_param(const ParamSource& source, const Tensor& param, TensorFile& out) {
  const Tensor whole = param.to(Device::cpu());
  const int last = whole.rank() - 1;
  const std::int64_t width = whole.size(last) / static_cast<std::int64_t>(source.tensors.size());
  for (std::size_t i = 0; i < source.tensors.size(); ++i) {
    const std::int64_t start = static_cast<std::int64_t>(i) * width;
    const Tensor part = whole.slice(last, start, start + width);
    out.tensors.emplace(source.tensors[i], source.layout == ParamSource::Layout::transposed
                                               ? part.transpose(0, 1)
                                               : part);
  }
}

void check_params(const Params& params, const std::vector<ParamSource>& sources) {
  std::vector<std::string> faults;
  for (const ParamSource& source : sources) {
    if (!params.contains(source.param) || !params[source.param])
      faults.push_back(fmt::format("{} is missing", source.param));
    else if (params[source.param].shape() != source.param_shape())
      faults.push_back(fmt::format("{} is {}, the options make it {}", source.param,
                                   to_string(params[source.param].shape()),
                                   to_string(source.param_shape())));
  }
  if (params.size() > sources.size())
    for (const std::string& name : params.names())
      if (std::none_of(sources.begin(), sources.end(),
                       [&](const ParamSource& s) { return s.param == name; }))
        faults.push_back(fmt::format("{} is none of Bert's", name));
  METTLE_CHECK(ValueError, faults.empty(), "save_bert: {} faults of the parameters:\n  {}",
               faults.size(), fmt::join(faults, "\n  "));
}

}  // namespace

PretrainedBert load_bert(const std::filesystem::path& folder, DType dtype) {
  const std::filesystem::path config_file = folder / "config.json";
  auto [family, options] =
      detail::parse_bert_config(read_file(config_file, kMostConfigBytes), config_file.string());
  const WeightFiles files(folder);
  std::vector<std::string> faults;
  const StoredNames names = stored_names(files, family, faults);
  // Language models are saved without the pooler, which only a task of the first token trains.
  if (!names.contains("pooler.dense.weight") && !names.contains("pooler.dense.bias"))
    options.pooler = BertOptions::Pooler::without;
  const std::vector<ParamSource> sources = detail::bert_sources(family, options);
  PretrainedBert model{.family = family, .options = options, .params = {}};
  check_sources(sources, files, names, faults, model.unused);
  METTLE_CHECK(FileError, faults.empty(), "{}: {} faults:\n  {}", files.name(), faults.size(),
               fmt::join(faults, "\n  "));
  const NoGrad no_grad;
  for (const ParamSource& source : sources)
    model.params.add(source.param, read_param(source, files, names, dtype));
  return model;
}

void save_bert(const std::filesystem::path& folder, const PretrainedBert& model) {
  const std::vector<ParamSource> sources = detail::bert_sources(model.family, model.options);
  check_params(model.params, sources);
  const DType dtype = model.params.values()[0].dtype();
  const std::string config = detail::bert_config_text({model.family, model.options}, dtype);
  TensorFile content;
  content.metadata["format"] = "pt";  // the reference implementation refuses files without it
  for (const ParamSource& source : sources)
    split_param(source, model.params[source.param].value(), content);
  make_folder(folder);
  write_safetensors(folder / "model.safetensors", content);
  write_file(folder / "config.json", config);
}

}  // namespace mettle
