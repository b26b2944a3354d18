#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/log.h"
#include "attune/images/preprocess.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// The unlabelled pictures of a masked autoencoder, decoded once and kept in memory with a shorter side of at most
/// `side` pixels. Views and masks depend on (seed, epoch, content of the file) alone.
class MaePictures {
 public:
  /// Throws Error that names a picture that cannot be read, and UsageError where there is none.
  MaePictures(const std::vector<std::filesystem::path>& paths, int side, Progress* progress);

  std::int64_t size() const { return std::ssize(pictures_); }
  /// SHA-256 over the contents, whatever the order and names of the files.
  const std::string& hash() const { return hash_; }

  /// The pictures of a step [batch], in the endless sequence of shuffled passes, and the pass that each belongs to.
  struct Place {
    std::int64_t picture = 0, epoch = 0;
  };
  std::vector<Place> places(std::int64_t step, std::int64_t batch, std::uint64_t seed);

  /// Normalised random views [B, 3, size, size].
  Tensor views(const std::vector<Place>& places, const Preprocess& preprocess, const Augmentation& augmentation,
               std::uint64_t seed) const;
  /// Normalised centre views of so many pictures, the same ones for a seed.
  Tensor centre_views(std::int64_t count, const Preprocess& preprocess, std::uint64_t seed) const;
  /// For each picture all patches in a random order [B, cells] int64: the first ones are visible (see Mae::forward).
  Tensor orders(const std::vector<Place>& places, std::int64_t cells, std::uint64_t seed) const;

 private:
  struct Picture {
    Image image;
    std::string hash;
  };
  std::vector<Picture> pictures_;  // in the order of their hashes
  std::string hash_;
  std::vector<std::int64_t> order_;  // of the pass that was asked for last
  std::int64_t pass_ = -1;
};

}  // namespace attune
