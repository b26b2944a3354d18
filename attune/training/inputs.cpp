#include "attune/training/inputs.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/feature_cache.h"
#include "attune/data/loader.h"
#include "attune/data/parallel.h"
#include "attune/domains/domain_features.h"
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

Inputs::~Inputs() = default;

Inputs::Inputs(std::shared_ptr<const ClipModel> model, const Dataset& dataset, std::vector<Sample> samples,
               const InputOptions& options)
    : model_(std::move(model)), samples_(std::move(samples)), options_(options) {
  image_ = {[model = model_] { return model->feature_key(); }, model_->preprocess, model_->config.joint_width,
            model_->device, [tower = model_->image](const Tensor& pixels) { return tower->encode(pixels).global; }};
  place_.root = dataset.root;
  if (dataset.domains.size() > 1 || (dataset.domains.size() == 1 && !dataset.domains[0].empty()))
    place_.domains = dataset.domains;
  collect_labels_and_domains();
  // Every view must be of the same samples, so broken pictures are found before anybody counts.
  if (options_.skip_broken && size() > 0) features(0);
}

Inputs::Inputs(std::shared_ptr<const DomainModel> domain, std::vector<Sample> samples, const InputOptions& options)
    : samples_(std::move(samples)), options_(options) {
  collect_labels_and_domains();
  if (options_.skip_broken && size() > 0) domain_features(domain, 0);
}

void Inputs::collect_labels_and_domains() {
  labels_ = at::empty({size()}, at::kLong);
  for (std::size_t i = 0; i < samples_.size(); ++i) labels_.data_ptr<std::int64_t>()[i] = samples_[i].label;
  if (place_.domains.empty()) return;
  domains_ = at::empty({size()}, at::kLong);
  for (std::size_t i = 0; i < samples_.size(); ++i) domains_.data_ptr<std::int64_t>()[i] = samples_[i].domain;
}

void Inputs::collect_ids() {
  if (!ids_.empty()) return;
  std::vector<ContentId> ids;
  ids.reserve(samples_.size());
  if (options_.cache.empty()) {
    for (const Sample& sample : samples_) ids.push_back(content_id(place_.path_of(sample)));
  } else {
    ContentIds known(options_.cache);
    for (const Sample& sample : samples_) ids.push_back(known.id_of(place_.path_of(sample)));
    known.flush();
  }
  ids_ = std::move(ids);
}

const Tensor& Inputs::features(std::int64_t view) {
  return rows(image_, view);
}

const Tensor& Inputs::domain_features(const std::shared_ptr<const DomainModel>& domain, std::int64_t view) {
  return rows(domain_encoder(domain), view);
}

const std::vector<ContentId>& Inputs::contents() {
  collect_ids();
  return ids_;
}

const Tensor& Inputs::rows(Encoder& encoder, std::int64_t view) {
  if (encoder.stored != nullptr) view = 0;
  const auto found = encoder.views.find(view);
  if (found != encoder.views.end()) return found->second;
  const Tensor features = compute(encoder, view);
  return encoder.views.emplace(view, features).first->second;
}

void Inputs::forget(std::int64_t view) {
  image_.views.erase(view);
  if (domain_) domain_->views.erase(view);
}

Inputs::Encoder& Inputs::domain_encoder(const std::shared_ptr<const DomainModel>& domain) {
  if (const auto stored = std::dynamic_pointer_cast<const DomainFeatures>(domain)) {
    if (!domain_ || domain_->stored != stored) {
      Encoder rows_of_file;
      rows_of_file.stored = stored;
      domain_ = std::move(rows_of_file);
    }
    return *domain_;
  }
  const auto encoder = std::dynamic_pointer_cast<const DomainEncoder>(domain);
  if (!domain_ || domain_->stored != nullptr || domain_->key() != encoder->key()) {
    domain_ = {[encoder] { return encoder->key(); }, encoder->preprocess(), encoder->width(), encoder->device(),
               [encoder](const Tensor& pixels) { return encoder->encode(pixels); }};
  }
  return *domain_;
}

Tensor Inputs::stored_rows(const DomainFeatures& features) {
  if (features.by_content()) collect_ids();
  std::vector<Tensor> found;
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    found.push_back(features.by_content() ? features.of(ids_[i], place_.path_of(samples_[i]))
                                          : features.of(samples_[i].path, place_.root));
  }
  return found.empty() ? at::zeros({0, features.width()}) : at::stack(found);
}

Tensor Inputs::compute(const Encoder& encoder, std::int64_t view) {
  if (encoder.stored != nullptr) return stored_rows(*encoder.stored);
  Tensor features = at::zeros({size(), encoder.width});
  std::vector<std::int64_t> missing;
  std::optional<FeatureCache> cache;
  if (!options_.cache.empty()) {
    collect_ids();
    cache.emplace(options_.cache, encoder.key(), view_key(encoder.preprocess, options_, view), encoder.width);
    for (const std::size_t row : cache->get(ids_, features.data_ptr<float>()))
      missing.push_back(static_cast<std::int64_t>(row));
  } else {
    missing.resize(samples_.size());
    for (std::size_t i = 0; i < missing.size(); ++i) missing[i] = static_cast<std::int64_t>(i);
  }
  if (!missing.empty()) encode(encoder, view, missing, features, cache ? &*cache : nullptr);
  return features;
}

