#include "attune/methods/generator.h"

#include <cmath>
#include <string>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/network.h"

namespace attune {
namespace {

constexpr double kSlope = 0.2;
constexpr double kNormMomentum = 0.1;
/// Places of the linear layers in the release's lists of layers.
constexpr int kGeneratorLinear[] = {0, 2, 5, 8, 11};
constexpr int kDiscriminatorLinear[] = {0, 2, 5, 8};

std::string weight_of(int place) {
  return fmt::format("{}.weight", place);
}
std::string bias_of(int place) {
  return fmt::format("{}.bias", place);
}

void add_linear(TensorMap& parameters, int place, std::int64_t in, std::int64_t out, KeyedRandom& random) {
  const double weight_bound = std::sqrt(6.0 / static_cast<double>(in));
  parameters[weight_of(place)] = uniform({out, in}, -weight_bound, weight_bound, random);
  parameters[bias_of(place)] = linear_start({out}, in, random);
}

void require_gradients(const TensorMap& parameters) {
  for (const auto& [name, tensor] : parameters) tensor.requires_grad_(true);
}

void move_to(TensorMap& tensors, at::Device device, bool gradients) {
  for (auto& [name, tensor] : tensors) tensor = tensor.detach().to(device).requires_grad_(gradients);
}

}  // namespace

PromptGenerator::PromptGenerator(std::int64_t feature_width, std::int64_t prompt_length, std::int64_t prompt_width,
                                 KeyedRandom& random)
    : prompt_length_(prompt_length), prompt_width_(prompt_width) {
  const std::int64_t sizes[] = {kNoise + feature_width, 128, 256, 512, 1024, prompt_length * prompt_width};
  for (int layer = 0; layer < 5; ++layer) {
    add_linear(parameters_, kGeneratorLinear[layer], sizes[layer], sizes[layer + 1], random);
    if (layer == 0 || layer == 4) continue;
    const int norm = kGeneratorLinear[layer] + 1;
    parameters_[weight_of(norm)] = at::ones({sizes[layer + 1]});
    parameters_[bias_of(norm)] = at::zeros({sizes[layer + 1]});
    statistics_[fmt::format("{}.running_mean", norm)] = at::zeros({sizes[layer + 1]});
    statistics_[fmt::format("{}.running_var", norm)] = at::ones({sizes[layer + 1]});
  }
  require_gradients(parameters_);
}

Tensor PromptGenerator::operator()(const Tensor& noise, const Tensor& features, bool training) const {
  if (training && noise.size(0) < 2) {
    throw Error(fmt::format("spg: batch normalisation expects at least 2 images a step, found {}", noise.size(0)));
  }
  const auto linear = [&](const Tensor& x, int place) {
    return at::linear(x, parameters_.at(weight_of(place)), parameters_.at(bias_of(place)));
  };
  Tensor x = at::leaky_relu(linear(at::cat({noise, features}, 1), kGeneratorLinear[0]), kSlope);
  for (int layer = 1; layer < 4; ++layer) {
    const int norm = kGeneratorLinear[layer] + 1;
    x = at::batch_norm(linear(x, kGeneratorLinear[layer]), parameters_.at(weight_of(norm)),
                       parameters_.at(bias_of(norm)), statistics_.at(fmt::format("{}.running_mean", norm)),
                       statistics_.at(fmt::format("{}.running_var", norm)), training, kNormMomentum, kNormEpsilon,
                       /*cudnn_enabled=*/false);
    x = at::leaky_relu(x, kSlope);
  }
  return at::tanh(linear(x, kGeneratorLinear[4])).view({-1, prompt_length_, prompt_width_});
}

TensorMap PromptGenerator::state() const {
  TensorMap state = statistics_;
  for (const auto& [name, tensor] : parameters_) state[name] = tensor.detach();
  return state;
}

void PromptGenerator::to(at::Device device) {
  move_to(parameters_, device, true);
  move_to(statistics_, device, false);
}

PromptDiscriminator::PromptDiscriminator(std::int64_t feature_width, std::int64_t prompt_length,
                                         std::int64_t prompt_width, KeyedRandom& random) {
  const std::int64_t sizes[] = {prompt_length * prompt_width + feature_width, kHidden, kHidden, kHidden, 1};
  for (int layer = 0; layer < 4; ++layer) {
    add_linear(parameters_, kDiscriminatorLinear[layer], sizes[layer], sizes[layer + 1], random);
  }
  require_gradients(parameters_);
}

Tensor PromptDiscriminator::operator()(const Tensor& prompts, const Tensor& features, const Tensor& masks,
                                       bool frozen) const {
  const auto linear = [&](const Tensor& x, int place) {
    const Tensor& weight = parameters_.at(weight_of(place));
    const Tensor& bias = parameters_.at(bias_of(place));
    return frozen ? at::linear(x, weight.detach(), bias.detach()) : at::linear(x, weight, bias);
  };
  Tensor x = at::leaky_relu(linear(at::cat({prompts.flatten(1), features}, 1), kDiscriminatorLinear[0]), kSlope);
  for (int layer = 1; layer < 3; ++layer) {
    x = at::leaky_relu(linear(x, kDiscriminatorLinear[layer]) * masks[layer - 1], kSlope);
  }
  return linear(x, kDiscriminatorLinear[3]);
}

void PromptDiscriminator::to(at::Device device) {
  move_to(parameters_, device, true);
}

Tensor dropout_masks(std::int64_t batch, KeyedRandom& random) {
  return dropout_mask({2, batch, PromptDiscriminator::kHidden}, PromptDiscriminator::kDropout, random);
}

}  // namespace attune
