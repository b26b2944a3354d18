#include "attune/methods/prompt_encoder.h"

#include <cmath>
#include <string>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/network.h"

namespace attune {
namespace {

constexpr double kNormEpsilon = 1e-5;

/// Adds the layer `name` with a weight [out, in] and a bias.
void add(TensorMap& parameters, const std::string& name, Tensor weight, Tensor bias) {
  parameters[name + ".weight"] = std::move(weight);
  parameters[name + ".bias"] = std::move(bias);
}

TensorMap layer_start(std::int64_t width, std::int64_t hidden, KeyedRandom& random) {
  TensorMap layer;
  // The release starts query, key and value as one weight [3 d, d], Xavier-uniform.
  const double bound = std::sqrt(6.0 / static_cast<double>(4 * width));
  add(layer, "value", uniform({width, width}, -bound, bound, random), at::zeros({width}));
  add(layer, "out", linear_start({width, width}, width, random), at::zeros({width}));
  add(layer, "linear1", linear_start({hidden, width}, width, random), linear_start({hidden}, width, random));
  add(layer, "linear2", linear_start({width, hidden}, hidden, random), linear_start({width}, hidden, random));
  add(layer, "norm1", at::ones({width}), at::zeros({width}));
  add(layer, "norm2", at::ones({width}), at::zeros({width}));
  return layer;
}

}  // namespace

PromptEncoder::PromptEncoder(std::int64_t feature_width, std::int64_t hidden, std::int64_t prompt_length,
                             std::int64_t prompt_width, KeyedRandom& random, at::Device device)
    : prompt_length_(prompt_length), prompt_width_(prompt_width) {
  if (feature_width % kHeads != 0) {
    throw UsageError(fmt::format("dpspg: expected a model whose joint width is a multiple of {} heads, found {}",
                                 kHeads, feature_width));
  }
  const TensorMap start = layer_start(feature_width, hidden, random);
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const auto& [name, tensor] : start) parameters_[fmt::format("{}.{}", layer, name)] = tensor.clone();
  }
  const std::int64_t entries = prompt_length * prompt_width;
  add(parameters_, "prompt", linear_start({entries, feature_width}, feature_width, random),
      linear_start({entries}, feature_width, random));
  for (auto& [name, tensor] : parameters_) tensor = tensor.to(device).requires_grad_(true);
}

Tensor PromptEncoder::operator()(const Tensor& features, double dropout, KeyedRandom* random) const {
  const auto named = [&](int layer, const char* name, const char* role) {
    return parameters_.at(fmt::format("{}.{}.{}", layer, name, role));
  };
  const auto linear = [&](const Tensor& x, int layer, const char* name) {
    return at::linear(x, named(layer, name, "weight"), named(layer, name, "bias"));
  };
  const auto norm = [&](const Tensor& x, int layer, const char* name) {
    return at::layer_norm(x, {x.size(1)}, named(layer, name, "weight"), named(layer, name, "bias"), kNormEpsilon);
  };
  const auto drop = [&](const Tensor& x, at::IntArrayRef shape) {
    return random == nullptr ? x : x * dropout_mask(shape, dropout, *random).to(x.device());
  };
  const std::int64_t batch = features.size(0);
  Tensor x = features;
  for (int layer = 0; layer < kLayers; ++layer) {
    const Tensor heads = drop(linear(x, layer, "value").view({batch, kHeads, -1}), {batch, kHeads, 1});
    const Tensor answer = linear(heads.flatten(1), layer, "out");
    x = norm(x + drop(answer, answer.sizes()), layer, "norm1");
    const Tensor hidden = at::relu(linear(x, layer, "linear1"));
    const Tensor fed = linear(drop(hidden, hidden.sizes()), layer, "linear2");
    x = norm(x + drop(fed, fed.sizes()), layer, "norm2");
  }
  return at::linear(x, parameters_.at("prompt.weight"), parameters_.at("prompt.bias"))
      .view({-1, prompt_length_, prompt_width_});
}

}  // namespace attune
