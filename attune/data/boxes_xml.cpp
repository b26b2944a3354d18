#include "attune/data/boxes_xml.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"

namespace attune {
namespace {

constexpr int kDeepest = 32;
constexpr std::string_view kSpaces = " \t\r\n";

bool in_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.' || c == ':' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    tail(12), tail(6), tail(0);
  }
}

class Reader {
 public:
  Reader(std::string_view text, std::string_view name) : text_(text), name_(name) {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
  }

  XmlElement document() {
    skip_between();
    if (rest().empty() || rest()[0] != '<') fail("an element");
    XmlElement root = element(0);
    skip_between();
    if (!rest().empty()) fail("the end of the file after the outermost element");
    return root;
  }

 private:
  std::string_view rest() const { return text_.substr(at_); }

  [[noreturn]] void fail(std::string_view expected) const {
    const auto line = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n') + 1;
    throw Error(fmt::format("{} line {}: expected {}", name_, line, expected));
  }

  bool take(std::string_view word) {
    if (!rest().starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  /// What stands before `end`, which is taken too.
  std::string_view until(std::string_view end) {
    const std::size_t found = text_.find(end, at_);
    if (found == std::string_view::npos) fail(fmt::format("\"{}\"", end));
    const std::string_view inner = text_.substr(at_, found - at_);
    at_ = found + end.size();
    return inner;
  }

  void skip_spaces() { at_ = std::min(text_.find_first_not_of(kSpaces, at_), text_.size()); }

  /// Spaces, comments and processing instructions.
  void skip_between() {
    for (;;) {
      skip_spaces();
      if (take("<!--")) {
        until("-->");
      } else if (take("<?")) {
        until("?>");
      } else if (rest().starts_with("<!")) {
        fail("no document type");
      } else {
        return;
      }
    }
  }

  std::string tag_name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;
    if (at_ == begin) fail("the name of an element");
    return std::string(text_.substr(begin, at_ - begin));
  }

  void skip_attributes() {
    for (;;) {
      skip_spaces();
      if (rest().empty()) fail("\">\"");
      if (rest()[0] == '>' || rest()[0] == '/') return;
      tag_name();
      skip_spaces();
      if (!take("=")) fail("\"=\" after the name of an attribute");
      skip_spaces();
      if (!take("\"") && !take("'")) fail("the value of an attribute in quotes");
      until(text_.substr(at_ - 1, 1));
    }
  }

  void entity(std::string& out) {
    const std::string_view body = until(";");
    static constexpr std::pair<std::string_view, char> kNamed[] = {
        {"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"apos", '\''}, {"quot", '"'}};
    for (const auto& [word, character] : kNamed) {
      if (body == word) {
        out += character;
        return;
      }
    }
    const bool hexadecimal = body.starts_with("#x");
    const std::string_view digits = body.substr(std::min(body.size(), std::size_t{hexadecimal ? 2U : 1U}));
    std::uint32_t code = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), code, hexadecimal ? 16 : 10);
    const bool whole = !digits.empty() && parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
    const bool allowed = code > 0 && code < 0x110000 && (code < 0xd800 || code > 0xdfff);
    if (!body.starts_with("#") || !whole || !allowed) fail("a known entity");
    append_utf8(out, code);
  }

  XmlElement element(int depth) {
    if (depth == kDeepest) fail(fmt::format("elements at most {} deep", kDeepest));
    if (!take("<")) fail("an element");
    XmlElement result;
    result.name = tag_name();
    skip_attributes();
    if (take("/>")) return result;
    if (!take(">")) fail("\">\"");
    content(result, depth);
    if (tag_name() != result.name) fail(fmt::format("</{}>", result.name));
    skip_spaces();
    if (!take(">")) fail("\">\"");
    trim(result.text);
    if (!is_utf8(result.text) || !is_utf8(result.name)) fail("UTF-8");
    return result;
  }

  /// Everything up to and with the "</" of the end.
  void content(XmlElement& result, int depth) {
    for (;;) {
      if (rest().empty()) fail(fmt::format("</{}>", result.name));
      if (take("</")) return;
      if (take("<!--")) {
        until("-->");
      } else if (take("<![CDATA[")) {
        result.text += until("]]>");
      } else if (take("<?")) {
        until("?>");
      } else if (rest()[0] == '<') {
        result.children.push_back(element(depth + 1));
      } else if (take("&")) {
        entity(result.text);
      } else {
        const std::size_t end = std::min(text_.find_first_of("<&", at_), text_.size());
        result.text += text_.substr(at_, end - at_);
        at_ = end;
      }
    }
  }

  static void trim(std::string& text) {
    const std::size_t last = text.find_last_not_of(kSpaces);
    text.resize(last == std::string::npos ? 0 : last + 1);
    text.erase(0, std::min(text.find_first_not_of(kSpaces), text.size()));
  }

  std::string_view text_, name_;
  std::size_t at_ = 0;
};

}  // namespace

const XmlElement* XmlElement::child(std::string_view child_name, std::string_view where) const {
  const XmlElement* found = nullptr;
  for (const XmlElement& one : children) {
    if (one.name != child_name) continue;
    if (found != nullptr) throw Error(fmt::format("{}: expected one <{}>, found several", where, child_name));
    found = &one;
  }
  return found;
}

XmlElement parse_xml(std::string_view text, std::string_view name) {
  return Reader(text, name).document();
}

}  // namespace attune
