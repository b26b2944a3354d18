#pragma once

#include <vector>

#include "attune/tasks/detection.h"

namespace attune {

/// What no search should fall below: the detector's own boxes under answers that know nothing of the categories.
struct DetectionFloors {
  std::vector<Detection> at_random;  // scores and categories by the seed
  std::vector<Detection> commonest;  // every box is the commonest category of the training pictures; scored as likely
                                     // as the detector finds anything there, by a query that is right to every cell
};
DetectionFloors detection_floors(const OwlVit& detector, const std::filesystem::path& root,
                                 const std::vector<BoxPicture>& pictures, std::int64_t commonest,
                                 std::int64_t categories, FindSettings settings, std::uint64_t seed);

/// The category with the most objects; of equal ones the first.
std::int64_t commonest_category(const std::vector<BoxPicture>& pictures, std::int64_t categories);

}  // namespace attune
