#include "attune/data/content_ids.h"

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"

namespace attune {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

ContentId bytes_of(const std::string& hash) {
  ContentId id{};
  for (std::size_t i = 0; i < id.size(); ++i) std::from_chars(&hash[2 * i], &hash[2 * i] + 2, id[i], 16);
  return id;
}

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::int64_t now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace

ContentIds::ContentIds(const std::filesystem::path& folder)
    : file_(folder / "content-ids.jsonl"), known_(load(file_)) {}

std::map<std::string, ContentIds::Known> ContentIds::load(const std::filesystem::path& file) {
  std::map<std::string, Known> known;
  if (!std::filesystem::exists(file)) return known;
  const std::string text = read_file(file);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    const Json item = Json::parse(line, nullptr, false);
    if (!item.is_array() || item.size() != 5 || !item[0].is_string() || !item[1].is_number_unsigned() ||
        !item[2].is_number_integer() || !item[3].is_number_unsigned() || !item[4].is_string() ||
        !is_hash(item[4].get<std::string>())) {
      continue;  // what cannot be used is only a memory: the picture is read again
    }
    known[item[0].get<std::string>()] = {item[1].get<std::uint64_t>(), item[2].get<std::int64_t>(),
                                         item[3].get<std::uint64_t>(), item[4].get<std::string>()};
  }
  return known;
}

std::string hex_of(const ContentId& id) {
  std::string text;
  for (const std::uint8_t byte : id) text += fmt::format("{:02x}", byte);
  return text;
}

std::optional<ContentId> content_id_of_hex(std::string_view text) {
  const std::string hash(text);
  if (!is_hash(hash)) return std::nullopt;
  return bytes_of(hash);
}

ContentId content_id(const std::filesystem::path& path) {
  return bytes_of(sha256_of_file(path));
}

ContentId ContentIds::id_of(const std::filesystem::path& path) {
  return bytes_of(hash_of(path));
}

std::string ContentIds::hash_of(const std::filesystem::path& path) {
  const std::string name = std::filesystem::absolute(path).lexically_normal().string();
  struct stat status {};
  if (::stat(name.c_str(), &status) != 0)
    throw Error(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  Known state{static_cast<std::uint64_t>(status.st_size), status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec,
              status.st_ino, ""};
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(name);
    if (found != known_.end()) {
      state.hash = found->second.hash;
      if (found->second == state) return state.hash;
    }
  }
  state.hash = sha256_of_file(path);
  const std::lock_guard lock(mutex_);
  ++files_read_;
  if (state.changed < now() - 2 * kSecond) known_[name] = fresh_[name] = state;
  return state.hash;
}

void ContentIds::flush() {
  const std::lock_guard lock(mutex_);
  if (fresh_.empty()) return;
  std::map<std::string, Known> all = load(file_);
  for (const auto& [name, known] : fresh_) all[name] = known;
  write_file(file_, [&](std::ostream& out) {
    for (const auto& [name, known] : all) {
      out << Json({name, known.size, known.changed, known.inode, known.hash})
                 .dump(-1, ' ', true, Json::error_handler_t::replace)
          << '\n';
    }
  });
  fresh_.clear();
}

std::int64_t ContentIds::files_read() const {
  const std::lock_guard lock(mutex_);
  return files_read_;
}

}  // namespace attune
