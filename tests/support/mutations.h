#pragma once

#include <string>
#include <vector>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/base/random.h"

namespace attune {

/// A copy of `good` in which one member or element, at any depth, is gone, doubled, or a value that a reader may not
/// expect.
inline Json damaged(const Json& good, KeyedRandom& random) {
  static const std::vector<Json> kStrange = {nullptr,
                                             true,
                                             -1,
                                             0,
                                             1,
                                             3.5,
                                             1e300,
                                             -1e300,
                                             1'000'000'000,
                                             INT64_MAX,
                                             INT64_MIN,
                                             UINT64_MAX,
                                             "",
                                             "x",
                                             "../x",
                                             Json::array(),
                                             Json::object(),
                                             Json::array({nullptr}),
                                             Json::array({-1, "x"}),
                                             Json::object({{"", 1}})};
  Json copy = good;
  Json* parent = nullptr;
  Json* place = &copy;
  std::ptrdiff_t index = 0;
  while (place->is_structured() && !place->empty() && (parent == nullptr || random.chance(0.7))) {
    parent = place;
    index = static_cast<std::ptrdiff_t>(random.below(place->size()));
    place = &*std::next(place->begin(), index);
  }
  switch (random.below(4)) {
    case 0:
      if (parent != nullptr) {
        parent->erase(std::next(parent->begin(), index));
        break;
      }
      [[fallthrough]];
    case 1:
      if (parent != nullptr && parent->is_array()) {
        parent->push_back(Json(*place));
        break;
      }
      [[fallthrough]];
    default:
      *place = kStrange[random.below(kStrange.size())];
  }
  return copy;
}

/// A copy of `good` in which some bytes are changed, gone, doubled, or cut off at the end.
inline std::string damaged(const std::string& good, KeyedRandom& random) {
  std::string copy = good;
  for (std::uint64_t i = 0; i <= random.below(3) && !copy.empty(); ++i) {
    const std::size_t at = random.below(copy.size());
    const std::size_t length = 1 + random.below(std::min<std::size_t>(16, copy.size() - at));
    switch (random.below(5)) {
      case 0:
        copy.resize(at);
        break;
      case 1:
        copy.erase(at, length);
        break;
      case 2:
        copy.insert(at, copy.substr(at, length));
        break;
      default:
        copy[at] = static_cast<char>(random.below(256));
    }
  }
  return copy;
}

/// How many of `count` calls of `read`, each with random numbers of its own, end in an Error. Anything else that is
/// thrown passes through.
template <class Read>
int refusals(int count, const Read& read) {
  int refused = 0;
  for (int i = 0; i < count; ++i) {
    KeyedRandom random(1, "damage", static_cast<std::uint64_t>(i));
    try {
      read(random);
    } catch (const Error&) {
      ++refused;
    }
  }
  return refused;
}

}  // namespace attune
