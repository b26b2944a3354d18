#include "attune/data/floors.h"

#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/parallel.h"
#include "attune/images/decode.h"
#include "attune/images/preprocess.h"

namespace attune {
namespace {

constexpr int kSide = 16;

std::vector<std::vector<float>> features_of(const Dataset& dataset, std::span<const Sample> samples, int threads) {
  std::vector<std::vector<float>> features(samples.size());
  parallel_for(static_cast<std::int64_t>(samples.size()), threads, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    features[at] = pixel_feature(read_image(dataset.path_of(samples[at])));
  });
  return features;
}

}  // namespace

std::vector<float> pixel_feature(const Image& image) {
  const Image small = resize(image, kSide, kSide, Filter::kBilinear);
  std::vector<float> feature(small.rgb.begin(), small.rgb.end());
  const double mean = std::accumulate(feature.begin(), feature.end(), 0.0) / static_cast<double>(feature.size());
  double square = 0;
  for (float& value : feature) {
    value -= static_cast<float>(mean);
    square += static_cast<double>(value) * value;
  }
  const double length = std::sqrt(square);
  for (float& value : feature) value = length < 1e-3 ? 0.0F : static_cast<float>(value / length);
  return feature;
}

PixelFloor pixel_floor(const Dataset& dataset, std::span<const Sample> gallery, std::span<const Sample> queries,
                       bool other_concepts, int threads) {
  if (gallery.empty() || queries.empty()) {
    throw UsageError(fmt::format("pixel_floor: expected pictures to compare, found {} in the gallery and {} queries",
                                 gallery.size(), queries.size()));
  }
  const auto known = features_of(dataset, gallery, threads);
  const auto asked = features_of(dataset, queries, threads);
  std::vector<std::uint8_t> right(queries.size());
  parallel_for(static_cast<std::int64_t>(queries.size()), threads, [&](std::int64_t i) {
    const auto q = static_cast<std::size_t>(i);
    float best = -2;
    std::int64_t label = -1;
    for (std::size_t g = 0; g < gallery.size(); ++g) {
      if (other_concepts && gallery[g].concept_name == queries[q].concept_name) continue;
      const float cosine = std::inner_product(known[g].begin(), known[g].end(), asked[q].begin(), 0.0F);
      if (cosine > best) {
        best = cosine;
        label = gallery[g].label;
      }
    }
    if (label < 0)
      throw UsageError(fmt::format("pixel_floor: expected a gallery picture of a concept other than \"{}\"",
                                   queries[q].concept_name));
    right[q] = label == queries[q].label ? 1 : 0;
  });
  return {std::accumulate(right.begin(), right.end(), std::int64_t{0}), static_cast<std::int64_t>(queries.size())};
}

}  // namespace attune
