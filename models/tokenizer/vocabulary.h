// The tokens of a vocabulary as a trie of bytes, and the greedy cut of a word into them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mettle::detail {

/// A double array (Aoe, "An efficient digital search algorithm by using a double-array structure",
/// 1989): the child of node n by byte b is base[n] + b, if that node's parent is n.
class Vocabulary {
 public:
  /// Tokens by id. ValueError for an empty one and for two that are the same, with their ids.
  explicit Vocabulary(std::vector<std::string> tokens);

  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  /// 0 <= id < size().
  const std::string& token(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
  std::optional<std::int32_t> find(std::string_view token) const;

  using Node = std::int32_t;
  static constexpr Node kRoot = 0, kNone = -1;
  /// The node that `bytes` lead to from `node`; kNone: no token goes on like that.
  Node walk(Node node, std::string_view bytes) const;
  struct Match {
    std::int32_t id = -1;  // -1: there is none
    std::size_t bytes = 0;
  };
  /// The longest start of a text that is one token without what leads to `node`.
  Match longest(Node node, std::string_view text) const;

 private:
  struct Slot {
    std::int32_t base = 0;
    std::int32_t parent = kNone;
    std::int32_t id = -1;
  };
  class Builder;
  Node child(Node node, char byte) const {
    const Node to = slots_[static_cast<std::size_t>(node)].base + static_cast<unsigned char>(byte);
    return slots_[static_cast<std::size_t>(to)].parent == node ? to : kNone;
  }

  std::vector<std::string> tokens_;
  std::vector<Slot> slots_;
};

/// A piece of a word: its token and its bytes.
struct Piece {
  std::int32_t id = 0;
  std::size_t begin = 0, end = 0;
};

/// WordPiece (Schuster and Nakajima, "Japanese and Korean voice search", 2012) as BERT uses it: the
/// longest token first, and again from there, with tokens that begin with a prefix.
class WordPiece {
 public:
  /// ValueError when the vocabulary has no `unknown`.
  WordPiece(const Vocabulary& vocabulary, std::string_view unknown,
            std::string_view continuing_prefix);

  std::int32_t unknown() const { return unknown_; }
  /// Replaces `out` by the pieces of a word; false, and nothing of use in `out`, when there are
  /// none. Time: bytes of the word times bytes of the longest token that goes on like it.
  bool cut(const Vocabulary& vocabulary, std::string_view word, std::vector<Piece>& out) const;

 private:
  std::int32_t unknown_;
  Vocabulary::Node continuing_;
};

}  // namespace mettle::detail
