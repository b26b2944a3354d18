#include <cstdio>

#include "attune/methods/registry.h"

int main() {
  for (const attune::Method& method : attune::methods()) std::printf("%s\n", method.name.c_str());
  const attune::Tensor ones = at::ones({2, 2});
  return ones.sum().item<double>() == 4.0 ? 0 : 1;
}
