// Node: the record of one operation, and the tools with which operations write their gradient
// rules.
//
//   Variable tanh(const Variable& x) {
//     Tensor y = ...;
//     return record("tanh", y, {&x}, [y = SavedOutput(y)](const Backward& b) -> Variables {
//       const Variable out = b.output(y);
//       return {mul(b.dy(), sub(1.0, mul(out, out)))};
//     });
//   }
//
// A rule sees Variables only and is written with public operations, so it can itself be
// differentiated.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "autograd/variable.h"

namespace mettle {

class Backward;

/// What a gradient that arrives at an output must look like.
struct OutputMeta {
  Shape shape;
  DType dtype;
  Device device;
};

class Node : public RefCounted {
 public:
  Node(const char* name, std::vector<Edge> edges, std::vector<OutputMeta> outputs);
  virtual ~Node();

  const char* name() const { return name_; }
  /// Grows with time of creation within a thread, and a node's inputs always have smaller numbers.
  /// Nodes that two threads made can have the same.
  std::uint64_t id() const { return id_; }
  const std::vector<Edge>& edges() const { return edges_; }
  const std::vector<OutputMeta>& outputs() const { return outputs_; }

  /// One gradient for every edge.
  virtual Variables backward(const Backward& call) = 0;
  /// Lets go of saved tensors; backward() must not be called again.
  virtual void free_saved() = 0;
  virtual bool freed() const = 0;

  /// Called by Ref at the last reference. Ends chains of any length without recursion.
  static void destroy(Node* node) noexcept;
  /// Nodes alive in the process: tests of leaks compare it before and after.
  static std::size_t live_count();

 private:
  const char* name_;
  std::uint64_t id_;
  std::vector<Edge> edges_;
  std::vector<OutputMeta> outputs_;
};

/// One place where a gradient can arrive: output number `output` of `node`. A null node takes none.
struct Edge {
  Ref<Node> node;
  std::uint32_t output = 0;
};

/// An input kept for the gradient rule. Reading it through Backward checks that nobody wrote into
/// it.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Variable& input)
      : variable_(input), version_(input ? input.value().version() : 0) {}

 private:
  friend class Backward;
  Variable variable_;
  std::uint32_t version_ = 0;
};

/// An output kept for the gradient rule. It holds no reference to the node, so there is no cycle.
class SavedOutput {
 public:
  explicit SavedOutput(const Tensor& output, std::uint32_t index = 0)
      : value_(output), index_(index), version_(output.version()) {}

 private:
  friend class Backward;
  Tensor value_;
  std::uint32_t index_ = 0;
  std::uint32_t version_ = 0;
};

/// What a gradient rule is given: the incoming gradients and which results are wanted.
class Backward {
 public:
  Backward(const Ref<Node>& node, std::span<const Variable> dys,
           std::span<const std::uint8_t> needed)
      : node_(node), dys_(dys), needed_(needed) {}

  /// Gradient of output i. Null when it is zero; for the only output of an operation it never is.
  const Variable& dy(std::size_t i = 0) const { return dys_[i]; }
  std::span<const Variable> dys() const { return dys_; }
  /// Whether the gradient of input i is wanted; when not, a null Variable may be returned for it.
  bool needs(std::size_t i) const { return needed_[i] != 0; }
  std::span<const std::uint8_t> needed() const { return needed_; }
  /// A saved input. Throws AutogradError when its storage was written since.
  const Variable& operator()(const Saved& saved) const;
  /// A saved output, connected to its node again. Throws AutogradError when its storage was written
  /// since.
  Variable output(const SavedOutput& saved) const;

 private:
  const Ref<Node>& node_;
  std::span<const Variable> dys_;
  std::span<const std::uint8_t> needed_;
};

namespace detail {

template <class Rule> class RuleNode final : public Node {
 public:
  RuleNode(const char* name, std::vector<Edge> edges, std::vector<OutputMeta> outputs, Rule&& rule)
      : Node(name, std::move(edges), std::move(outputs)), rule_(std::move(rule)) {}
  Variables backward(const Backward& call) override { return (*rule_)(call); }
  void free_saved() override { rule_.reset(); }
  bool freed() const override { return !rule_.has_value(); }

 private:
  std::optional<Rule> rule_;
};

bool must_record(std::span<const Variable* const> inputs);
std::vector<Edge> edges_of(std::span<const Variable* const> inputs);
OutputMeta meta_of(const Tensor& output);

}  // namespace detail

/// Wraps the outputs of an operation. When recording is on and an input requires a gradient they
/// become outputs of a new node with this rule: (const Backward&) -> Variables, one per input, null
/// where zero. `name` must outlive the node (a literal). Null inputs are allowed; their gradient is
/// ignored. An undefined output becomes a null Variable, at which no gradient ever arrives.
template <class Rule>
Variables record_all(const char* name, std::span<const Tensor> outputs,
                     std::span<const Variable* const> inputs, Rule rule) {
  Variables result;
  result.reserve(outputs.size());
  if (!detail::must_record(inputs)) {
    for (const Tensor& t : outputs) result.push_back(t.defined() ? Variable(t) : Variable());
    return result;
  }
  std::vector<OutputMeta> metas;
  metas.reserve(outputs.size());
  for (const Tensor& t : outputs) metas.push_back(detail::meta_of(t));
  const Ref<Node> node(new detail::RuleNode<Rule>(name, detail::edges_of(inputs), std::move(metas),
                                                  std::move(rule)));
  for (std::uint32_t i = 0; i < outputs.size(); ++i)
    result.push_back(outputs[i].defined() ? Variable::recorded(outputs[i], node, i) : Variable());
  return result;
}

/// The same for one output and a fixed list of inputs: record("mul", y, {&a, &b}, rule).
template <class Rule>
Variable record(const char* name, Tensor output, std::initializer_list<const Variable*> inputs,
                Rule rule) {
  const std::span<const Variable* const> in(inputs.begin(), inputs.size());
  if (!detail::must_record(in)) return Variable(std::move(output));
  std::vector<OutputMeta> metas{detail::meta_of(output)};
  Ref<Node> node(
      new detail::RuleNode<Rule>(name, detail::edges_of(in), std::move(metas), std::move(rule)));
  return Variable::recorded(std::move(output), std::move(node), 0);
}

}  // namespace mettle