void Inputs::encode(const Encoder& encoder, std::int64_t view, const std::vector<std::int64_t>& missing,
                    Tensor& features, FeatureCache* cache) {
  Loader loader(place_, samples_, loading(encoder.preprocess, view));
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
      if (batch.size() > 0) {
        const int side = encoder.preprocess.size;
        const Tensor pixels = at::from_blob(batch.pixels.data(), {batch.size(), 3, side, side}, at::kFloat);
        encoded = encoder.encode(pixels.to(encoder.device)).to(at::kCPU).contiguous();
      }
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
  if (encoder.device.is_cpu() && loader.batches() >= threads) {
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

LoaderOptions Inputs::loading(const Preprocess& preprocess, std::int64_t view) const {
  LoaderOptions loading;
  loading.preprocess = preprocess;
  if (view > 0) loading.augmentation = options_.augmentation;
  loading.seed = options_.seed;
  loading.batch = kBatch;
  loading.threads = options_.loader_threads;
  loading.skip_broken = options_.skip_broken;
  return loading;
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
  for (auto& [view, others] : image_.views) others = others.index_select(0, rows);
  if (domain_) {
    for (auto& [view, others] : domain_->views) others = others.index_select(0, rows);
  }
  samples_ = std::move(samples);
  ids_ = std::move(ids);
  collect_labels_and_domains();
}

Batch Inputs::batch(const std::vector<std::int64_t>& samples, const std::vector<std::int64_t>& views,
                    const Needs& needs, bool keep) {
  const Tensor index = at::tensor(samples, at::kLong);
  Batch batch;
  batch.labels = labels_.index_select(0, index);
  batch.samples = samples;
  if (domains_.defined()) batch.domains = domains_.index_select(0, index);
  if (needs.local_features) {
    add_local_features(batch, views, keep);
  } else if (needs.features) {
    batch.image_features = rows_of(image_, samples, views);
  }
  if (needs.domain != nullptr) batch.domain_features = rows_of(domain_encoder(needs.domain), samples, views);
  if (needs.pixels) batch.pixels = pixels(samples, views).to(model_->device);
  if (needs.content_keys) {
    collect_ids();
    for (const std::int64_t sample : samples) {
      std::uint64_t key = 0;
      std::memcpy(&key, ids_[static_cast<std::size_t>(sample)].data(), sizeof key);
      batch.content.push_back(key);
    }
  }
  return batch;
}

Tensor Inputs::rows_of(Encoder& encoder, const std::vector<std::int64_t>& samples,
                       const std::vector<std::int64_t>& views) {
  std::vector<Tensor> found;
  for (std::size_t i = 0; i < samples.size(); ++i) found.push_back(rows(encoder, views[i])[samples[i]]);
  return at::stack(found);
}

std::int64_t Inputs::samples_at_once(const Needs& needs) {
  if (needs.pixels) return kBatch;
  return needs.local_features ? 8 * kBatch : 128 * kBatch;
}

Tensor Inputs::pixels(const std::vector<std::int64_t>& samples, const std::vector<std::int64_t>& views) const {
  const int side = model_->preprocess.size;
  const auto count = static_cast<std::int64_t>(samples.size());
  Tensor pixels = at::empty({count, 3, side, side});
  parallel_for(count, options_.loader_threads, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    load_view(place_.path_of(samples_[static_cast<std::size_t>(samples[at])]), loading(model_->preprocess, views[at]),
              views[at], pixels[i].data_ptr<float>());
  });
  return pixels;
}

FeatureCache& Inputs::local_cache(std::int64_t view) {
  std::unique_ptr<FeatureCache>& cache = local_views_[view];
  if (cache == nullptr) {
    cache = std::make_unique<FeatureCache>(options_.cache, model_->feature_key(),
                                           view_key(model_->preprocess, options_, view) + " with cells",
                                           model_->image->rows() * model_->config.joint_width);
  }
  return *cache;
}

/// One row a picture: its global feature, then those of its cells.
void Inputs::add_local_features(Batch& batch, const std::vector<std::int64_t>& views, bool keep) {
  const std::int64_t rows = model_->image->rows(), width = model_->config.joint_width;
  const bool cached = keep && !options_.cache.empty();
  if (cached) collect_ids();
  const auto id_of = [&](std::size_t i) { return ids_[static_cast<std::size_t>(batch.samples[i])]; };
  Tensor all = at::empty({static_cast<std::int64_t>(views.size()), rows, width});
  std::vector<std::int64_t> missing, missing_samples, missing_views;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    if (cached && local_cache(views[i]).get(id_of(i), all[row].data_ptr<float>())) continue;
    missing.push_back(row);
    missing_samples.push_back(batch.samples[i]);
    missing_views.push_back(views[i]);
  }
  if (!missing.empty()) {
    const at::NoGradGuard no_gradients;
    const ImageFeatures found =
        model_->image->encode(pixels(missing_samples, missing_views).to(model_->device), {}, /*local=*/true);
    const Tensor fresh = at::cat({found.global.unsqueeze(1), found.local}, 1).to(at::kCPU).contiguous();
    for (std::size_t k = 0; k < missing.size(); ++k) {
      const Tensor one = fresh[static_cast<std::int64_t>(k)];
      all[missing[k]].copy_(one);
      if (cached) local_cache(missing_views[k]).put(id_of(static_cast<std::size_t>(missing[k])), one.data_ptr<float>());
    }
    computed_ += static_cast<std::int64_t>(missing.size());
  }
  batch.image_features = all.select(1, 0).contiguous();
  batch.local_features = all.narrow(1, 1, rows - 1);
}

}  // namespace attune
