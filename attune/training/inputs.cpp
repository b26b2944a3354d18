#include "attune/training/inputs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/feature_cache.h"
#include "attune/data/loader.h"

namespace attune {
namespace {

/// Pictures the image tower takes at once: large enough for its matrix products, small enough for a laptop.
constexpr std::int64_t kBatch = 32;

std::string view_key(const Preprocess& preprocess, const InputOptions& options, std::int64_t view) {
  std::string key = fmt::format("size {} filter {} crop {} mean {} {} {} deviation {} {} {}", preprocess.size,
                                static_cast<int>(preprocess.filter), static_cast<int>(preprocess.crop),
                                preprocess.mean[0], preprocess.mean[1], preprocess.mean[2], preprocess.deviation[0],
                                preprocess.deviation[1], preprocess.deviation[2]);
  if (view == 0) return key + " centre";
  return key + fmt::format(" view {} of seed {}, area {} to {}, flip {}", view, options.seed,
                           options.augmentation.smallest, options.augmentation.largest, options.augmentation.flip);
}

}  // namespace

Inputs::Inputs(std::shared_ptr<const ClipModel> model, const Dataset& dataset, std::vector<Sample> samples,
               const InputOptions& options)
    : model_(std::move(model)), root_(dataset.root), samples_(std::move(samples)), options_(options) {
  collect_labels();
  // Every view must be of the same samples, so broken pictures are found before anybody counts.
  if (options_.skip_broken && size() > 0) features(0);
}

void Inputs::collect_labels() {
  labels_ = at::empty({size()}, at::kLong);
  for (std::size_t i = 0; i < samples_.size(); ++i) labels_.data_ptr<std::int64_t>()[i] = samples_[i].label;
}

const Tensor& Inputs::features(std::int64_t view) {
  const auto found = views_.find(view);
  if (found != views_.end()) return found->second;
  const Tensor features = compute(view);
  return views_.emplace(view, features).first->second;
}

Tensor Inputs::compute(std::int64_t view) {
  Tensor features = at::zeros({size(), model_->config.joint_width});
  std::vector<std::int64_t> missing;
  std::optional<FeatureCache> cache;
  std::vector<ContentId> ids;
  if (!options_.cache.empty()) {
    if (!known_) known_ = std::make_shared<ContentIds>(options_.cache);
    Dataset bare;
    bare.root = root_;
    for (const Sample& sample : samples_) ids.push_back(known_->id_of(bare.path_of(sample)));
    known_->flush();
    cache.emplace(options_.cache, model_->weight_hash(), view_key(model_->preprocess, options_, view),
                  model_->config.joint_width);
    for (const std::size_t row : cache->get(ids, features.data_ptr<float>()))
      missing.push_back(static_cast<std::int64_t>(row));
  } else {
    missing.resize(samples_.size());
    for (std::size_t i = 0; i < missing.size(); ++i) missing[i] = static_cast<std::int64_t>(i);
  }
  if (!missing.empty()) encode(view, missing, features, cache ? &*cache : nullptr, ids);
  return features;
}

void Inputs::encode(std::int64_t view, const std::vector<std::int64_t>& missing, Tensor& features, FeatureCache* cache,
                    const std::vector<ContentId>& ids) {
  const at::NoGradGuard no_gradients;
  Dataset bare;
  bare.root = root_;
  LoaderOptions loading;
  loading.preprocess = model_->preprocess;
  if (view > 0) loading.augmentation = options_.augmentation;
  loading.seed = options_.seed;
  loading.batch = kBatch;
  loading.threads = options_.loader_threads;
  loading.skip_broken = options_.skip_broken;
  Loader loader(bare, samples_, loading);
  loader.start(view, missing);
  PixelBatch batch;
  std::int64_t done = 0;
  std::vector<bool> broken(samples_.size(), false);
  for (const std::int64_t row : missing) broken[static_cast<std::size_t>(row)] = true;
  while (loader.next(batch)) {
    if (batch.size() > 0) {
      const int side = model_->preprocess.size;
      const Tensor pixels = at::from_blob(batch.pixels.data(), {batch.size(), 3, side, side}, at::kFloat);
      const Tensor encoded = model_->image->encode(pixels.to(model_->device)).global.to(at::kCPU).contiguous();
      features.index_copy_(0, at::tensor(batch.positions, at::kLong), encoded);
      for (std::int64_t i = 0; i < batch.size(); ++i) {
        const auto row = static_cast<std::size_t>(batch.positions[static_cast<std::size_t>(i)]);
        broken[row] = false;
        if (cache != nullptr) cache->put(ids[row], encoded[i].data_ptr<float>());
      }
      computed_ += batch.size();
    }
    done = std::min(done + kBatch, static_cast<std::int64_t>(missing.size()));
    if (options_.progress != nullptr) {
      options_.progress->update(done, static_cast<std::int64_t>(missing.size()),
                                view == 0 ? "image features" : fmt::format("image features, view {}", view));
    }
    if (stop_requested()) break;
  }
  if (cache != nullptr) cache->flush();
  if (options_.progress != nullptr) options_.progress->finish();
  if (stop_requested()) throw Stopped{};
  if (!loader.skipped().empty()) drop(broken, features, loader.skipped());
}

void Inputs::drop(const std::vector<bool>& broken, Tensor& features, const std::vector<std::string>& reasons) {
  for (const std::string& reason : reasons) log_warning(fmt::format("left out: {}", reason));
  std::vector<std::int64_t> kept;
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    if (broken[i]) continue;
    kept.push_back(static_cast<std::int64_t>(i));
    samples.push_back(samples_[i]);
  }
  if (kept.empty()) throw Error("pictures: expected at least one that can be decoded, found none");
  const Tensor rows = at::tensor(kept, at::kLong);
  features = features.index_select(0, rows);
  for (auto& [view, others] : views_) others = others.index_select(0, rows);
  samples_ = std::move(samples);
  collect_labels();
}

}  // namespace attune
