#include "attune/clip/config_members.h"

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

std::int64_t read_count(const Json& object, const char* key, std::int64_t otherwise, const std::string& where) {
  const auto value = json_or<std::int64_t>(object, key, otherwise, where);
  if (value < 1 || value > 1'000'000) {
    throw Error(fmt::format("{}: expected '{}' between 1 and 1000000, found {}", where, key, value));
  }
  return value;
}

void check_heads(std::int64_t width, std::int64_t heads, const std::string& where) {
  if (width % heads != 0) {
    throw Error(fmt::format("{}: expected a width that {} heads divide, found {}", where, heads, width));
  }
}

}  // namespace attune
