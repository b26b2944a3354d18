#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// Texts about classes, as people or language models write them: sentences ("A corgi is a small dog with ..."), or
/// descriptors ("short legs") as Menon and Vondrick's files have them.
struct Descriptions {
  std::map<std::string, std::vector<std::string>> of_class;
};

/// Reads a JSON object {class name: [texts]}; the published files of Menon and Vondrick and of CuPL have this form.
/// Throws Error that names the file (`where`) and the class whose value is no list of texts.
Descriptions parse_descriptions(std::string_view text, const std::string& where);
Descriptions read_descriptions(const std::filesystem::path& file);

/// How the texts of a file become sentences: as they are, or "{class}, which (is|has|...) {descriptor}" (Menon and
/// Vondrick 2023, section 2.1).
enum class DescriptionForm { kSentence, kDescriptor };
/// "sentence" or "descriptor". Throws UsageError on another name.
DescriptionForm description_form_named(std::string_view name);

/// The descriptor as a sentence about the class: "which is" before an article and before "used", the verb's own words
/// where it begins with one (has, often, may, ...), else "which has".
std::string descriptor_sentence(std::string_view class_name, std::string_view descriptor);

/// The sentences about a class; capitals, underscores and blanks of its name do not matter. Empty: the file has none.
std::vector<std::string> sentences_about(const Descriptions& descriptions, std::string_view class_name,
                                         DescriptionForm form);

}  // namespace attune
