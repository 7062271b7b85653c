// The double array is laid out node by node, breadth first: an only child in the first free slot,
// several where they fit among the slots that are still free near the end.
#include "models/tokenizer/vocabulary.h"

#include <algorithm>
#include <numeric>

#include "engine/check.h"

namespace mettle::detail {

class Vocabulary::Builder {
 public:
  Builder(const std::vector<std::string>& tokens, std::vector<Slot>& slots)
      : tokens_(tokens), slots_(slots), order_(tokens.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(),
              [&](std::int32_t a, std::int32_t b) { return token(a) < token(b); });
  }

  void run() {
    grow();
    slots_[kRoot].parent = kTaken;
    std::vector<Range> ranges{{kRoot, 0, order_.size(), 0}}, next;
    while (!ranges.empty()) {
      next.clear();
      for (const Range& range : ranges) place_children(range, next);
      ranges.swap(next);
    }
    // So that a base plus any byte is a slot.
    slots_.resize(slots_.size() + kBytes);
  }

 private:
  static constexpr std::size_t kBytes = 256;
  // Slots at the end in which a place is looked for: keeps the work for each node bounded.
  static constexpr std::size_t kWindow = 2048;
  static constexpr Node kTaken = -2;  // the parent of the root: no node

  // Tokens [begin, end) of the order share the bytes that lead to `node`.
  struct Range {
    Node node;
    std::size_t begin, end, depth;
  };

  const std::string& token(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
  unsigned char byte(std::size_t rank, std::size_t depth) const {
    return static_cast<unsigned char>(token(order_[rank])[depth]);
  }
  bool is_free(std::size_t slot) const { return slots_[slot].parent == kNone; }
  void grow() { slots_.resize(slots_.size() + 2 * kBytes); }

  void place_children(Range range, std::vector<Range>& next) {
    if (range.begin < range.end && token(order_[range.begin]).size() == range.depth) {
      const std::int32_t id = order_[range.begin++];
      slots_[static_cast<std::size_t>(range.node)].id = id;
      if (range.begin < range.end && token(order_[range.begin]).size() == range.depth)
        refuse_twice(id, order_[range.begin]);
    }
    if (range.begin == range.end) return;
    labels_.clear();
    for (std::size_t i = range.begin; i < range.end; ++i)
      if (labels_.empty() || labels_.back() != byte(i, range.depth))
        labels_.push_back(byte(i, range.depth));
    const std::size_t base = find_base();
    slots_[static_cast<std::size_t>(range.node)].base = static_cast<std::int32_t>(base);
    std::size_t begin = range.begin;
    for (const unsigned char label : labels_) {
      std::size_t end = begin;
      while (end < range.end && byte(end, range.depth) == label) ++end;
      slots_[base + label].parent = range.node;
      next.push_back({static_cast<Node>(base + label), begin, end, range.depth + 1});
      begin = end;
    }
  }

  // A base at which every label finds a free slot: for one label the first free slot of all.
  std::size_t find_base() {
    const auto fits = [&](std::size_t base) {
      return std::all_of(labels_.begin(), labels_.end(),
                         [&](unsigned char label) { return is_free(base + label); });
    };
    while (first_free_ < slots_.size() && !is_free(first_free_)) ++first_free_;
    std::size_t slot = first_free_;
    if (labels_.size() > 1) slot = std::max(slot, slots_.size() - std::min(slots_.size(), kWindow));
    for (;; ++slot) {
      while (slot + kBytes > slots_.size()) grow();
      if (is_free(slot) && fits(slot - labels_.front())) return slot - labels_.front();
    }
  }

  [[noreturn]] void refuse_twice(std::int32_t a, std::int32_t b) const {
    fail<ValueError>("token '{}' has two ids, {} and {}", token(a), std::min(a, b), std::max(a, b));
  }

  const std::vector<std::string>& tokens_;
  std::vector<Slot>& slots_;
  std::vector<std::int32_t> order_;  // ids, sorted by their tokens
  std::vector<unsigned char> labels_;
  std::size_t first_free_ = kBytes;  // so that a base, which is a slot less a byte, is above 0
};

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  const auto empty = std::find(tokens_.begin(), tokens_.end(), "");
  METTLE_CHECK(ValueError, empty == tokens_.end(), "token {} is empty", empty - tokens_.begin());
  Builder(tokens_, slots_).run();
}

Vocabulary::Node Vocabulary::walk(Node node, std::string_view bytes) const {
  for (const char byte : bytes) {
    node = child(node, byte);
    if (node == kNone) return kNone;
  }
  return node;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view token) const {
  const Node node = walk(kRoot, token);
  if (node == kNone || slots_[static_cast<std::size_t>(node)].id < 0) return std::nullopt;
  return slots_[static_cast<std::size_t>(node)].id;
}

Vocabulary::Match Vocabulary::longest(Node node, std::string_view text) const {
  Match best;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == kNone) break;
    const std::int32_t id = slots_[static_cast<std::size_t>(node)].id;
    if (id >= 0) best = {id, i + 1};
  }
  return best;
}

WordPiece::WordPiece(const Vocabulary& vocabulary, std::string_view unknown,
                     std::string_view continuing_prefix)
    : continuing_(vocabulary.walk(Vocabulary::kRoot, continuing_prefix)) {
  const auto id = vocabulary.find(unknown);
  METTLE_CHECK(ValueError, id.has_value(), "the vocabulary has no token '{}' for unknown words",
               unknown);
  unknown_ = *id;
}

bool WordPiece::cut(const Vocabulary& vocabulary, std::string_view word,
                    std::vector<Piece>& out) const {
  out.clear();
  Vocabulary::Node from = Vocabulary::kRoot;
  for (std::size_t at = 0; at < word.size();) {
    if (from == Vocabulary::kNone) return false;
    const Vocabulary::Match match = vocabulary.longest(from, word.substr(at));
    if (match.id < 0) return false;
    out.push_back({match.id, at, at + match.bytes});
    at += match.bytes;
    from = continuing_;
  }
  return true;
}

}  // namespace mettle::detail
