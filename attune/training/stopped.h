#pragma once

#include <string>

namespace attune {

/// Thrown where long work ends because a stop was asked for; the program then exits with 130.
struct Stopped {
  std::string how_to_go_on;
};

}  // namespace attune
