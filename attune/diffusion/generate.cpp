#include "attune/diffusion/generate.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

Tensor noise_of(const GenerateSettings& settings, std::int64_t channels, std::int64_t picture, const char* purpose,
                std::int64_t step) {
  constexpr int kStepBits = 24;
  KeyedRandom random(settings.seed, purpose, static_cast<std::uint64_t>((picture << kStepBits) + step));
  return normal({1, channels, settings.side, settings.side}, 0, 1, random);
}

/// The noise of several pictures, each its own.
Tensor noise_of(const GenerateSettings& settings, std::int64_t channels, std::int64_t first, std::int64_t count,
                const char* purpose, std::int64_t step) {
  std::vector<Tensor> noise;
  for (std::int64_t i = 0; i < count; ++i) noise.push_back(noise_of(settings, channels, first + i, purpose, step));
  return at::cat(noise);
}

void check(const Steering& steering) {
  if (!std::isfinite(steering.scale)) {
    throw UsageError(fmt::format("generation: expected a finite guidance scale, found {}", steering.scale));
  }
  if (steering.scale != 1.0 && !steering.empty.defined()) {
    throw UsageError(fmt::format(
        "generation: a guidance scale of {} guides away from what an empty text says, but there are no such rows",
        steering.scale));
  }
}

}  // namespace

Tensor generate_maps(const UNet& network, const Steering& steering, const GenerateSettings& settings,
                     std::int64_t first, std::int64_t count, const std::function<bool()>& stepped) {
  check(steering);
  const at::NoGradGuard without_gradients;
  const std::int64_t channels = network.config().in_channels;
  const auto sampler = make_sampler(settings.sampler, settings.steps);
  Tensor maps = noise_of(settings, channels, first, count, "generate", 0);
  for (std::size_t i = 0; i < sampler->times().size(); ++i) {
    const Tensor time = at::full({1}, sampler->times()[i], at::kLong);
    Tensor predicted = network.predict(maps, time, steering.hidden);
    if (steering.scale != 1.0) {
      const Tensor empty = network.predict(maps, time, steering.empty);
      predicted = empty + steering.scale * (predicted - empty);
    }
    maps = sampler->next(predicted, maps, [&] {
      return noise_of(settings, channels, first, count, "generate.step", static_cast<std::int64_t>(i));
    });
    if (stepped && !stepped()) break;
  }
  return maps;
}

std::int64_t pictures_at_once(std::int64_t side) {
  constexpr std::int64_t kCells = 8192, kMost = 16;
  return std::clamp<std::int64_t>(kCells / (side * side), 1, kMost);
}

Image colours_of(const Tensor& pixels) {
  if (pixels.dim() != 3 || pixels.size(0) != 3) {
    throw Error(fmt::format("colours: expected pixels [3, H, W], found [{}]", fmt::join(pixels.sizes(), ", ")));
  }
  const Tensor bytes =
      ((pixels / 2 + 0.5).clamp(0.0, 1.0) * 255.0).round().to(at::kByte).permute({1, 2, 0}).contiguous();
  Image image{static_cast<int>(bytes.size(1)), static_cast<int>(bytes.size(0)), {}};
  const std::uint8_t* data = bytes.const_data_ptr<std::uint8_t>();
  image.rgb.assign(data, data + bytes.numel());
  return image;
}

std::vector<Image> all_colours_of(const Tensor& pixels) {
  std::vector<Image> images;
  for (const Tensor& picture : pixels.unbind()) images.push_back(colours_of(picture));
  return images;
}

}  // namespace attune
