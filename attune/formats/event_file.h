#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace attune {

/// Writes scalars into an event file that TensorBoard reads while it grows: TFRecord frames (length, masked CRC-32C of
/// the length, data, masked CRC-32C of the data) around `tensorflow.Event` protocol buffers. Not thread safe.
class EventWriter {
 public:
  /// Makes `events.out.tfevents.SECONDS.attune.PID.N` in `folder`, which is made where it is missing. `first_step` > 0
  /// continues an earlier run of the same folder: TensorBoard then drops what earlier files hold from that step on.
  explicit EventWriter(const std::filesystem::path& folder, std::int64_t first_step = 0);

  /// Values that are not finite are written as they are; TensorBoard marks them.
  void add_scalar(std::string_view tag, std::int64_t step, double value);
  /// Throws Error that names the file where the disk is full or the file is gone.
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(const std::string& record);

  std::filesystem::path path_;
  std::ofstream out_;
};

/// CRC-32C (Castagnoli polynomial, reflected), as RFC 3720 appendix B.4 gives examples of.
std::uint32_t crc32c(std::span<const std::byte> bytes);

/// A record in its TFRecord frame.
std::string tfrecord_frame(std::string_view record);

/// `tensorflow.Event` with one scalar: fields wall_time (1, seconds), step (2), summary (5) of one value (1) with tag
/// (1) and simple_value (2, 32-bit float).
std::string scalar_event(double wall_time, std::int64_t step, std::string_view tag, float value);

}  // namespace attune
