// The folder that results go to: what may be in it, and what must not be lost.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mettle::command {

inline constexpr char kModelFile[] = "model.safetensors";
inline constexpr char kMetricsFile[] = "metrics.jsonl";

/// The stages of a training run that have a checkpoint in the folder.
std::vector<std::string> begun_stages(const std::filesystem::path& folder);

/// InputError, before any work, unless files called `names` can be written in `folder`: it makes
/// the folder where there is none, begins each file as it will be written, and takes away all of
/// it. Permission bits alone do not tell: they do not stop root, and say nothing of a full disk.
void check_writable(const std::filesystem::path& folder, std::span<const char* const> names);

/// Makes the folder. Error when it cannot be made.
void make_folder(const std::filesystem::path& folder);

/// InputError unless `path` is a file; says where `mettle train` leaves models.
void check_model_file(const std::filesystem::path& path);

}  // namespace mettle::command
