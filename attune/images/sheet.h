#pragma once

#include <vector>

#include "attune/images/image.h"

namespace attune {

/// Copies a picture onto another, which it must lie within.
void paste(const Image& image, Image& sheet, int left, int top);

/// Pictures of one size beside each other in rows of `columns` on white, small ones enlarged by a whole number. Throws
/// UsageError where there is none, sizes differ, or the sheet would have more than 64 million pixels.
Image picture_sheet(const std::vector<Image>& pictures, int columns);

}  // namespace attune
