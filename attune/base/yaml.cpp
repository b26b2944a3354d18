#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "attune/base/config.h"
#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::size_t kLargestText = std::size_t{1} << 20;
constexpr std::size_t kDeepestYaml = 32;
/// Values that a text may stand for after its aliases are replaced by copies.
constexpr std::size_t kMostValues = 200'000;
/// Characters of JSON that the copies made for anchors and aliases may add up to.
constexpr std::size_t kMostCopied = std::size_t{4} << 20;

bool digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> choices) {
  return std::find(choices.begin(), choices.end(), text) != choices.end();
}

/// [-+]? ( .[0-9]+ | [0-9]+ ( .[0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool is_float(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (const auto e = text.find_first_of("eE"); e != std::string_view::npos) {
    std::string_view exponent = text.substr(e + 1);
    if (!exponent.empty() && (exponent[0] == '-' || exponent[0] == '+')) exponent.remove_prefix(1);
    if (!digits(exponent)) return false;
    text = text.substr(0, e);
  }
  const auto dot = text.find('.');
  if (dot == std::string_view::npos) return digits(text);
  const std::string_view whole = text.substr(0, dot), part = text.substr(dot + 1);
  return whole.empty() ? digits(part) : digits(whole) && (part.empty() || digits(part));
}

