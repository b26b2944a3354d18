#include "attune/text/describe_answers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>

namespace attune {
namespace {

bool is_blank(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    if (!line.empty()) lines.push_back(line);
    begin = end + 1;
  }
  return lines;
}

/// What stands behind the mark of a list's item; empty where the line is none.
std::string_view behind_mark(std::string_view line) {
  for (const std::string_view mark : {"- ", "* ", "• ", "– "}) {
    if (line.starts_with(mark)) return trimmed(line.substr(mark.size()));
  }
  std::size_t digits = 0;
  while (digits < line.size() && std::isdigit(static_cast<unsigned char>(line[digits])) != 0) ++digits;
  const bool numbered = digits > 0 && digits <= 2 && digits + 1 < line.size() &&
                        (line[digits] == '.' || line[digits] == ')') && line[digits + 1] == ' ';
  return numbered ? trimmed(line.substr(digits + 2)) : std::string_view{};
}

/// Letters and digits in lower case, everything else as one blank, one at either end.
std::string comparable(std::string_view text) {
  std::string plain = " ";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || byte >= 0x80) {
      plain += static_cast<char>(std::tolower(byte));
    } else if (c != '\'' && plain.back() != ' ') {
      plain += ' ';
    }
  }
  if (plain.back() != ' ') plain += ' ';
  return plain;
}

/// Words of those who will not answer, as comparable() writes them; empty: none.
std::string_view refusal_in(const std::string& plain) {
  static constexpr std::array<std::string_view, 10> kWords = {
      " im sorry ",       " i am sorry ",        " as an ai ",    " i cannot ",      " i cant ",
      " language model ", " unable to provide ", " i dont have ", " i do not have ", " im not able "};
  const auto found = std::find_if(kWords.begin(), kWords.end(),
                                  [&](std::string_view one) { return plain.find(one) != std::string::npos; });
  return found == kWords.end() ? std::string_view{} : *found;
}

/// The other class that a text names: the longest name counts.
std::string leaked_class(const std::string& plain, const std::string& own,
                         const std::map<std::string, std::string>& names) {
  std::string leaked, longest;
  for (const auto& [name, class_name] : names) {
    const std::string plural = name.substr(0, name.size() - 1) + "s ";
    if (name == own || own.find(name) != std::string::npos || name.size() <= longest.size()) continue;
    if (plain.find(name) == std::string::npos && plain.find(plural) == std::string::npos) continue;
    leaked = class_name;
    longest = name;
  }
  return leaked;
}

}  // namespace

std::vector<std::string> list_items(std::string_view answer) {
  std::vector<std::string> items, all;
  for (const std::string_view line : lines_of(answer)) {
    all.emplace_back(line);
    const std::string_view item = behind_mark(line);
    if (!item.empty()) items.emplace_back(item);
  }
  return items.empty() ? all : items;
}

std::string tidy_sentence(std::string_view answer) {
  std::string text;
  for (const char c : trimmed(answer)) {
    if (!is_blank(c)) {
      text += c;
    } else if (text.back() != ' ') {
      text += ' ';
    }
  }
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  if (text.empty() || text.back() == '.' || text.back() == '!' || text.back() == '?') return text;
  const std::size_t stop = text.rfind(". ");
  return stop == std::string::npos ? text + "." : text.substr(0, stop + 1);
}

std::vector<Remark> review(Descriptions& descriptions) {
  std::map<std::string, std::string> names;
  for (const auto& [name, texts] : descriptions.of_class) names.emplace(comparable(name), name);
  std::map<std::string, std::string> first_with;
  std::vector<Remark> remarks;
  for (auto& [name, texts] : descriptions.of_class) {
    std::set<std::string> own;
    std::vector<std::string> kept;
    for (const std::string& text : texts) {
      const std::string plain = comparable(text);
      const std::string_view refusal = refusal_in(plain);
      if (plain == " ") {
        remarks.push_back({name, text, "empty", "", true});
      } else if (!refusal.empty()) {
        remarks.push_back({name, text, "refusal", std::string(trimmed(refusal)), true});
      } else if (!own.insert(plain).second) {
        remarks.push_back({name, text, "duplicate", "", true});
      } else {
        kept.push_back(text);
        const auto [other, unseen] = first_with.emplace(plain, name);
        if (!unseen) remarks.push_back({name, text, "shared", other->second, false});
        const std::string leaked = leaked_class(plain, comparable(name), names);
        if (!leaked.empty()) remarks.push_back({name, text, "leak", leaked, false});
      }
    }
    texts = std::move(kept);
  }
  return remarks;
}

}  // namespace attune
