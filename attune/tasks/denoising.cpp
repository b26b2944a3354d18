#include "attune/tasks/denoising.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::int64_t kPairsAtOnce = 16;

}  // namespace

NoiseDraw draw_noise(const NoiseSchedule& schedule, at::IntArrayRef shape, std::uint64_t seed, std::string_view purpose,
                     std::uint64_t index) {
  KeyedRandom random(seed, purpose, index);
  const std::int64_t count = shape.front();
  std::vector<std::int64_t> steps;
  for (std::int64_t i = 0; i < count; ++i) {
    const double place = (static_cast<double>(i) + random.uniform()) / static_cast<double>(count);
    const auto step = static_cast<std::int64_t>(place * static_cast<double>(schedule.steps()));
    steps.push_back(std::min(step, schedule.steps() - 1));
  }
  random.shuffle(steps);
  return {at::tensor(steps, at::kLong), normal(shape, 0, 1, random)};
}

Tensor denoising_loss(const UNet& network, const NoiseSchedule& schedule, const Tensor& maps, const NoiseDraw& draw,
                      const Tensor& hidden) {
  const Tensor noisy = schedule.add_noise(maps, draw.noise, draw.steps);
  return at::mse_loss(network.predict(noisy, draw.steps, hidden), schedule.target(maps, draw.noise, draw.steps));
}

DenoisingTask::DenoisingTask(std::shared_ptr<const DiffusionModel> model, ConceptMaps maps, std::int64_t repeats,
                             std::uint64_t seed)
    : model_(std::move(model)), schedule_(model_->noise()), maps_(std::move(maps)), repeats_(repeats), seed_(seed) {
  if (repeats < 1) throw UsageError(fmt::format("repeats: expected at least 1, found {}", repeats));
}

Tensor DenoisingTask::views(const std::vector<std::int64_t>& samples) const {
  KeyedRandom random(seed_, "denoising.view", static_cast<std::uint64_t>(step_));
  std::vector<Tensor> views;
  for (const std::int64_t sample : samples) {
    const bool mirror = maps_.mirrored.defined() && random.chance(0.5);
    views.push_back((mirror ? maps_.mirrored : maps_.plain)[sample % maps_.plain.size(0)]);
  }
  return at::stack(views);
}

Objective DenoisingTask::loss(const Tensor& embeddings, const std::vector<std::int64_t>& samples) {
  const Tensor maps = views(samples);
  const NoiseDraw draw =
      draw_noise(schedule_, maps.sizes(), seed_, "denoising.noise", static_cast<std::uint64_t>(step_));
  const Tensor hidden = embeddings.dim() == 2 ? embeddings.unsqueeze(0) : embeddings;
  return {denoising_loss(model_->network(), schedule_, maps, draw, hidden), {}};
}

DenoisingProbe::DenoisingProbe(std::shared_ptr<const DiffusionModel> model, const Tensor& maps, std::int64_t pairs,
                               std::uint64_t seed)
    : model_(std::move(model)),
      schedule_(model_->noise()),
      maps_(maps.index_select(0, at::arange(pairs, at::kLong).remainder(maps.size(0)))),
      draw_(draw_noise(schedule_, maps_.sizes(), seed, "denoising.probe", 0)) {}

double DenoisingProbe::loss(const Tensor& hidden) const {
  const at::NoGradGuard no_gradients;
  double sum = 0;
  for (std::int64_t first = 0; first < maps_.size(0); first += kPairsAtOnce) {
    const std::int64_t count = std::min(kPairsAtOnce, maps_.size(0) - first);
    const NoiseDraw part{draw_.steps.narrow(0, first, count), draw_.noise.narrow(0, first, count)};
    const Tensor loss =
        denoising_loss(model_->network(), schedule_, maps_.narrow(0, first, count), part, hidden.unsqueeze(0));
    sum += loss.item<double>() * static_cast<double>(count);
  }
  return sum / static_cast<double>(maps_.size(0));
}

}  // namespace attune
