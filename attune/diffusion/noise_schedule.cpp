#include "attune/diffusion/noise_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

using Betas = NoiseConfig::Betas;

/// 1 less the ratio of the squared cosines at the end and the beginning of each step (Nichol and Dhariwal 2021).
std::vector<double> squared_cosine_betas(std::int64_t steps) {
  constexpr double kOffset = 0.008, kMost = 0.999;
  const auto signal = [&](std::int64_t step) {
    const double time = static_cast<double>(step) / static_cast<double>(steps);
    const double root = std::cos((time + kOffset) / (1.0 + kOffset) * std::numbers::pi / 2.0);
    return root * root;
  };
  std::vector<double> betas;
  for (std::int64_t i = 0; i < steps; ++i) betas.push_back(std::min(1.0 - signal(i + 1) / signal(i), kMost));
  return betas;
}

Tensor betas_of(const NoiseConfig& config) {
  if (!config.given_betas.empty()) return at::tensor(config.given_betas, at::kDouble).to(at::kFloat);
  switch (config.betas) {
    case Betas::kLinear:
      return at::linspace(config.beta_start, config.beta_end, config.steps, at::kFloat);
    case Betas::kScaledLinear:
      return at::linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), config.steps, at::kFloat).pow(2);
    case Betas::kSquaredCosine:
      return at::tensor(squared_cosine_betas(config.steps), at::kDouble).to(at::kFloat);
  }
  throw Error("noise schedule: unknown betas");
}

/// Shifts and scales the square roots of the products so that the last is 0 and the first stays: at the end of time
/// nothing of the picture is left (Lin et al. 2023, algorithm 1).
Tensor without_last_signal(const Tensor& betas) {
  Tensor roots = at::cumprod(1.0 - betas, 0).sqrt();
  const Tensor first = roots[0].clone(), last = roots[-1].clone();
  roots = (roots - last) * (first / (first - last));
  const Tensor products = roots.pow(2);
  return 1.0 - at::cat({products.slice(0, 0, 1), products.slice(0, 1) / products.slice(0, 0, -1)});
}

void check(const NoiseConfig& config) {
  constexpr std::int64_t kMost = 1'000'000;
  if (config.steps < 1 || config.steps > kMost) {
    throw UsageError(fmt::format("noise schedule: expected 1 to {} steps, found {}", kMost, config.steps));
  }
  if (!config.given_betas.empty() && static_cast<std::int64_t>(config.given_betas.size()) != config.steps) {
    throw UsageError(fmt::format("noise schedule: expected a beta for each of {} steps, found {}", config.steps,
                                 config.given_betas.size()));
  }
  if (!(config.beta_start > 0 && config.beta_start < 1 && config.beta_end > 0 && config.beta_end < 1)) {
    throw UsageError(fmt::format("noise schedule: expected betas between 0 and 1, found {} to {}", config.beta_start,
                                 config.beta_end));
  }
  for (const double beta : config.given_betas) {
    if (!(beta > 0 && beta < 1)) {
      throw UsageError(fmt::format("noise schedule: expected betas between 0 and 1, found {}", beta));
    }
  }
}

}  // namespace

NoiseSchedule::NoiseSchedule(const NoiseConfig& config) : config_(config) {
  check(config_);
  betas_ = betas_of(config_);
  if (config_.rescale_to_zero_signal) betas_ = without_last_signal(betas_);
  products_ = at::cumprod(1.0 - betas_, 0);
}

std::pair<Tensor, Tensor> NoiseSchedule::shares(const Tensor& maps, const Tensor& steps) const {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(maps.dim()), 1);
  shape[0] = -1;
  const Tensor products = products_.index_select(0, steps).to(maps.device()).view(shape);
  return {products.sqrt(), (1.0 - products).sqrt()};
}

Tensor NoiseSchedule::add_noise(const Tensor& clean, const Tensor& noise, const Tensor& steps) const {
  const auto [signal, deviation] = shares(clean, steps);
  return signal * clean + deviation * noise;
}

Tensor NoiseSchedule::velocity(const Tensor& clean, const Tensor& noise, const Tensor& steps) const {
  const auto [signal, deviation] = shares(clean, steps);
  return signal * noise - deviation * clean;
}

Tensor NoiseSchedule::target(const Tensor& clean, const Tensor& noise, const Tensor& steps) const {
  switch (config_.prediction) {
    case Prediction::kNoise:
      return noise;
    case Prediction::kVelocity:
      return velocity(clean, noise, steps);
    case Prediction::kClean:
      return clean;
  }
  throw Error("noise schedule: unknown prediction");
}

}  // namespace attune
