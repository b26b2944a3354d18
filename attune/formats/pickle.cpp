#include "attune/formats/pickle.h"

#include <bit>
#include <charconv>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/formats/bytes.h"

namespace attune {

using Kind = PickleValue::Kind;

/// The stack machine of Python's module pickletools, with records where that would call.
class PickleReader {
 public:
  PickleReader(std::span<const std::byte> bytes, std::string_view name, Pickle& pickle)
      : bytes_(bytes), name_(name), values_(pickle.values_) {
    none_ = make({});
    PickleValue flag{.kind = Kind::kBool};
    false_ = make(flag);
    flag.integer = 1;
    true_ = make(flag);
    empty_ = make({.kind = Kind::kTuple});
  }

  /// The place of the result.
  PicklePlace read() {
    for (;;) {
      const auto opcode = static_cast<unsigned char>(number<std::uint8_t>());
      if (opcode == '.') break;
      if (!read_scalar(opcode) && !read_text(opcode) && !read_container(opcode) && !read_object(opcode) &&
          !read_stack_or_memo(opcode)) {
        refuse(fmt::format("expected an opcode of protocols 0 to 5, found 0x{:02x}", opcode));
      }
    }
    if (!marks_.empty()) refuse("expected no open mark at the end");
    return pop();
  }
  std::size_t position() const { return position_; }

 private:
  static constexpr std::size_t kMostValues = 4'000'000;

  [[noreturn]] void refuse(std::string_view text) const {
    throw Error(fmt::format("{}: pickle, byte {}: {}", name_, position_, text));
  }

  std::span<const std::byte> take(std::uint64_t count) {
    if (count > bytes_.size() - position_) refuse("expected more bytes, found the end");
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }
  template <class T>
  T number() {
    return little_endian<T>(take(sizeof(T)));
  }
  std::string_view line() {
    const std::string_view rest = as_text(bytes_.subspan(position_));
    const auto end = rest.find('\n');
    if (end == rest.npos) refuse("expected the end of a line");
    position_ += end + 1;
    return rest.substr(0, end);
  }

