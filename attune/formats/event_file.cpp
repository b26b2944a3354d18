#include "attune/formats/event_file.h"

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <unistd.h>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/formats/bytes.h"

namespace attune {
namespace {

enum WireType : std::uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

void append_varint(std::string& text, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  text += static_cast<char>(value);
}

void append_key(std::string& text, std::uint32_t field, WireType type) {
  append_varint(text, field << 3 | type);
}

void append_text(std::string& text, std::uint32_t field, std::string_view value) {
  append_key(text, field, kLengthDelimited);
  append_varint(text, value.size());
  text += value;
}

/// The fields that every event has.
std::string event_start(double wall_time, std::int64_t step) {
  std::string event;
  append_key(event, 1, kFixed64);
  append_little_endian(event, std::bit_cast<std::uint64_t>(wall_time));
  if (step != 0) {
    append_key(event, 2, kVarint);
    append_varint(event, static_cast<std::uint64_t>(step));
  }
  return event;
}

/// Opens the file: field 3 is file_version.
std::string version_event(double wall_time) {
  std::string event = event_start(wall_time, 0);
  append_text(event, 3, "brain.Event:2");
  return event;
}

/// Field 7 is session_log, whose status (1) START is 1.
std::string restart_event(double wall_time, std::int64_t step) {
  std::string event = event_start(wall_time, step);
  append_text(event, 7, "\x08\x01");
  return event;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = value;
  }
  return table;
}

/// Checksums of data that holds checksums are rotated and shifted (TFRecord format).
std::uint32_t masked(std::uint32_t crc) {
  return std::rotr(crc, 15) + 0xa282ead8U;
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = make_table();
  std::uint32_t crc = 0xffffffffU;
  for (const std::byte byte : bytes) crc = kTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff] ^ crc >> 8;
  return ~crc;
}

std::string tfrecord_frame(std::string_view record) {
  const auto checksum = [](std::string_view text) { return masked(crc32c(std::as_bytes(std::span(text)))); };
  std::string frame;
  append_little_endian(frame, static_cast<std::uint64_t>(record.size()));
  append_little_endian(frame, checksum(frame));
  frame += record;
  append_little_endian(frame, checksum(record));
  return frame;
}

std::string scalar_event(double wall_time, std::int64_t step, std::string_view tag, float value) {
  std::string scalar;
  append_text(scalar, 1, tag);
  append_key(scalar, 2, kFixed32);
  append_little_endian(scalar, std::bit_cast<std::uint32_t>(value));
  std::string summary;
  append_text(summary, 1, scalar);
  std::string event = event_start(wall_time, step);
  append_text(event, 5, summary);
  return event;
}

EventWriter::EventWriter(const std::filesystem::path& folder, std::int64_t first_step) {
  static std::atomic<int> count{0};
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  const double time = now();
  path_ =
      folder / fmt::format("events.out.tfevents.{}.attune.{}.{}", static_cast<std::int64_t>(time), ::getpid(), count++);
  out_.open(path_, std::ios::binary | std::ios::trunc);
  if (!out_) throw Error(fmt::format("cannot write {}: expected a folder in which files can be made", path_.string()));
  write_record(version_event(time));
  if (first_step > 0) write_record(restart_event(time, first_step));
  flush();
}

void EventWriter::add_scalar(std::string_view tag, std::int64_t step, double value) {
  write_record(scalar_event(now(), step, tag, static_cast<float>(value)));
}

void EventWriter::flush() {
  out_.flush();
  if (!out_) throw Error(fmt::format("cannot write {}: expected the file to take more events", path_.string()));
}

void EventWriter::write_record(const std::string& record) {
  const std::string frame = tfrecord_frame(record);
  out_.write(frame.data(), static_cast<std::streamsize>(frame.size()));
}

}  // namespace attune
