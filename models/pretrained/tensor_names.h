// Which tensors of a checkpoint make up which parameter of Bert.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/shape.h"
#include "models/pretrained.h"

namespace mettle::detail {

/// A parameter out of tensors that stand side by side along its last axis.
struct ParamSource {
  enum class Layout { same, transposed };
  std::string param;                 // "bert.encoder.layer.0.attention.qkv.weight"
  std::vector<std::string> tensors;  // "encoder.layer.0.attention.self.query.weight", key, value
  Layout layout;                     // of each tensor: as in Params, or (out, in)
  Shape shape;                       // of each tensor

  Shape param_shape() const;
};

/// All of Bert(options), in the order in which Bert::init() adds them.
std::vector<ParamSource> bert_sources(BertFamily family, const BertOptions& options);

/// The name that bert_sources() gives to what a file calls `stored`: without the prefix of the
/// model
/// ("bert."), and with the weight and bias of norms where old files have gamma and beta.
std::string canonical_name(std::string_view stored, BertFamily family);

/// Whether a tensor of that canonical name is the encoder's own rather than part of a head.
bool is_encoder_tensor(std::string_view name);
/// Whether it is a table that the encoder computes itself, which old files hold.
bool is_derived_tensor(std::string_view name);

}  // namespace mettle::detail
