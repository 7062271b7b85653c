// Variables, the recording switch, and the life of nodes.
#include "autograd/node.h"

#include <algorithm>
#include <atomic>

#include "engine/live_count.h"

namespace mettle {
namespace {

thread_local bool recording = true;

// The number of the newest node that this thread made.
thread_local std::uint64_t newest_id = 0;

/// Later than all that this thread has made, and than every input, which other threads may have
/// made (Lamport's clock): what one counter for all threads would tell, without sharing one.
std::uint64_t next_id(const std::vector<Edge>& edges) {
  for (const Edge& edge : edges)
    if (edge.node) newest_id = std::max(newest_id, edge.node->id());
  return ++newest_id;
}

LiveCount live_nodes;

/// Stands for a leaf in the graph: has no inputs and no rule.
class LeafNode final : public Node {
 public:
  explicit LeafNode(const Tensor& value) : Node("leaf", {}, {detail::meta_of(value)}) {}
  Variables backward(const Backward&) override { return {}; }
  void free_saved() override {}
  bool freed() const override { return false; }
};

void check_version(const char* node, const Tensor& value, std::uint32_t saved) {
  METTLE_CHECK(AutogradError, value.version() == saved,
               "{}: a tensor of shape {} that its gradient needs was modified in place by '{}' "
               "(version {}, now {}); write to a copy, or modify it after the gradient is taken",
               node, to_string(value.shape()), value.storage()->last_writer(), saved,
               value.version());
}

}  // namespace

// ---------------------------------------------------------------------------------------- Variable

Variable::Impl::Impl(Tensor v, bool grad) : value(std::move(v)), requires_grad(grad) {}

Variable::Impl::~Impl() {
  if (Node* n = leaf.load(std::memory_order_acquire); n && n->release()) Node::destroy(n);
}

Variable::Variable(Tensor value, bool requires_grad)
    : impl_(new Impl(std::move(value), requires_grad)) {
  METTLE_CHECK(AutogradError, impl_->value.defined(), "Variable: the tensor is undefined");
  METTLE_CHECK(DTypeError, !requires_grad || is_floating(impl_->value.dtype()),
               "Variable: a {} tensor cannot require a gradient; cast it to a floating dtype",
               to_string(impl_->value.dtype()));
}

const Tensor& Variable::value() const {
  METTLE_CHECK(AutogradError, defined(), "a null Variable has no value");
  return impl_->value;
}

bool Variable::requires_grad() const { return impl_ && impl_->requires_grad; }

bool Variable::is_leaf() const { return impl_ && !impl_->node; }

bool Variable::unshared() const {
  return impl_ && impl_->references() == 1 && impl_->value.storage()->references() == 1;
}

Variable Variable::recorded(Tensor value, Ref<Node> node, std::uint32_t output) {
  Variable v(std::move(value));
  // Integer outputs (indices, masks) stay outside the graph.
  if (is_floating(v.dtype())) {
    v.impl_->requires_grad = true;
    v.impl_->node = std::move(node);
    v.impl_->output = output;
  }
  return v;
}

Edge Variable::edge() const {
  if (!requires_grad()) return {};
  if (impl_->node) return {impl_->node, impl_->output};
  Node* leaf = impl_->leaf.load(std::memory_order_acquire);
  if (!leaf) {
    const Ref<Node> made(new LeafNode(impl_->value));
    if (impl_->leaf.compare_exchange_strong(leaf, made.get(), std::memory_order_acq_rel)) {
      leaf = made.get();
      leaf->retain();
    }
  }
  return {Ref<Node>(leaf), 0};
}

bool grad_enabled() { return recording; }

GradMode::GradMode(bool enabled) : previous_(recording) { recording = enabled; }

GradMode::~GradMode() { recording = previous_; }

// -------------------------------------------------------------------------------------------- Node

Node::Node(const char* name, std::vector<Edge> edges, std::vector<OutputMeta> outputs)
    : name_(name), id_(next_id(edges)), edges_(std::move(edges)), outputs_(std::move(outputs)) {
  live_nodes.add();
}

Node::~Node() { live_nodes.remove(); }

std::size_t Node::live_count() { return live_nodes.total(); }

void Node::destroy(Node* node) noexcept {
  // Deleting a node drops its edges and saved variables, which may end further nodes: those enter
  // here again and are queued, so the depth of the stack does not depend on the length of the
  // chain.
  thread_local std::vector<Node*>* pending = nullptr;
  if (pending) {
    pending->push_back(node);
    return;
  }
  std::vector<Node*> queue;
  pending = &queue;
  delete node;
  while (!queue.empty()) {
    Node* next = queue.back();
    queue.pop_back();
    delete next;
  }
  pending = nullptr;
}

// ---------------------------------------------------------------------------------------- Backward

const Variable& Backward::operator()(const Saved& saved) const {
  if (saved.variable_) check_version(node_->name(), saved.variable_.value(), saved.version_);
  return saved.variable_;
}

Variable Backward::output(const SavedOutput& saved) const {
  check_version(node_->name(), saved.value_, saved.version_);
  return Variable::recorded(saved.value_, node_, saved.index_);
}

namespace detail {

bool must_record(std::span<const Variable* const> inputs) {
  if (!recording) return false;
  for (const Variable* v : inputs)
    if (v->requires_grad()) return true;
  return false;
}

std::vector<Edge> edges_of(std::span<const Variable* const> inputs) {
  std::vector<Edge> edges;
  edges.reserve(inputs.size());
  for (const Variable* v : inputs) edges.push_back(v->edge());
  return edges;
}

OutputMeta meta_of(const Tensor& output) {
  if (!output.defined()) return {};
  return {output.shape(), output.dtype(), output.device()};
}

}  // namespace detail
}  // namespace mettle
