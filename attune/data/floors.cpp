#include "attune/data/floors.h"

#include <array>
#include <cmath>
#include <numeric>
#include <utility>

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

/// Sixteen sums side by side, which the compiler turns into vector instructions.
float dot(const std::vector<float>& left, const std::vector<float>& right) {
  static_assert(kSide * kSide * 3 % 16 == 0);
  std::array<float, 16> sums{};
  for (std::size_t i = 0; i < left.size(); i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) sums[lane] += left[i + lane] * right[i + lane];
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0F);
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

PixelGallery::PixelGallery(const Dataset& dataset, std::vector<Sample> samples, int threads)
    : samples_(std::move(samples)), features_(features_of(dataset, samples_, threads)) {
  if (samples_.empty()) throw UsageError("pixel floor: expected pictures in the gallery, found none");
}

PixelFloor PixelGallery::floor(const Dataset& dataset, std::span<const Sample> queries, bool other_concepts,
                               int threads) const {
  if (queries.empty()) throw UsageError("pixel floor: expected queries, found none");
  const auto asked = features_of(dataset, queries, threads);
  std::vector<std::uint8_t> right(queries.size());
  parallel_for(static_cast<std::int64_t>(queries.size()), threads, [&](std::int64_t i) {
    const auto q = static_cast<std::size_t>(i);
    float best = -2;
    std::int64_t label = -1;
    for (std::size_t g = 0; g < samples_.size(); ++g) {
      if (other_concepts && samples_[g].concept_name == queries[q].concept_name) continue;
      const float cosine = dot(features_[g], asked[q]);
      if (cosine > best) {
        best = cosine;
        label = samples_[g].label;
      }
    }
    if (label < 0) {
      throw UsageError(fmt::format("pixel floor: expected a gallery picture of a concept other than \"{}\"",
                                   queries[q].concept_name));
    }
    right[q] = label == queries[q].label ? 1 : 0;
  });
  return {std::accumulate(right.begin(), right.end(), std::int64_t{0}), static_cast<std::int64_t>(queries.size())};
}

}  // namespace attune
