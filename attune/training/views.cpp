#include "attune/training/views.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

Schema ViewPlan::schema() {
  return {
      {"views.kind", "augmented",
       "augmented (a new random view every epoch), cached (a few random views and the centre "
       "view, computed once) or centre"},
      {"views.count", 4, "random views a sample where they are cached"},
      {"views.smallest", 0.08, "smallest area of a random crop, as a share of the picture"},
      {"views.largest", 1.0, "largest area of a random crop"},
      {"views.flip", 0.5, "probability of a horizontal flip"},
  };
}

ViewPlan::ViewPlan(const Config& config) : count(config.integer("views.count")) {
  const std::string name = config.text("views.kind");
  if (name == "augmented") {
    kind = Kind::kAugmented;
  } else if (name == "cached") {
    kind = Kind::kCached;
  } else if (name == "centre") {
    kind = Kind::kCentre;
  } else {
    throw UsageError(fmt::format("views.kind: expected augmented, cached or centre, found \"{}\"", name));
  }
  if (count < 1) throw UsageError(fmt::format("views.count: expected at least 1, found {}", count));
  augmentation = {config.number("views.smallest"), config.number("views.largest"), config.number("views.flip")};
  if (!(0 < augmentation.smallest && augmentation.smallest <= augmentation.largest && augmentation.largest <= 1)) {
    throw UsageError(
        fmt::format("views.smallest, views.largest: expected 0 < smallest <= largest <= 1, found {} and {}",
                    augmentation.smallest, augmentation.largest));
  }
  if (!(0 <= augmentation.flip && augmentation.flip <= 1)) {
    throw UsageError(fmt::format("views.flip: expected a probability, found {}", augmentation.flip));
  }
}

std::int64_t ViewPlan::views(std::int64_t epochs) const {
  switch (kind) {
    case Kind::kAugmented:
      return epochs;
    case Kind::kCached:
      return std::min(count + 1, epochs);
    case Kind::kCentre:
      break;
  }
  return 1;
}

std::int64_t ViewPlan::view(std::uint64_t seed, std::int64_t epoch, std::int64_t sample) const {
  switch (kind) {
    case Kind::kAugmented:
      return epoch + 1;
    case Kind::kCached:
      return static_cast<std::int64_t>(
          KeyedRandom(seed, "view of sample",
                      static_cast<std::uint64_t>(epoch) << 32 | static_cast<std::uint64_t>(sample))
              .below(static_cast<std::uint64_t>(count + 1)));
    case Kind::kCentre:
      break;
  }
  return 0;
}

}  // namespace attune
