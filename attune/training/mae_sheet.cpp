#include "attune/training/mae_sheet.h"

#include <algorithm>

namespace attune {
namespace {

constexpr std::int64_t kGap = 4;         // pixels between the panels
constexpr std::int64_t kSmallest = 128;  // side of a panel, pixels
constexpr double kGrey = 0.5, kPaper = 1.0;

/// Normalised pixels as colours 0..1.
Tensor colours(const Tensor& pixels, const Preprocess& preprocess) {
  const auto channel = [](const std::array<float, 3>& values) {
    return at::tensor(at::ArrayRef<float>(values.data(), values.size())).view({1, 3, 1, 1});
  };
  return (pixels * channel(preprocess.deviation) + channel(preprocess.mean)).clamp(0.0, 1.0);
}

/// The predictions as pixels, with the mean and deviation of the patches that they stand for.
Tensor as_pixels(const Mae& mae, const Tensor& predicted, const Tensor& hidden) {
  if (!mae.config().normalise_targets) return predicted;
  return predicted * hidden.var(2, true, true).sqrt() + hidden.mean(2, true);
}

Image to_image(const Tensor& colours) {  // [3, height, width]
  const Tensor bytes = (colours * 255.0).round().to(at::kByte).permute({1, 2, 0}).contiguous();
  Image image{static_cast<int>(bytes.size(1)), static_cast<int>(bytes.size(0)), {}};
  const std::uint8_t* data = bytes.const_data_ptr<std::uint8_t>();
  image.rgb.assign(data, data + bytes.numel());
  return image;
}

}  // namespace

Image reconstruction_sheet(const Mae& mae, const Preprocess& preprocess, const Tensor& pixels, const Tensor& order) {
  const at::NoGradGuard no_gradients;
  const MaeConfig& config = mae.config();
  const Tensor masked = order.narrow(1, config.visible(), config.cells() - config.visible());
  const Tensor hidden = mae.hidden_patches(pixels, order);
  const Tensor predicted = as_pixels(mae, mae.forward(pixels, order).predicted, hidden);
  const Tensor original = colours(pixels, preprocess);
  const Tensor seen = put_patches(original, at::full_like(hidden, kGrey), masked, config.patch);
  const Tensor filled = colours(put_patches(pixels, predicted, masked, config.patch), preprocess);

  const std::int64_t factor = std::max<std::int64_t>(1, (kSmallest + config.image_size - 1) / config.image_size);
  const std::int64_t side = config.image_size * factor, rows = pixels.size(0);
  const Tensor sheet = at::full({3, rows * (side + kGap) + kGap, 3 * (side + kGap) + kGap}, kPaper);
  std::int64_t left = kGap;
  for (const Tensor& column : {original, seen, filled}) {
    const Tensor panels = column.repeat_interleave(factor, 2).repeat_interleave(factor, 3);
    for (std::int64_t row = 0; row < rows; ++row) {
      sheet.narrow(1, kGap + row * (side + kGap), side).narrow(2, left, side).copy_(panels[row]);
    }
    left += side + kGap;
  }
  return to_image(sheet);
}

}  // namespace attune
