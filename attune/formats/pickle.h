#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// Where a value stands in a Pickle. Values refer to each other by place, so that shared and circular objects are plain
/// data.
using PicklePlace = std::uint32_t;

struct PickleValue {
  enum class Kind {
    kNone,
    kBool,        // integer
    kInteger,     // integer
    kBigInteger,  // text: two's complement, little-endian, more than 8 bytes
    kFloat,       // number
    kText,        // text, UTF-8
    kBytes,       // text
    kList,        // items
    kTuple,       // items
    kSet,         // items
    kDict,        // pairs
    kGlobal,      // text: "module.name" of a class or function, which is never looked up
    kRecord,      // callable, arguments, and what is done to the result: state, items, pairs
    kPersistent,  // arguments: the persistent id
  };
  static constexpr PicklePlace kNowhere = ~PicklePlace{0};

  Kind kind = Kind::kNone;
  std::int64_t integer = 0;
  double number = 0;
  std::string text = {};
  std::vector<PicklePlace> items = {};
  std::vector<PicklePlace> pairs = {};  // key, value, key, value, ...
  PicklePlace callable = kNowhere;
  PicklePlace arguments = kNowhere;
  PicklePlace state = kNowhere;
};

/// A Python pickle (protocols 0 to 5) read as data. Calls and instances become records that name what was to be called
/// and with what: nothing is imported or executed. Memory is bounded by the size of the text: at most one value per
/// opcode and four million in all. Extension codes and out-of-band buffers are refused.
class Pickle {
 public:
  /// Reads one pickle from the start of `bytes`. Throws Error "name: ..." with the position in bytes.
  Pickle(std::span<const std::byte> bytes, std::string_view name);

  const PickleValue& root() const { return at(root_); }
  PicklePlace root_place() const { return root_; }
  const PickleValue& at(PicklePlace place) const { return values_[place]; }
  /// Every value, in the order of their making.
  const std::vector<PickleValue>& values() const { return values_; }
  /// How many bytes the pickle took.
  std::size_t size() const { return size_; }

 private:
  friend class PickleReader;

  std::vector<PickleValue> values_;
  PicklePlace root_ = 0;
  std::size_t size_ = 0;
};

}  // namespace attune
