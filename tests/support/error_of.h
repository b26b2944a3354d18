#pragma once

#include <string>

#include "attune/base/error.h"

namespace attune {

/// The text of the Error that `call` throws, or "" where it throws none.
template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace attune
