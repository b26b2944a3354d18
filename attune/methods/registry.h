#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/config.h"
#include "attune/methods/learner.h"

namespace attune {

/// A method that can be chosen by name.
struct Method {
  std::string name;
  std::string meaning;  // one line for --help
  Schema schema;        // its configuration keys with their defaults
  std::function<std::unique_ptr<Classifier>(std::shared_ptr<const ClipModel>, const ClassNames&, const Config&,
                                            std::uint64_t seed)>
      make;
};

/// All methods, in the order in which --help lists them.
const std::vector<Method>& methods();

/// Throws UsageError that names the nearest known method.
const Method& find_method(std::string_view name);

/// A method as users write it: "coop" or "coop:context.length=4,context.init=a photo of a". The part behind the colon
/// is a list of assignments for Config::set; a piece without "=" continues the value before it.
struct MethodChoice {
  std::string name;
  std::vector<std::string> assignments;
};
MethodChoice parse_method(std::string_view text);

}  // namespace attune