  PicklePlace make(PickleValue value) {
    if (values_.size() >= kMostValues) refuse(fmt::format("expected at most {} values", kMostValues));
    values_.push_back(std::move(value));
    return static_cast<PicklePlace>(values_.size() - 1);
  }
  void push(PicklePlace place) { stack_.push_back(place); }
  bool push_new(PickleValue value) {
    push(make(std::move(value)));
    return true;
  }
  bool push_integer(std::int64_t value) { return push_new({.kind = Kind::kInteger, .integer = value}); }
  bool push_text(Kind kind, std::string_view text) {
    if (kind == Kind::kText && !is_utf8(text)) refuse("expected UTF-8");
    return push_new({.kind = kind, .text = std::string(text)});
  }
  bool push_tuple(std::vector<PicklePlace> items) {
    if (items.empty()) {
      push(empty_);
      return true;
    }
    return push_new({.kind = Kind::kTuple, .items = std::move(items)});
  }
  PicklePlace pop() {
    const PicklePlace place = top();
    stack_.pop_back();
    return place;
  }
  PicklePlace top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("expected a value on the stack");
    return stack_.back();
  }
  std::vector<PicklePlace> pop_mark() {
    if (marks_.empty()) refuse("expected a mark on the stack");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PicklePlace> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<PicklePlace> pop_some(std::size_t count) {
    std::vector<PicklePlace> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  PicklePlace global(std::string_view module, std::string_view name) {
    if (!is_utf8(module) || !is_utf8(name)) refuse("expected UTF-8");
    return make({.kind = Kind::kGlobal, .text = fmt::format("{}.{}", module, name)});
  }
  bool push_record(PicklePlace callable, PicklePlace arguments) {
    return push_new({.kind = Kind::kRecord, .callable = callable, .arguments = arguments});
  }
  void append(std::vector<PicklePlace>& to, const std::vector<PicklePlace>& items) {
    to.insert(to.end(), items.begin(), items.end());
  }
  /// Elements may be added to lists, sets and instances, pairs to dictionaries and instances.
  void add_items(const std::vector<PicklePlace>& items) {
    PickleValue& value = values_[top()];
    if (value.kind != Kind::kList && value.kind != Kind::kSet && value.kind != Kind::kRecord) {
      refuse("expected a list, a set or an instance to add to");
    }
    append(value.items, items);
  }
  void add_pairs(const std::vector<PicklePlace>& pairs) {
    PickleValue& value = values_[top()];
    if (value.kind != Kind::kDict && value.kind != Kind::kRecord)
      refuse("expected a dictionary or an instance to add to");
    if (pairs.size() % 2 != 0) refuse("expected a value for every key");
    append(value.pairs, pairs);
  }

  bool push_long(std::span<const std::byte> bytes) {
    if (bytes.size() > 8) return push_text(Kind::kBigInteger, as_text(bytes));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    const bool negative = !bytes.empty() && (std::to_integer<unsigned>(bytes.back()) & 0x80) != 0;
    if (negative && bytes.size() < 8) value |= ~std::uint64_t{0} << (8 * bytes.size());
    return push_integer(static_cast<std::int64_t>(value));
  }
  template <class T>
  T written_number(std::string_view text) {
    T value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size()) {
      refuse(fmt::format("expected a number within 64 bits, found {}", printable(text)));
    }
    return value;
  }
  static std::string printable(std::string_view text) {
    return Json(std::string(text.substr(0, 40))).dump(-1, ' ', true, Json::error_handler_t::replace);
  }

  bool read_scalar(unsigned char opcode);
  bool read_text(unsigned char opcode);
  bool read_container(unsigned char opcode);
  bool read_object(unsigned char opcode);
  bool read_stack_or_memo(unsigned char opcode);
  void remember(std::uint32_t key) { memo_.insert_or_assign(key, top()); }
  void recall(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse(fmt::format("expected a value in the memo at {}", key));
    push(found->second);
  }

  std::span<const std::byte> bytes_;
  std::string_view name_;
  std::vector<PickleValue>& values_;
  std::size_t position_ = 0;
  std::vector<PicklePlace> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PicklePlace> memo_;
  PicklePlace none_ = 0, false_ = 0, true_ = 0, empty_ = 0;
};

bool PickleReader::read_scalar(unsigned char opcode) {
  switch (opcode) {
    case 'N':
      push(none_);
      return true;
    case 0x88:
      push(true_);
      return true;
    case 0x89:
      push(false_);
      return true;
    case 'J':
      return push_integer(number<std::int32_t>());
    case 'K':
      return push_integer(number<std::uint8_t>());
    case 'M':
      return push_integer(number<std::uint16_t>());
    case 0x8a:
      return push_long(take(number<std::uint8_t>()));
    case 0x8b: {
      const auto length = number<std::int32_t>();
      if (length < 0) refuse("expected the length of a number from 0");
      return push_long(take(static_cast<std::uint64_t>(length)));
    }
    case 'I': {
      const std::string_view text = line();
      if (text == "00" || text == "01") {
        push(text == "01" ? true_ : false_);
        return true;
      }
      return push_integer(written_number<std::int64_t>(text));
    }
    case 'L': {
      std::string_view text = line();
      if (text.ends_with('L')) text.remove_suffix(1);
      return push_integer(written_number<std::int64_t>(text));
    }
    case 'F':
      return push_new({.kind = Kind::kFloat, .number = written_number<double>(line())});
    case 'G': {
      // The only number that a pickle keeps in big-endian order.
      std::uint64_t bits = 0;
      for (const std::byte byte : take(8)) bits = bits << 8 | std::to_integer<std::uint64_t>(byte);
      return push_new({.kind = Kind::kFloat, .number = std::bit_cast<double>(bits)});
    }
    default:
      return false;
  }
}

bool PickleReader::read_text(unsigned char opcode) {
  switch (opcode) {
    case 'X':
      return push_text(Kind::kText, as_text(take(number<std::uint32_t>())));
    case 0x8c:
      return push_text(Kind::kText, as_text(take(number<std::uint8_t>())));
    case 0x8d:
      return push_text(Kind::kText, as_text(take(number<std::uint64_t>())));
    case 'B':
      return push_text(Kind::kBytes, as_text(take(number<std::uint32_t>())));
    case 'C':
      return push_text(Kind::kBytes, as_text(take(number<std::uint8_t>())));
    case 0x8e:
    case 0x96:
      return push_text(Kind::kBytes, as_text(take(number<std::uint64_t>())));
    case 'T':
    case 'U': {
      // Python 2's str: a text where it is one.
      const auto length = opcode == 'T' ? number<std::uint32_t>() : number<std::uint8_t>();
      const std::string_view text = as_text(take(length));
      return push_text(is_utf8(text) ? Kind::kText : Kind::kBytes, text);
    }
    case 'V':
      return push_text(Kind::kText, line());
    case 'S': {
      const std::string_view text = line();
      const bool quoted = text.size() >= 2 && text.front() == text.back() && (text[0] == '\'' || text[0] == '"');
      if (!quoted) refuse("expected a text in quotes");
      return push_text(Kind::kBytes, text.substr(1, text.size() - 2));
    }
    default:
      return false;
  }
}

bool PickleReader::read_container(unsigned char opcode) {
  switch (opcode) {
    case ']':
      return push_new({.kind = Kind::kList});
    case '}':
      return push_new({.kind = Kind::kDict});
    case 0x8f:
      return push_new({.kind = Kind::kSet});
    case ')':
      return push_tuple({});
    case 't':
      return push_tuple(pop_mark());
    case 0x85:
    case 0x86:
    case 0x87:
      return push_tuple(pop_some(opcode - 0x84U));
    case 'l':
      return push_new({.kind = Kind::kList, .items = pop_mark()});
    case 0x91:
      return push_new({.kind = Kind::kSet, .items = pop_mark()});
    case 'd': {
      std::vector<PicklePlace> pairs = pop_mark();
      if (pairs.size() % 2 != 0) refuse("expected a value for every key");
      return push_new({.kind = Kind::kDict, .pairs = std::move(pairs)});
    }
    case 'a':
      add_items(pop_some(1));
      return true;
    case 'e':
    case 0x90:
      add_items(pop_mark());
      return true;
    case 's':
      add_pairs(pop_some(2));
      return true;
    case 'u':
      add_pairs(pop_mark());
      return true;
    default:
      return false;
  }
}

bool PickleReader::read_object(unsigned char opcode) {
  switch (opcode) {
    case 'c': {
      const std::string_view module = line();
      push(global(module, line()));
      return true;
    }
    case 0x93: {
      const std::vector<PicklePlace> names = pop_some(2);
      const PickleValue &module = values_[names[0]], &name = values_[names[1]];
      if (module.kind != Kind::kText || name.kind != Kind::kText) refuse("expected the name of a class as two texts");
      push(global(std::string(module.text), std::string(name.text)));
      return true;
    }
    case 'i': {
      const std::string_view module = line();
      const PicklePlace callable = global(module, line());
      push_tuple(pop_mark());
      return push_record(callable, pop());
    }
    case 'o': {
      std::vector<PicklePlace> items = pop_mark();
      if (items.empty()) refuse("expected a class after the mark");
      const PicklePlace callable = items.front();
      items.erase(items.begin());
      push_tuple(std::move(items));
      return push_record(callable, pop());
    }
    case 'R':
    case 0x81: {
      const std::vector<PicklePlace> call = pop_some(2);
      return push_record(call[0], call[1]);
    }
    case 0x92: {
      // Keyword arguments are kept as the state of the record until BUILD gives it another.
      const std::vector<PicklePlace> call = pop_some(3);
      push_record(call[0], call[1]);
      values_[top()].state = call[2];
      return true;
    }
    case 'b': {
      const PicklePlace state = pop();
      values_[top()].state = state;
      return true;
    }
    case 'P': {
      push_text(Kind::kText, line());
      return push_new({.kind = Kind::kPersistent, .arguments = pop()});
    }
    case 'Q':
      return push_new({.kind = Kind::kPersistent, .arguments = pop()});
    default:
      return false;
  }
}

bool PickleReader::read_stack_or_memo(unsigned char opcode) {
  switch (opcode) {
    case 0x80: {
      const int protocol = number<std::uint8_t>();
      if (protocol > 5) refuse(fmt::format("expected protocol 0 to 5, found {}", protocol));
      return true;
    }
    case 0x95: {
      // A frame only says how much to read at once.
      if (number<std::uint64_t>() > bytes_.size() - position_) refuse("expected a frame within the pickle");
      return true;
    }
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case '0': {
      // Also the way to drop a mark.
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    }
    case '1':
      pop_mark();
      return true;
    case '2':
      push(top());
      return true;
    case 'p':
      remember(written_number<std::uint32_t>(line()));
      return true;
    case 'q':
      remember(number<std::uint8_t>());
      return true;
    case 'r':
      remember(number<std::uint32_t>());
      return true;
    case 0x94:
      remember(static_cast<std::uint32_t>(memo_.size()));
      return true;
    case 'g':
      recall(written_number<std::uint32_t>(line()));
      return true;
    case 'h':
      recall(number<std::uint8_t>());
      return true;
    case 'j':
      recall(number<std::uint32_t>());
      return true;
    default:
      return false;
  }
}

Pickle::Pickle(std::span<const std::byte> bytes, std::string_view name) {
  PickleReader reader(bytes, name, *this);
  root_ = reader.read();
  size_ = reader.position();
}

}  // namespace attune
