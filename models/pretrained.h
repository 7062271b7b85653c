// Encoders that others have trained: folders in the layout of Hugging Face's transformers, read
// and written. See docs/pretrained.md.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/bert.h"

namespace mettle {

/// Whose names a folder uses. MiniLM's and many others' folders are BERT's.
enum class BertFamily { bert, roberta, distilbert };

struct PretrainedBert {
  BertFamily family = BertFamily::bert;
  BertOptions options;
  Params params;  // of Bert(options), as leaves that require gradients
  /// Tensors of the folder that belong to heads which Bert does not have, by their names there.
  std::vector<std::string> unused = {};
};

/// Reads config.json and model.safetensors, or the parts that model.safetensors.index.json lists;
/// f64, f32, f16 and bf16 become `dtype`. One tensor at a time is held beside the parameters.
/// FileError for a file that is missing, damaged or hostile, for a configuration outside of what is
/// built (the key, its value, what is supported), and for tensors that are missing, of another
/// shape or dtype, or belong to the encoder and are not known: one message that lists all of them.
PretrainedBert load_bert(const std::filesystem::path& folder, DType dtype = DType::f32);

/// Writes config.json and model.safetensors as the reference implementation does, in the dtype of
/// the parameters, each file in one step; makes the folder where it is missing. ValueError, before
/// anything is written, unless `params` fit `options` and the family can express them. FileError
/// when a file cannot be written.
void save_bert(const std::filesystem::path& folder, const PretrainedBert& model);

}  // namespace mettle
