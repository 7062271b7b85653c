// The folder that results go to: what may be in it, and what must not be lost.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mettle::command {

inline constexpr char kModelFile[] = "model.safetensors";
inline constexpr char kMetricsFile[] = "metrics.jsonl";

/// The stages of a training run that have a checkpoint in the folder.
std::vector<std::string> begun_stages(const std::filesystem::path& folder);

/// InputError, before any work, unless `folder` can be made or written to.
void check_writable(const std::filesystem::path& folder);

/// Makes the folder. Error when it cannot be made.
void make_folder(const std::filesystem::path& folder);

/// InputError unless `path` is a file; says where `mettle train` leaves models.
void check_model_file(const std::filesystem::path& path);

}  // namespace mettle::command
