#pragma once

#include <stdexcept>
#include <string>

namespace attune {

/// What library code throws. The text reads "where: what was expected, what was found", and names the file, option or
/// value that is at fault.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& text) : std::runtime_error(text) {}
};

/// An error in what was asked for (an unknown option or key, an impossible pair), as against an error in the data.
/// Programs exit with 2 instead of 1.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace attune
