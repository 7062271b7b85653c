// config.json of a BERT-like model.
#pragma once

#include <string>
#include <string_view>

#include "models/pretrained.h"

namespace mettle::detail {

struct BertConfig {
  BertFamily family;
  BertOptions options;
};

/// FileError, begun by `name`, for what is not JSON, or outside of what is built.
BertConfig parse_bert_config(std::string_view text, const std::string& name);

/// ValueError for options that the family's files cannot express.
std::string bert_config_text(const BertConfig& config, DType dtype);

/// "bert", "roberta", "distilbert": how a configuration names the family.
std::string_view model_type(BertFamily family);

}  // namespace mettle::detail
