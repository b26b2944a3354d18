#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "attune/text/descriptions.h"

namespace attune {

/// The items of a list that a language model wrote, one a line behind "-", "*", "•" or "1.". Lines that are no items
/// are left out where there are items; else every line is one.
std::vector<std::string> list_items(std::string_view answer);

/// The sentences of an answer as one text on one line: blanks joined, quotation marks around it taken off, a full stop
/// at the end. What a limit of length cut off behind the last full stop is left out where a sentence remains.
std::string tidy_sentence(std::string_view answer);

/// A text that a person should look at.
struct Remark {
  std::string class_name, text;
  std::string kind;    // "duplicate", "shared", "refusal", "leak", "empty"
  std::string detail;  // the other class, or what gave it away
  bool left_out = false;
};

/// Leaves out empty texts, refusals ("I'm sorry, but ...") and a class's repetitions, and remarks on them; remarks also
/// on texts that several classes have word for word (shared) and on those that name another of the classes (leak),
/// which stay. A name within the own class's name is no leak.
std::vector<Remark> review(Descriptions& descriptions);

}  // namespace attune
