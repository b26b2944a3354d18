#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "attune/base/log.h"
#include "attune/clip/model.h"
#include "attune/data/content_ids.h"
#include "attune/data/dataset.h"
#include "attune/training/views.h"

namespace attune {

class FeatureCache;
struct PixelBatch;

struct InputOptions {
  std::filesystem::path cache;  // folder of the feature cache; empty: nothing is kept on disk
  int loader_threads = 1;       // decode pictures beside the image tower, on one batch more than it has in work
  bool skip_broken = false;
  Augmentation augmentation;
  std::uint64_t seed = 1;  // of the random views
  Progress* progress = nullptr;
};

/// The frozen image features of a list of samples, view by view. A view is computed when it is first asked for, from
/// the cache on disk where it has been seen before, else from the pictures.
class Inputs {
 public:
  Inputs(std::shared_ptr<const ClipModel> model, const Dataset& dataset, std::vector<Sample> samples,
         const InputOptions& options);

  std::int64_t size() const { return static_cast<std::int64_t>(samples_.size()); }
  const std::vector<Sample>& samples() const { return samples_; }
  const Tensor& labels() const { return labels_; }    // [n] int64
  const Tensor& domains() const { return domains_; }  // [n] int64; undefined where the data set has none
  const std::vector<std::string>& domain_names() const { return place_.domains; }
  /// Raw features [n, d] of all samples under `view` (0: the centre view). Throws Stopped on a request to stop; what
  /// was computed by then is in the cache.
  const Tensor& features(std::int64_t view);
  /// Forgets the features of a random view, which an epoch has used up.
  void forget(std::int64_t view) { views_.erase(view); }
  /// Pictures that had to be decoded and encoded, against those found in the cache.
  std::int64_t computed() const { return computed_; }

 private:
  void collect_labels_and_domains();
  void collect_ids();
  Tensor compute(std::int64_t view);
  void encode(std::int64_t view, const std::vector<std::int64_t>& missing, Tensor& features, FeatureCache* cache);
  Tensor encode_pixels(PixelBatch& batch) const;
  void report(std::int64_t done, std::int64_t total, std::int64_t view) const;
  /// Under skip_broken: takes broken pictures out of the samples and of every view.
  void drop(const std::vector<bool>& broken, Tensor& features, const std::vector<std::string>& reasons);

  std::shared_ptr<const ClipModel> model_;
  Dataset place_;  // of the samples: no more than the root of their paths and the names of their domains
  std::vector<Sample> samples_;
  Tensor labels_, domains_;
  InputOptions options_;
  std::vector<ContentId> ids_;  // [n], where there is a cache and a view was asked for
  std::map<std::int64_t, Tensor> views_;
  std::int64_t computed_ = 0;
};

}  // namespace attune
