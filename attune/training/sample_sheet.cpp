#include "attune/training/sample_sheet.h"

#include <algorithm>

#include "attune/training/captioned_pictures.h"

namespace attune {
namespace {

constexpr std::int64_t kGap = 4;        // pixels between pictures
constexpr std::int64_t kSmallest = 96;  // side of a picture on the sheet, pixels

}  // namespace

Tensor draw_maps(const UNet& network, const SamplerConfig& sampler, std::int64_t side, const Tensor& hidden,
                 const Tensor& empty, const DrawSettings& settings) {
  const at::NoGradGuard no_gradients;
  const std::vector<std::int64_t> one{1, network.config().in_channels, side, side};
  std::vector<Tensor> noises;
  for (std::int64_t i = 0; i < hidden.size(0); ++i) {
    KeyedRandom random(settings.seed, "draw", static_cast<std::uint64_t>(i));
    noises.push_back(normal(one, 0, 1, random));
  }
  Tensor maps = at::cat(noises);
  KeyedRandom random(settings.seed, "draw.steps");
  const auto noise = [&] { return normal(maps.sizes(), 0, 1, random); };
  const auto way = make_sampler(sampler, settings.steps);
  for (const std::int64_t time : way->times()) {
    const Tensor steps = at::full({1}, time, at::kLong);
    Tensor predicted = network.predict(maps, steps, hidden);
    if (settings.guidance != 1.0) {
      predicted = at::lerp(network.predict(maps, steps, empty), predicted, settings.guidance);
    }
    maps = way->next(predicted, maps, noise);
  }
  return maps;
}

Image sheet_of(const Tensor& pictures, std::int64_t columns) {
  const std::int64_t size = pictures.size(2), factor = std::max<std::int64_t>(1, (kSmallest + size - 1) / size);
  const std::int64_t side = size * factor, rows = (pictures.size(0) + columns - 1) / columns;
  const Tensor sheet = at::ones({3, rows * (side + kGap) + kGap, columns * (side + kGap) + kGap});
  for (std::int64_t i = 0; i < pictures.size(0); ++i) {
    const Tensor large = pictures[i].repeat_interleave(factor, 1).repeat_interleave(factor, 2);
    sheet.narrow(1, kGap + i / columns * (side + kGap), side)
        .narrow(2, kGap + i % columns * (side + kGap), side)
        .copy_(large);
  }
  return picture_of(sheet);
}

}  // namespace attune
