#include "attune/training/pretrain_augment.h"

#include "attune/images/preprocess.h"

namespace attune {
namespace {

// Ranges of the variation, as they were tuned for drawings of 64 x 64 pixels.
constexpr double kDegrees = 0.26;  // radians either way, about 15 degrees
constexpr double kRotated = 0.6;   // share of the drawings
constexpr double kAspect = 0.12;
constexpr double kShift = 0.18;  // in half widths
constexpr double kMirrored = 0.5;
constexpr double kGreyShares = 0.12;
constexpr double kMix = 0.12;  // largest entry of the random colour mix
constexpr double kDarkGround = 0.15;

/// Independent uniform numbers for every drawing of a batch, handed out column by column.
class Columns {
 public:
  Columns(std::int64_t rows, std::uint64_t seed, std::int64_t step) {
    KeyedRandom random(seed, "pretrain.vary", static_cast<std::uint64_t>(step));
    numbers_ = uniform({kCount, rows}, 0.0, 1.0, random);
  }
  Tensor next() { return numbers_[used_++]; }  // [B] in [0, 1)
  Tensor signs() { return next() * 2 - 1; }    // [B] in [-1, 1)
  Tensor next(std::int64_t columns) {          // [B, columns] in [0, 1)
    used_ += columns;
    return numbers_.narrow(0, used_ - columns, columns).t();
  }
  Tensor chance(double share) { return next() < share; }  // [B] bool

 private:
  static constexpr std::int64_t kCount = 40;
  Tensor numbers_;
  std::int64_t used_ = 0;
};

/// Maps from places in the varied picture to places in the drawing: [B, 2, 3].
Tensor affine_maps(Columns& random) {
  const Tensor usual = random.next() * 0.33 + 0.77, wide = random.next() * 0.6 + 0.6;
  const Tensor zoom = at::where(random.chance(0.7), usual, wide);  // above 1 the drawing gets smaller
  const Tensor rotated = random.chance(kRotated).to(at::kFloat);
  const Tensor angle = random.signs() * kDegrees * rotated;
  const Tensor aspect = random.signs() * kAspect + 1;
  const Tensor flip = 1 - random.chance(kMirrored).to(at::kFloat) * 2;
  const Tensor shift_x = random.signs() * kShift, shift_y = random.signs() * kShift;
  const Tensor cosine = angle.cos(), sine = angle.sin();
  return at::stack({at::stack({zoom * aspect * cosine * flip, -zoom * sine, shift_x}, 1),
                    at::stack({zoom * aspect * sine * flip, zoom * cosine, shift_y}, 1)},
                   1);
}

/// Saturation, a small random mixing of the channels, and brightness, as one matrix a drawing: [B, 3, 3].
Tensor colour_maps(Columns& random) {
  const Tensor grey = random.chance(kGreyShares);
  const Tensor saturation = (random.next() * 0.7 + 0.6).masked_fill(grey, 0.0).view({-1, 1, 1});
  const Tensor luminance = at::tensor({0.3F, 0.59F, 0.11F}).expand({3, 3});
  const Tensor mix = (random.next(9) * 2 - 1).reshape({-1, 3, 3}) * kMix;
  const Tensor gain = (random.next() * 0.35 + 0.8).view({-1, 1, 1});
  return (saturation * at::eye(3) + (1 - saturation) * luminance + mix) * gain;
}

}  // namespace

Tensor vary_drawings(const Tensor& rgba, const Tensor& mono, std::uint64_t seed, std::int64_t step) {
  at::NoGradGuard no_grad;
  const std::int64_t batch = rgba.size(0), side = rgba.size(1);
  Columns random(batch, seed, step);
  const Tensor planes = rgba.permute({0, 3, 1, 2}).to(at::kFloat, false, false, at::MemoryFormat::Contiguous).div_(255);
  const Tensor grid = at::affine_grid_generator(affine_maps(random), {batch, 4, side, side}, /*align_corners=*/false);
  const Tensor moved = at::grid_sampler(planes, grid, /*bilinear*/ 0, /*zeros outside*/ 0, /*align_corners=*/false);

  const Tensor dark = random.chance(kDarkGround).logical_and(mono).unsqueeze(1);
  const Tensor white = random.chance(0.5).unsqueeze(1), black_ink = random.chance(0.5).unsqueeze(1);
  const Tensor pastel = random.next(3) * 0.3 + 0.7, dim = random.next(3) * 0.35;
  const Tensor ground = at::where(dark, dim, pastel.masked_fill(white, 1.0));
  const Tensor grey_ink = (random.next() * 0.25).unsqueeze(1), colour_ink = random.next(3) * 0.75;
  const Tensor light_ink = random.next(3) * 0.3 + 0.7;
  const Tensor ink = at::where(dark, light_ink, at::where(black_ink, grey_ink, colour_ink));

  // Ink or mixed colour over the ground is one affine map of the four planes, so one product does it all.
  const Tensor only_ink = mono.view({-1, 1, 1});
  const Tensor by_colour = colour_maps(random).masked_fill(only_ink, 0.0);
  const Tensor by_alpha = ink.unsqueeze(2).masked_fill(only_ink.logical_not(), 0.0) - ground.unsqueeze(2);
  const Tensor map = at::cat({by_colour, by_alpha}, 2);
  const Tensor pixels = at::baddbmm(ground.unsqueeze(2), map, moved.view({batch, 4, side * side}));
  return pixels.clamp_(0, 1).view({batch, 3, side, side});
}

Tensor plain_drawings(const Tensor& rgba) {
  const Tensor planes = rgba.permute({0, 3, 1, 2}).to(at::kFloat, false, false, at::MemoryFormat::Contiguous).div_(255);
  return (planes.narrow(1, 0, 3) + 1 - planes.narrow(1, 3, 1)).clamp_(0, 1);
}

Tensor normalise_pixels(const Tensor& pixels) {
  const Preprocess clip;
  const auto channel = [](const std::array<float, 3>& values) {
    return at::tensor({values[0], values[1], values[2]}).view({1, 3, 1, 1});
  };
  return (pixels - channel(clip.mean)) / channel(clip.deviation);
}

}  // namespace attune
