#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace attune {

/// A check of an option's value by `fits`; `kind` stands in the help, `expected` in the error beside what was found.
template <class T, class Fits>
CLI::Validator number_check(std::string kind, std::string expected, Fits fits) {
  return {[expected = std::move(expected), fits = std::move(fits)](std::string& text) {
            T value{};
            const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
            if (problem == std::errc() && end == text.data() + text.size() && fits(value)) return std::string();
            return fmt::format("expected {}, found {}", expected, text);
          },
          std::move(kind)};
}

/// Integers, or numbers where T is a floating point type, from `least` to `most`.
template <class T>
CLI::Validator within(T least, T most) {
  return number_check<T>(fmt::format("{}-{}", least, most), fmt::format("{} to {}", least, most),
                         [=](T value) { return value >= least && value <= most; });
}

/// Integers from `least`, which is 0 or 1.
template <class T>
CLI::Validator at_least(T least) {
  return number_check<T>(least == 0 ? "NONNEGATIVE" : "POSITIVE", fmt::format("an integer from {}", least),
                         [=](T value) { return value >= least; });
}

/// One of `names`.
inline CLI::Validator among(std::vector<std::string> names) {
  std::string kind = fmt::format("{{{}}}", fmt::join(names, ","));
  return {[names = std::move(names)](std::string& text) {
            if (std::find(names.begin(), names.end(), text) != names.end()) return std::string();
            return fmt::format("expected one of {}, found {}", fmt::join(names, ", "), text);
          },
          std::move(kind)};
}

}  // namespace attune