template <class T, class... Base>
std::optional<T> number_of(std::string_view text, Base... base) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  T value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base...);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// A plain scalar by the rules of the YAML 1.2 core schema (section 10.3.2); nothing where a number does not fit.
std::optional<Json> plain_scalar(const std::string& text) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (one_of(text, {"", "~", "null", "Null", "NULL"})) return Json(nullptr);
  if (one_of(text, {"true", "True", "TRUE"})) return Json(true);
  if (one_of(text, {"false", "False", "FALSE"})) return Json(false);
  if (one_of(text, {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"})) return Json(kInfinity);
  if (one_of(text, {"-.inf", "-.Inf", "-.INF"})) return Json(-kInfinity);
  if (one_of(text, {".nan", ".NaN", ".NAN"})) return Json(std::numeric_limits<double>::quiet_NaN());
  const std::string_view view = text;
  const auto integer = [](std::string_view written, int base) -> std::optional<Json> {
    const auto value = number_of<std::int64_t>(written, base);
    return value ? std::optional<Json>(*value) : std::nullopt;
  };
  if (digits(view) || (view.size() > 1 && (view[0] == '-' || view[0] == '+') && digits(view.substr(1)))) {
    return integer(view, 10);
  }
  constexpr std::string_view kOctal = "01234567", kHexadecimal = "0123456789abcdefABCDEF";
  if (view.size() > 2 && view.starts_with("0o") && view.find_first_not_of(kOctal, 2) == view.npos) {
    return integer(view.substr(2), 8);
  }
  if (view.size() > 2 && view.starts_with("0x") && view.find_first_not_of(kHexadecimal, 2) == view.npos) {
    return integer(view.substr(2), 16);
  }
  if (is_float(view)) {
    const auto value = number_of<double>(view);
    return value ? std::optional<Json>(*value) : std::nullopt;
  }
  return Json(text);
}

/// Builds JSON from the events of a YAML text, so that limits hold before anything is built.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(std::string_view name) : name_(name) {}
  const Json& result() const { return result_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, anchor, nullptr); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(mark, "expected an alias of a finished value, found one that refers to itself");
    if (wants_key()) refuse(mark, "expected a text as key, found an alias");
    const Anchored& anchored = found->second;
    if (stack_.size() + anchored.depth > kDeepestYaml) refuse_depth(mark);
    count(mark, anchored.values, anchored.size);
    place(Json(anchored.value), anchored.depth);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    check_tag(mark, tag);
    if (!is_utf8(text)) refuse(mark, "expected UTF-8");
    if (wants_key()) {
      Level& level = stack_.back();
      if (text == "<<" && tag != "!") refuse(mark, "merge keys are not supported");
      if (!level.seen.emplace(text).second) refuse(mark, fmt::format("expected a key once, found \"{}\" again", text));
      level.key = text;
      level.has_key = true;
      if (anchor != 0) refuse(mark, "expected a key without an anchor");
      count(mark, 1, 0);
      return;
    }
    std::optional<Json> value = tag == "!" ? std::optional<Json>(std::in_place, text) : plain_scalar(text);
    if (!value) {
      refuse(mark,
             fmt::format("expected a number within 64 bits (quote it if it is a text), found {}", text.substr(0, 60)));
    }
    add(mark, anchor, std::move(*value));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Json::array());
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Json::object());
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    Json value;
    YAML::Mark mark;
    YAML::anchor_t anchor = 0;
    std::size_t values_before = 0;
    std::size_t depth_below = 0;  // 0: only scalars
    std::string key = {};
    bool has_key = false;
    std::set<std::string> seen = {};
  };
  struct Anchored {
    Json value;
    std::size_t values, size, depth;
  };

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view text) const {
    throw Error(fmt::format("{}:{}:{}: {}", name_, mark.line + 1, mark.column + 1, text));
  }
  [[noreturn]] void refuse_depth(const YAML::Mark& mark) const {
    refuse(mark, fmt::format("expected YAML nested at most {} deep", kDeepestYaml));
  }
  void check_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, fmt::format("expected no tag, found {}", tag));
  }
  bool wants_key() const { return !stack_.empty() && stack_.back().value.is_object() && !stack_.back().has_key; }
  void count(const YAML::Mark& mark, std::size_t values, std::size_t copied) {
    values_ += values;
    copied_ += copied;
    if (values_ > kMostValues || copied_ > kMostCopied) {
      refuse(mark, fmt::format("expected at most {} values and {} characters of copies made for aliases", kMostValues,
                               kMostCopied));
    }
  }
  void add(const YAML::Mark& mark, YAML::anchor_t anchor, Json value) {
    if (wants_key()) refuse(mark, "expected a text as key");
    count(mark, 1, 0);
    if (anchor != 0) remember(mark, anchor, value, 1, 0);
    place(std::move(value), 0);
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Json value) {
    check_tag(mark, tag);
    if (wants_key()) refuse(mark, "expected a text as key, found a map or a list");
    if (stack_.size() >= kDeepestYaml) refuse_depth(mark);
    stack_.push_back(Level{std::move(value), mark, anchor, values_});
    count(mark, 1, 0);
  }
  void close() {
    Level level = std::move(stack_.back());
    stack_.pop_back();
    const std::size_t depth = level.depth_below + 1;
    if (level.anchor != 0) remember(level.mark, level.anchor, level.value, values_ - level.values_before, depth);
    place(std::move(level.value), depth);
  }
  /// The parser numbers anchors anew where a name is used again.
  void remember(const YAML::Mark& mark, YAML::anchor_t anchor, const Json& value, std::size_t values,
                std::size_t depth) {
    const std::size_t size = value.dump().size();
    count(mark, 0, size);
    anchors_.insert_or_assign(anchor, Anchored{value, values, size, depth});
  }
  void place(Json value, std::size_t depth) {
    if (stack_.empty()) {
      result_ = std::move(value);
      return;
    }
    Level& level = stack_.back();
    level.depth_below = std::max(level.depth_below, depth);
    if (level.value.is_array()) {
      level.value.push_back(std::move(value));
    } else {
      // `seen` knows that the key is new: the linear search of an ordered object is left out.
      auto& members = static_cast<Json::object_t::Container&>(level.value.get_ref<Json::object_t&>());
      members.emplace_back(level.key, std::move(value));
      level.has_key = false;
    }
  }

  std::string_view name_;
  Json result_;
  std::vector<Level> stack_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::size_t values_ = 0;
  std::size_t copied_ = 0;
};

}  // namespace

Json parse_yaml(std::string_view text, std::string_view name) {
  if (text.size() > kLargestText) {
    throw Error(fmt::format("{}: expected YAML of at most {} bytes, found {}", name, kLargestText, text.size()));
  }
  Builder builder(name);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder)) {
      Builder second(name);
      if (parser.HandleNextDocument(second)) throw Error(fmt::format("{}: expected one YAML document", name));
    }
  } catch (const YAML::Exception& problem) {
    const YAML::Mark at = problem.mark.is_null() ? YAML::Mark() : problem.mark;
    throw Error(fmt::format("{}:{}:{}: expected YAML: {}", name, at.line + 1, at.column + 1, problem.msg));
  }
  return builder.result();
}

}  // namespace attune
