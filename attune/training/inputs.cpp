#include "attune/training/inputs.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/feature_cache.h"
#include "attune/data/loader.h"
#include "attune/tensors/parallel.h"
#include "attune/training/stopped.h"

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
    : model_(std::move(model)), samples_(std::move(samples)), options_(options) {
  place_.root = dataset.root;
  if (dataset.domains.size() > 1 || (dataset.domains.size() == 1 && !dataset.domains[0].empty()))
    place_.domains = dataset.domains;
  collect_labels_and_domains();
  // Every view must be of the same samples, so broken pictures are found before anybody counts.
  if (options_.skip_broken && size() > 0) features(0);
}

void Inputs::collect_labels_and_domains() {
  labels_ = at::empty({size()}, at::kLong);
  for (std::size_t i = 0; i < samples_.size(); ++i) labels_.data_ptr<std::int64_t>()[i] = samples_[i].label;
  if (place_.domains.empty()) return;
  domains_ = at::empty({size()}, at::kLong);
  for (std::size_t i = 0; i < samples_.size(); ++i) domains_.data_ptr<std::int64_t>()[i] = samples_[i].domain;
}

void Inputs::collect_ids() {
  ContentIds known(options_.cache);
  ids_.reserve(samples_.size());
  for (const Sample& sample : samples_) ids_.push_back(known.id_of(place_.path_of(sample)));
  known.flush();
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
  if (!options_.cache.empty()) {
    if (ids_.empty()) collect_ids();
    cache.emplace(options_.cache, model_->feature_key(), view_key(model_->preprocess, options_, view),
                  model_->config.joint_width);
    for (const std::size_t row : cache->get(ids_, features.data_ptr<float>()))
      missing.push_back(static_cast<std::int64_t>(row));
  } else {
    missing.resize(samples_.size());
    for (std::size_t i = 0; i < missing.size(); ++i) missing[i] = static_cast<std::int64_t>(i);
  }
  if (!missing.empty()) encode(view, missing, features, cache ? &*cache : nullptr);
  return features;
}

void Inputs::encode(std::int64_t view, const std::vector<std::int64_t>& missing, Tensor& features,
                    FeatureCache* cache) {
  LoaderOptions loading;
  loading.preprocess = model_->preprocess;
  if (view > 0) loading.augmentation = options_.augmentation;
  loading.seed = options_.seed;
  loading.batch = kBatch;
  loading.threads = options_.loader_threads;
  loading.skip_broken = options_.skip_broken;
  Loader loader(place_, samples_, loading);
  loader.start(view, missing);
  std::int64_t done = 0;
  std::vector<bool> broken(samples_.size(), false);
  for (const std::int64_t row : missing) broken[static_cast<std::size_t>(row)] = true;
  std::mutex taking, giving;
  const at::NoGradGuard no_gradients;
  const auto encode_batches = [&] {
    for (PixelBatch batch; !stop_requested();) {
      {
        const std::lock_guard lock(taking);
        if (!loader.next(batch)) return;
      }
      Tensor encoded;
      if (batch.size() > 0) encoded = encode_pixels(batch);
      const std::lock_guard lock(giving);
      for (std::int64_t i = 0; i < batch.size(); ++i) {
        const std::int64_t row = batch.positions[static_cast<std::size_t>(i)];
        features[row].copy_(encoded[i]);
        broken[static_cast<std::size_t>(row)] = false;
        if (cache != nullptr) cache->put(ids_[static_cast<std::size_t>(row)], encoded[i].data_ptr<float>());
      }
      computed_ += batch.size();
      done = std::min(done + kBatch, static_cast<std::int64_t>(missing.size()));
      report(done, static_cast<std::int64_t>(missing.size()), view);
    }
  };
  // Whole batches side by side keep all cores busy; fewer batches than cores are quicker with all cores on each.
  const std::int64_t threads = parallel_width();
  if (model_->device.is_cpu() && loader.batches() >= threads) {
    in_parallel(threads, [&](std::int64_t) { encode_batches(); });
  } else {
    encode_batches();
  }
  if (cache != nullptr) cache->flush();
  if (options_.progress != nullptr) options_.progress->finish();
  if (stop_requested()) {
    throw Stopped{cache == nullptr ? "nothing was kept"
                                   : "the image features computed so far are kept, so the same command (for a run: "
                                     "with --resume) goes on from there"};
  }
  if (!loader.skipped().empty()) drop(broken, features, loader.skipped());
}

Tensor Inputs::encode_pixels(PixelBatch& batch) const {
  const int side = model_->preprocess.size;
  const Tensor pixels = at::from_blob(batch.pixels.data(), {batch.size(), 3, side, side}, at::kFloat);
  return model_->image->encode(pixels.to(model_->device)).global.to(at::kCPU).contiguous();
}

void Inputs::report(std::int64_t done, std::int64_t total, std::int64_t view) const {
  if (options_.progress == nullptr) return;
  options_.progress->update(done, total, view == 0 ? "image features" : fmt::format("image features, view {}", view));
}

void Inputs::drop(const std::vector<bool>& broken, Tensor& features, const std::vector<std::string>& reasons) {
  for (const std::string& reason : reasons) log_warning(fmt::format("left out: {}", reason));
  std::vector<std::int64_t> kept;
  std::vector<Sample> samples;
  std::vector<ContentId> ids;
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    if (broken[i]) continue;
    kept.push_back(static_cast<std::int64_t>(i));
    samples.push_back(samples_[i]);
    if (!ids_.empty()) ids.push_back(ids_[i]);
  }
  if (kept.empty()) throw Error("pictures: expected at least one that can be decoded, found none");
  const Tensor rows = at::tensor(kept, at::kLong);
  features = features.index_select(0, rows);
  for (auto& [view, others] : views_) others = others.index_select(0, rows);
  samples_ = std::move(samples);
  ids_ = std::move(ids);
  collect_labels_and_domains();
}

}  // namespace attune
