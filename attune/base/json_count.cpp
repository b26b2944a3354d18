#include "attune/base/json_count.h"

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

std::int64_t count_at(const Json& object, std::string_view key, std::string_view where, std::int64_t low) {
  const auto value = json_at<std::int64_t>(object, key, where);
  if (value < low) throw Error(fmt::format("{}: expected \"{}\" of at least {}, found {}", where, key, low, value));
  return value;
}

}  // namespace attune
