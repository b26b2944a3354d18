#pragma once

#include <string>

#include <gtest/gtest.h>

#include "attune/tensors/tensor.h"

namespace attune::testing_support {

/// Expects equal shapes and a largest difference of `tolerance` times the largest expected entry.
inline void expect_close(const Tensor& found, const Tensor& expected, double tolerance = 1e-5,
                         const std::string& name = "") {
  ASSERT_EQ(found.sizes(), expected.sizes()) << name;
  const Tensor difference = (found - expected).abs();
  EXPECT_LE(difference.max().item<double>(), tolerance * (1e-3 + expected.abs().max().item<double>())) << name;
}

inline double largest_difference(const Tensor& left, const Tensor& right) {
  return (left - right).abs().max().item<double>();
}

}  // namespace attune::testing_support
