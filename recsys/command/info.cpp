// mettle info: what this program is and what it found on this machine.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/cuda_driver.h"
#include "engine/kernel_slot.h"
#include "engine/parallel.h"
#include "kernels/builtin.h"
#include "kernels/simd.h"
#include "recsys/command/build_facts.h"
#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/options.h"
#include "recsys/command/run_facts.h"
#include "recsys/command/run_folder.h"
#include "recsys/command/versions.h"
#include "recsys/neural/recommender_file.h"

namespace mettle::command {
namespace {

using nlohmann::ordered_json;

struct InfoOptions {
  MachineOptions machine;
  std::string model;  // a file; empty: none
  bool json = false;
};

// Slots in alphabetical order, each with its variants in the order in which they are tried.
ordered_json kernel_slots() {
  std::vector<KernelSlotBase*> slots = KernelSlotBase::all(kernels::register_builtin_kernels);
  std::sort(slots.begin(), slots.end(),
            [](const KernelSlotBase* a, const KernelSlotBase* b) { return a->name() < b->name(); });
  ordered_json out = ordered_json::array();
  for (KernelSlotBase* slot : slots) {
    ordered_json variants = ordered_json::array();
    for (const VariantInfo& v : slot->variants())
      variants.push_back({{"name", v.name},
                          {"device", v.device == DeviceType::cpu ? "cpu" : "cuda"},
                          {"priority", v.priority}});
    // variants() lists them as they are tried, so the first one is what runs where it can.
    ordered_json selected = variants.front()["name"];
    out.push_back({{"slot", slot->name()}, {"selected", selected}, {"variants", variants}});
  }
  return out;
}

ordered_json devices() {
  ordered_json all = {{{"name", "cpu"}, {"model", cpu_name()}}};
  for (int i = 0; i < cuda_driver().device_count(); ++i) {
    const CudaDeviceInfo gpu = cuda_driver().info(i);
    all.push_back({{"name", to_string(Device::cuda(i))},
                   {"model", gpu.name},
                   {"capability", fmt::format("{}.{}", gpu.major, gpu.minor)},
                   {"multiprocessors", gpu.multiprocessors},
                   {"memory_bytes", gpu.memory_bytes}});
  }
  return all;
}

ordered_json collect() {
  return {{"version", kVersion},
          {"commit", kCommit},
          {"build", kBuildType},
          {"compiler", compiler_version()},
          {"devices", devices()},
          {"no_cuda", cuda_driver().device_count() == 0 ? ordered_json(cuda_driver().absence())
                                                        : ordered_json(nullptr)},
          {"cores", std::thread::hardware_concurrency()},
          {"threads", threads()},
          {"simd", kernels::simd_level()},
          {"libraries", library_versions()},
          {"kernels", kernel_slots()}};
}

void line(std::string_view name, std::string_view value) { fmt::print("{:<10} {}\n", name, value); }

// What a model file says of itself; the file is checked as for use.
ordered_json describe_model(const std::string& path) {
  check_model_file(path);
  const RecommenderFile file = reading_input([&] { return read_recommender(path); });
  const NeuralConfiguration& made = file.configuration.options;
  return {{"file", path},
          {"method", method_name(made.method)},
          {"seed", made.seed},
          {"items", file.item_count()},
          {"weights", file.learned.weights.numel() + file.learned.adaptation.numel()},
          {"dim", made.model.dim},
          {"layers", made.model.layers},
          {"heads", made.model.heads},
          {"hidden", made.model.hidden},
          {"inner_steps", made.adaptation.steps}};
}

void print_model(const ordered_json& m) {
  line("model", m["file"].get<std::string>());
  line("",
       fmt::format("method {}, trained with --seed {} on {} items", m["method"].get<std::string>(),
                   m["seed"].get<std::uint64_t>(), m["items"].get<std::int64_t>()));
  line("",
       fmt::format("{} weights: --dim {} --layers {} --heads {} --hidden {} --inner-steps {}",
                   m["weights"].get<std::int64_t>(), m["dim"].get<int>(), m["layers"].get<int>(),
                   m["heads"].get<int>(), m["hidden"].get<int>(), m["inner_steps"].get<int>()));
}

void print_text(const ordered_json& info) {
  line("mettle", fmt::format("{}, commit {}, {} build, {}", info["version"].get<std::string>(),
                             info["commit"].get<std::string>(), info["build"].get<std::string>(),
                             info["compiler"].get<std::string>()));
  std::string_view title = "devices";
  for (const ordered_json& device : info["devices"]) {
    line(title, device["name"].get<std::string>() + ": " + device["model"].get<std::string>());
    title = "";
  }
  if (info["no_cuda"].is_string()) line("", "cuda: none; " + info["no_cuda"].get<std::string>());
  line("threads",
       fmt::format("{} of {} cores", info["threads"].get<int>(), info["cores"].get<int>()));
  line("SIMD", info["simd"].get<std::string>());
  std::string libraries;
  for (const auto& [name, version] : info["libraries"].items())
    libraries +=
        fmt::format("{}{} {}", libraries.empty() ? "" : ", ", name, version.get<std::string>());
  line("libraries", libraries);
  if (info.contains("model")) print_model(info["model"]);
  fmt::print(
      "\nkernel slots, variants in the order in which they are tried; the first that takes the "
      "arguments runs.\nMETTLE_KERNEL=slot=variant,... puts one first.\n");
  for (const ordered_json& slot : info["kernels"]) {
    std::string variants;
    for (const ordered_json& v : slot["variants"])
      variants += fmt::format(" {}", v["name"].get<std::string>());
    fmt::print("  {:<44}{}\n", slot["slot"].get<std::string>(), variants);
  }
}

ExitCode run(const InfoOptions& options) {
  apply(options.machine);
  ordered_json info = collect();
  if (!options.model.empty()) info["model"] = describe_model(options.model);
  if (options.json)
    fmt::print("{}\n", info.dump(2));
  else
    print_text(info);
  return ExitCode::success;
}

}  // namespace

Subcommand add_info(CLI::App& program) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* app = program.add_subcommand(
      "info", "Version, devices, SIMD level, kernels and libraries; what a model file holds");
  add_config_option(*app);
  add_machine_options(*app, options->machine);
  app->add_option("--model", options->model,
                  "file that `mettle train` wrote, to check and describe")
      ->type_name("FILE");
  app->add_flag("--json", options->json, "print JSON");
  app->footer(
      examples("  mettle info\n"
               "  mettle info --json\n"
               "  mettle info --model out/maml/model.safetensors\n"
               "  METTLE_KERNEL=matmul=blocked mettle info\n"));
  return {app, [options] { return run(*options); }};
}

}  // namespace mettle::command
