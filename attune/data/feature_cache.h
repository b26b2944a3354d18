#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "attune/data/content_ids.h"

namespace attune {

/// Frozen features of pictures on disk, raw (not normalised) fp32, one file for each (model, view).
///
/// File `<first 32 digits of SHA-256 of model key, view key and width>.features`, little-endian: a header of 64 bytes
/// (magic "ATTFEAT1", u32 width, u32 zero, 32 bytes SHA-256 of the keys, zeros, u32 CRC-32 of what precedes), then
/// records of 32 bytes content id, width x 4 bytes, u32 CRC-32 of both. Records are only ever appended, under an
/// exclusive lock on the file, after a torn end that a killed writer left was cut off. A record whose checksum is wrong
/// counts as absent. So a reader sees whole records or none, whatever happens to the writers.
///
/// Safe to use from several threads, and from several processes at once.
class FeatureCache {
 public:
  /// `model_key`: the hash of the weights that make the feature, with their precision. `view_key`: preprocessing, and
  /// the view: "centre", or the number of an augmented view with its augmentation and seed; global or local features.
  /// Throws Error where the folder cannot be written or the file is no feature file of these keys.
  FeatureCache(const std::filesystem::path& folder, const std::string& model_key, const std::string& view_key,
               std::int64_t width);
  FeatureCache(const FeatureCache&) = delete;
  FeatureCache& operator=(const FeatureCache&) = delete;
  /// Flushes; what cannot be written then is lost without a word, so call `flush` to know.
  ~FeatureCache();

  /// Copies the feature of a picture to `out` [width]; false, with `out` untouched, where it is not known.
  bool get(const ContentId& id, float* out) const;
  /// Copies the features of many pictures to the rows of `out` [ids, width]; returns the rows that are not known.
  std::vector<std::size_t> get(std::span<const ContentId> ids, float* out) const;
  /// Adds a feature [width]; a picture that is known keeps what it has. Written at the latest by `flush`.
  void put(const ContentId& id, const float* feature);
  /// Writes what was added to the disk and takes in what other processes have added.
  void flush();

  std::int64_t width() const { return width_; }
  /// Pictures known, written or not.
  std::int64_t size() const;
  /// Records with a wrong checksum that were passed over.
  std::int64_t damaged() const;
  const std::filesystem::path& file() const { return file_; }

  /// Removes every feature file in the folder; returns how many. A process that still uses one keeps it to itself.
  static std::int64_t clear(const std::filesystem::path& folder);

 private:
  std::size_t record_size() const;
  void open(const std::array<std::uint8_t, 64>& header);
  void take_in();
  void write_pending();

  const std::int64_t width_;
  std::filesystem::path file_;
  int descriptor_ = -1;
  mutable std::mutex mutex_;
  std::map<ContentId, std::uint64_t> offsets_;       // of the floats in the file
  std::map<ContentId, std::vector<float>> pending_;  // not yet written
  std::uint64_t read_to_ = 0;                        // end of the records that were taken in
  std::int64_t damaged_ = 0;
};

}  // namespace attune
