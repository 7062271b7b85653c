// Shared options.
#include "recsys/command/options.h"

#include <fmt/core.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "engine/cuda_driver.h"
#include "engine/kernel_choice.h"
#include "engine/kernel_slot.h"
#include "engine/parallel.h"
#include "engine/trace.h"
#include "kernels/builtin.h"
#include "recsys/command/command.h"
#include "recsys/command/suggest.h"
#include "recsys/command/work_progress.h"
#include "recsys/movielens.h"

namespace mettle::command {
namespace {

constexpr int kMaxThreads = 1024;

// The number of "cuda:N"; none for another text.
std::optional<int> cuda_index(std::string_view text) {
  constexpr std::string_view numbered = "cuda:";
  if (text == "cuda") return 0;
  if (!text.starts_with(numbered)) return std::nullopt;
  int index = -1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + numbered.size(), end, index);
  return error == std::errc() && stop == end && index >= 0 ? std::optional(index) : std::nullopt;
}

void warn_about(const Dataset& data) {
  std::size_t untitled = 0, without_genre = 0;
  for (const Item& item : data.items) {
    untitled += item.title.empty() ? 1 : 0;
    without_genre += item.genres.empty() ? 1 : 0;
  }
  const std::size_t items = data.items.size();
  if (untitled > 0)
    fmt::print(stderr, "warning: {} of {} items have no title: they are shown by their id\n",
               untitled, items);
  if (without_genre == items)
    fmt::print(stderr, "warning: no item has a genre: recommendations rest on ratings alone\n");
}

}  // namespace

void add_machine_options(CLI::App& subcommand, MachineOptions& options) {
  subcommand
      .add_option("--threads", options.threads,
                  "threads to compute with (default: OMP_NUM_THREADS or all cores); results have "
                  "the same bits for any number")
      ->check(CLI::Range(1, kMaxThreads))
      ->type_name("N");
  subcommand
      .add_option("--device", options.device,
                  "where models are trained and predict: cpu, cuda or cuda:N; `mettle info` lists "
                  "what there is")
      ->capture_default_str()
      ->type_name("NAME");
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return Device::cpu();
  const std::optional<int> index = cuda_index(text);
  METTLE_CHECK(InputError, index, "--device {}: unknown device; there are: cpu, cuda, cuda:N",
               text);
  const int count = cuda_driver().device_count();
  METTLE_CHECK(InputError, count > 0, "--device {}: {}", text, cuda_driver().absence());
  METTLE_CHECK(InputError, *index < count, "--device {}: this machine has {} CUDA device{}", text,
               count, count == 1 ? ": cuda:0" : fmt::format("s: cuda:0 to cuda:{}", count - 1));
  return Device::cuda(*index);
}

Device apply(const MachineOptions& options) {
  const Device device = parse_device(options.device);
  reading_input([] { Trace::start_from_environment(); });
  if (options.threads > 0) set_threads(options.threads);
  const char* kernels = std::getenv("METTLE_KERNEL");
  choose_kernels(kernels ? kernels : "");
  return device;
}

void choose_kernels(std::string_view text) {
  for (const KernelChoice& choice : parse_kernel_choices(text)) {
    std::vector<std::string> names;
    KernelSlotBase* slot = nullptr;
    for (KernelSlotBase* known : KernelSlotBase::all(kernels::register_builtin_kernels)) {
      names.emplace_back(known->name());
      if (known->name() == choice.slot) slot = known;
    }
    METTLE_CHECK(InputError, slot && choice.variant,
                 "METTLE_KERNEL: '{}' does not begin with a kernel slot and '='{}; `mettle info` "
                 "lists the slots",
                 choice.entry, did_you_mean(choice.slot, names));
    try {
      slot->select(*choice.variant);
    } catch (const ValueError& error) {
      fail<InputError>("METTLE_KERNEL: {}", error.message());
    }
  }
}

CLI::Option* add_dtype_option(CLI::App& subcommand, std::string& dtype,
                              const std::vector<std::string>& names, const std::string& meaning) {
  dtype = to_string(DType::f32);
  return subcommand.add_option("--dtype", dtype, meaning)
      ->check(CLI::IsMember(names))
      ->capture_default_str();
}

DType dtype_named(std::string_view name) {
  for (const DType dtype : {DType::bf16, DType::f16})
    if (name == to_string(dtype)) return dtype;
  return DType::f32;
}

CLI::Option* add_data_option(CLI::App& subcommand, std::string& data) {
  return subcommand
      .add_option("--data", data,
                  "folder or ratings file in a MovieLens format: .csv, .dat, u.data, .inter; each "
                  "may be gzipped")
      ->type_name("DIR");
}

CLI::Option* add_seed_option(CLI::App& subcommand, std::uint64_t& seed) {
  return subcommand
      .add_option("--seed", seed, "seed of the split of users and of everything random")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->type_name("N");
}

Dataset load_data(const std::filesystem::path& path, const InterruptScope& interrupt) {
  METTLE_CHECK(InputError, std::filesystem::exists(path),
               "--data {}: no such file or folder; give a folder with ratings.csv, ratings.dat, "
               "u.data or a .inter file, or one of these files",
               path.string());
  WorkProgress progress;
  Dataset data = reading_input([&] {
    return load_movielens(path,
                          {.on_progress = [&](const WorkRecord& record) { progress.show(record); },
                           .interrupted = [&] { return interrupt.interrupted(); }});
  });
  progress.finish();
  fmt::print(stderr, "{}: {} ratings of {} items by {} users, {}..{} stars, {} genres\n", data.name,
             data.ratings.size(), data.items.size(), data.user_ids.size(), data.stars.low,
             data.stars.high, data.genres.size());
  warn_about(data);
  return data;
}

std::string examples(std::string_view text) { return fmt::format("Examples:\n{}", text); }

}  // namespace mettle::command
