#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attune/base/log.h"
#include "attune/clip/model.h"
#include "attune/data/content_ids.h"
#include "attune/data/dataset.h"
#include "attune/methods/learner.h"
#include "attune/training/views.h"

namespace attune {

class DomainFeatures;
class FeatureCache;
struct LoaderOptions;
struct PixelBatch;

struct InputOptions {
  std::filesystem::path cache;  // folder of the feature cache; empty: nothing is kept on disk
  int loader_threads = 1;       // decode pictures beside the image tower, on one batch more than it has in work
  bool skip_broken = false;
  Augmentation augmentation;
  std::uint64_t seed = 1;  // of the random views
  Progress* progress = nullptr;
};

/// What methods see of a list of samples. Global image features are computed for a whole view when it is first asked
/// for, from the cache on disk where it has been seen before, else from the pictures. What takes more room (features of
/// cells, pixels) is read for a batch at a time.
class Inputs {
 public:
  Inputs(std::shared_ptr<const ClipModel> model, const Dataset& dataset, std::vector<Sample> samples,
         const InputOptions& options);
  /// Of a domain model alone: only domain_features() and contents() can be asked for.
  Inputs(std::shared_ptr<const DomainModel> domain, std::vector<Sample> samples, const InputOptions& options);
  ~Inputs();

  std::int64_t size() const { return static_cast<std::int64_t>(samples_.size()); }
  const std::vector<Sample>& samples() const { return samples_; }
  const Tensor& labels() const { return labels_; }    // [n] int64
  const Tensor& domains() const { return domains_; }  // [n] int64; undefined where the data set has none
  const std::vector<std::string>& domain_names() const { return place_.domains; }
  /// Raw features [n, d] of all samples under `view` (0: the centre view). Throws Stopped on a request to stop; what
  /// was computed by then is in the cache.
  const Tensor& features(std::int64_t view);
  /// The same of a domain model [n, width]; a file of features has one row a picture, whatever the view.
  const Tensor& domain_features(const std::shared_ptr<const DomainModel>& domain, std::int64_t view);
  /// SHA-256 of all samples' files.
  const std::vector<ContentId>& contents();
  /// What `needs` says of some samples, each under its own view. Features of cells are kept in the cache on disk where
  /// `keep` says so, as they are worth where a view comes again.
  Batch batch(const std::vector<std::int64_t>& samples, const std::vector<std::int64_t>& views, const Needs& needs,
              bool keep = true);
  /// Samples that a batch of `needs` should hold at most where nothing is learned from it.
  static std::int64_t samples_at_once(const Needs& needs);
  /// Forgets the features of a random view, which an epoch has used up.
  void forget(std::int64_t view);
  /// Pictures that had to be decoded and encoded, against those found in the cache.
  std::int64_t computed() const { return computed_; }

 private:
  void collect_labels_and_domains();
  void collect_ids();
  FeatureCache& local_cache(std::int64_t view);
  LoaderOptions loading(const Preprocess& preprocess, std::int64_t view) const;
  Tensor pixels(const std::vector<std::int64_t>& samples, const std::vector<std::int64_t>& views) const;
  void add_local_features(Batch& batch, const std::vector<std::int64_t>& views, bool keep);
  /// Something frozen that turns a view of a picture into one row, and the rows of the views that were asked for.
  struct Encoder {
    std::function<std::string()> key;  // asked for with the first features: a hash of the weights reads their files
    Preprocess preprocess;
    std::int64_t width = 0;
    at::Device device = at::kCPU;
    std::function<Tensor(const Tensor& pixels)> encode;  // [B, 3, size, size] -> [B, width]
    std::shared_ptr<const DomainFeatures> stored = {};   // where rows come from instead, one for all views
    std::map<std::int64_t, Tensor> views = {};
  };
  const Tensor& rows(Encoder& encoder, std::int64_t view);
  Tensor compute(const Encoder& encoder, std::int64_t view);
  Tensor stored_rows(const DomainFeatures& features);
  void encode(const Encoder& encoder, std::int64_t view, const std::vector<std::int64_t>& missing, Tensor& features,
              FeatureCache* cache);
  Tensor rows_of(Encoder& encoder, const std::vector<std::int64_t>& samples, const std::vector<std::int64_t>& views);
  Encoder& domain_encoder(const std::shared_ptr<const DomainModel>& domain);
  void report(std::int64_t done, std::int64_t total, std::int64_t view) const;
  /// Under skip_broken: takes broken pictures out of the samples and of every view.
  void drop(const std::vector<bool>& broken, Tensor& features, const std::vector<std::string>& reasons);

  std::shared_ptr<const ClipModel> model_;
  Dataset place_;  // of the samples: no more than the root of their paths and the names of their domains
  std::vector<Sample> samples_;
  Tensor labels_, domains_;
  InputOptions options_;
  std::vector<ContentId> ids_;     // [n], where somebody asked for them
  Encoder image_;                  // the image tower's global features
  std::optional<Encoder> domain_;  // the domain model that was asked for last
  std::map<std::int64_t, std::unique_ptr<FeatureCache>> local_views_;
  std::int64_t computed_ = 0;
};

}  // namespace attune
