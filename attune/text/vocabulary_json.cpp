#include "attune/text/vocabulary_json.h"

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::size_t kDeepest = 64;
constexpr std::size_t kRestLimit = 20000;  // values outside the long lists

/// Takes the parser's events. An object or list within the long parts changes `part_`; the rest grows as a Json.
class Handler : public nlohmann::json_sax<Json> {
 public:
  Handler(VocabularyJson& result, bool only_entries, const std::string& where)
      : result_(result), only_entries_(only_entries), where_(where) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return number(v); }
  bool number_unsigned(number_unsigned_t v) override { return number(static_cast<std::int64_t>(v)); }
  bool number_float(number_float_t v, const string_t&) override { return value(v); }
  bool binary(binary_t&) override { return fail("text"); }

  bool string(string_t& v) override {
    if (part_ != Part::kMerges) return value(v);
    if (!in_pair_) {
      result_.merge_lines.push_back(std::move(v));
    } else if (pair_size_++ == 0) {
      result_.merges.emplace_back(std::move(v), "");
    } else {
      result_.merges.back().second = std::move(v);
    }
    return true;
  }

  bool key(string_t& v) override {
    if (part_ == Part::kRest && stack_.size() <= 2) path_[stack_.size() - 1] = v;
    key_ = std::move(v);
    return true;
  }

  bool start_object(std::size_t) override {
    if (part_ == Part::kRest && at_long_part("vocab")) {
      part_ = Part::kEntries;
      return true;
    }
    return open(Json::object());
  }
  bool end_object() override {
    if (part_ == Part::kEntries) {
      part_ = Part::kRest;
    } else {
      stack_.pop_back();
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (part_ == Part::kMerges && !in_pair_) {
      in_pair_ = true;
      pair_size_ = 0;
      return true;
    }
    if (part_ == Part::kRest && at_long_part("merges")) {
      part_ = Part::kMerges;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (in_pair_) {
      if (pair_size_ != 2) return fail("merges of two entries");
      in_pair_ = false;
    } else if (part_ == Part::kMerges) {
      part_ = Part::kRest;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& problem) override {
    throw Error(fmt::format("{}: expected JSON: {}", where_, problem.what()));
  }

 private:
  enum class Part { kRest, kEntries, kMerges };

  bool fail(std::string_view expected) {
    throw Error(fmt::format("{}: expected {} in the tokenizer file", where_, expected));
  }

  bool at_long_part(std::string_view name) const {
    if (only_entries_) return name == "vocab" && stack_.empty();
    return stack_.size() == 2 && stack_[1]->is_object() && path_[0] == "model" && path_[1] == name;
  }

  bool number(std::int64_t v) {
    if (part_ != Part::kEntries) return value(v);
    result_.entries.emplace_back(std::move(key_), v);
    return true;
  }

  bool value(Json v) {
    put(std::move(v));
    return true;
  }

  bool open(Json empty) {
    Json* made = put(std::move(empty));
    stack_.push_back(made);
    if (stack_.size() > kDeepest) fail("nesting of at most 64");
    return true;
  }

  /// Adds a value to the container that is open. Containers grow only at their end and only the last value of each is
  /// open, so the pointers of the stack stay good.
  Json* put(Json v) {
    if (part_ == Part::kEntries) fail("only integer ids in the vocabulary");
    if (part_ == Part::kMerges) fail("only pairs of entries as merges");
    if (++values_ > kRestLimit) fail("fewer values beside the vocabulary");
    if (stack_.empty()) {
      if (only_entries_) fail("an object of ids");
      result_.rest = std::move(v);
      return &result_.rest;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    if (parent.contains(key_)) fail("each key once");
    return &(parent[key_] = std::move(v));
  }

  VocabularyJson& result_;
  const bool only_entries_;
  const std::string& where_;
  Part part_ = Part::kRest;
  std::string key_;
  std::string path_[2];
  std::vector<Json*> stack_;
  std::size_t values_ = 0;
  bool in_pair_ = false;
  int pair_size_ = 0;
};

VocabularyJson parse(std::string_view text, bool only_entries, const std::string& where) {
  VocabularyJson result;
  Handler handler(result, only_entries, where);
  Json::sax_parse(text, &handler);
  return result;
}

}  // namespace

Json clip_rules() {
  const Json nfc = {{"type", "NFC"}};
  const Json spaces = {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}};
  const Json lower = {{"type", "Lowercase"}};
  const Json normalizer = {{"type", "Sequence"}, {"normalizers", Json::array({nfc, spaces, lower})}};
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kWordPattern}}}, {"behavior", "Removed"}, {"invert", true}};
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return {{"normalizer", normalizer},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}}}};
}

VocabularyJson parse_tokenizer_json(std::string_view text, const std::string& where) {
  return parse(text, false, where);
}

VocabularyJson parse_vocab_json(std::string_view text, const std::string& where) {
  return parse(text, true, where);
}

}  // namespace attune
