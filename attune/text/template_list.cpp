#include "attune/text/template_list.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

std::vector<std::string> split_templates(std::string_view text, std::string_view where) {
  std::vector<std::string> templates;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('|', at), text.size());
    templates.emplace_back(text.substr(at, end - at));
    if (templates.back().find("{}") == std::string::npos) {
      throw UsageError(
          fmt::format("{}: expected {{}} in the place of the name, found \"{}\"", where, templates.back()));
    }
    at = end + 1;
  }
  return templates;
}

}  // namespace attune
