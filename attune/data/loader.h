#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "attune/data/dataset.h"
#include "attune/images/preprocess.h"

namespace attune {

struct LoaderOptions {
  Preprocess preprocess;
  std::optional<Augmentation> augmentation;  // absent: the centre view
  std::uint64_t seed = 0;                    // of the random views
  std::int64_t batch = 32;
  int threads = 2;
  int prefetch = 2;          // batches that may be ready or in work before they are asked for: the bound on memory
  bool drop_last = false;    // an incomplete last batch, where there is at least one full batch (methods 1.3)
  bool skip_broken = false;  // leave broken pictures out instead of throwing
};

/// Pictures ready for an image tower. With skip_broken it may hold fewer than were asked for, even none.
struct PixelBatch {
  std::vector<float> pixels;            // [n, 3, size, size]
  std::vector<std::int64_t> positions;  // [n] into the loader's samples
  std::vector<std::int64_t> labels;     // [n]
  std::vector<std::int64_t> domains;    // [n]
  std::int64_t size() const { return static_cast<std::int64_t>(positions.size()); }
};

/// Writes the normalised view of one picture, [3, size, size], to `out`: the centre view, or the random view of
/// (seed, view, content of the file), where `view` is the epoch or the number of a cached view. Keyed by content, a
/// view is the same in every list that holds the picture. Throws Error that names the file.
void load_view(const std::filesystem::path& path, const LoaderOptions& options, std::int64_t view, float* out);

/// Decodes pictures on worker threads into batches that come out in the order asked for, the same for any number of
/// threads. One consumer; workers live as long as the loader and may be stopped at any time by destroying it.
class Loader {
 public:
  /// Throws UsageError where batch, threads or prefetch is below 1.
  Loader(const Dataset& dataset, std::vector<Sample> samples, const LoaderOptions& options);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  ~Loader();

  /// Begins an epoch over `order` (positions of samples, repeats allowed); what is left of an epoch before it is
  /// dropped. Throws UsageError on a position out of range.
  void start(std::int64_t epoch, std::vector<std::int64_t> order);
  /// The next batch; false at the end. Throws Error for a broken picture when its batch is due, and again on
  /// every call until the next `start`. The buffers of `batch` are reused: hand the same object in again.
  bool next(PixelBatch& batch);

  /// Batches in the epoch under way.
  std::int64_t batches() const { return batches_; }
  /// Errors of the pictures that skip_broken left out, in the order of the batches that were handed over.
  const std::vector<std::string>& skipped() const { return skipped_; }

 private:
  struct Slot {
    std::vector<float> pixels;
    std::vector<std::string> errors;  // [n], empty for a good picture
    std::int64_t left = 0;            // pictures not yet done
  };

  void work();
  bool may_claim() const;
  std::int64_t batch_size(std::int64_t number) const;
  void prepare(std::int64_t number);

  const Dataset dataset_;  // only root and name: samples are apart
  const std::vector<Sample> samples_;
  const LoaderOptions options_;
  const std::size_t values_;  // floats a picture

  std::mutex mutex_;
  std::condition_variable work_ready_, batch_ready_;
  std::vector<Slot> slots_;  // batch n lies in slot n % prefetch
  std::vector<std::int64_t> order_;
  std::int64_t epoch_ = 0;
  std::int64_t batches_ = 0;
  std::int64_t due_ = 0;      // the batch that `next` hands over next
  std::int64_t claimed_ = 0;  // positions of order_ that a worker has taken
  int busy_ = 0;              // workers outside the lock
  bool stopping_ = false;
  std::vector<std::string> skipped_;
  std::vector<std::jthread> workers_;  // last: they end before anything that they use
};

}  // namespace attune
