#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// The templates of a text, with | between them. Throws UsageError in the name of `where` for one without "{}".
std::vector<std::string> split_templates(std::string_view text, std::string_view where);

}  // namespace attune
