// Shared options.
#include "recsys/command/options.h"

#include <fmt/core.h>

#include <cstdlib>
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

void check_device(const std::string& device) {
  if (device == "cpu") return;
  if (device == "cuda" || device.starts_with("cuda:"))
    fail<InputError>("--device {}: {}", device,
                     cuda_driver().device_count() == 0
                         ? cuda_driver().absence()
                         : "the commands of this version compute on the cpu; use --device cpu");
  fail<InputError>("--device {}: unknown device; there are: cpu, cuda, cuda:N", device);
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
  subcommand.add_option("--device", options.device, "cpu")
      ->capture_default_str()
      ->type_name("NAME");
}

void apply(const MachineOptions& options) {
  check_device(options.device);
  reading_input([] { Trace::start_from_environment(); });
  if (options.threads > 0) set_threads(options.threads);
  const char* kernels = std::getenv("METTLE_KERNEL");
  choose_kernels(kernels ? kernels : "");
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
