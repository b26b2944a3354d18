#include "attune/training/captioned_pictures.h"

#include <algorithm>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/random.h"
#include "attune/data/parallel.h"
#include "attune/images/decode.h"
#include "attune/images/preprocess.h"
#include "attune/tensors/parallel.h"

namespace attune {
namespace {

Image square_of(const Image& image, int most) {
  const Image square = centre_crop(image, std::min(image.width, image.height), CropConvention::kTorchvision);
  return square.width > most ? resize(square, most, most, Filter::kBicubic) : square;
}

Image mirrored(const Image& image) {
  Image result = image;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const auto to = static_cast<std::ptrdiff_t>(3 * (y * image.width + x));
      const auto from = static_cast<std::ptrdiff_t>(3 * (y * image.width + image.width - 1 - x));
      std::copy_n(image.rgb.begin() + from, 3, result.rgb.begin() + to);
    }
  }
  return result;
}

/// The picture, `side` pixels wide, on a white square.
Image on_white(const Image& picture, int size, int side, int left, int top) {
  Image canvas{size, size, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * size * size), 255)};
  const Image small = resize(picture, side, side, Filter::kBicubic);
  for (int y = 0; y < side; ++y) {
    std::copy_n(small.rgb.begin() + static_cast<std::ptrdiff_t>(3 * y * side), 3 * side,
                canvas.rgb.begin() + static_cast<std::ptrdiff_t>(3 * ((top + y) * size + left)));
  }
  return canvas;
}

}  // namespace

Tensor picture_maps(const Image& image) {
  const Tensor bytes =
      at::tensor(at::ArrayRef<std::uint8_t>(image.rgb), at::kByte).view({image.height, image.width, 3});
  return (bytes.to(at::kFloat) / 127.5 - 1.0).permute({2, 0, 1}).contiguous();
}

CaptionedPictures::CaptionedPictures(const Dataset& dataset, const std::vector<Sample>& samples,
                                     const PictureView& view, Progress* progress)
    : view_(view), pictures_(samples.size()) {
  if (samples.empty()) throw UsageError(fmt::format("{}: expected at least one picture, found none", dataset.name));
  std::vector<std::string> hashes(samples.size());
  parallel_for(
      std::ssize(samples), static_cast<int>(parallel_width()),
      [&](std::int64_t i) {
        const auto at = static_cast<std::size_t>(i);
        const auto path = dataset.path_of(samples[at]);
        const std::string content = read_file(path);
        pictures_[at] = square_of(decode_image(std::as_bytes(std::span(content)), path.string()), 2 * view.size);
        hashes[at] = sha256(content);
      },
      progress);
  std::string all;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Sample& sample = samples[i];
    names_.push_back(sample.caption.empty() ? dataset.classes.at(static_cast<std::size_t>(sample.label))
                                            : sample.caption);
    all += hashes[i] + names_.back() + "\n";
  }
  hash_ = sha256(all);
}

std::vector<std::int64_t> CaptionedPictures::places(std::int64_t step, std::int64_t batch, std::uint64_t seed) const {
  std::vector<std::int64_t> places;
  std::vector<std::int64_t> order;
  std::int64_t pass = -1;
  for (std::int64_t i = step * batch; i < (step + 1) * batch; ++i) {
    if (i / size() != pass) {
      pass = i / size();
      order = random_order(size(), seed, "captioned.order", static_cast<std::uint64_t>(pass));
    }
    places.push_back(order[static_cast<std::size_t>(i % size())]);
  }
  return places;
}

Tensor CaptionedPictures::views(const std::vector<std::int64_t>& pictures, std::uint64_t seed,
                                std::int64_t step) const {
  KeyedRandom random(seed, "captioned.view", static_cast<std::uint64_t>(step));
  std::vector<Tensor> views;
  for (const std::int64_t picture : pictures) {
    const int side = static_cast<int>(std::lround(view_.size * random.uniform(view_.smallest, 1.0)));
    const auto room = static_cast<std::uint64_t>(view_.size - side) + 1;
    const int left = static_cast<int>(random.below(room)), top = static_cast<int>(random.below(room));
    const Image view = on_white(pictures_[static_cast<std::size_t>(picture)], view_.size, side, left, top);
    views.push_back(picture_maps(random.chance(view_.flip) ? mirrored(view) : view));
  }
  return at::stack(views);
}

Tensor CaptionedPictures::plain(std::int64_t picture) const {
  return picture_maps(resize(pictures_[static_cast<std::size_t>(picture)], view_.size, view_.size, Filter::kBicubic));
}

}  // namespace attune
