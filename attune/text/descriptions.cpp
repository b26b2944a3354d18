#include "attune/text/descriptions.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"

namespace attune {
namespace {

/// Capitals, underscores and repeated blanks do not tell classes apart.
std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    const bool blank = c == '_' || c == ' ';
    if (blank && (plain.empty() || plain.back() == ' ')) continue;
    plain += blank ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (!plain.empty() && plain.back() == ' ') plain.pop_back();
  return plain;
}

bool begins_with_word(std::string_view text, std::string_view word) {
  return text.starts_with(word) && (text.size() == word.size() || text[word.size()] == ' ');
}

}  // namespace

Descriptions parse_descriptions(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where);
  if (!json.is_object()) throw Error(fmt::format("{}: expected an object of class names, found another value", where));
  Descriptions descriptions;
  for (const auto& [name, value] : json.items()) {
    const bool texts =
        value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& one) { return one.is_string(); });
    if (!texts) throw Error(fmt::format("{}: \"{}\": expected a list of texts, found another value", where, name));
    std::vector<std::string>& own = descriptions.of_class[name];
    for (const Json& one : value) own.push_back(one.get<std::string>());
  }
  return descriptions;
}

Descriptions read_descriptions(const std::filesystem::path& file) {
  return parse_descriptions(read_file(file), file.string());
}

DescriptionForm description_form_named(std::string_view name) {
  if (name == "sentence") return DescriptionForm::kSentence;
  if (name == "descriptor") return DescriptionForm::kDescriptor;
  throw UsageError(fmt::format("descriptions.form: expected sentence or descriptor, found \"{}\"", name));
}

std::string descriptor_sentence(std::string_view class_name, std::string_view descriptor) {
  static constexpr std::array kArticles = {"a", "an", "used"};
  static constexpr std::array kVerbs = {"has", "often", "typically", "may", "can"};
  const auto begins = [&](const char* word) { return begins_with_word(descriptor, word); };
  const char* link = "which has";
  if (std::any_of(kArticles.begin(), kArticles.end(), begins)) link = "which is";
  if (std::any_of(kVerbs.begin(), kVerbs.end(), begins)) link = "which";
  return fmt::format("{}, {} {}", class_name, link, descriptor);
}

std::vector<std::string> sentences_about(const Descriptions& descriptions, std::string_view class_name,
                                         DescriptionForm form) {
  const std::string wanted = plain_name(class_name);
  std::vector<std::string> sentences;
  for (const auto& [name, texts] : descriptions.of_class) {
    if (plain_name(name) != wanted) continue;
    for (const std::string& text : texts) {
      sentences.push_back(form == DescriptionForm::kSentence ? text : descriptor_sentence(class_name, text));
    }
  }
  return sentences;
}

}  // namespace attune
