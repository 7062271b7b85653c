// Training states as safetensors: tensors by name, counters as text in the metadata.
#include "recsys/neural/trainer_state.h"

#include <charconv>

#include "engine/safetensors.h"

namespace mettle {
namespace {

constexpr std::string_view kFormat = "mettle training state 1";

AdamOptions adamw(double weight_decay) { return {.weight_decay = weight_decay}; }

Learned own_copy(const Learned& learned) {
  return {learned.weights.trainable_copy(), learned.adaptation.trainable_copy()};
}

// Counters with exact text forms; hexadecimal digits keep every bit of a double.
template <class T> void put(TensorFile& file, const char* name, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    file.metadata[name] = fmt::format("{:a}", value);
  } else {
    file.metadata[name] = fmt::format("{}", value);
  }
}

const std::string& text_of(const TensorFile& file, const char* name,
                           const std::filesystem::path& path) {
  const auto found = file.metadata.find(name);
  METTLE_CHECK(FileError, found != file.metadata.end(), "{}: '{}' is missing in the metadata",
               path.string(), name);
  return found->second;
}

template <class T>
void take(const TensorFile& file, const char* name, const std::filesystem::path& path, T& value) {
  const std::string& text = text_of(file, name, path);
  std::string_view digits = text;
  T read{};
  std::from_chars_result result{};
  if constexpr (std::is_floating_point_v<T>) {
    const bool negative = digits.starts_with('-');
    if (negative) digits.remove_prefix(1);
    if (digits.starts_with("0x")) digits.remove_prefix(2);
    result =
        std::from_chars(digits.data(), digits.data() + digits.size(), read, std::chars_format::hex);
    if (negative) read = -read;
  } else {
    result = std::from_chars(digits.data(), digits.data() + digits.size(), read);
  }
  METTLE_CHECK(FileError, result.ec == std::errc() && result.ptr == digits.data() + digits.size(),
               "{}: '{}' is '{}', not a number", path.string(), name, text);
  value = read;
}

constexpr std::string_view kOptimizers[] = {"weights_optimizer/", "adaptation_optimizer/"};

}  // namespace

TrainerState::TrainerState(const Learned& initial, const TrainerOptions& options,
                           std::uint64_t seed)
    : current(own_copy(initial)),
      best(own_copy(initial)),
      weights_optimizer(std::make_unique<AdamW>(current.weights, adamw(options.weight_decay))),
      adaptation_optimizer(std::make_unique<AdamW>(current.adaptation, adamw(0.0))),
      epoch_random(seed),
      random(seed) {}

void put_params(std::map<std::string, Tensor>& tensors, const std::string& prefix,
                const Params& params) {
  for (std::size_t i = 0; i < params.size(); ++i)
    tensors[prefix + params.names()[i]] = params.values()[i].value();
}

Params take_params(const std::map<std::string, Tensor>& tensors, const std::string& prefix,
                   const Params& like, const std::filesystem::path& path) {
  Variables values;
  for (std::size_t i = 0; i < like.size(); ++i) {
    const std::string name = prefix + like.names()[i];
    const auto found = tensors.find(name);
    METTLE_CHECK(FileError, found != tensors.end(), "{}: tensor '{}' is missing", path.string(),
                 name);
    const Tensor& wanted = like.values()[i].value();
    METTLE_CHECK(FileError,
                 found->second.shape() == wanted.shape() && found->second.dtype() == wanted.dtype(),
                 "{}: tensor '{}' is {}, this configuration needs {}", path.string(), name,
                 describe(found->second), describe(wanted));
    values.emplace_back(found->second, true);
  }
  return like.with_values(std::move(values));
}

void save_state(const TrainerState& state, std::string_view identity,
                const std::filesystem::path& path) {
  TensorFile file;
  put_params(file.tensors, "weights/", state.current.weights);
  put_params(file.tensors, "adaptation/", state.current.adaptation);
  put_params(file.tensors, "best.weights/", state.best.weights);
  put_params(file.tensors, "best.adaptation/", state.best.adaptation);
  const AdamW* optimizers[] = {state.weights_optimizer.get(), state.adaptation_optimizer.get()};
  for (std::size_t o = 0; o < std::size(optimizers); ++o)
    for (const auto& [name, tensor] : optimizers[o]->state())
      file.tensors[std::string(kOptimizers[o]) + name] = tensor;
  file.metadata["format"] = kFormat;
  file.metadata["identity"] = identity;
  put(file, "epoch_random.seed", state.epoch_random.seed());
  put(file, "epoch_random.offset", state.epoch_random.offset());
  put(file, "random.seed", state.random.seed());
  put(file, "random.offset", state.random.offset());
  put(file, "epoch", state.epoch);
  put(file, "step", state.step);
  put(file, "loss_sum", state.loss_sum);
  put(file, "best_loss", state.best_loss);
  put(file, "bad_epochs", state.bad_epochs);
  write_safetensors(path, file);
}

void load_state(TrainerState& state, std::string_view identity, const std::filesystem::path& path) {
  const TensorFile file = read_safetensors(path);
  METTLE_CHECK(FileError, text_of(file, "format", path) == kFormat,
               "{}: not a training state ('{}')", path.string(), text_of(file, "format", path));
  METTLE_CHECK(FileError, text_of(file, "identity", path) == identity,
               "{}: a checkpoint of another run; remove it to start anew, or repeat that run's "
               "options\n  checkpoint: {}\n  this run:   {}",
               path.string(), text_of(file, "identity", path), identity);
  const auto learned = [&](const std::string& prefix, const Learned& like) {
    return own_copy({take_params(file.tensors, prefix + "weights/", like.weights, path),
                     take_params(file.tensors, prefix + "adaptation/", like.adaptation, path)});
  };
  state.current = learned("", state.current);
  state.best = learned("best.", state.best);
  AdamW* optimizers[] = {state.weights_optimizer.get(), state.adaptation_optimizer.get()};
  for (std::size_t o = 0; o < std::size(optimizers); ++o) {
    std::map<std::string, Tensor> moments;
    for (const auto& [name, tensor] : file.tensors)
      if (name.starts_with(kOptimizers[o])) moments[name.substr(kOptimizers[o].size())] = tensor;
    optimizers[o]->restore(moments);
  }
  const auto generator = [&](const char* seed_name, const char* offset_name) {
    std::uint64_t seed = 0, offset = 0;
    take(file, seed_name, path, seed);
    take(file, offset_name, path, offset);
    return Generator(seed, offset);
  };
  state.epoch_random = generator("epoch_random.seed", "epoch_random.offset");
  state.random = generator("random.seed", "random.offset");
  take(file, "epoch", path, state.epoch);
  take(file, "step", path, state.step);
  take(file, "loss_sum", path, state.loss_sum);
  take(file, "best_loss", path, state.best_loss);
  take(file, "bad_epochs", path, state.bad_epochs);
}

}  // namespace mettle
