// Options that several subcommands share, and their checks.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/interrupt.h"
#include "recsys/dataset.h"

namespace mettle::command {

struct MachineOptions {
  int threads = 0;  // 0: all that there are
  std::string device = "cpu";
};

/// "cpu", "cuda" or "cuda:N". InputError for another text, and for a device that this build or
/// machine lacks.
Device parse_device(const std::string& text);

void add_machine_options(CLI::App& subcommand, MachineOptions& options);
/// Puts the options into force, and returns the device. InputError as parse_device(), for a
/// METTLE_KERNEL that names no kernel of this build, and for a METTLE_TRACE that cannot be written.
Device apply(const MachineOptions& options);

/// Selects what the text of METTLE_KERNEL, "slot=variant,...", names. The engine ignores what it
/// does not know; here it is an InputError.
void choose_kernels(std::string_view text);

/// --dtype, of a pretrained encoder: one of the names, f32 unless it is given.
CLI::Option* add_dtype_option(CLI::App& subcommand, std::string& dtype,
                              const std::vector<std::string>& names, const std::string& meaning);
/// f32, bf16 or f16, by a name that add_dtype_option() has let through.
DType dtype_named(std::string_view name);

CLI::Option* add_data_option(CLI::App& subcommand, std::string& data);
CLI::Option* add_seed_option(CLI::App& subcommand, std::uint64_t& seed);

/// load_movielens with a line on stderr that says what was read, and a warning for each thing a
/// reader of the results should know. InputError when it cannot be read; Interrupted.
Dataset load_data(const std::filesystem::path& path, const InterruptScope& interrupt);

/// What a subcommand's --help ends with.
std::string examples(std::string_view text);

}  // namespace mettle::command
