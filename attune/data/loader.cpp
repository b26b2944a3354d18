#include "attune/data/loader.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/decode.h"

namespace attune {
namespace {

Dataset without_samples(const Dataset& dataset) {
  Dataset bare;
  bare.name = dataset.name;
  bare.root = dataset.root;
  return bare;
}

}  // namespace

void load_view(const std::filesystem::path& path, const LoaderOptions& options, std::int64_t view, float* out) {
  const std::string content = read_file(path);
  const Image image = decode_image(std::as_bytes(std::span(content)), path.string());
  if (!options.augmentation) {
    normalise(centre_view(image, options.preprocess), options.preprocess, out);
    return;
  }
  KeyedRandom random(options.seed, fmt::format("view {} of {}", view, sha256(content)));
  normalise(random_view(image, options.preprocess, *options.augmentation, random), options.preprocess, out);
}

Loader::Loader(const Dataset& dataset, std::vector<Sample> samples, const LoaderOptions& options)
    : dataset_(without_samples(dataset)),
      samples_(std::move(samples)),
      options_(options),
      values_(std::size_t{3} * static_cast<std::size_t>(options.preprocess.size) *
              static_cast<std::size_t>(options.preprocess.size)) {
  if (options.batch < 1 || options.threads < 1 || options.prefetch < 1 || options.preprocess.size < 1) {
    throw UsageError(
        fmt::format("loader: expected batch, threads, prefetch and size of at least 1, found {}, {}, {} and {}",
                    options.batch, options.threads, options.prefetch, options.preprocess.size));
  }
  slots_.resize(static_cast<std::size_t>(options.prefetch));
  for (int i = 0; i < options.threads; ++i) workers_.emplace_back([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_ready_.notify_all();
}

void Loader::start(std::int64_t epoch, std::vector<std::int64_t> order) {
  for (const std::int64_t position : order) {
    if (position < 0 || position >= static_cast<std::int64_t>(samples_.size())) {
      throw UsageError(fmt::format("loader: expected positions below {}, found {}", samples_.size(), position));
    }
  }
  {
    std::unique_lock lock(mutex_);
    claimed_ = static_cast<std::int64_t>(order_.size());  // nothing more of the epoch before
    batch_ready_.wait(lock, [this] { return busy_ == 0; });
    const auto batch = static_cast<std::size_t>(options_.batch);
    if (options_.drop_last && order.size() >= batch) order.resize(order.size() / batch * batch);
    order_ = std::move(order);
    epoch_ = epoch;
    claimed_ = 0;
    due_ = 0;
    skipped_.clear();
    batches_ = (static_cast<std::int64_t>(order_.size()) + options_.batch - 1) / options_.batch;
    for (std::int64_t number = 0; number < std::min<std::int64_t>(batches_, options_.prefetch); ++number)
      prepare(number);
  }
  work_ready_.notify_all();
}

std::int64_t Loader::batch_size(std::int64_t number) const {
  return std::min(options_.batch, static_cast<std::int64_t>(order_.size()) - number * options_.batch);
}

void Loader::prepare(std::int64_t number) {
  Slot& slot = slots_[static_cast<std::size_t>(number % options_.prefetch)];
  const auto count = static_cast<std::size_t>(batch_size(number));
  slot.pixels.resize(count * values_);
  slot.errors.assign(count, "");
  slot.left = static_cast<std::int64_t>(count);
}

bool Loader::may_claim() const {
  return claimed_ < static_cast<std::int64_t>(order_.size()) && claimed_ / options_.batch < due_ + options_.prefetch;
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_ready_.wait(lock, [this] { return stopping_ || may_claim(); });
    if (stopping_) return;
    const std::int64_t at = claimed_++;
    Slot& slot = slots_[static_cast<std::size_t>(at / options_.batch % options_.prefetch)];
    const auto row = static_cast<std::size_t>(at % options_.batch);
    const std::int64_t position = order_[static_cast<std::size_t>(at)];
    const std::int64_t epoch = epoch_;
    float* out = slot.pixels.data() + row * values_;
    ++busy_;
    lock.unlock();
    std::string problem;
    try {
      load_view(dataset_.path_of(samples_[static_cast<std::size_t>(position)]), options_, epoch, out);
    } catch (const std::exception& error) {
      problem = error.what();
    }
    lock.lock();
    --busy_;
    slot.errors[row] = std::move(problem);
    if (--slot.left == 0 || busy_ == 0) batch_ready_.notify_all();
  }
}

bool Loader::next(PixelBatch& batch) {
  std::unique_lock lock(mutex_);
  if (due_ == batches_) return false;
  Slot& slot = slots_[static_cast<std::size_t>(due_ % options_.prefetch)];
  batch_ready_.wait(lock, [&] { return slot.left == 0; });
  if (!options_.skip_broken) {
    for (const std::string& problem : slot.errors) {
      if (!problem.empty()) throw Error(problem);
    }
  }
  std::swap(batch.pixels, slot.pixels);
  batch.positions.clear();
  batch.labels.clear();
  batch.domains.clear();
  for (std::size_t row = 0; row < slot.errors.size(); ++row) {
    if (!slot.errors[row].empty()) {
      skipped_.push_back(slot.errors[row]);
      continue;
    }
    const std::int64_t position = order_[static_cast<std::size_t>(due_ * options_.batch) + row];
    const Sample& sample = samples_[static_cast<std::size_t>(position)];
    float* pixels = batch.pixels.data();
    const std::size_t kept = batch.positions.size();
    if (kept != row) std::copy_n(pixels + row * values_, values_, pixels + kept * values_);
    batch.positions.push_back(position);
    batch.labels.push_back(sample.label);
    batch.domains.push_back(sample.domain);
  }
  batch.pixels.resize(batch.positions.size() * values_);
  ++due_;
  // The slot is free for the batch `prefetch` further on.
  if (const std::int64_t further = due_ - 1 + options_.prefetch; further < batches_) prepare(further);
  lock.unlock();
  work_ready_.notify_all();
  return true;
}

}  // namespace attune
