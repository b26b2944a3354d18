#include <ATen/ATen.h>

int main() {
  return at::ones({2, 2}).sum().item<double>() == 4.0 ? 0 : 1;
}
