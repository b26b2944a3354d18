#pragma once

#include <string_view>

namespace attune {

/// The style sheet of every report, for light and dark, narrow and wide.
extern const std::string_view kPageStyle;
/// Makes the headings of columns with data-sort into buttons that sort the table. The page is complete without it.
extern const std::string_view kPageScript;

}  // namespace attune
