#include "attune/training/mae_pictures.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/random.h"
#include "attune/data/parallel.h"
#include "attune/images/decode.h"
#include "attune/tensors/parallel.h"

namespace attune {
namespace {

KeyedRandom random_of(const char* purpose, const std::string& hash, std::uint64_t seed, std::int64_t epoch) {
  return {seed, fmt::format("{} of {}", purpose, hash), static_cast<std::uint64_t>(epoch)};
}

Tensor empty_views(std::size_t count, const Preprocess& preprocess) {
  return at::empty({static_cast<std::int64_t>(count), 3, preprocess.size, preprocess.size}, at::kFloat);
}

}  // namespace

MaePictures::MaePictures(const std::vector<std::filesystem::path>& paths, int side, Progress* progress)
    : pictures_(paths.size()) {
  if (paths.empty()) throw UsageError("mae: expected at least one picture, found none");
  const int threads = static_cast<int>(parallel_width());
  parallel_for(
      std::ssize(paths), threads,
      [&](std::int64_t i) {
        const auto& path = paths[static_cast<std::size_t>(i)];
        const std::string content = read_file(path);
        Image image = decode_image(std::as_bytes(std::span(content)), path.string());
        if (std::min(image.width, image.height) > side) image = resize_short_side(image, side, Filter::kBicubic);
        pictures_[static_cast<std::size_t>(i)] = {std::move(image), sha256(content)};
      },
      progress);
  std::sort(pictures_.begin(), pictures_.end(), [](const Picture& a, const Picture& b) { return a.hash < b.hash; });
  std::string all;
  for (const Picture& picture : pictures_) all += picture.hash;
  hash_ = sha256(all);
}

std::vector<MaePictures::Place> MaePictures::places(std::int64_t step, std::int64_t batch, std::uint64_t seed) {
  std::vector<Place> places;
  for (std::int64_t i = 0; i < batch; ++i) {
    const std::int64_t at = step * batch + i, pass = at / size();
    if (pass != pass_) {
      order_ = random_order(size(), seed, "mae.order", static_cast<std::uint64_t>(pass));
      pass_ = pass;
    }
    places.push_back({order_[static_cast<std::size_t>(at % size())], pass});
  }
  return places;
}

Tensor MaePictures::views(const std::vector<Place>& places, const Preprocess& preprocess,
                          const Augmentation& augmentation, std::uint64_t seed) const {
  Tensor views = empty_views(places.size(), preprocess);
  float* out = views.mutable_data_ptr<float>();
  const std::int64_t floats = 3 * std::int64_t{preprocess.size} * preprocess.size;
  in_parallel(std::ssize(places), [&](std::int64_t i) {
    const Place& place = places[static_cast<std::size_t>(i)];
    const Picture& picture = pictures_[static_cast<std::size_t>(place.picture)];
    KeyedRandom random = random_of("mae.view", picture.hash, seed, place.epoch);
    normalise(random_view(picture.image, preprocess, augmentation, random), preprocess, out + i * floats);
  });
  return views;
}

Tensor MaePictures::centre_views(std::int64_t count, const Preprocess& preprocess, std::uint64_t seed) const {
  const auto order = random_order(size(), seed, "mae.sheet");
  const auto shown = static_cast<std::size_t>(std::min(count, size()));
  Tensor views = empty_views(shown, preprocess);
  for (std::size_t i = 0; i < shown; ++i) {
    const Image& image = pictures_[static_cast<std::size_t>(order[i])].image;
    normalise(centre_view(image, preprocess), preprocess,
              views[static_cast<std::int64_t>(i)].mutable_data_ptr<float>());
  }
  return views;
}

Tensor MaePictures::orders(const std::vector<Place>& places, std::int64_t cells, std::uint64_t seed) const {
  Tensor orders = at::empty({std::ssize(places), cells}, at::kLong);
  std::vector<std::int64_t> order(static_cast<std::size_t>(cells));
  std::int64_t* out = orders.mutable_data_ptr<std::int64_t>();
  for (const Place& place : places) {
    KeyedRandom random =
        random_of("mae.mask", pictures_[static_cast<std::size_t>(place.picture)].hash, seed, place.epoch);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
    random.shuffle(order);
    out = std::copy(order.begin(), order.end(), out);
  }
  return orders;
}

}  // namespace attune
